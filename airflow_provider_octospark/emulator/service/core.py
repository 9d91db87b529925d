"""The emulated team with its clock, ledger and faults, for the HTTP layer."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TypeVar

from airflow_provider_octospark.emulator.service import seed_data as seed_data
from airflow_provider_octospark.emulator.service.clock import VirtualClock
from airflow_provider_octospark.emulator.service.faults import Fault, Faults
from airflow_provider_octospark.emulator.service.ledger import (
    Ledger,
    RequestEntry,
)
from airflow_provider_octospark.emulator.service.operations import Called
from airflow_provider_octospark.emulator.service.publishing import AccountUnavailableError
from airflow_provider_octospark.emulator.service.scenarios import Scenarios
from airflow_provider_octospark.emulator.service.team import Team, UnknownIdError
from airflow_provider_octospark.emulator.service.timestamps import format_timestamp
from airflow_provider_octospark.emulator.settings import Settings

Answered = TypeVar("Answered")


class UnansweredError(Exception):
    """Raised if the request is processed later (fault `late`), without a response."""


class ServiceCore:
    """The team, clock, ledger and faults. Every method can be called from any thread."""

    def __init__(
        self,
        *,
        start: datetime | None = None,
        factor: float = 1.0,
        seed: int | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Create the seed data.

        :param start: the clock's first time (aware); default: the real time.
        :param factor: virtual seconds per real second; with 0 the clock stands still until it is advanced.
        :param seed: makes the ids of scheduledPosts and random faults reproducible; default: different in each run.
        :param settings: switches for undocumented points.
        """
        self._lock = threading.RLock()
        self._start = start
        self._factor = factor
        self._seed = seed
        self._first_settings = settings or Settings()
        self._random = random.Random(seed)  # noqa: S311 - ids for tests, no secret
        self._public_url = ""
        self.generation = 0
        self.settings: Settings
        """The switches for undocumented points; assignments are checked."""
        self._renew()

    def _renew(self) -> None:
        self.generation += 1
        self.settings = self._first_settings.model_copy()
        self.token = seed_data.TOKEN
        """The valid API key."""
        self._clock = VirtualClock(self._start, self._factor)
        self._scenarios = Scenarios()
        self._faults = Faults(self._seed)
        self._ledger = Ledger()
        self._team = Team(
            self._clock.now(),
            ledger=self._ledger,
            scenarios=self._scenarios,
            settings=self.settings,
            randomness=self._random,
            public_url=self._public_url,
        )

    # For the HTTP side

    @contextlib.contextmanager
    def present(self) -> Iterator[Team]:
        """Yield the current team, locked for this thread."""
        with self._lock:
            self._team.publishing.catch_up(self._clock.now())
            yield self._team

    def perform(self, action: Callable[[Team], Answered], late: float | None) -> Answered:
        """Apply a function to the team now; or after `late` virtual seconds, and raise UnansweredError."""
        with self.present() as team:
            if late is None:
                return action(team)

            def act() -> None:
                with contextlib.suppress(UnknownIdError, AccountUnavailableError):
                    action(team)

            team.publishing.in_future(late, act)
            raise UnansweredError

    def receive(
        self, method: str, path: str, call: Called | None, accounts: list[str]
    ) -> tuple[RequestEntry, Fault | None]:
        """Add a request to the ledger, and return its fault, if there is one."""
        with self._lock:
            fault = None if call is None else self._faults.strike(call, accounts)
            entry = RequestEntry(
                at=format_timestamp(self.now()),
                method=method,
                path=path,
                status=None,
                fault=None if fault is None else fault.fault,
            )
            self._ledger.requests.append(entry)
            return entry, fault

    def publish_under(self, public_url: str) -> None:
        """Set the base URL of the pages of publications."""
        with self._lock:
            self._public_url = public_url
            self._team.publishing.public_url = public_url

    def now(self) -> datetime:
        """The virtual time, aware, in UTC."""
        with self._lock:
            return self._clock.now()
