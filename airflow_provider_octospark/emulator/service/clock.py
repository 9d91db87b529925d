"""The emulator's clock: real time by default, scaled by a factor, or advanced by hand."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

END_OF_TIME = datetime(9000, 1, 1, tzinfo=UTC)
"""The clock stops here, so that date arithmetic does not overflow."""

MAX_FACTOR = 1_000_000.0
"""The maximum factor: about eleven and a half days in a real second."""


class VirtualClock:
    """A clock that shows real time by default. It never goes back.

    Not thread-safe by itself: the emulator's lock guards it.
    """

    def __init__(self, start: datetime | None = None, factor: float = 1.0) -> None:
        """Start at `start` (aware; default: the real time) and run at `factor` times real time."""
        begin = datetime.now(UTC) if start is None else start.astimezone(UTC)
        if begin > END_OF_TIME:
            raise ValueError(f"the clock does not go past {END_OF_TIME:%Y-%m-%d}")
        self._virtual = begin
        self._real = time.monotonic()
        self._factor = _checked(factor)

    @property
    def factor(self) -> float:
        """Virtual seconds per real second."""
        return self._factor

    def now(self) -> datetime:
        """The virtual time, aware, in UTC."""
        elapsed = (time.monotonic() - self._real) * self._factor
        if elapsed >= (END_OF_TIME - self._virtual).total_seconds():
            return END_OF_TIME
        return self._virtual + timedelta(seconds=elapsed)

    def set_factor(self, factor: float) -> None:
        """Run at `factor` times real time from now on; with 0 the clock stands still until it is advanced."""
        self._virtual, self._real, self._factor = self.now(), time.monotonic(), _checked(factor)

    def advance(self, seconds: float) -> None:
        """Advance by `seconds` of virtual time."""
        if not seconds >= 0:
            raise ValueError("the clock does not go back: advance_seconds must be 0 or more")
        present = self.now()
        if seconds > (END_OF_TIME - present).total_seconds():
            raise ValueError(f"the clock does not go past {END_OF_TIME:%Y-%m-%d}")
        self._virtual, self._real = present + timedelta(seconds=seconds), time.monotonic()

    def advance_to(self, timestamp: datetime) -> None:
        """Advance to `moment`, unless it is past."""
        self.advance(max(0.0, (timestamp - self.now()).total_seconds()))
        self._virtual = max(self._virtual, min(timestamp, END_OF_TIME))


def _checked(factor: float) -> float:
    if not 0 <= factor <= MAX_FACTOR:
        raise ValueError(f"factor must lie between 0 and {MAX_FACTOR:.0f}")
    return factor
