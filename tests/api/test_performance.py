"""The model of a performance: every documented field, and numbers that make no sense."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_octospark.api.performance import (
    DerivedMetrics,
    Performance,
    PerformanceCounts,
    PerformanceSnapshot,
)
from airflow_provider_octospark.emulator import Emulator
from tests.docs.docstrings import fields
from tests.emulator.calling import Caller

COUNTS = {"likeCount", "commentCount", "shareCount", "saveCount", "impressionCount", "reachCount"}
DOCUMENTED: dict[type[Any], set[str]] = {
    Performance: {
        "scheduledPostId", "platform", "collectionStatus", "current", "derivedMetrics", "snapshots", "lastCollectedAt",
    },
    PerformanceCounts: COUNTS,
    DerivedMetrics: {"engagementRate", "performanceScore", "viralityScore", "qualityScore", "banditReward"},
    PerformanceSnapshot: COUNTS | {"hoursSincePost", "snapshotTakenAt", "collectionError"},
}  # fmt: skip


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(start=datetime(2026, 3, 2, 9, tzinfo=UTC), factor=0, seed=1) as running:
        yield running


@pytest.fixture
def response(emulator: Emulator) -> dict[str, Any]:
    """The performance of a post that is out for 25 hours."""
    post_id = emulator.posts[0]["id"]
    with Caller(emulator) as caller:
        caller.post_now(post_id, emulator.account_id("x"))
        emulator.advance(25 * 3600)
        answered: dict[str, Any] = caller.http.get(f"{caller.team}/posts/{post_id}/performance").json()
    return answered


@pytest.mark.parametrize("model", DOCUMENTED)
def test_a_model_has_the_documented_fields(model: type[Any]) -> None:
    assert {info.alias for info in model.model_fields.values()} == DOCUMENTED[model]
    described = [name for kind in reversed(model.__mro__) if kind in DOCUMENTED for name in fields(kind)]
    assert described == list(model.model_fields)


def test_the_emulator_s_response_is_read_whole(response: dict[str, Any], emulator: Emulator) -> None:
    parsed = Performance.model_validate(response)
    assert parsed.model_dump(by_alias=True, mode="json") == response
    assert parsed.model_extra == parsed.current.model_extra == parsed.derived_metrics.model_extra == {}
    assert parsed.scheduled_post_id == emulator.submissions()[0]["scheduled_post_id"]
    assert len(parsed.snapshots) == 3
    assert None not in parsed.current.model_dump().values()


@pytest.mark.parametrize("value", [None, True, "12", [], {}, float("nan"), float("inf")])
def test_what_is_no_number_is_none(value: Any, response: dict[str, Any]) -> None:
    response["current"]["likeCount"] = response["derivedMetrics"]["qualityScore"] = value
    response["snapshots"][0]["saveCount"] = value
    parsed = Performance.model_validate(response)
    assert parsed.current.like_count is parsed.derived_metrics.quality_score is parsed.snapshots[0].save_count is None


@pytest.mark.parametrize("value", [-3, 0, 12.5, 10**30])
def test_a_number_stays_what_it_is(value: Any, response: dict[str, Any]) -> None:
    response["current"]["likeCount"] = value
    assert Performance.model_validate(response).current.like_count == value


@pytest.mark.parametrize("value", [None, [], "text", 7])
def test_parts_that_are_no_objects_are_empty(value: Any, response: dict[str, Any]) -> None:
    parts = {"current": value, "derivedMetrics": value, "snapshots": value}
    parsed = Performance.model_validate(response | parts)
    assert (parsed.current, parsed.derived_metrics, parsed.snapshots) == (PerformanceCounts(), DerivedMetrics(), [])
    mixed = Performance.model_validate(response | {"snapshots": [value, {"likeCount": 1}]})
    assert [each.like_count for each in mixed.snapshots] == [1]
