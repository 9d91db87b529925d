"""How fast a batch is sent, and what its log tells of that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from airflow_provider_octospark.api.text import Log

LOG_EVERY = timedelta(seconds=10)
"""Shortest time between two lines on the progress of a batch."""


class ConcurrencyLimit:
    """The number of requests that leave together, and the progress that they make.

    A service that says it has had enough (429) halves the number; each wave that it takes adds one again, up to the most.

    :param most: the most requests under way at once; None for no limit, and no log of the progress.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._begun: tuple[datetime, int] | None = None
        self._reported: datetime | None = None
        self.concurrency = most

    def went_well(self) -> None:
        """Take in that a wave got through."""
        if self.concurrency is not None and self._most is not None:
            self.concurrency = min(self._most, self.concurrency + 1)

    def had_enough(self) -> None:
        """Take in that the service limits the rate."""
        if self.concurrency is not None:
            self.concurrency = max(1, self.concurrency // 2)

    def report(self, log: Log, now: datetime, whole: int, count_left: Callable[[], int]) -> None:
        """Write a line on the progress, if it is time for one.

        :param whole: the number of targets.
        :param count_left: counts those that are still to be sent.
        """
        if self._most is None or (self._reported is not None and now < self._reported + LOG_EVERY):
            return
        left = count_left()
        if self._begun is None:
            # What earlier tries have done says nothing about the pace of this one.
            self._begun, self._reported = (now, left), now
            if left < whole:
                log.info("%d of %d targets are left to send.", left, whole)
            return
        began_at, left_then = self._begun
        self._reported = now
        rate = (left_then - left) / max(0.001, (now - began_at).total_seconds())
        remaining = f"about {left / rate:.0f} s" if rate > 0 else "no telling how long"
        log.info(
            "%d of %d targets done, %.1f per second; %d remaining, %s.", whole - left, whole, rate, left, remaining
        )
