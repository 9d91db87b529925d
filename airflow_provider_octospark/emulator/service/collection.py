"""The collection of a publication's counts, on the emulator's clock. All times and formulas here are assumptions.

Nothing is stored: a performance follows from the time since the publication, so it is reproducible.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from airflow_provider_octospark.emulator.service.records import ScheduledPost
from airflow_provider_octospark.emulator.service.resources import Counts, PerformanceResponse, Snapshot
from airflow_provider_octospark.emulator.service.timestamps import format_timestamp

CollectionStatus = Literal["pending", "collecting", "completed", "failed", "stale"]

COLLECTED_AT: Final = (1.0, 6.0, 24.0, 72.0, 168.0)
"""When a collection begins, in hours after the publication. Each one takes a snapshot."""

COLLECTING: Final = timedelta(minutes=1)
"""How long a collection takes."""

STALE_AFTER: Final = timedelta(hours=24)
"""How long after the last collection its counts are `stale`."""

COLLECTION_ERROR: Final = "The platform did not answer."


class PerformanceRule(BaseModel):
    """What is collected of a post, or of all posts of an account. The newest matching rule applies, also to what is out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    post_id: str | None = Field(default=None, description="The post; any post without it.")
    social_account_id: str | None = Field(default=None, description="The account; any account without it.")
    status: CollectionStatus = Field(
        default="completed",
        description=(
            "What a collection ends with. With `pending` and `collecting` it never ends; with `failed` there are no counts, "
            "and the snapshot has a `collectionError`."
        ),
    )
    collected_at: tuple[float, ...] | None = Field(
        default=None,
        strict=False,
        description="When collections begin, in hours after the publication (default 1, 6, 24, 72, 168).",
    )
    counts: dict[str, JsonValue] = Field(
        default_factory=dict,
        description='Fields in place of the counts\' own, such as `{"likeCount": 12, "saveCount": null}`.',
    )
    lacks: tuple[str, ...] = Field(
        default=(), strict=False, description="Counts that the response leaves out, such as `saveCount`."
    )
    scheduled_post_id: str | None = Field(
        default=None, description="The submission that the performance names, in place of the measured one."
    )

    @field_validator("post_id", "social_account_id")
    @classmethod
    def _in_one_case(cls, named: str | None) -> str | None:
        return None if named is None else named.lower()

    @field_validator("collected_at")
    @classmethod
    def _check_hours(cls, hours: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if hours is not None and not all(0 <= each <= 1e6 for each in hours):
            raise ValueError("hours lie between 0 and 1,000,000")
        return None if hours is None else tuple(sorted(hours))

    def fits(self, scheduled: ScheduledPost) -> bool:
        """Whether the rule is about this submission."""
        return self.post_id in (None, scheduled.post.id) and self.social_account_id in (None, scheduled.account.id)


@dataclass(frozen=True)
class Collected:
    """How far the collection of a publication is.

    :param status: the status that the API shows.
    :param hours: when the collections that have ended began, in hours after the publication.
    :param last_at: when the last one ended; None before.
    """

    status: CollectionStatus
    hours: tuple[float, ...] = ()
    last_at: datetime | None = None


class Collection:
    """The rules of collections, and the performance that follows from them."""

    def __init__(self) -> None:
        self._rules: list[PerformanceRule] = []

    def add(self, rule: PerformanceRule) -> None:
        """Add a rule before all older ones."""
        self._rules.insert(0, rule.model_copy())

    def listed(self) -> list[PerformanceRule]:
        """The rules, newest first."""
        return [each.model_copy() for each in self._rules]

    def performance(self, scheduled: ScheduledPost, now: datetime) -> PerformanceResponse:
        """Return the performance of a submission."""
        rule = next((each for each in self._rules if each.fits(scheduled)), PerformanceRule())
        collected = _collected(scheduled, rule, now)
        is_failed = rule.status == "failed"
        snapshots = [_snapshot(scheduled, hours, rule) for hours in collected.hours]
        current = _counts(scheduled, 0.0 if is_failed or not collected.hours else collected.hours[-1])
        engaged = current["likeCount"] + current["commentCount"] + current["shareCount"]
        rate = round(engaged / current["impressionCount"], 4) if current["impressionCount"] else 0.0
        return {
            "scheduledPostId": rule.scheduled_post_id or scheduled.id,
            "platform": scheduled.account.provider,
            "collectionStatus": collected.status,
            "current": cast("Counts", _scripted(current, rule)),
            "derivedMetrics": {
                "engagementRate": rate,
                "performanceScore": round(min(1.0, rate * 10), 4),
                "viralityScore": round(min(1.0, current["shareCount"] / 100), 4),
                "qualityScore": 0.5,
                "banditReward": round(rate, 4),
            },
            "snapshots": snapshots,
            "lastCollectedAt": None if collected.last_at is None else format_timestamp(collected.last_at),
        }


def _collected(scheduled: ScheduledPost, rule: PerformanceRule, now: datetime) -> Collected:
    if scheduled.status != "published":
        return Collected("pending")
    # A publication does not change any more, so this is when it went out.
    age = now - scheduled.updated_at
    times = COLLECTED_AT if rule.collected_at is None else rule.collected_at
    begun = [each for each in times if timedelta(hours=each) <= age]
    if not begun or rule.status == "pending":
        return Collected("pending")
    if rule.status == "collecting":
        return Collected("collecting")
    ended = tuple(each for each in begun if timedelta(hours=each) + COLLECTING <= age)
    last = scheduled.updated_at + timedelta(hours=ended[-1]) + COLLECTING if ended else None
    if len(ended) < len(begun):
        return Collected("collecting", ended, last)
    is_over = last is not None and len(ended) == len(times) and now >= last + STALE_AFTER
    return Collected("stale" if is_over and rule.status == "completed" else rule.status, ended, last)


def _snapshot(scheduled: ScheduledPost, hours: float, rule: PerformanceRule) -> Snapshot:
    is_failed = rule.status == "failed"
    snapshot = {
        "hoursSincePost": hours,
        "snapshotTakenAt": format_timestamp(scheduled.updated_at + timedelta(hours=hours)),
        "collectionError": COLLECTION_ERROR if is_failed else None,
        **_scripted(_counts(scheduled, 0.0 if is_failed else hours), rule),
    }
    return cast("Snapshot", snapshot)


def _counts(scheduled: ScheduledPost, hours: float) -> Counts:
    strength = 1 + sum(scheduled.post.id.encode()) % 7
    impressions = int(min(hours, 168.0) * 12 * strength)
    return {
        "likeCount": impressions // 20,
        "commentCount": impressions // 150,
        "shareCount": impressions // 90,
        "saveCount": impressions // 120,
        "impressionCount": impressions,
        "reachCount": impressions * 4 // 5,
    }


def _scripted(counts: Counts, rule: PerformanceRule) -> dict[str, Any]:
    whole = {**counts, **rule.counts}
    return {name: value for name, value in whole.items() if name not in rule.lacks}
