"""Models of a post's performance, by the reference page for reading it.

The numbers decide nothing, so none of them makes a response unreadable: the submission that a performance names is evidence of
a publication.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, Field, PlainValidator, field_validator

from airflow_provider_octospark.api.models import Note, ResponseModel


def _number_or_none(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


Number = Annotated[int | float | None, PlainValidator(_number_or_none)]


class PerformanceCounts(ResponseModel):
    """What a platform counted. It may lack a count, which then is None.

    A count keeps its number, also one that is negative or no whole number. What is no number is None.

    :param like_count: the number of likes.
    :param comment_count: the number of comments.
    :param share_count: the number of shares.
    :param save_count: the number of saves.
    :param impression_count: how often the post was shown.
    :param reach_count: to how many people it was shown.
    """

    like_count: Number = None
    comment_count: Number = None
    share_count: Number = None
    save_count: Number = None
    impression_count: Number = None
    reach_count: Number = None


class DerivedMetrics(ResponseModel):
    """What the service derives from the counts; the formulas and ranges are not documented.

    :param engagement_rate: engagement in relation to impressions or reach.
    :param performance_score: the service's score of the whole.
    :param virality_score: its score of how the post spreads.
    :param quality_score: its score of the content.
    :param bandit_reward: the reward that the service's own optimization uses.
    """

    engagement_rate: Number = None
    performance_score: Number = None
    virality_score: Number = None
    quality_score: Number = None
    bandit_reward: Number = None


class PerformanceSnapshot(PerformanceCounts):
    """The counts at some time after publication.

    :param hours_since_post: that time, in hours.
    :param snapshot_taken_at: when the snapshot was taken, ISO 8601.
    :param collection_error: why counts are missing, in words.
    """

    hours_since_post: Number = None
    snapshot_taken_at: Note = None
    collection_error: Note = None


KnownCollectionStatus = Literal["pending", "collecting", "completed", "failed", "stale"]
"""The documented statuses of a collection. After ``completed``, ``failed`` and ``stale`` the service collects again at a time of
its own."""


class Performance(ResponseModel):
    """Performance of a published post.

    :param scheduled_post_id: id of the submission that is measured, a UUID.
    :param platform: one of :data:`KnownProvider`, or one that is new.
    :param collection_status: one of :data:`KnownCollectionStatus`, or one that is new.
    :param current: the counts of the last collection.
    :param derived_metrics: what the service derives from them.
    :param snapshots: the counts of earlier times, in the order of the response.
    :param last_collected_at: when the service collected last, ISO 8601; None before the first time.
    """

    scheduled_post_id: str | None = None
    platform: str | None = None
    collection_status: str | None = None
    current: PerformanceCounts = Field(default_factory=PerformanceCounts)
    derived_metrics: DerivedMetrics = Field(default_factory=DerivedMetrics)
    snapshots: list[PerformanceSnapshot] = Field(default_factory=list)
    last_collected_at: str | None = None

    @field_validator("current", "derived_metrics", mode="before")
    @classmethod
    def _no_object_is_empty(cls, value: object) -> object:
        return value if isinstance(value, dict | BaseModel) else {}

    @field_validator("snapshots", mode="before")
    @classmethod
    def _objects_only(cls, value: object) -> object:
        return [each for each in value if isinstance(each, dict | BaseModel)] if isinstance(value, list) else []
