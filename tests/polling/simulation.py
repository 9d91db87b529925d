"""Posts on a simulated clock: how often a policy polls at them, and how late it notices.

A post is published some time after it was due: lognormal with a median of 20 s, one in a hundred after more than 10
minutes. A wait begins with one look by the worker; the triggerer's first poll comes at least 5 s later.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.polling.things import NOON

MEDIAN, P99 = 20.0, 600.0
SIGMA = math.log(P99 / MEDIAN) / 2.3263478740408408

NextLook = Callable[[datetime, datetime], datetime]
"""From the time of a poll and the time at which a post is due to the next poll."""


@dataclass(frozen=True)
class Result:
    """Means over the posts of a simulation.

    :param calls: polls at a post.
    :param delay: seconds from the publication to the poll that showed it.
    """

    calls: float
    delay: float


def publishing_time(chance: random.Random) -> float:
    """Seconds from the time at which a post was due to its publication."""
    return MEDIAN * math.exp(SIGMA * chance.gauss(0.0, 1.0))


def published_by(seconds: float) -> float:
    """The part of all posts that is published so many seconds after they were due."""
    return 0.5 * (1.0 + math.erf(math.log(seconds / MEDIAN) / (SIGMA * math.sqrt(2.0)))) if seconds > 0 else 0.0


def simulate(
    policy: NextLook,
    due: timedelta,
    *,
    posts: int = 20_000,
    seed: int = 1,
    first_pause: timedelta = timedelta(0),
    gathering: float = 0.0,
) -> Result:
    """Follow posts that are due so long after the wait began until a poll shows that they are out.

    :param first_pause: the second look comes at the earliest so long after the first.
    :param gathering: a poll waits for company for a random time up to so many seconds.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation
    due_at = NOON + due
    calls, delay = 0, timedelta(0)
    for _ in range(posts):
        out = due_at + timedelta(seconds=publishing_time(chance))
        now, calls = NOON, calls + 1
        earliest = NOON + first_pause
        while now < out:
            now = max(policy(now, due_at), earliest)
            if gathering:
                now += timedelta(seconds=gathering * chance.random())
            calls += 1
        delay += now - out
    return Result(calls / posts, delay.total_seconds() / posts)
