"""What the tasks count, seen where they hand it to Airflow."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.submission.rules import Rules
from airflow_provider_octospark.tasks import metrics
from airflow_provider_octospark.tasks.metrics import count_ended, ended_since
from tests.submission.harness import Bench, Job, Task


class Recorded:
    """The counts and times that were handed to Airflow."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.times: list[tuple[str, timedelta, str]] = []

    def incr(self, name: str, *, tags: dict[str, str]) -> None:
        self.counts[name, tags["platform"]] += 1

    def timing(self, name: str, duration: timedelta, *, tags: dict[str, str]) -> None:
        self.times.append((name, duration, tags["platform"]))


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    found = Recorded()
    monkeypatch.setattr(metrics, "Stats", SimpleNamespace(incr=found.incr, timing=found.timing))
    return found


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_publication_is_counted_once(bench: Bench, recorded: Recorded, deferrable: bool) -> None:
    """Also if the task is cleared and finds what it has published."""
    task = Task(bench, Job.post_now(bench, wait=True, deferrable=deferrable))
    task.finish()
    task.clear()
    task.finish()
    assert recorded.counts == {("octospark.accepted", "x"): 1, ("octospark.published", "x"): 1}
    [(name, late, platform)] = recorded.times
    assert (name, platform) == ("octospark.delay", "x")
    assert timedelta(0) <= late < timedelta(minutes=1)


def test_a_failure_and_its_repetition_are_counted(bench: Bench, recorded: Recorded) -> None:
    task = Task(bench, Job.post_now(bench, wait=True), retries=1)
    bench.service.script("fail", post_id=task.job.post_id, error_category="transient", times=1)
    task.finish()
    assert recorded.counts == {
        ("octospark.accepted", "x"): 2,
        ("octospark.failed", "x"): 1,
        ("octospark.published", "x"): 1,
    }


def test_an_unknown_is_no_failure(bench: Bench, recorded: Recorded) -> None:
    bench.fault("post-now", "reset")
    task = Task(bench, Job.post_now(bench, wait=True, rules=Rules(settle_time=None)), retries=0)
    task.finish()
    assert recorded.counts == {("octospark.unknown", "unknown"): 1}


def test_a_deferral_in_doubt_counts_nothing_twice(bench: Bench, recorded: Recorded) -> None:
    """One of two accepted requests is counted before the task defers for the other, and not again when it resumes."""
    job = Job.schedule_multi(bench, accounts=2, accounts_per_call=1)
    bench.fault("schedule-multi", "reset", when="after", skip=1)
    task = Task(bench, job)
    task.finish()
    assert task.state == "success"
    assert recorded.counts == {("octospark.accepted", bench.service.social_accounts[0]["provider"]): 1}


def test_only_what_ended_meanwhile_is_counted(recorded: Recorded) -> None:
    ids: dict[str, Any] = {"team_id": "t", "social_account_id": "a", "provider": "x"}
    one, two = (Outcome(**ids, post_id=post, state="pending") for post in ("one", "two"))
    published = [each.model_copy(update={"state": "published"}) for each in (one, two)]
    assert ended_since(published, [one, published[1]]) == [published[0]]
    assert ended_since([one, two], [one, two]) == []
    count_ended([one, published[1]])
    assert recorded.counts == {("octospark.published", "x"): 1}
