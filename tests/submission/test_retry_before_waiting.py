"""A task that waits fails first for what its retry submits: later its time may be past."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_octospark.exceptions import OctosparkPublishRetryableError
from airflow_provider_octospark.submission.rules import Rules
from tests.submission.harness import Bench, Job, Task


def limited(bench: Bench, **options: Any) -> Task:
    """A batch whose second post is refused by a rate limit that outlasts the try."""
    task = Task(bench, Job.batch(bench, posts=2, hours=0.5, wait=True, **options))
    headers = {"Retry-After": "7200"}
    bench.fault("schedule-multi", "status", status=429, headers=headers, post_id=task.job.more_posts[0])
    return task


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("rules", [Rules(), Rules(if_late="skip")], ids=["late fails", "late skips"])
def test_a_rate_limit_is_retried_while_there_is_time(bench: Bench, rules: Rules, deferrable: bool) -> None:
    task = limited(bench, rules=rules, deferrable=deferrable)
    task.run()
    assert isinstance(task.tries[0].error, OctosparkPublishRetryableError)
    assert task.ends == ["pending", "failed"]
    task.finish()
    assert (task.state, task.ends) == ("success", ["published", "published"])
    assert [count.accepted for count in task.count()] == [1, 1]


def test_the_last_try_waits_for_the_others(bench: Bench) -> None:
    """No retry would submit anything, so the task reports what became of the others."""
    task = limited(bench)
    task.retries = task.max_tries = 0
    task.finish()
    assert (task.state, task.ends) == ("failed", ["published", "failed"])


def test_a_task_that_tolerates_failures_waits_for_the_others(bench: Bench) -> None:
    """It does not fail, so no retry follows."""
    task = limited(bench, partial_failure="succeed")
    task.finish()
    assert (task.state, task.ends) == ("success", ["published", "failed"])
    assert len(task.tries) == 1
