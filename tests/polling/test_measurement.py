"""When a performance is read, and which collection counts: no clock, no service."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from airflow_provider_octospark.api.performance import Performance
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.exceptions import OctosparkNotFoundError, OctosparkServerError
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters.times import format_instant
from airflow_provider_octospark.polling.measurement import Measurement, Terms
from tests.polling.things import NOON, pending

HOUR = timedelta(hours=1)
ENDS = NOON + 26 * HOUR


def terms(**fields: Any) -> Terms:
    default: dict[str, Any] = {
        "collected_after": 24 * HOUR,
        "collect_timeout": 2 * HOUR,
        "max_age": None,
        "snapshots": False,
        "hidden_timeout": HOUR / 4,
        "interval": 300.0,
    }
    return Terms(**default | fields)


def published(scheduled_at: datetime | None = NOON) -> Outcome:
    at = None if scheduled_at is None else format_instant(scheduled_at)
    return pending("p").model_copy(update={"state": "published", "scheduled_at": at, "scheduled_post_id": "mine"})


def measurement(outcome: Outcome, started_at: datetime = NOON, **fields: Any) -> tuple[Measurement, tuple[str, str]]:
    made = Measurement.start([outcome], terms(**fields), started_at=started_at)
    return made, (outcome.team_id, outcome.post_id)


def response(
    outcome: Outcome, last: datetime | None, status: str = "completed", **fields: Any
) -> Response[Performance]:
    collected = None if last is None else format_instant(last)
    values = {
        "scheduled_post_id": outcome.scheduled_post_id,
        "collection_status": status,
        "last_collected_at": collected,
    }
    return Response(Performance(**values | fields), None)


def test_nothing_is_asked_before_it_can_be_news() -> None:
    it, post = measurement(published())
    assert it.posts_due(NOON + 24 * HOUR - timedelta(seconds=1)) == []
    assert it.next_step(NOON) == NOON + 24 * HOUR
    assert it.posts_due(NOON + 24 * HOUR) == [post]
    assert it.wait.posts() == []


def test_a_pending_post_is_not_asked_before_either() -> None:
    it, post = measurement(pending("p").model_copy(update={"scheduled_at": format_instant(NOON)}))
    assert it.next_step(NOON) == NOON + 24 * HOUR
    assert it.wait.posts_due(NOON + 24 * HOUR) == [post]
    # Its performance only after the post.
    assert it.posts_due(NOON + 24 * HOUR) == []


@pytest.mark.parametrize(
    ("status", "hours", "is_enough"),
    [
        ("completed", 24, True), ("failed", 24, True), ("stale", 24, True),
        ("completed", 23.99, False), ("pending", 24, False), ("collecting", 25, False), ("a_new_one", 25, False),
        ("completed", None, False),
    ],
)  # fmt: skip
def test_which_collection_counts(status: str, hours: float | None, is_enough: bool) -> None:
    outcome = published()
    it, post = measurement(outcome)
    now = NOON + 25 * HOUR
    [line] = it.record_response(post, response(outcome, None if hours is None else NOON + hours * HOUR, status), now)
    assert status in line
    assert it.done is is_enough
    if not is_enough:
        assert now + timedelta(seconds=300) <= it.next_step(now) <= now + timedelta(seconds=331)
        # What is said once is not said again.
        assert (
            it.record_response(post, response(outcome, None if hours is None else NOON + hours * HOUR, status), now)
            == []
        )


def test_what_is_too_old_is_waited_for() -> None:
    outcome = published()
    it, post = measurement(outcome, NOON + 72 * HOUR, max_age=6 * HOUR)
    now = NOON + 72 * HOUR
    it.record_response(post, response(outcome, now - 7 * HOUR), now)
    assert not it.done
    it.record_response(post, response(outcome, now - 5 * HOUR), now)
    assert it.done


def test_the_start_counts_by_the_service_s_clock() -> None:
    """Ours is an hour ahead of it."""
    outcome = published(None)
    it, post = measurement(outcome)
    now = NOON + 25 * HOUR
    seen = response(outcome, NOON + 23 * HOUR)
    it.record_response(post, Response(seen.value, now - HOUR), now)
    assert it.done
    other, _ = measurement(outcome)
    other.record_response(post, Response(seen.value, now), now)
    assert not other.done


def test_the_numbers_of_another_submission_are_never_taken() -> None:
    outcome = published()
    it, post = measurement(outcome)
    begin = NOON + 24 * HOUR
    for named in ("another", None):
        it.record_response(post, response(outcome, begin, scheduled_post_id=named), begin)
        assert not it.done
    it.record_response(post, response(outcome, begin, scheduled_post_id="another"), begin + HOUR / 4)
    assert it.done
    assert (it.readings[0].state, it.readings[0].rows) == ("hidden", [])


def test_a_deadline_says_what_was_seen_last() -> None:
    outcome = published()
    it, post = measurement(outcome)
    it.record_response(post, response(outcome, NOON, "stale"), ENDS - HOUR)
    it.record_error(post, OctosparkServerError("503 of the service"), ENDS - HOUR / 2)
    assert it.next_step(ENDS - HOUR / 2) <= ENDS
    [line] = it.expire(post, ENDS)
    assert "503 of the service" in line
    assert it.readings[0].state == "deadline"
    assert it.expire(post, ENDS) == []


def test_a_404_ends_it_after_a_grace() -> None:
    it, post = measurement(published())
    begin = NOON + 24 * HOUR
    it.record_error(post, OctosparkNotFoundError("404"), begin)
    assert not it.done
    it.record_error(post, OctosparkNotFoundError("404"), begin + timedelta(minutes=2))
    assert it.readings[0].state == "not_found"


def test_it_is_the_same_after_a_deferral() -> None:
    outcome = published()
    it, post = measurement(outcome, max_age=HOUR, snapshots=True)
    it.record_response(post, response(outcome, NOON, snapshots=[{"likeCount": 3}]), NOON + 25 * HOUR)
    again = Measurement.from_json(it.as_json())
    assert again.as_json() == it.as_json()
    again.record_response(post, response(outcome, ENDS, snapshots=[{"likeCount": 3}]), ENDS)
    assert [row["like_count"] for row in again.readings[0].rows] == [3]
    assert Measurement.from_json(again.as_json()).readings == again.readings


@pytest.mark.parametrize("key", ["wait", "readings", "terms"])
def test_what_is_no_measurement_is_refused(key: str) -> None:
    data = measurement(published())[0].as_json()
    unusable: list[Any] = [None, [], {}, [{}]]
    for wrong in unusable:
        with pytest.raises(ValueError):
            Measurement.from_json(data | {key: wrong})
    with pytest.raises(ValueError):
        Measurement.from_json(None)
