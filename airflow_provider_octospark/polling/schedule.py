"""When to read a post next, as pure functions of the time."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

from airflow_provider_octospark.parameters.defaults import POLL_BACKOFF, POLL_INTERVAL

LONGEST_PAUSE = 60.0
"""Maximum pause between polls of a post that is due, in seconds, unless ``poll_interval`` is longer."""

JITTER = 0.1
"""Maximum jitter as a part of the pause, so that the polls of many tasks spread."""

JITTER_AFTER_ERROR = 0.5
"""Maximum jitter after a failed poll: an outage makes many polls fail at once, and they must not return at once."""

FINAL_APPROACH = timedelta(minutes=2)
"""A post that is due within this time is not read again before it is due."""


def pause_after_due(elapsed: float, interval: float = POLL_INTERVAL, backoff: float = POLL_BACKOFF) -> float:
    """Return the seconds until the next poll, ``elapsed`` seconds after a post was due.

    ``max(interval, backoff * sqrt(elapsed))``, at most 60 s (or the interval, if that is longer). The delay for a given
    number of polls is least with pauses of ``1 / sqrt(hazard)``, and the hazard of a long-tailed duration falls with its
    inverse.
    """
    return min(max(LONGEST_PAUSE, interval), max(interval, backoff * math.sqrt(max(0.0, elapsed))))


def next_poll(
    now: datetime,
    due: datetime,
    *,
    interval: float = POLL_INTERVAL,
    backoff: float = POLL_BACKOFF,
    upload_remaining: float | None = None,
    jitter: float | None = None,
) -> datetime:
    """Return the time of the next poll of a publication.

    Before it is due: after half of the remaining time, because a user may move or cancel it; within the last two minutes,
    when it is due. Afterwards: see :func:`pause_after_due`. A longer upload is polled after half of its remaining time.

    :param now: the instant of the last poll.
    :param due: the scheduled time, or the start of the wait for a post that is due at once.
    :param interval: shortest pause after it was due, in seconds (default 4.0).
    :param backoff: growth of the pause with the square root of the seconds since it was due (default 0.8).
    :param upload_remaining: estimated seconds until the upload ends, or None if no progress is known.
    :param jitter: a number from 0 to 1 that spreads the polls of many tasks; random by default.
    """
    spread = random.random() if jitter is None else jitter  # noqa: S311
    remaining = due - now
    if remaining > FINAL_APPROACH:
        return now + remaining * (0.5 + JITTER / 2 * spread)
    if remaining > timedelta(0):
        return later(due, timedelta(seconds=spread * interval / 2))
    pause = pause_after_due((now - due).total_seconds(), interval, backoff)
    if upload_remaining is not None:
        pause = max(pause, min(LONGEST_PAUSE, upload_remaining / 2))
    return later(now, timedelta(seconds=pause * (1.0 + JITTER * spread)))


def later(instant: datetime, duration: timedelta) -> datetime:
    """Add a duration to an instant; return the maximum datetime on overflow, because the service may return the year
    9999."""
    try:
        return instant + duration
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
