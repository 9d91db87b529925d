"""The emulated team with its clock, ledger and faults: what the HTTP layer works on."""

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
    """The request is processed later (fault `late`), without a response."""


class ServiceCore:
    """One team and everything that belongs to it. Every method can be called from any thread."""

    def __init__(
        self,
        *,
        start: datetime | None = None,
        factor: float = 1.0,
        seed: int | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Make the seed data.

        :param start: what the clock shows at first (aware); default: the real time.
        :param factor: virtual seconds per real second; 0 stands still until it is advanced.
        :param seed: makes the ids of scheduledPosts and the faults with a probability the same in
            each run; default: different each time.
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
        """Switches for undocumented points; they can be assigned to, and are checked."""
        self._renew()

    def _renew(self) -> None:
        self.generation += 1
        self.settings = self._first_settings.model_copy()
        self.token = seed_data.TOKEN
        """The API key that is taken."""
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
        """The team as it is now, for this thread alone."""
        with self._lock:
            self._team.publishing.catch_up(self._clock.now())
            yield self._team

    def perform(self, action: Callable[[Team], Answered], late: float | None) -> Answered:
        """Do something to the team now; or `late` virtual seconds later, and raise UnansweredError."""
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
        """Enter a call to the public API in the list of requests, and see whether a fault strikes it."""
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
        """Where the pages of publications are shown from now on."""
        with self._lock:
            self._public_url = public_url
            self._team.publishing.public_url = public_url

    def now(self) -> datetime:
        """The virtual time, aware, in UTC."""
        with self._lock:
            return self._clock.now()
