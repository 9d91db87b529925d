"""A performance as flat rows for a table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from typing_extensions import TypedDict

from airflow_provider_octospark.api.performance import DerivedMetrics, Performance, PerformanceCounts
from airflow_provider_octospark.api.text import sanitize, without_stop
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters.times import parse_instant

LARGEST_COUNT = 2**63 - 1
"""The largest count: a table's BIGINT holds no larger one."""


class PerformanceRow(TypedDict):
    """What was collected of one publication at one time. The keys are the same in every row.

    :param team_id: id of the team, a UUID.
    :param post_id: id of the post, a UUID.
    :param social_account_id: id of the account, a UUID.
    :param scheduled_post_id: id of the submission, a UUID; with ``collected_at`` it identifies the row.
    :param platform_post_id: the platform's id of the post, or null.
    :param platform: the platform.
    :param scheduled_at: when the publication was due, ISO 8601.
    :param collection_status: ``completed``, ``failed`` or ``stale``.
    :param collected_at: when the counts were collected, or the snapshot was taken, ISO 8601.
    :param hours_since_post: hours from ``scheduled_at`` to ``collected_at``, or as the snapshot gives them; null if not known.
    :param like_count: the number of likes, or null.
    :param comment_count: the number of comments, or null.
    :param share_count: the number of shares, or null.
    :param save_count: the number of saves, or null.
    :param impression_count: how often the post was shown, or null.
    :param reach_count: to how many people it was shown, or null.
    :param engagement_rate: derived by the service; null in a snapshot.
    :param performance_score: derived by the service; null in a snapshot.
    :param virality_score: derived by the service; null in a snapshot.
    :param quality_score: derived by the service; null in a snapshot.
    :param bandit_reward: derived by the service; null in a snapshot.
    :param problem: why counts are null, in words; or null.
    """

    team_id: str
    post_id: str
    social_account_id: str | None
    scheduled_post_id: str | None
    platform_post_id: str | None
    platform: str | None
    scheduled_at: str | None
    collection_status: str | None
    collected_at: str | None
    hours_since_post: float | None
    like_count: int | None
    comment_count: int | None
    share_count: int | None
    save_count: int | None
    impression_count: int | None
    reach_count: int | None
    engagement_rate: float | None
    performance_score: float | None
    virality_score: float | None
    quality_score: float | None
    bandit_reward: float | None
    problem: str | None


COUNTS = tuple(PerformanceCounts.model_fields)
METRICS = tuple(DerivedMetrics.model_fields)


def current_row(outcome: Outcome, performance: Performance) -> PerformanceRow:
    """Return the row of the last collection."""
    collected, due = parse_instant(performance.last_collected_at), parse_instant(outcome.scheduled_at)
    metrics = {name: getattr(performance.derived_metrics, name) for name in METRICS}
    return _row(
        outcome,
        performance,
        performance.current,
        metrics,
        collected_at=performance.last_collected_at,
        hours_since_post=_hours(due, collected),
    )


def snapshot_rows(outcome: Outcome, performance: Performance) -> list[PerformanceRow]:
    """Return a row for each snapshot, in the order of the response."""
    return [
        _row(
            outcome,
            performance,
            snapshot,
            dict.fromkeys(METRICS),
            collected_at=snapshot.snapshot_taken_at,
            hours_since_post=snapshot.hours_since_post,
            error=snapshot.collection_error,
        )
        for snapshot in performance.snapshots
    ]


def _row(
    outcome: Outcome,
    performance: Performance,
    counts: PerformanceCounts,
    metrics: Mapping[str, float | None],
    *,
    collected_at: str | None,
    hours_since_post: float | None,
    error: str | None = None,
) -> PerformanceRow:
    platform = sanitize(performance.platform or outcome.provider) or None
    problems = [without_stop(sanitize(error))] if error else []
    values: dict[str, int | None] = {}
    for name in COUNTS:
        values[name], problem = _count(counts, name, platform or "the platform")
        problems += [problem] if problem else []
    row: Any = {
        "team_id": outcome.team_id,
        "post_id": outcome.post_id,
        "social_account_id": outcome.social_account_id,
        "scheduled_post_id": outcome.scheduled_post_id,
        "platform_post_id": outcome.platform_post_id,
        "platform": platform,
        "scheduled_at": outcome.scheduled_at,
        "collection_status": sanitize(performance.collection_status, 40) or None,
        "collected_at": sanitize(collected_at, 60) or None,
        "hours_since_post": hours_since_post,
        **values,
        **metrics,
        "problem": "; ".join(problems) or None,
    }
    result: PerformanceRow = row
    return result


def _count(counts: PerformanceCounts, name: str, platform: str) -> tuple[int | None, str | None]:
    """Return a count, or null and the reason."""
    number: int | float | None = getattr(counts, name)
    called = type(counts).model_fields[name].alias or name
    if name not in counts.model_fields_set:
        return None, f"{platform} lacks {called}"
    if number is None:
        return None, f"{called} is no number"
    if number < 0:
        return None, f"{called} is {sanitize(number, 40)}, below zero"
    if number > LARGEST_COUNT:
        return None, f"{called} is {sanitize(number, 40)}, more than 64 bits hold"
    if number != int(number):
        return None, f"{called} is {sanitize(number, 40)}, no whole number"
    return int(number), None


def _hours(due: datetime | None, collected: datetime | None) -> float | None:
    if due is None or collected is None:
        return None
    return round((collected - due).total_seconds() / 3600, 2)
