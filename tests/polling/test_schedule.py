"""When to look: the pure policy, and what it costs and brings over many posts."""

from __future__ import annotations

import math
import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_octospark.parameters.defaults import POLL_BACKOFF, POLL_INTERVAL
from airflow_provider_octospark.polling.schedule import (
    FINAL_APPROACH,
    JITTER,
    LONGEST_PAUSE,
    next_poll,
    pause_after_due,
)
from airflow_provider_octospark.polling.subscriptions import BATCH_DELAY
from airflow_provider_octospark.triggers.octospark import FIRST_POLL_AFTER, FIRST_POLLS_WITHIN
from tests.polling.simulation import NextLook, Result, simulate
from tests.polling.things import NOON, seconds

DAY = 86_400.0

some_seconds = st.floats(0.0, 400 * DAY, allow_nan=False)
fractions = st.floats(0.0, 1.0)


def policy(seed: int) -> NextLook:
    """The real policy, with a jitter that is the same in each run."""
    chance = random.Random(seed)  # noqa: S311 - a simulation
    return lambda now, due: next_poll(now, due, jitter=chance.random())


def simulated(due: timedelta, posts: int = 20_000) -> Result:
    """The real policy as the trigger follows it, with a poller that lets each poll wait for company."""
    first = FIRST_POLL_AFTER + FIRST_POLLS_WITHIN / 2
    return simulate(policy(2), due, posts=posts, first_pause=first, gathering=BATCH_DELAY)


@given(some_seconds, fractions)
def test_before_its_time_half_of_what_remains_passes(remaining: float, jitter: float) -> None:
    due = NOON + seconds(remaining)
    at = next_poll(NOON, due, jitter=jitter)
    assert at > NOON
    if seconds(remaining) > FINAL_APPROACH:
        assert NOON + (due - NOON) / 2 <= at < due
    elif due > NOON:
        assert due <= at <= due + seconds(POLL_INTERVAL / 2)


@given(some_seconds, fractions, st.floats(0.01, 3600.0), st.floats(0.0, 100.0))
def test_after_its_time_the_pause_is_never_below_the_floor_nor_above_the_cap(
    elapsed: float, jitter: float, interval: float, backoff: float
) -> None:
    now = NOON + seconds(elapsed)
    pause = (next_poll(now, NOON, interval=interval, backoff=backoff, jitter=jitter) - now).total_seconds()
    assert interval - 1e-6 <= pause <= max(interval, LONGEST_PAUSE) * (1 + JITTER) + 1e-6


def test_after_its_time_the_pause_grows_with_the_square_root() -> None:
    assert pause_after_due(0.0) == POLL_INTERVAL
    assert pause_after_due(100.0) == POLL_BACKOFF * 10.0
    assert pause_after_due(2500.0) == POLL_BACKOFF * 50.0
    assert pause_after_due(1e6) == LONGEST_PAUSE
    assert pause_after_due(-5.0) == POLL_INTERVAL


def test_a_floor_above_the_cap_is_kept() -> None:
    assert pause_after_due(0.0, interval=300.0, backoff=0.8) == 300.0
    assert pause_after_due(1e6, interval=300.0, backoff=0.8) == 300.0


@given(st.floats(0.0, 1e9))
def test_an_upload_is_looked_at_when_half_of_what_remains_has_passed(remaining: float) -> None:
    pause = (next_poll(NOON, NOON, upload_remaining=remaining, jitter=0.0) - NOON).total_seconds()
    assert math.isclose(pause, min(max(POLL_INTERVAL, remaining / 2), LONGEST_PAUSE), abs_tol=1e-5)


def test_looks_of_many_tasks_drift_apart() -> None:
    for elapsed in (0.0, 100.0, DAY):
        now = NOON + seconds(elapsed)
        polls = {next_poll(now, NOON) for _ in range(1000)}
        assert max(polls) - min(polls) > 0.9 * JITTER * seconds(pause_after_due(elapsed))
    week = {next_poll(NOON, NOON + timedelta(days=7)) for _ in range(1000)}
    assert max(week) - min(week) > timedelta(hours=6)


def test_a_time_at_the_end_of_the_calendar_does_no_harm() -> None:
    end = (NOON + timedelta(days=1)).replace(year=9999, month=12, day=31, hour=23, minute=59, second=59)
    assert NOON < next_poll(NOON, end) < end
    assert next_poll(end - seconds(30), end) >= end


def test_due_now_takes_at_most_12_calls() -> None:
    result = simulated(timedelta(0))
    assert result.calls <= 12.0, result
    assert result.delay <= 4.0, result


def test_a_week_ahead_takes_at_most_25_calls_and_is_noticed_within_4_seconds() -> None:
    result = simulated(timedelta(days=7))
    assert result.calls <= 25.0, result
    assert result.delay <= 4.0, result


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), timedelta(hours=6)])
def test_the_delay_does_not_depend_on_how_long_ahead_it_was_scheduled(ahead: timedelta) -> None:
    result = simulated(ahead, posts=5_000)
    assert result.calls <= 25.0, result
    assert result.delay <= 4.0, result


def test_a_post_that_never_ends_takes_at_most_1600_calls_a_day() -> None:
    poll = policy(3)
    now, calls = NOON, 0
    while now < NOON + timedelta(days=1):
        now, calls = poll(now, NOON), calls + 1
    assert 1300 <= calls <= 1600


def test_it_is_near_what_any_policy_can_reach() -> None:
    """In the dense limit no policy's calls times its delay can be below 25 s after a post's time (see ``benchmarks``)."""
    result = simulate(policy(4), timedelta(0), posts=5_000)
    assert (result.calls - 1) * result.delay < 1.3 * 25.0
    every_five = simulate(lambda now, _: now + seconds(5.0), timedelta(0), posts=5_000)
    assert result.calls < every_five.calls
