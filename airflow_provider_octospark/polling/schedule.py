"""When to read a post next: pure functions of what is known and of the time."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

from airflow_provider_octospark.parameters.defaults import POLL_BACKOFF, POLL_INTERVAL

LONGEST_POLL_INTERVAL = 86_400.0
"""Longest floor that can be set, in seconds."""

LONGEST_PAUSE = 60.0
"""Longest pause between polls at a post that is due, in seconds, unless the floor is longer."""

JITTER = 0.1
"""By which part of itself a pause is at most drawn out, so that the polls of many tasks drift apart."""

JITTER_AFTER_ERROR = 0.5
"""The same after a poll that failed: an outage makes many fail at once, and they must not come back at once."""

FINAL_APPROACH = timedelta(minutes=2)
"""A post that is due within this time is not looked at again before it is due."""


def pause_after_due(elapsed: float, interval: float = POLL_INTERVAL, backoff: float = POLL_BACKOFF) -> float:
    """Return the seconds until the next poll, ``elapsed`` seconds after a post was due.

    ``max(floor, factor * sqrt(elapsed))``, at most 60 s (or the floor, if that is longer): the least delay for a given
    number of looks has pauses of ``1 / sqrt(hazard)``, and the hazard of a long-tailed time falls with its inverse.
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
    """Return when a publication is worth the next poll.

    Before it is due: when half of the remaining time has passed (it may have been moved or cancelled), and from
    two minutes before at its time. After: see :func:`pause_after_due`; an upload that will take longer is looked at
    when half of what remains of it has passed.

    :param now: the instant of the last poll.
    :param due: the scheduled time, or the start of the wait for what is due at once.
    :param interval: shortest pause after it was due, in seconds (default 4.0).
    :param backoff: growth of the pause with the square root of the seconds since it was due (default 0.8).
    :param upload_remaining: estimated seconds until the upload ends, where progress was seen.
    :param jitter: a number from 0 to 1 that spreads polls of many tasks; random by default.
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
    """Return the moment after a duration, or the last one there is: the service may name the year 9999."""
    try:
        return instant + duration
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
