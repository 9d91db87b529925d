"""Reading posts for everyone who waits in one event loop.

All triggers of a triggerer share one poller for each connection. It has one client, lets those who wait for the same
post share a read, and where enough wait for posts of one team, asks for the team's list in place of each post.
"""

from __future__ import annotations

import asyncio
import copy
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary

from airflow_provider_octospark.answers import Answer
from airflow_provider_octospark.client import AsyncOctosparkClient
from airflow_provider_octospark.connection import ConnectionSettings
from airflow_provider_octospark.exceptions import (
    OctosparkAnswerError,
    OctosparkAuthError,
    OctosparkConflictError,
    OctosparkError,
    OctosparkNetworkError,
    OctosparkNotFoundError,
    OctosparkPermissionError,
    OctosparkRateLimitError,
    OctosparkRequestError,
)
from airflow_provider_octospark.listing import COMPANY, LONGEST_REST, Listing, Round
from airflow_provider_octospark.models import Post, PostEntries
from airflow_provider_octospark.operations import get_post, list_entries, post_of
from airflow_provider_octospark.retrying import is_passing

GATHERING = 1.0
"""How long a read waits for others of its team, in seconds, where others are to be expected."""

FIRST_GATHERING = 0.05
"""How long it waits where none are to be expected: many triggers may have started at the same moment."""

LIST_TIMEOUT = 20.0
"""Longest time that a list may take, in seconds: many wait for it."""

OUTAGE = 12
"""So many failures in a row, and nothing else, mean that the service is down and not that one request went wrong."""

BATCH = 25
"""How many readers are served before others on the event loop get their turn."""

Shows = Callable[[Answer[Post]], bool]
"""Whether a list's answer is enough for a reader."""


@dataclass(eq=False, slots=True)
class _Reader:
    answer: asyncio.Future[Answer[Post]]
    shows: Shows

    def take(self, answer: Answer[Post]) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: BaseException) -> None:
        if not self.answer.done():
            # Each gets one of its own: raising one exception in many tasks piles up their tracebacks in it.
            self.answer.set_exception(copy.copy(error) if isinstance(error, OctosparkError) else error)


@dataclass(eq=False, slots=True)
class _Wanted:
    """A post, and who waits to read it."""

    team_id: str
    post_id: str
    readers: list[_Reader] = field(default_factory=list)
    is_asked_for: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.team_id.lower(), self.post_id.lower()

    def is_wanted(self) -> bool:
        """Whether anybody still waits; readers that were cancelled do not."""
        return any(not reader.answer.done() for reader in self.readers)

    def take(self, answer: Answer[Post]) -> None:
        for reader in self.readers:
            reader.take(answer)

    def fail(self, error: BaseException) -> None:
        for reader in self.readers:
            reader.fail(error)


@dataclass(eq=False)
class _Team:
    """Readers of one team's posts that are gathered for a common look."""

    team_id: str
    listing: Listing = field(default_factory=Listing)
    gathered: dict[str, _Wanted] = field(default_factory=dict)
    since: float = 0.0
    timer: asyncio.Handle | None = None
    _arrivals: float = 0.0
    _arrived_at: float = 0.0

    def arrives(self, now: float) -> None:
        """Count a reader, and let those before it fade."""
        self._arrivals = 1.0 + self._arrivals * math.exp((self._arrived_at - now) / GATHERING)
        self._arrived_at = now

    @property
    def expects_company(self) -> bool:
        """Whether, as of late, enough readers come while one waits."""
        return self._arrivals >= COMPANY

    def is_idle_since(self, moment: float) -> bool:
        """Whether nobody has asked about it since then."""
        return not self.gathered and self._arrived_at < moment


class Poller:
    """Reads posts for many subscribers over one client; made by :func:`subscribed`."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.subscribers = 0
        self.loop = asyncio.get_running_loop()
        self._client = AsyncOctosparkClient(settings)
        self._most = settings.max_in_flight
        self._teams: dict[str, _Team] = {}
        self._alone: dict[tuple[str, str], _Wanted] = {}
        self._jobs: deque[Callable[[], Awaitable[None]]] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._held_until = 0.0
        self._held_by: OctosparkError | None = None

    async def read(self, team_id: str, post_id: str, shows: Shows | None = None) -> Answer[Post]:
        """Return a post as the service shows it now.

        Readers of the same post share a request; those of one team may be answered by a list of its posts.

        :param shows: whether an answer that comes from a list is enough; if not, the post is read by itself. By default
            it is, if it shows any submission.
        :raises OctosparkError: of the class that fits what happened.
        """
        now = self.loop.time()
        if self._held_by is not None and now < self._held_until:
            error = copy.copy(self._held_by)
            error.retry_after = self._held_until - now
            raise error
        reader = _Reader(self.loop.create_future(), shows or _shows_a_submission)
        wanted = self._alone.get((team_id.lower(), post_id.lower()))
        if wanted is None:
            wanted = self._gathered(team_id, post_id, now)
        wanted.readers.append(reader)
        return await reader.answer

    async def entries(self, team_id: str, limit: int) -> Answer[PostEntries]:
        """Return one list of a team's posts as the service shows it now.

        :raises OctosparkError: of the class that fits what happened.
        """
        return await self._client.read(list_entries(team_id, limit))

    async def aclose(self) -> None:
        """End what is under way and close the connections."""
        self._jobs.clear()
        for team in self._teams.values():
            if team.timer is not None:
                team.timer.cancel()
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        left = [*self._alone.values(), *(each for team in self._teams.values() for each in team.gathered.values())]
        for wanted in left:
            wanted.fail(OctosparkNetworkError("The poller was closed while a read was under way."))
        self._alone.clear()
        self._teams.clear()
        await self._client.aclose()

    # Gathering

    def _gathered(self, team_id: str, post_id: str, now: float) -> _Wanted:
        team = self._teams.get(team_id.lower())
        if team is None:
            self._forget_teams(now - 2 * LONGEST_REST)
            team = self._teams[team_id.lower()] = _Team(team_id)
        team.arrives(now)
        if team.timer is None:
            team.since = now
            if team.listing.is_resting(now):
                team.timer = self.loop.call_soon(self._look, team)
            else:
                patience = GATHERING if team.expects_company else FIRST_GATHERING
                team.timer = self.loop.call_at(now + patience, self._look, team)
        return team.gathered.setdefault(post_id.lower(), _Wanted(team_id, post_id))

    def _forget_teams(self, idle_since: float) -> None:
        for key in [key for key, team in self._teams.items() if team.is_idle_since(idle_since)]:
            del self._teams[key]

    def _look(self, team: _Team) -> None:
        """Look at what was gathered; or, if many have come in a short time, wait for those who come behind."""
        now = self.loop.time()
        until = team.since + GATHERING
        if 2 * len(team.gathered) >= COMPANY and now < until - FIRST_GATHERING and not team.listing.is_resting(now):
            team.timer = self.loop.call_at(until, self._look, team)
            return
        gathered, team.gathered, team.timer = team.gathered, {}, None
        if team.listing.is_worth_it(len(gathered), now):
            self._put(partial(self._list, team, gathered))
        else:
            self._read_alone(gathered.values())

    # Work: as many requests at once as the connection allows, first come first served

    def _put(self, job: Callable[[], Awaitable[None]]) -> None:
        self._jobs.append(job)
        if len(self._workers) < self._most:
            # It works for all; the context of the trigger that happens to start it would put its name into their logs.
            self._workers.add(self.loop.create_task(self._work(), name="octospark-poller", context=Context()))

    async def _work(self) -> None:
        try:
            while self._jobs:
                await self._jobs.popleft()()
        finally:
            self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def _read_alone(self, posts: Iterable[_Wanted]) -> None:
        for wanted in posts:
            if not wanted.is_wanted():
                continue
            present = self._alone.get(wanted.key)
            if present is not None:
                present.readers += wanted.readers
                continue
            self._alone[wanted.key] = wanted
            self._put(partial(self._get, wanted))

    async def _get(self, wanted: _Wanted) -> None:
        """Read one post, unless it was given up meanwhile."""
        try:
            if wanted.is_wanted():
                wanted.is_asked_for = True
                await self._answer(wanted)
        finally:
            if self._alone.get(wanted.key) is wanted:
                del self._alone[wanted.key]

    async def _answer(self, wanted: _Wanted) -> Exception | None:
        """Ask for one post and tell its readers; return what went wrong, if something did."""
        try:
            answer = await self._client.read(get_post(wanted.team_id, wanted.post_id))
        except Exception as error:  # noqa: BLE001 - its readers raise it
            wanted.fail(error)
            self._note(error)
            return error
        self._failures = 0
        wanted.take(answer)
        return None

    def _note(self, error: Exception) -> None:
        """Spare a service that is down, or has had enough, the requests that are still to be sent."""
        self._failures = self._failures + 1 if is_passing(error) else 0
        if isinstance(error, OctosparkRateLimitError) and error.retry_after:
            self._held_until, self._held_by = self.loop.time() + error.retry_after, error
        elif self._failures < OUTAGE:
            return
        for wanted in [each for each in self._alone.values() if not each.is_asked_for]:
            del self._alone[wanted.key]
            wanted.fail(error)

    # Lists

    async def _list(self, team: _Team, missing: dict[str, _Wanted]) -> None:
        """Let lists answer as many of the readers as they can, and read the other posts one by one."""
        try:
            await self._list_pages(team, missing)
        except Exception as error:  # noqa: BLE001 - its readers raise it
            for wanted in missing.values():
                wanted.fail(error)

    async def _list_pages(self, team: _Team, missing: dict[str, _Wanted]) -> None:
        for key in [key for key, wanted in missing.items() if not wanted.is_wanted()]:
            del missing[key]
        occasion = Round(team.listing, len(missing), self.loop.time())
        while occasion.limit is not None:
            try:
                page = await self._client.read(list_entries(team.team_id, occasion.limit), LIST_TIMEOUT)
            except OctosparkError as error:
                await self._list_failed(occasion, missing, error)
            else:
                self._failures = 0
                await self._serve(page, missing)
                occasion.showed(len(page.value.data), len(missing))
        self._read_alone(missing.values())

    async def _serve(self, page: Answer[PostEntries], missing: dict[str, _Wanted]) -> None:
        """Answer those readers that the list is enough for, and take their posts out of ``missing``."""
        found: dict[str, Any] = {}
        for item in page.value.data:
            key = item["id"].lower() if isinstance(item, dict) and isinstance(item.get("id"), str) else None
            if key in missing:
                # Of two that contradict each other, neither is believed.
                found[key] = item if found.get(key, item) == item else None
        for number, (key, item) in enumerate(found.items(), 1):
            post = post_of(item)
            if post is not None:
                answer = Answer(post, page.service_time)
                wanted = missing[key]
                for reader in wanted.readers:
                    if not reader.answer.done() and reader.shows(answer):
                        reader.take(answer)
                if not wanted.is_wanted():
                    del missing[key]
            if number % BATCH == 0:
                await asyncio.sleep(0)

    async def _list_failed(self, occasion: Round, missing: dict[str, _Wanted], error: OctosparkError) -> None:
        """Find out whether the list is at fault or the service is down; if it is down, readers get the list's error."""
        if isinstance(error, OctosparkRequestError):
            occasion.refused()
        elif isinstance(error, OctosparkNotFoundError | OctosparkPermissionError | OctosparkConflictError):
            occasion.failed()
        elif not isinstance(error, OctosparkRateLimitError) and await self._answers_otherwise(missing):
            occasion.failed(unreadable=isinstance(error, OctosparkAnswerError))
        else:
            occasion.limit = None
            self._note(error)
            for wanted in missing.values():
                wanted.fail(error)
            missing.clear()

    async def _answers_otherwise(self, missing: dict[str, _Wanted]) -> bool:
        """Read one of the posts by itself, any of them: is the service there, and is the key good?"""
        wanted = [each for each in missing.values() if each.is_wanted()]
        if not wanted:
            return False
        scout = random.choice(wanted)  # noqa: S311
        del missing[scout.post_id.lower()]
        error = await self._answer(scout)
        return error is None or not (is_passing(error) or isinstance(error, OctosparkAuthError))


def _shows_a_submission(answer: Answer[Post]) -> bool:
    return answer.value.latest_scheduled_post is not None


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ConnectionSettings, Poller]] = WeakKeyDictionary()
_closing: set[asyncio.Task[None]] = set()


class _Subscription:
    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._poller: Poller | None = None

    async def __aenter__(self) -> Poller:
        loop = asyncio.get_running_loop()
        poller = _pollers.get(loop, {}).get(self._settings)
        if poller is None:
            for closed in [each for each in _pollers if each.is_closed()]:
                # A loop that was closed over its tasks leaves pollers that nothing can end any more.
                del _pollers[closed]
            poller = _pollers.setdefault(loop, {})[self._settings] = Poller(self._settings)
        poller.subscribers += 1
        self._poller = poller
        return poller

    async def __aexit__(self, *_: object) -> None:
        poller, self._poller = self._poller, None
        if poller is None:
            return
        poller.subscribers -= 1
        if poller.subscribers == 0:
            await _end(self._settings, poller)


async def _end(settings: ConnectionSettings, poller: Poller) -> None:
    loop = poller.loop
    if loop.is_closed():
        return
    _pollers.get(loop, {}).pop(settings, None)
    closing = loop.create_task(poller.aclose(), context=Context())
    _closing.add(closing)
    closing.add_done_callback(_closing.discard)
    # A trigger that is cancelled once more must not leave connections open.
    await asyncio.shield(closing)


def subscribed(settings: ConnectionSettings) -> AbstractAsyncContextManager[Poller]:
    """Give the running loop's poller for these settings; it ends with its last subscriber.

    A changed key makes other settings, hence another poller.
    """
    return _Subscription(settings)
