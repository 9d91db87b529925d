"""Histories that once broke a promise, or that a random history came upon too seldom to rely on."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_octospark.submission.rules import Rules
from tests.submission.harness import Job
from tests.submission_histories.histories import HistoryBench, HistoryTask, Strike
from tests.submission_histories.promises import broken


def check(bench: HistoryBench) -> None:
    """Let all that is pending happen, and look whether any promise was broken."""
    bench.settle()
    found = broken(bench)
    assert not found, "\n".join([*found, bench.story()])


def finish(task: HistoryTask) -> None:
    """Let Airflow go on with a task until it has an end."""
    while task.is_runnable:
        task.bench.advance(300)
        task.step()


@pytest.mark.parametrize("repeats", ["refuse", "allow"])
@pytest.mark.parametrize("category", ["transient", "validation"])
@pytest.mark.parametrize("clears", ["never", "before", "after"])
@pytest.mark.parametrize("ours", ["late", "hidden"])
def test_anothers_failure_is_not_taken_for_ours(
    bench: HistoryBench, ours: str, clears: str, category: Any, repeats: Any
) -> None:
    """Ours has no response; somebody posts the same by hand meanwhile, and that fails; ours goes out all the same."""
    task = HistoryTask(bench, Job.post_now(bench, deferrable=False, rules=Rules(repeats=repeats)))
    account, post_id = task.job.accounts[0], task.job.post_id
    if ours == "late":
        bench.fault("post-now", "late", seconds=500.0)
        task.step(lingers=True)
    else:
        task.step(Strike(11, "kill"))
        assert task.tries[0].points.names[-1] == "during submission"
        bench.advance(bench.in_flight_takes + 5)
    bench.service.script("fail", social_account_id=account, times=1, error_category=category)
    bench.user_action("post_now", post_id, account)
    bench.advance(5)
    if clears == "before":
        task.clear()
    for stepped in task.alive():
        task.proceed(stepped)
    finish(task)
    if clears == "after":
        task.clear()
        finish(task)
    check(bench)


def test_an_unreadable_record_of_which_only_a_part_is_decided(bench: HistoryBench) -> None:
    """A target that is said not to have been sent is not reported as accepted while the others are undecided."""
    task = HistoryTask(bench, Job.schedule_multi(bench, rules=Rules()))
    task.step()
    task.damage_record("another version")
    task.clear()
    task.step()
    task.write_decision(task.decision_keys()[0], {"decision": "not_accepted"})
    task.clear()
    task.step()
    ends = [outcome.state for outcome in bench.reports[-1].outcomes]
    assert ends == ["failed", "unknown", "unknown"]
    check(bench)
