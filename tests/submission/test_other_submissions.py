"""A submission that the task did not make is recorded when it is seen: the next submission of the post hides it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import timedelta

import pytest

from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.rules import Rules
from tests.submission.cases import Trouble
from tests.submission.harness import Bench, Job, Moment, Task, kill
from tests.submission.test_troubles import troubles


@dataclass(frozen=True)
class OneForEachAccount(Job):
    """A batch that names one post twice, for another account each time."""

    @classmethod
    def of(cls, bench: Bench) -> OneForEachAccount:
        job = Job.schedule_multi(bench, accounts=2)
        return cls(**{each.name: getattr(job, each.name) for each in fields(job)})

    def announcements(self, intent: str) -> list[Announcement]:
        return [Job.announcement(replace(self, accounts=(account,)), intent) for account in self.accounts]


def accounts_of(bench: Bench, *, swapped: bool) -> tuple[str, str]:
    first, second = (each["id"] for each in bench.service.social_accounts[:2])
    return (second, first) if swapped else (first, second)


@pytest.mark.parametrize("swapped", [False, True], ids=["its turn is first", "its turn is last"])
@troubles
def test_a_target_that_a_user_submitted_is_not_sent_after_trouble_with_another(
    bench: Bench, trouble: Trouble, swapped: bool
) -> None:
    began_at = bench.now()
    submitted = accounts_of(bench, swapped=False)[0]
    bench.service.user_action("post_now", bench.service.posts[0]["id"], social_account_id=submitted)
    bench.settle()
    job = replace(Job.schedule_multi(bench, accounts_per_call=1), accounts=accounts_of(bench, swapped=swapped))
    task = Task(bench, job, run_after=began_at)
    trouble.strike(bench)
    task.finish()
    bench.settle()
    of_submitted = next(count for count in task.count() if count.social_account_id == submitted)
    of_other = next(count for count in task.count() if count.social_account_id != submitted)
    assert (of_submitted.accepted, of_submitted.on_target) == (0, 1)
    assert of_other.on_target == 1
    assert task.state == "failed"


def test_two_announcements_of_one_post_share_what_is_seen(bench: Bench) -> None:
    """The post is read for the first announcement, and shows what concerns the second."""
    first, second = accounts_of(bench, swapped=False)
    job = replace(Job.schedule_multi(bench, accounts_per_call=1), accounts=(second, first))
    task = Task(bench, job)
    bench.service.user_action("post_now", task.job.post_id, social_account_id=first)
    task.finish()
    bench.settle()
    assert [(count.accepted, count.on_target) for count in task.count()] == [(1, 1), (0, 1)]


def test_repeats_are_sent_where_they_are_allowed(bench: Bench) -> None:
    """What was recorded as somebody else's stands in the way only until repeats are allowed."""
    first, second = accounts_of(bench, swapped=False)
    job = replace(Job.schedule_multi(bench, accounts_per_call=1), accounts=(second, first))
    task = Task(bench, job)
    bench.service.user_action("post_now", task.job.post_id, social_account_id=first)
    task.finish()
    task.job = replace(task.job, rules=replace(task.job.rules, repeats="allow"))
    task.clear()
    task.finish()
    bench.settle()
    assert [(count.accepted, count.on_target) for count in task.count()] == [(1, 1), (1, 2)]


def test_what_a_refused_request_has_done_is_seen_before_the_next_one_hides_it(bench: Bench) -> None:
    """The service refuses the first account, and submits it all the same; the second account's request comes next."""
    bench.fault("schedule-multi", "status", status=400, when="after")
    task = Task(bench, OneForEachAccount.of(bench), retries=1)
    task.finish()
    assert task.ends == ["unknown", "pending"], "the first target's failure is no longer a proof"
    task.clear()
    task.finish()
    bench.settle()
    assert [count.accepted for count in task.count()] == [1, 1]


def test_what_was_given_up_is_not_sent_beside_a_users_submission(bench: Bench) -> None:
    """A rate limit ends the first account's turn, a user submits it, and the second account's request would hide that."""
    first = accounts_of(bench, swapped=False)[0]
    bench.fault("schedule-multi", "status", status=429, headers={"Retry-After": "600"})
    task = Task(bench, OneForEachAccount.of(bench), retries=1)

    def submit(moment: Moment) -> None:
        if moment.name == "after submission" and not bench.service.submissions():
            bench.service.user_action("post_now", task.job.post_id, social_account_id=first)

    task.run(submit)
    task.finish()
    bench.settle()
    assert [(count.accepted, count.on_target) for count in task.count()] == [(0, 1), (1, 1)]
    assert task.ends[0] == "failed"


def test_what_a_user_called_somebody_elses_never_becomes_our_own(bench: Bench) -> None:
    """It bears the marks of the lost request, has failed, and is published after all before the request is repeated."""
    bench.fault("post-now", "reset")
    task = Task(bench, Job.post_now(bench, rules=Rules(settle_time=None)), retries=0)
    task.finish()
    bench.service.script("fail", post_id=task.job.post_id, error_category="permanent", times=1)
    bench.service.user_action("post_now", task.job.post_id, social_account_id=task.job.accounts[0])
    bench.settle()
    task.decide(task.job.accounts[0], {"decision": "not_accepted"})
    bench.fault("post-now", "status", status=429, headers={"Retry-After": "600"})
    task.clear()
    task.finish()
    bench.service.user_action("retry", task.job.post_id)
    bench.settle()
    task.clear()
    task.finish()
    bench.settle()
    assert [(count.accepted, count.published, count.on_target) for count in task.count()] == [(1, 1, 2)]
    assert task.state == "success"


@pytest.mark.parametrize("ahead", [timedelta(seconds=30), timedelta(seconds=90), timedelta(seconds=-90)], ids=str)
def test_without_a_record_the_clocks_may_disagree(bench: Bench, ahead: timedelta) -> None:
    """The scheduler's clock says when the run began; the service's says when a submission was created."""
    task = Task(bench, Job.post_now(bench), has_store=False, run_after=bench.now() + ahead)

    def stop(moment: Moment) -> None:
        if moment.name == "after submission":
            kill(moment)

    task.run(stop)
    task.finish()
    bench.settle()
    assert [(count.accepted, count.on_target) for count in task.count()] == [(1, 1)]
