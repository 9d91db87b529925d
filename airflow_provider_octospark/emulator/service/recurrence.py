"""Recurrences and reposts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from airflow_provider_octospark.emulator.service import seed_data as seed_data
from airflow_provider_octospark.emulator.service.records import (
    Recurrence,
    ScheduledPost,
    Submission,
)

REPOST_DEFAULT: Final = timedelta(hours=24)
"""Assumption: when a repost is due if `repostAfter` has no known key."""
REPOST_UNITS: Final = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
"""Assumption: the known keys of `repostAfter` (numbers). Its shape is not documented."""
REPOST_LIMIT: Final = timedelta(days=3_650)
"""The emulator's maximum delay of a repost; a longer one is replaced by the default."""


def next_occurrence(scheduled: ScheduledPost, limit: int) -> datetime | None:
    """Return the time of a recurrence's next occurrence, once; None if there is no further one."""
    recurrence = scheduled.request.recurrence
    if recurrence is None or scheduled.came_again:
        return None
    scheduled.came_again = True
    at = _days_later(scheduled.scheduled_at, recurrence.interval_days, scheduled.request.timezone)
    return None if scheduled.occurrence >= limit or _is_over(recurrence, at) else at


def repost_request(scheduled: ScheduledPost, now: datetime) -> Submission | None:
    """Return the submission of the repost, or None."""
    asked = scheduled.request.repost_after
    if asked is None:
        return None
    return Submission(
        scheduled_at=now + _repost_delay(asked),
        timezone=scheduled.request.timezone,
        platform_settings=scheduled.request.platform_settings,
    )


def _days_later(moment: datetime, days: int, timezone: str | None) -> datetime:
    """Return the same time of day some days later in a time zone, where a day may have 23 or 25 hours."""
    zone = ZoneInfo(timezone or "UTC")
    return (moment.astimezone(zone) + timedelta(days=days)).astimezone(UTC)


def _is_over(recurrence: Recurrence, at: datetime) -> bool:
    return recurrence.ends_at is not None and at > recurrence.ends_at


def _repost_delay(asked: dict[str, Any]) -> timedelta:
    seconds = 0.0
    for unit, length in REPOST_UNITS.items():
        number = asked.get(unit)
        if isinstance(number, int | float) and not isinstance(number, bool):
            seconds += number * length
    return timedelta(seconds=seconds) if 0 < seconds <= REPOST_LIMIT.total_seconds() else REPOST_DEFAULT
