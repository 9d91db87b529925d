"""An event loop whose clock leaps to the next timer whenever there is nothing to do: an hour takes a second."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import datetime, timedelta, tzinfo
from typing import Any, TypeVar

from tests.polling.things import NOON

T = TypeVar("T")


class Clock:
    """The time of a virtual event loop, and of those who ask it as they would ask ``datetime``."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self, zone: tzinfo | None = None) -> datetime:
        """What the calendar shows."""
        return NOON + timedelta(seconds=self.seconds - 1000.0)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self.seconds - 1000.0


class _Leaping(selectors.DefaultSelector):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            return super().select(None)
        events = super().select(0)
        if not events:
            self._clock.seconds += max(0.0, timeout)
        return events


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Clock) -> None:
        super().__init__(_Leaping(clock))
        self._clock = clock

    def time(self) -> float:
        return self._clock.seconds


def run(clock: Clock, main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` on a loop that goes by this clock."""
    with asyncio.Runner(loop_factory=lambda: _VirtualLoop(clock)) as runner:
        return runner.run(main)
