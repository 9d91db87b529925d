"""One history for each guard of the submission protocol, in which nothing but that guard keeps things right."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_octospark.api.models import Post, PostNowRequest
from airflow_provider_octospark.api.operations import get_post, post_now
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.api.sync_client import OctosparkClient
from airflow_provider_octospark.exceptions import OctosparkAlreadySubmittedError, OctosparkReadOnlyError
from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator
from airflow_provider_octospark.parameters.defaults import SETTLE_TIME
from airflow_provider_octospark.parameters.times import format_instant
from airflow_provider_octospark.submission.doubt import PollAgain, SendAgain, resolve_doubt
from airflow_provider_octospark.submission.records import Baseline, Record
from airflow_provider_octospark.submission.rules import MAX_SENDS, Rules
from tests.api.hostile import Exchange, response
from tests.api.own_server import ServerThread
from tests.submission.harness import BenchHook, Job
from tests.submission.test_other_submissions import OneForEachAccount
from tests.submission_histories.histories import HistoryBench, HistoryTask, Strike
from tests.submission_histories.promises import broken

ANY_NUMBER = Rules(repeats="allow")
"""Others may submit the same: the check for repetitions stands behind many a guard, and would hide that it is gone."""


def kept(bench: HistoryBench) -> bool:
    """Let all that is pending happen, and look whether every promise was kept."""
    bench.settle()
    found = broken(bench)
    assert not found, "\n".join([*found, bench.story()])
    return True


def finish(task: HistoryTask) -> None:
    """Let Airflow go on with a task until it has an end."""
    while task.is_runnable:
        task.step()


def accepted(task: HistoryTask) -> int:
    """How many submissions of the task's one target were accepted."""
    return task.count()[0].accepted


POINTS = {
    "before the fence": 8,
    "before the request leaves": 10,
    "while it is under way": 11,
    "before the response is written": 12,
    "after the response was written": 14,
}
"""The points of a first try of a task that is not mapped."""


def stop(task: HistoryTask, where: str, how: Any = "kill") -> None:
    """Run a first try that is stopped at a point; a request under way arrives 20 s later."""
    task.step(Strike(POINTS[where], how))
    assert len(task.tries[0].points.names) > POINTS[where]


@pytest.fixture
def x(bench: HistoryBench) -> str:
    """The account that most histories are about."""
    return bench.service.account_id("x")


@pytest.fixture
def linkedin(bench: HistoryBench) -> str:
    """Another account."""
    return bench.service.account_id("linkedin")


# The record and the fence


def test_a_process_that_may_not_write_does_not_send(bench: HistoryBench) -> None:
    task = HistoryTask(bench, Job.post_now(bench, deferrable=False, rules=ANY_NUMBER))
    stop(task, "before the fence", "pause")
    orphan = task.alive()[0]
    task.lose("orphan")
    finish(task)
    task.proceed(orphan)
    assert kept(bench)
    assert accepted(task) == 1


def test_the_fence_stands_before_the_request_leaves(bench: HistoryBench) -> None:
    task = HistoryTask(bench, Job.post_now(bench))
    stop(task, "while it is under way")
    finish(task)
    assert kept(bench)
    assert accepted(task) == 1


def test_nothing_leaves_once_it_may_not_although_the_fence_stands(
    bench: HistoryBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def after_the_fence(hook: object) -> OctosparkReadOnlyError | None:
        asked.append(hook)
        return None if len(asked) == 1 else OctosparkReadOnlyError("quiet")

    task = HistoryTask(bench, Job.post_now(bench))
    with monkeypatch.context() as patch:
        patch.setattr(BenchHook, "read_only_error", after_the_fence)
        task.step()
    assert accepted(task) == 0
    finish(task)
    assert kept(bench)
    assert accepted(task) == 1


def test_a_first_try_leaves_word_that_nothing_was_sent(bench: HistoryBench, linkedin: str) -> None:
    """So the next one need not guess from what the service shows."""
    task = HistoryTask(bench, Job.post_now(bench))
    stop(task, "before the fence")
    bench.user_action("post_now", task.job.post_id, linkedin)
    finish(task)
    assert kept(bench)
    assert (task.state, accepted(task)) == ("success", 1)


def test_a_lost_record_is_not_an_empty_one(bench: HistoryBench, linkedin: str) -> None:
    task = HistoryTask(bench, Job.post_now(bench, rules=ANY_NUMBER))
    task.step()
    bench.user_action("post_now", task.job.post_id, linkedin)
    task.lose_record()
    task.clear()
    finish(task)
    assert kept(bench)
    assert (task.state, accepted(task)) == ("failed", 1)


def test_a_record_that_is_lost_during_a_deferral_is_not_an_empty_one(
    bench: HistoryBench, x: str, linkedin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumption may be of a first try, and yet something may be out."""
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", bench.service.connection)
    post_id, rows = bench.service.posts[0]["id"], dict[str, Any]()
    store = SimpleNamespace(get=rows.get, set=lambda key, value, **_: rows.update({key: value}))
    ti = SimpleNamespace(
        dag_id="dag", run_id="run", task_id="task", map_index=-1, try_number=1, max_tries=1, xcom_push=lambda **_: None
    )
    dag_run = SimpleNamespace(run_after=bench.service.now() - timedelta(seconds=1), run_type="manual")
    operator = OctosparkPostNowOperator(
        task_id="task", post_id=post_id, social_account_id=x, repeats="allow", deferrable=True
    )
    context: Any = {"ti": ti, "dag_run": dag_run, "task_state_store": store}
    operator.execute(context)
    bench.user_action("post_now", post_id, linkedin)
    rows.clear()
    with pytest.raises(TaskDeferred):
        operator.resume_submission(context)
    assert [entry["social_account_id"] for entry in bench.service.submissions()] == [x, linkedin]


def test_an_unreadable_record_is_not_an_empty_one(bench: HistoryBench) -> None:
    task = HistoryTask(bench, Job.post_now(bench, rules=ANY_NUMBER))
    task.step()
    task.damage_record("another version")
    task.clear()
    finish(task)
    assert kept(bench)
    assert (task.state, accepted(task)) == ("failed", 1)


def mapped(bench: HistoryBench, index: int) -> HistoryTask:
    """One of two mapped task instances, each with a post of its own."""
    job = Job.post_now(bench, post=index, rules=ANY_NUMBER)
    return HistoryTask(bench, job, name=f"mapped {index}", map_index=index)


def test_what_another_position_of_a_mapped_list_may_have_sent_is_not_sent(bench: HistoryBench) -> None:
    first, second = mapped(bench, 0), mapped(bench, 1)
    first.step()
    second.step()
    first.move_to(second.job)
    first.clear()
    finish(first)
    assert (first.state, [outcome.state for outcome in bench.reports[-1].outcomes]) == ("failed", ["unknown"])
    assert len(bench.service.submissions()) == 2
    assert kept(bench)


def test_a_mapped_task_notes_what_it_is_about_before_all_else(bench: HistoryBench) -> None:
    first, second = mapped(bench, 0), mapped(bench, 1)
    first.step(Strike(8, "kill"))
    assert first.tries[0].points.names[-1] == "before request"
    second.step()
    first.move_to(second.job)
    finish(first)
    assert (first.state, [outcome.state for outcome in bench.reports[-1].outcomes]) == ("failed", ["unknown"])
    assert len(bench.service.submissions()) == 1


def test_a_process_that_was_overtaken_leaves_the_record_alone(bench: HistoryBench, linkedin: str) -> None:
    """Where state is kept in a backend of one's own, what an overtaken process writes is refused, but written."""
    task = HistoryTask(bench, Job.post_now(bench, rules=ANY_NUMBER))
    task.table.writes_before_refusing = True
    bench.fault("post-now", "status", status=429, headers={"Retry-After": "7200"})
    stop(task, "before the response is written", "pause")
    overtaken = task.alive()[0]
    task.lose("stale")
    finish(task)
    task.proceed(overtaken)
    bench.user_action("post_now", task.job.post_id, linkedin)
    task.clear()
    finish(task)
    assert kept(bench)
    assert accepted(task) == 1


def test_an_answer_is_written_again_if_the_store_fails(bench: HistoryBench) -> None:
    task = HistoryTask(bench, Job.post_now(bench))
    stop(task, "before the response is written", "store fails")
    assert (task.state, task.try_number) == ("success", 1)
    assert kept(bench)


# What is in doubt


def adopt_what_fails(bench: HistoryBench) -> HistoryTask:
    """Ours takes its time; somebody else's submission of the same target is taken for it, and fails."""
    youtube = bench.service.account_id("youtube")
    task = HistoryTask(bench, Job.post_now(bench, account=youtube, wait=True, rules=ANY_NUMBER))
    bench.fault("post-now", "late", seconds=600.0)
    task.step(lingers=True)
    bench.service.script("fail", social_account_id=youtube, times=1, error_category="transient")
    bench.user_action("post_now", task.job.post_id, youtube)
    for stepped in task.alive():
        task.proceed(stepped)
    finish(task)
    return task


def test_what_fails_after_it_was_adopted_is_in_doubt(bench: HistoryBench) -> None:
    task = adopt_what_fails(bench)
    assert bench.seen["adopting"] == 1
    assert bench.seen["unknown in_doubt"] == 1
    task.clear()
    finish(task)
    assert kept(bench)
    assert accepted(task) == 1


def test_what_failed_before_it_was_found_is_not_adopted(bench: HistoryBench, x: str) -> None:
    """Ours is published, and hidden by somebody else's that failed."""
    task = HistoryTask(bench, Job.post_now(bench, rules=ANY_NUMBER))
    stop(task, "while it is under way")
    bench.advance(bench.in_flight_takes + 5)
    bench.service.script("fail", social_account_id=x, times=1, error_category="transient")
    bench.user_action("post_now", task.job.post_id, x)
    bench.advance(5)
    finish(task)
    assert kept(bench)
    task.clear()
    finish(task)
    assert kept(bench)
    assert accepted(task) == 1


def test_the_baseline_is_not_adopted(bench: HistoryBench, x: str) -> None:
    """It was created in the second in which it was read, so the clock tells nothing."""
    bench.service.script("slow", social_account_id=x, seconds=7_200.0, times=1)
    task = HistoryTask(bench, Job.post_now(bench, rules=ANY_NUMBER))
    bench.user_action("post_now", task.job.post_id, x)
    bench.fault("post-now", "reset", when="before")
    finish(task)
    assert kept(bench)
    assert accepted(task) == 1


def test_a_baseline_that_has_changed_proves_nothing(bench: HistoryBench, linkedin: str) -> None:
    """The service shows what was updated last: that the baseline is shown does not mean that nothing is newer."""
    bench.service.configure(latest="updated")
    task = HistoryTask(bench, Job.post_now(bench))
    bench.service.script("slow", social_account_id=linkedin, seconds=600.0, times=1)
    bench.user_action("post_now", task.job.post_id, linkedin)
    stop(task, "while it is under way")
    bench.advance(SETTLE_TIME.total_seconds() + 60)
    finish(task)
    assert kept(bench)
    assert (task.state, accepted(task)) == ("failed", 1)


def test_what_was_there_before_is_not_adopted(bench: HistoryBench, x: str, linkedin: str) -> None:
    """Of two older submissions one is the baseline, and the other is updated later."""
    bench.service.configure(latest="updated")
    post_id = bench.service.posts[0]["id"]
    bench.service.script("slow", social_account_id=x, seconds=300.0, times=1)
    bench.user_action("post_now", post_id, x)
    bench.advance(5)
    bench.user_action("post_now", post_id, linkedin)
    bench.advance(10)
    task = HistoryTask(bench, Job.post_now(bench))
    bench.fault("post-now", "reset", when="before")
    finish(task)
    assert [outcome.state for outcome in bench.reports[-1].outcomes] == ["unknown"]
    assert kept(bench)


def test_only_what_is_for_the_time_that_was_sent_is_adopted(bench: HistoryBench, x: str) -> None:
    task = HistoryTask(bench, Job.schedule_multi(bench, accounts=[x]))
    bench.fault("schedule-multi", "reset", when="before")
    task.step()
    bench.user_action("post_now", task.job.post_id, x)
    finish(task)
    assert [outcome.state for outcome in bench.reports[-1].outcomes] == ["unknown"]
    assert kept(bench)


def test_only_what_is_of_the_same_account_is_adopted(bench: HistoryBench, linkedin: str) -> None:
    task = HistoryTask(bench, Job.post_now(bench))
    bench.fault("post-now", "reset", when="before")
    task.step()
    bench.user_action("post_now", task.job.post_id, linkedin)
    finish(task)
    assert [outcome.state for outcome in bench.reports[-1].outcomes] == ["unknown"]
    assert kept(bench)


def test_what_takes_effect_late_is_waited_for(bench: HistoryBench) -> None:
    task = HistoryTask(bench, Job.post_now(bench))
    bench.fault("post-now", "late", seconds=600.0)
    finish(task)
    assert kept(bench)
    assert (task.state, accepted(task)) == ("success", 1)


def test_without_settle_nothing_in_doubt_is_sent_again(bench: HistoryBench) -> None:
    task = HistoryTask(bench, Job.post_now(bench, rules=Rules(settle_time=None)))
    bench.fault("post-now", "late", seconds=2 * 86_400.0)
    finish(task)
    bench.advance(86_400)
    task.clear()
    finish(task)
    assert kept(bench)
    assert accepted(task) == 1


def test_settle_passes_by_the_clock_of_the_service_too(bench: HistoryBench) -> None:
    """The clock of the worker that resumes a task is a quarter of an hour ahead of that of the one that sent."""
    task = HistoryTask(bench, Job.post_now(bench))
    bench.fault("post-now", "late", seconds=600.0)
    task.step()
    bench.skew = timedelta(minutes=16)
    finish(task)
    assert kept(bench)
    assert accepted(task) == 1


def test_a_slow_response_does_not_prove_that_nothing_arrived(bench: HistoryBench, linkedin: str) -> None:
    """A read that takes longer than ``settle_time`` shows nothing of what happened meanwhile."""
    task = HistoryTask(bench, Job.post_now(bench, rules=ANY_NUMBER))
    bench.fault("post-now", "late", seconds=300.0)
    task.step()
    task.step(Strike(4, "pause"))
    assert task.tries[0].points.names[-1] == "after request"
    bench.advance(2 * SETTLE_TIME.total_seconds() + 60)
    bench.user_action("post_now", task.job.post_id, linkedin)
    task.proceed(task.alive()[0])
    finish(task)
    assert kept(bench)
    assert accepted(task) == 1


def test_a_response_is_as_old_as_its_request(bench: HistoryBench) -> None:
    """The same where the service's clock, which would show it too, is not in the response."""
    del bench
    now = datetime.now(UTC)
    record = Record(
        team_id="t",
        post_id="p",
        social_account_id="a",
        state="in_doubt",
        request="12345678",
        fenced_at=format_instant(now),
        baseline=Baseline(scheduled_post_id=None, updated_at=None, service_time=None),
    )
    shown = Response(Post(id="p", team_id="t"), None)
    asked, received = now + SETTLE_TIME / 2, now + 2 * SETTLE_TIME
    assert isinstance(resolve_doubt(record, shown, received, SETTLE_TIME, asked), PollAgain)
    assert isinstance(resolve_doubt(record, shown, received, SETTLE_TIME, received), SendAgain)


def test_a_conflict_is_doubt(bench: HistoryBench) -> None:
    task = HistoryTask(bench, Job.post_now(bench))
    bench.fault("post-now", "status", status=409, when="after")
    finish(task)
    assert kept(bench)
    assert (task.state, accepted(task)) == ("success", 1)


def decide_not_sent(task: HistoryTask) -> None:
    """A user decides about the one target that is in doubt, and clears the task."""
    [key] = set(task.decision_keys())
    task.write_decision(key, {"decision": "not_accepted"})
    task.clear()


def test_a_decision_is_about_one_request(bench: HistoryBench, linkedin: str) -> None:
    task = HistoryTask(bench, Job.post_now(bench, rules=ANY_NUMBER))
    stop(task, "before the request leaves")
    bench.user_action("post_now", task.job.post_id, linkedin)
    finish(task)
    decide_not_sent(task)
    bench.fault("post-now", "late", seconds=20.0)
    task.step()
    bench.advance(25)
    bench.user_action("post_now", task.job.post_id, linkedin)
    finish(task)
    assert kept(bench)
    assert (task.state, accepted(task)) == ("failed", 1)


def test_a_decision_is_obeyed_when_it_can_be_known(bench: HistoryBench) -> None:
    """A user cannot know either what is still to come."""
    task = adopt_what_fails(bench)
    decide_not_sent(task)
    finish(task)
    bench.settle()
    assert (task.state, accepted(task)) == ("success", 1)


def test_nothing_is_sent_that_would_hide_what_is_looked_for(bench: HistoryBench, x: str, linkedin: str) -> None:
    """Another post of the batch gets through, so the batch goes on; the post in doubt is left alone."""
    job = replace(Job.batch(bench, posts=2), accounts=(x, linkedin), accounts_per_call=1)
    task = HistoryTask(bench, job)
    bench.fault("schedule-multi", "reset", when="after", post_id=job.post_id)
    bench.fault("get-post", "status", status=404, skip=1, post_id=job.post_id)
    finish(task)
    assert kept(bench)
    assert (task.state, [count.accepted for count in task.count()]) == ("success", [1, 1, 1, 1])


def test_what_is_seen_is_compared_with_all_targets(bench: HistoryBench, x: str, linkedin: str) -> None:
    """A user submits the post to the account whose turn is last; the first request hides it."""
    task = HistoryTask(bench, Job.schedule_multi(bench, accounts=[x, linkedin], accounts_per_call=1))
    bench.user_action("post_now", task.job.post_id, linkedin)
    finish(task)
    assert kept(bench)
    assert [count.accepted for count in task.count()] == [1, 0]


def test_what_is_seen_is_compared_with_what_was_given_up(bench: HistoryBench) -> None:
    """The service refuses the first account, and submits the post all the same; the next request would hide that."""
    task = HistoryTask(bench, OneForEachAccount.of(bench), retries=0)
    bench.fault("schedule-multi", "status", status=400, when="after")
    finish(task)
    assert task.ends == ["unknown", "pending"]


def test_clocks_may_disagree_without_a_record(bench: HistoryBench) -> None:
    """The scheduler's clock is 90 s ahead: what the run made seems to be older than the run."""
    run_after = bench.now() + timedelta(seconds=90)
    task = HistoryTask(bench, Job.schedule_multi(bench, accounts=1), has_store=False, run_after=run_after)
    task.step(Strike(4, "kill"))
    assert task.tries[0].points.names[-1] == "after submission"
    bench.advance(120.0)
    finish(task)
    assert accepted(task) == 1


def test_a_record_that_was_lost_stays_incomplete(bench: HistoryBench, x: str, linkedin: str) -> None:
    """The list changes after the loss, and changes back: the first account must not count as never submitted."""
    task = HistoryTask(bench, Job.post_now(bench, rules=ANY_NUMBER))
    finish(task)
    task.lose_record()
    for account in (linkedin, x):
        task.job = replace(task.job, accounts=(account,))
        task.clear()
        finish(task)
    assert accepted(task) == 1


@pytest.mark.parametrize("rules", [Rules(), ANY_NUMBER], ids=["repeats refused", "repeats allowed"])
def test_what_shows_up_after_a_refusal_is_unknown(bench: HistoryBench, rules: Rules) -> None:
    """The service refuses a request with 400 after it has passed it on."""
    task = HistoryTask(bench, Job.post_now(bench, rules=rules))
    bench.fault("post-now", "status", status=400, when="after")
    finish(task)
    assert task.state == "failed"
    task.clear()
    finish(task)
    assert task.ends == ["unknown"]
    assert "refused it with status 400" in task.tries[-1].notes[0]
    assert "repeats=" not in str(task.tries[-1].error)
    assert accepted(task) == 1


def test_the_next_occurrence_is_not_adopted(bench: HistoryBench) -> None:
    """The response is lost and a read fails; when the post can be read again, it shows the next occurrence."""
    task = HistoryTask(bench, Job.post_now(bench, recurrence_interval_days=1))
    bench.fault("post-now", "reset", when="after")
    bench.fault("get-post", "status", status=404, skip=1)
    finish(task)
    assert kept(bench)
    assert task.ends == ["unknown"]


def test_what_is_in_doubt_and_not_asked_for_is_looked_for(bench: HistoryBench, x: str, linkedin: str) -> None:
    """A target whose request got no response is taken off the list; another submission hides it."""
    task = HistoryTask(bench, Job.schedule_multi(bench, accounts=[x, linkedin], accounts_per_call=1))
    bench.fault("schedule-multi", "reset", when="after")
    bench.fault("get-post", "status", status=404, skip=1)
    task.step(Strike(14, "kill"))
    bench.user_action("post_now", task.job.post_id, linkedin)
    task.job = replace(task.job, accounts=(linkedin,))
    finish(task)
    assert "unknown" in task.ends


def test_a_try_does_not_go_on_for_ever(bench: HistoryBench) -> None:
    task = HistoryTask(bench, Job.post_now(bench), retries=0)
    bench.fault("post-now", "reset", when="before", times=10)
    finish(task)
    assert len(bench.sent) == MAX_SENDS
    assert kept(bench)


# The way there


def test_a_process_that_was_held_up_does_not_send(bench: HistoryBench) -> None:
    task = HistoryTask(bench, Job.post_now(bench, rules=ANY_NUMBER))
    stop(task, "before the request leaves", "pause")
    orphan = task.alive()[0]
    task.lose("orphan")
    finish(task)
    task.proceed(orphan)
    assert kept(bench)
    assert accepted(task) == 1


def exchange(status: int) -> tuple[int, list[str]]:
    """Read, and then submit, with one client; returns how many connections there were, and the methods of the requests."""

    async def behave(exchange: Exchange) -> None:
        while True:
            request = await exchange.read_request()
            await exchange.send(response(status if request.method == "POST" else 200, b'{"id": "post"}'))

    submission = post_now("team", "post", PostNowRequest(social_account_id="account"))
    with ServerThread(behave) as server:
        settings = ConnectionSettings(server.base_url, "key", timeout=5.0, submit_timeout=5.0, trust_env=False)
        with OctosparkClient(settings) as client:
            client.request_all([get_post("team", "post")])
            client.submit_all([submission], datetime.now(UTC) + timedelta(seconds=30))
        return server.connections, [request.method for request in server.requests]


def test_a_submission_has_a_connection_of_its_own() -> None:
    """One that was kept may have been closed by the other side; then nobody knows whether a request arrived."""
    assert exchange(200) == (2, ["GET", "POST"])


def test_a_submission_is_not_repeated_below_the_protocol() -> None:
    assert exchange(500)[1].count("POST") == 1
    assert exchange(503)[1].count("POST") == 1


# What frees a target


def killed_after_acceptance(bench: HistoryBench, rules: Rules, **options: Any) -> HistoryTask:
    """A task that was killed once the response was on record; what was accepted comes to its end."""
    task = HistoryTask(bench, Job.post_now(bench, rules=rules, **options))
    stop(task, "after the response was written")
    bench.advance(5)
    return task


def test_a_failure_that_does_not_pass_is_not_submitted_again(bench: HistoryBench, x: str) -> None:
    bench.service.script("fail", social_account_id=x, times=1, error_category="validation")
    task = killed_after_acceptance(bench, Rules())
    finish(task)
    assert kept(bench)
    assert (task.state, accepted(task)) == ("failed", 1)


@pytest.mark.parametrize("shown_in", ["post", "state"])
def test_a_failure_that_may_be_live_is_not_submitted_again(bench: HistoryBench, x: str, shown_in: Any) -> None:
    bench.service.script("fail_but_live", social_account_id=x, times=1, shown_in=shown_in)
    task = killed_after_acceptance(bench, Rules())
    finish(task)
    assert kept(bench)
    assert (task.state, accepted(task)) == ("failed", 1)


def test_what_a_person_cancelled_is_not_submitted_again(bench: HistoryBench, x: str) -> None:
    task = HistoryTask(bench, Job.schedule_multi(bench, accounts=[x]))
    task.step()
    bench.user_action("cancel", task.job.post_id)
    task.clear()
    finish(task)
    assert kept(bench)
    assert (task.state, accepted(task)) == ("failed", 1)


def test_only_a_clear_asks_for_another_submission(bench: HistoryBench) -> None:
    task = killed_after_acceptance(bench, Rules(if_already_submitted="resubmit"))
    finish(task)
    assert kept(bench)
    assert (task.state, accepted(task)) == ("success", 1)


def test_a_failed_occurrence_is_not_the_end_of_a_recurrence(bench: HistoryBench, x: str) -> None:
    """The next one is not on the schedule yet, so that the failure is to be seen."""
    bench.service.configure(recurrence_limit=1)
    bench.service.script("fail", social_account_id=x, times=1, error_category="transient")
    task = killed_after_acceptance(bench, ANY_NUMBER, recurrence_interval_days=1)
    finish(task)
    assert kept(bench)
    assert accepted(task) == 1


def test_what_was_revived_before_it_is_submitted_again(bench: HistoryBench, x: str) -> None:
    """It had failed and freed its target; before the next try began, a user pressed retry in the app."""
    bench.service.script("fail", social_account_id=x, times=1, error_category="transient")
    task = HistoryTask(bench, Job.post_now(bench, wait=True, deferrable=False))
    task.step()
    assert task.state == "up_for_retry"
    bench.user_action("retry", task.job.post_id)
    bench.advance(5)
    finish(task)
    assert kept(bench)
    assert accepted(task) == 1


def test_what_somebody_else_submitted_is_not_submitted_again(bench: HistoryBench) -> None:
    HistoryTask(bench, Job.post_now(bench), name="first").step()
    task = HistoryTask(bench, Job.post_now(bench), name="second", run_after=bench.tasks[0].run_after)
    task.step()
    assert isinstance(bench.reports[-1].error, OctosparkAlreadySubmittedError)
    assert kept(bench)
    assert accepted(task) == 0
