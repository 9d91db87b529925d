"""The queue of events, in order of time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from datetime import datetime

from airflow_provider_octospark.emulator.service.records import ScheduledPost


class _Event:
    """An event at a time, unless its subject's life has changed by then."""

    __slots__ = ("action", "at", "life", "order", "subject")

    def __init__(self, at: datetime, order: int, action: Callable[[], None], subject: ScheduledPost | None) -> None:
        self.at = at
        self.order = order
        self.action = action
        self.subject = subject
        self.life = subject.life if subject else 0

    def __lt__(self, other: _Event) -> bool:
        return (self.at, self.order) < (other.at, other.order)

    @property
    def void(self) -> bool:
        return self.subject is not None and self.subject.life != self.life


class EventQueue:
    """Pending events. They are processed on the next access to the team."""

    def __init__(self) -> None:
        self._events: list[_Event] = []
        self._order = itertools.count()

    def add(self, at: datetime, action: Callable[[], None], subject: ScheduledPost | None = None) -> None:
        """Add an event; with a `subject`, it has an effect only if the subject's `life` is the same then."""
        heapq.heappush(self._events, _Event(at, next(self._order), action, subject))

    def next_at(self) -> datetime | None:
        """The time of the next event, or None."""
        while self._events and self._events[0].void:
            heapq.heappop(self._events)
        return self._events[0].at if self._events else None

    def take(self, until: datetime) -> tuple[datetime, Callable[[], None]] | None:
        """Remove and return the next event until `until`."""
        at = self.next_at()
        if at is None or at > until:
            return None
        return at, heapq.heappop(self._events).action
