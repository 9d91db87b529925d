"""A post whose time has passed: it fails, is skipped, or is scheduled for a minute later."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_octospark.exceptions import (
    OctosparkArgumentError,
    OctosparkPublishFailedError,
    OctosparkTooLateError,
)
from airflow_provider_octospark.submission.rules import Rules
from tests.submission.harness import Bench, Job, Moment, Task, kill

NOW = Rules(if_late="now", max_lateness=timedelta(hours=2))


def late(bench: Bench, hours: float = 1.0, **options: Any) -> Task:
    """A task that runs some hours after its scheduled_at."""
    task = Task(bench, Job.schedule_multi(bench, accounts=1, hours=0.1, **{"rules": NOW, **options}))
    bench.advance(hours * 3600)
    return task


def test_it_is_scheduled_for_a_minute_later(bench: Bench) -> None:
    task = late(bench, wait=True)
    task.finish()
    assert (task.state, task.ends) == ("success", ["published"])
    [submission] = bench.service.submissions()
    [scheduled] = bench.service.scheduled_posts()
    assert submission["scheduled_post_id"] == scheduled["id"]
    assert any("scheduling it for" in line for line in task.tries[0].log)
    assert task.count()[0].accepted == 1


@pytest.mark.parametrize("point", ["before submission", "during submission", "after submission"])
def test_the_time_is_a_mark_of_the_request(bench: Bench, point: str) -> None:
    """It is written with the fence, so the next try recognises its submission although it would choose another time."""
    task = late(bench)

    def stop(moment: Moment) -> None:
        if moment.name == point:
            kill(moment)

    task.run(stop)
    task.finish()
    bench.settle()
    assert task.state == "success"
    assert (task.count()[0].accepted, task.count()[0].published) == (1, 1)


def test_without_a_record_the_time_is_no_mark(bench: Bench) -> None:
    """A later try would choose another time, so it cannot tell whose submission it sees."""
    task = late(bench)
    task.run()
    task.table.lose()
    task.clear()
    task.finish()
    assert task.ends == ["unknown"]
    assert task.count()[0].accepted == 1


def test_beyond_max_lateness_nothing_goes_out(bench: Bench) -> None:
    task = late(bench, hours=3)
    task.finish()
    assert isinstance(task.tries[-1].error, OctosparkTooLateError)
    assert "max_lateness" in str(task.tries[-1].error)
    assert bench.service.submissions() == []


def test_a_backfill_sends_nothing_late(bench: Bench) -> None:
    task = late(bench)
    task.is_backfill = True
    task.finish()
    assert isinstance(task.tries[-1].error, OctosparkTooLateError)
    assert bench.service.submissions() == []


@pytest.mark.parametrize("if_late", ["fail", "now"])
def test_a_retry_after_a_failure_is_late(bench: Bench, if_late: Any) -> None:
    """Publishing fails after scheduled_at, so a retry submits again only with "now"; otherwise the failure is final."""
    rules = Rules(if_late=if_late, max_lateness=timedelta(hours=2) if if_late == "now" else None)
    task = Task(bench, Job.schedule_multi(bench, accounts=1, hours=0.1, rules=rules, wait=True))
    bench.service.script("fail", social_account_id=task.job.accounts[0], times=1, error_category="transient")
    task.finish()
    if if_late == "now":
        assert (task.state, task.ends, task.count()[0].accepted) == ("success", ["published"], 2)
    else:
        assert isinstance(task.tries[-1].error, OctosparkPublishFailedError)
        assert "in the past" in str(task.tries[-1].error)
        assert (task.state, len(task.tries), task.count()[0].accepted) == ("failed", 1, 1)


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        (Rules(if_late="now", is_scheduled=True), "max_lateness"),
        (Rules(if_late="now", max_lateness=timedelta(hours=1)), "publishes at once"),
    ],
)
def test_what_makes_no_sense_is_refused(rules: Rules, named: str) -> None:
    with pytest.raises(OctosparkArgumentError, match=named):
        rules.check(300.0)
