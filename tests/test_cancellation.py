"""What may be taken back when a user marks a task as failed: only what this task instance alone has submitted."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_octospark.cancellation import Cancellable, cancellable, cancellable_of, with_cancellable
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.submission.records import Baseline, Record

EMPTY = Baseline(scheduled_post_id=None, updated_at=None, service_time=None)


def outcome(account: str = "a", **more: Any) -> Outcome:
    values = {
        "team_id": "t",
        "post_id": "p",
        "social_account_id": account,
        "scheduled_post_id": "sp",
        "state": "pending",
    }
    return Outcome.model_validate(values | more)


def record(account: str = "a", **more: Any) -> Record:
    values = {"team_id": "t", "post_id": "p", "social_account_id": account, "state": "answered", "baseline": EMPTY}
    values |= {"request": "1", "fenced_at": "2026-01-01T00:00:00Z"}
    return Record.model_validate(values | {"outcome": outcome(account)} | more)


def test_the_only_submission_of_a_post_may_be_taken_back() -> None:
    assert cancellable([record()]) == [Cancellable("t", "p", "sp")]
    assert cancellable_of([outcome(cancellable=True)]) == [Cancellable("t", "p", "sp")]


@pytest.mark.parametrize(
    "records",
    [
        [record(), record("b")],
        [record(), record("b", post_id="P")],
        [record(inferred=True)],
        [record(baseline=None)],
        [record(baseline=Baseline(scheduled_post_id="older", updated_at=None, service_time=None))],
        [record(state="in_doubt", outcome=None)],
        [record(outcome=outcome(state="published"))],
        [record(outcome=outcome(scheduled_post_id=None))],
    ],
    ids=[
        "of two accounts",
        "of two accounts, ids in either case",
        "found, not made",
        "nobody knows what was there before",
        "something was there before",
        "in doubt",
        "out",
        "nothing is on the schedule",
    ],
)
def test_anything_else_is_left_alone(records: list[Record]) -> None:
    assert cancellable(records) == []


def test_of_a_sensor_s_outcomes_only_those_are_taken_back_that_their_task_calls_its_own() -> None:
    theirs = outcome(cancellable=False)
    assert cancellable_of([theirs, outcome(post_id="q", state="failed", cancellable=True)]) == []


def test_a_task_calls_its_own_what_it_alone_has_put_on_the_schedule() -> None:
    mine, shared = outcome(), outcome("b", post_id="q", scheduled_post_id="sq")
    out = outcome(post_id="r", state="published")
    told = with_cancellable([mine, shared, out], cancellable([record()]))
    assert [each.cancellable for each in told] == [True, False, False]
