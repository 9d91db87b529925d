"""The concurrency limit of a batch (AIMD), and its progress log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from airflow_provider_octospark.api.text import Log

LOG_EVERY = timedelta(seconds=10)
"""Minimum time between two progress lines in the log."""


class ConcurrencyLimit:
    """The concurrency limit of a batch.

    A response 429 halves the limit; each round that is accepted raises it by one, up to ``most``.

    :param most: the maximum number of concurrent requests; None for no limit and no progress log.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._begun: tuple[datetime, int] | None = None
        self._reported: datetime | None = None
        self.concurrency = most

    def went_well(self) -> None:
        """Raise the limit after a round that was accepted."""
        if self.concurrency is not None and self._most is not None:
            self.concurrency = min(self._most, self.concurrency + 1)

    def had_enough(self) -> None:
        """Lower the limit after a response 429."""
        if self.concurrency is not None:
            self.concurrency = max(1, self.concurrency // 2)

    def report(self, log: Log, now: datetime, whole: int, count_left: Callable[[], int]) -> None:
        """Log the progress, if it is time for it.

        :param whole: the number of targets.
        :param count_left: counts the targets that are not done.
        """
        if self._most is None or (self._reported is not None and now < self._reported + LOG_EVERY):
            return
        left = count_left()
        if self._begun is None:
            # The rate counts from this try on.
            self._begun, self._reported = (now, left), now
            if left < whole:
                log.info("Earlier tries have submitted %d of %d targets; %d remaining.", whole - left, whole, left)
            return
        began_at, left_then = self._begun
        self._reported = now
        rate = (left_then - left) / max(0.001, (now - began_at).total_seconds())
        remaining = f"about {left / rate:.0f} s" if rate > 0 else "no telling how long"
        log.info(
            "%d of %d targets done, %.1f per second; %d remaining, %s.", whole - left, whole, rate, left, remaining
        )
