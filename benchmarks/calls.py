"""Rows of looks: how often a post is asked about, and how late it is noticed, by policy, on a simulated clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from airflow_provider_octospark.polling.schedule import next_poll
from airflow_provider_octospark.polling.subscriptions import BATCH_DELAY
from airflow_provider_octospark.triggers.octospark import FIRST_POLL_AFTER, FIRST_POLLS_WITHIN
from benchmarks import real_clock
from benchmarks.bound import least_delay
from benchmarks.plan import Case, Figures, Plan
from benchmarks.table import Row, Target, Value
from tests.polling.simulation import NextLook, simulate

AHEAD = {
    "due now": timedelta(0),
    "due in 10 minutes": timedelta(minutes=10),
    "due in 6 hours": timedelta(hours=6),
    "due in a week": timedelta(days=7),
}
MOST_CALLS = {"due now": 12.0, "due in a week": 25.0}


def fixed(seconds: float) -> NextLook:
    """A poll every so many seconds."""
    pause = timedelta(seconds=seconds)
    return lambda now, _due: now + pause


def exponential() -> NextLook:
    """Pauses that double from 2 s to 60 s, as retry libraries have them."""
    pause = 2.0
    begun: datetime | None = None

    def poll(now: datetime, _due: datetime) -> datetime:
        nonlocal pause, begun
        if begun is None or now <= begun:
            begun, pause = now, 2.0
        else:
            pause = min(60.0, pause * 2.0)
        return now + timedelta(seconds=pause)

    return poll


def ours() -> NextLook:
    """Our policy."""
    chance = random.Random(2)  # noqa: S311 - a simulation
    return lambda now, due: next_poll(now, due, jitter=chance.random())


POLICIES: dict[str, Callable[[], NextLook]] = {
    "ours": ours,
    "fixed 5 s": lambda: fixed(5.0),
    "fixed 60 s": lambda: fixed(60.0),
    "exponential": exponential,
}


def _simulated(name: str, ahead: str, posts: int) -> Figures:
    due = AHEAD[ahead]
    if name == "ours":
        first = FIRST_POLL_AFTER + FIRST_POLLS_WITHIN / 2
        result = simulate(ours(), due, posts=posts, first_pause=first, gathering=BATCH_DELAY)
    else:
        # A policy that looks tens of thousands of times at each post is the same for every post.
        many = due > timedelta(hours=1)
        result = simulate(POLICIES[name](), due, posts=20 if many else posts)
    return {"calls": result.calls, "delay": result.delay}


def _key(name: str, ahead: str) -> str:
    return f"{name}, {ahead}"


def cases(plan: Plan) -> list[Case]:
    """Each policy for each distance; simulations need no repetition, but they take no time either."""
    posts = 2_000 if plan.is_quick else 20_000
    found = [Case(_key(name, ahead), partial(_simulated, name, ahead, posts)) for name in POLICIES for ahead in AHEAD]
    count = 60 if plan.is_quick else 300
    return [*found, Case("real clock", lambda: asyncio.run(real_clock.measure(count)))]


def rows(plan: Plan) -> list[Row]:
    """Calls and delay for each distance, and the check that the code does what the simulation says."""

    def value(name: str, ahead: str, figure: str, unit: str) -> Value:
        return Value(plan.median(_key(name, ahead), figure), unit)

    found = []
    for ahead in AHEAD:
        others = [name for name in POLICIES if name != "ours"]
        calls = tuple((name, value(name, ahead, "calls", "")) for name in others)
        most = MOST_CALLS.get(ahead)
        found.append(
            Row(
                f"{ahead}: calls per post",
                value("ours", ahead, "calls", ""),
                calls,
                Target(at_most=most) if most else None,
            )
        )
        due_now = plan.median(_key("ours", "due now"), "calls")
        bound = Value(least_delay(due_now - 1.0) if due_now else None, "s")
        delays = (*((name, value(name, ahead, "delay", "s")) for name in others), ("the bound", bound))
        target = Target(at_most=4.0) if ahead == "due in a week" else None
        found.append(Row(f"{ahead}: mean delay", value("ours", ahead, "delay", "s"), delays, target))
    now, day, stuck = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1), 0
    begin, policy = now, ours()
    while now < begin + day:
        now, stuck = policy(now, begin), stuck + 1
    found.append(Row("never published: calls in a day", Value(float(stuck), ""), (), Target(at_most=1600.0)))
    for figure, unit, of_what in (("calls", "", "calls per post"), ("delay", "s", "mean delay")):
        measured, expected = plan.median("real clock", figure), plan.median("real clock", f"simulated_{figure}")
        if measured is not None:
            found.append(
                Row(
                    f"real clock, due now, quick posts: {of_what}",
                    Value(measured, unit),
                    (("simulated", Value(expected, unit)),),
                    Target(at_most=1.15, of="simulated"),
                )
            )
    return found
