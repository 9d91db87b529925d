"""Recognize the next occurrence of a recurring submission."""

from __future__ import annotations

from datetime import UTC, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_provider_octospark.api.models import ScheduledPost
from airflow_provider_octospark.outcomes import Outcome, same_id
from airflow_provider_octospark.parameters.times import parse_instant

LONGEST_INTERVAL = timedelta(days=365)
"""The longest ``recurrenceIntervalDays``. Source: the reference pages of both operations that submit."""


def is_next_occurrence(latest: ScheduledPost, outcome: Outcome) -> bool:
    """Whether a submission may be the service's next occurrence of another one.

    It is due some whole days later at the same time of day, in its time zone or in UTC. The interval itself is known to the
    operator only. A submission of a user that looks the same is not told from it, so this never proves a publication.

    :param latest: the submission that the post shows.
    :param outcome: the outcome of the one that is waited for.
    """
    planned, due = parse_instant(outcome.scheduled_at), parse_instant(latest.scheduled_at)
    if planned is None or due is None or not same_id(latest.social_account_id, outcome.social_account_id):
        return False
    for zone in (_zone(latest.timezone), UTC):
        # Without their zones, because a day with a change of clocks does not have 24 hours.
        pause = due.astimezone(zone).replace(tzinfo=None) - planned.astimezone(zone).replace(tzinfo=None)
        if timedelta(0) < pause <= LONGEST_INTERVAL and pause % timedelta(days=1) == timedelta(0):
            return True
    return False


def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")
