"""A submission that the task did not make is recorded when it is seen: the next submission of the post hides it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.submission.cases import Trouble
from tests.submission.harness import Bench, Job, Moment, Task, kill
from tests.submission.test_troubles import troubles


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
