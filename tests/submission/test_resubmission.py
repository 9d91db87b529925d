"""A user clears a task to submit again; where that cannot be sent, the task does not succeed with the earlier outcome."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Literal

import pytest

from airflow_provider_octospark.exceptions import OctosparkError, OctosparkTooLateError
from airflow_provider_octospark.submission.rules import Rules
from tests.submission.harness import Bench, Job, Task

RESUBMIT = Rules(if_already_submitted="resubmit")


def published_and_cleared(bench: Bench, job: Job, *, retries: int = 3) -> Task:
    task = Task(bench, job, retries=retries)
    task.finish()
    bench.settle()
    assert task.state == "success"
    task.clear()
    return task


@pytest.mark.parametrize("wait", [False, True], ids=["does not wait", "waits"])
def test_a_rate_limit_is_retried_and_then_it_is_sent(bench: Bench, wait: bool) -> None:
    task = published_and_cleared(bench, Job.post_now(bench, rules=RESUBMIT, wait=wait))
    bench.fault("post-now", "status", status=429, headers={"Retry-After": "3600"}, when="before")
    task.start()
    assert task.state == "up_for_retry"
    task.finish()
    bench.settle()
    assert (task.state, [count.accepted for count in task.count()]) == ("success", [2])


def test_a_refusal_fails_the_task(bench: Bench) -> None:
    task = published_and_cleared(bench, Job.post_now(bench, rules=RESUBMIT))
    bench.fault("post-now", "status", status=400, when="before")
    task.finish()
    bench.settle()
    assert (task.state, [count.accepted for count in task.count()]) == ("failed", [1])
    assert isinstance(task.tries[-1].error, OctosparkError)


@pytest.mark.parametrize(("if_late", "state"), [("fail", "failed"), ("skip", "success")])
def test_a_time_in_the_past_fails_the_task_unless_it_is_to_skip(
    bench: Bench, if_late: Literal["fail", "skip"], state: str
) -> None:
    rules = replace(RESUBMIT, if_late=if_late)
    task = published_and_cleared(bench, Job.schedule_multi(bench, accounts=1, hours=1, rules=rules, wait=True))
    bench.advance(timedelta(hours=2).total_seconds())
    task.finish()
    bench.settle()
    assert (task.state, [count.accepted for count in task.count()]) == (state, [1])
    assert isinstance(task.tries[-1].error, OctosparkTooLateError) == (state == "failed")
