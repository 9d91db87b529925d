"""The least mean delay that any schedule of looks can reach with so many calls, if the law of publishing is known."""

from __future__ import annotations

from functools import cache

from tests.polling.simulation import published_by

FINEST, COARSEST, LONGEST = 0.25, 0.02, 4 * 3600.0


@cache
def _grid() -> tuple[list[float], list[float], list[float]]:
    """Times, the part that is published by each, and the integral of that part."""
    times, now = [0.0], 0.0
    while now < LONGEST:
        now += max(FINEST, COARSEST * now)
        times.append(now)
    parts = [published_by(time) for time in times]
    integrals = [0.0]
    for index in range(1, len(times)):
        step = times[index] - times[index - 1]
        middle = published_by((times[index] + times[index - 1]) / 2)
        integrals.append(integrals[-1] + step * (parts[index - 1] + 4 * middle + parts[index]) / 6)
    return times, parts, integrals


@cache
def _best(price: float) -> tuple[float, float]:
    """Mean calls and delay of the schedule that is best if a call costs as much as ``price`` seconds of delay."""
    times, parts, integrals = _grid()
    last = len(times) - 1
    cost, subscription = [0.0] * (last + 1), [last] * (last + 1)
    for here in range(last - 1, -1, -1):
        best, where = float("inf"), last
        left = 1.0 - parts[here]
        for there in range(here + 1, last + 1):
            # The delay of those published in between: the integral of the part that is published and not yet seen.
            delay = integrals[there] - integrals[here] - parts[here] * (times[there] - times[here])
            total = price * left + delay + cost[there]
            if total < best:
                best, where = total, there
            elif delay > best:
                break
        cost[here], subscription[here] = best, where
    calls, delay, here = 0.0, 0.0, 0
    while here < last:
        there = subscription[here]
        calls += 1.0 - parts[here]
        delay += integrals[there] - integrals[here] - parts[here] * (times[there] - times[here])
        here = there
    return calls, delay


def least_delay(calls: float) -> float:
    """Return the least mean delay in seconds with so many calls after a post's time."""
    low, high = 1e-3, 1e3
    for _ in range(30):
        middle = (low * high) ** 0.5
        if _best(middle)[0] > calls:
            low = middle
        else:
            high = middle
    return _best(high)[1]
