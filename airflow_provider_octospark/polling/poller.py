"""Reading posts for everyone who waits in one event loop.

All triggers of a triggerer share one poller for each connection. It has one client, lets those who wait for the same
post share a read, and where enough wait for posts of one team, asks for the team's list in place of each post. Whoever
waits is called, not woken, at each look: a thousand tasks that are only to wait on need not run for that.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary

from airflow_provider_octospark.api.backoff import is_transient
from airflow_provider_octospark.api.client import AsyncOctosparkClient
from airflow_provider_octospark.api.models import Post, PostEntries
from airflow_provider_octospark.api.operations import get_post, list_entries, post_of
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.settings import ConnectionSettings
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
from airflow_provider_octospark.polling.subscriptions import (
    BATCH_DELAY,
    Once,
    PendingRead,
    Subscriber,
    Subscription,
    Team,
)
from airflow_provider_octospark.polling.team_list import COMPANY, LONGEST_REST, ListAttempt

FIRST_BATCH_DELAY = 0.05
"""How long a look waits for others of its team where none are to be expected: many triggers may have started at the same
moment."""

LIST_TIMEOUT = 20.0
"""Longest time that a list may take, in seconds: many wait for it."""

OUTAGE = 12
"""So many failures in a row, and nothing else, mean that the service is down and not that one request went wrong."""

LONGEST_SLEEP = 3600.0
"""After so many seconds a follower is asked anew when it wants to look: the event loop's clock and the calendar, by which
posts are due, may drift apart."""

BATCH = 25
"""How many followers see an answer before others on the event loop get their turn."""


class Poller:
    """Reads posts for many subscribers over one client; made by :func:`subscribed`."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.subscribers = 0
        self.loop = asyncio.get_running_loop()
        self._client = AsyncOctosparkClient(settings)
        self._most = settings.max_in_flight
        self._subscriptions: set[Subscription] = set()
        self._teams: dict[str, Team] = {}
        self._alone: dict[tuple[str, str], PendingRead] = {}
        self._jobs: deque[Callable[[], Awaitable[None]]] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._held_until = 0.0
        self._held_by: OctosparkError | None = None

    async def subscribe(self, team_id: str, post_id: str, subscriber: Subscriber) -> None:
        """Show a follower the post whenever it wants to look, until it has nothing more to look at.

        Looks at the same post share a request; those at posts of one team may be answered by a list of them.

        :raises OctosparkError: of the class that fits what happened to a look.
        """
        subscription = Subscription(team_id, post_id, subscriber, self.loop.create_future())
        self._subscriptions.add(subscription)
        try:
            self._plan(subscription)
            await subscription.finished
        finally:
            self._subscriptions.discard(subscription)
            self._unplan(subscription)

    async def read(
        self, team_id: str, post_id: str, shows: Callable[[Response[Post]], bool] | None = None
    ) -> Response[Post]:
        """Return a post as the service shows it now; shared as in :meth:`follow`.

        :param shows: as :class:`~airflow_provider_octospark.polling.subscriptions.Once`.
        :raises OctosparkError: of the class that fits what happened.
        """
        once = Once(shows)
        await self.subscribe(team_id, post_id, once)
        return once.response

    async def entries(self, team_id: str, limit: int) -> Response[PostEntries]:
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
        for subscription in self._subscriptions:
            self._unplan(subscription)
            subscription.fail(OctosparkNetworkError("The poller was closed while a post was followed."))
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        self._alone.clear()
        self._teams.clear()
        await self._client.aclose()

    # Planning

    def _plan(self, subscription: Subscription) -> None:
        """Let a follower look when it wants to, or tell it that it is done."""
        self._unplan(subscription)
        if subscription.is_over:
            return
        try:
            pause = subscription.pause()
        except Exception as error:  # noqa: BLE001 - the follower's own; it is raised where it began to follow
            subscription.fail(error)
            return
        if pause is None:
            subscription.finish()
        elif pause <= 0:
            self._want(subscription)
        else:
            subscription.planned_at = self.loop.time()
            subscription.due_at = subscription.planned_at + pause
            subscription.timer = self.loop.call_later(min(pause, LONGEST_SLEEP), self._plan, subscription)
            self._team(subscription.team_id).plan(subscription)

    def _unplan(self, subscription: Subscription) -> None:
        if subscription.timer is not None:
            subscription.timer.cancel()
            subscription.timer = None
            self._team(subscription.team_id).unplan(subscription)

    def _show_list(self, subscription: Subscription, response: Response[Post]) -> bool:
        """Let a follower see a list's answer, if that is enough for it; return whether it misses its look no more."""
        try:
            is_enough = subscription.is_over or subscription.is_shown_by(response)
        except Exception as error:  # noqa: BLE001 - as above
            subscription.fail(error)
            return True
        if is_enough:
            self._show(subscription, response)
        return is_enough

    def _show(self, subscription: Subscription, response: Response[Post]) -> None:
        """Let a follower see an answer, and plan its next look."""
        if subscription.is_over:
            return
        try:
            subscription.see(response)
        except Exception as error:  # noqa: BLE001 - as above
            subscription.fail(error)
        self._plan(subscription)

    # Gathering

    def _want(self, subscription: Subscription) -> None:
        """Take in that a look is due."""
        now = self.loop.time()
        hold = self._hold(now)
        if hold is not None:
            subscription.fail(hold)
            return
        pending = self._alone.get(subscription.key)
        if pending is None:
            pending = self._batched(subscription, now)
        pending.subscriptions.append(subscription)

    def _hold(self, now: float) -> OctosparkError | None:
        """Return what nobody may ask because of, if the service has had enough."""
        if self._held_by is None or now >= self._held_until:
            return None
        error = copy.copy(self._held_by)
        error.retry_after = self._held_until - now
        return error

    def _team(self, team_id: str) -> Team:
        team = self._teams.get(team_id.lower())
        if team is None:
            idle_since = self.loop.time() - 2 * LONGEST_REST
            for key in [key for key, team in self._teams.items() if team.is_idle_since(idle_since)]:
                del self._teams[key]
            team = self._teams[team_id.lower()] = Team(team_id)
        return team

    def _batched(self, subscription: Subscription, now: float) -> PendingRead:
        team = self._team(subscription.team_id)
        team.arrives(now)
        if team.timer is None:
            team.since = now
            if team.list_strategy.is_resting(now):
                team.timer = self.loop.call_soon(self._look, team)
            else:
                patience = BATCH_DELAY if team.expects_company else FIRST_BATCH_DELAY
                team.timer = self.loop.call_at(now + patience, self._look, team)
        return team.batch.setdefault(
            subscription.post_id.lower(), PendingRead(subscription.team_id, subscription.post_id)
        )

    def _look(self, team: Team) -> None:
        """Look at what was gathered; or, if many have come in a short time, wait for those who come behind."""
        now = self.loop.time()
        until = team.since + BATCH_DELAY
        if (
            2 * len(team.batch) >= COMPANY
            and now < until - FIRST_BATCH_DELAY
            and not team.list_strategy.is_resting(now)
        ):
            team.timer = self.loop.call_at(until, self._look, team)
            return
        batch, team.batch, team.timer = team.batch, {}, None
        hold = self._hold(now)
        if hold is not None:
            for pending in batch.values():
                pending.fail(hold)
        elif team.list_strategy.is_worth_it(len(batch), now):
            self._put(partial(self._list, team, batch))
        else:
            self._read_alone(batch.values())

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

    def _read_alone(self, posts: Iterable[PendingRead]) -> None:
        for pending in posts:
            if not pending.is_wanted():
                continue
            present = self._alone.get(pending.key)
            if present is not None:
                present.subscriptions += pending.subscriptions
                continue
            self._alone[pending.key] = pending
            self._put(partial(self._get, pending))

    async def _get(self, pending: PendingRead) -> None:
        """Read one post, unless it was given up meanwhile."""
        if pending.is_wanted():
            pending.is_asked_for = True
            await self._response(pending)
        else:
            self._forget(pending)

    def _forget(self, pending: PendingRead) -> None:
        if self._alone.get(pending.key) is pending:
            del self._alone[pending.key]

    async def _response(self, pending: PendingRead) -> Exception | None:
        """Ask for one post and show it; return what went wrong, if something did."""
        try:
            response = await self._client.read(get_post(pending.team_id, pending.post_id))
        except Exception as error:  # noqa: BLE001 - its followers raise it
            pending.fail(error)
            self._note(error)
            return error
        finally:
            # Whoever wants to look from now on has to be asked for anew.
            self._forget(pending)
        self._failures = 0
        for number, subscription in enumerate(pending.subscriptions, 1):
            self._show(subscription, response)
            if number % BATCH == 0:
                await asyncio.sleep(0)
        return None

    def _note(self, error: Exception) -> None:
        """Spare a service that is down, or has had enough, the requests that are still to be sent."""
        self._failures = self._failures + 1 if is_transient(error) else 0
        if isinstance(error, OctosparkRateLimitError) and error.retry_after:
            self._held_until, self._held_by = max(self._held_until, self.loop.time() + error.retry_after), error
        elif self._failures < OUTAGE:
            return
        for pending in [each for each in self._alone.values() if not each.is_asked_for]:
            del self._alone[pending.key]
            pending.fail(error)

    # Lists

    async def _list(self, team: Team, missing: dict[str, PendingRead]) -> None:
        """Let lists answer as many of the looks as they can, and read the other posts one by one."""
        try:
            await self._list_pages(team, missing)
        except Exception as error:  # noqa: BLE001 - its followers raise it
            for pending in missing.values():
                pending.fail(error)

    async def _list_pages(self, team: Team, missing: dict[str, PendingRead]) -> None:
        for key in [key for key, pending in missing.items() if not pending.is_wanted()]:
            del missing[key]
        occasion = ListAttempt(team.list_strategy, len(missing), self.loop.time())
        while occasion.limit is not None:
            asked_at = self.loop.time()
            try:
                page = await self._client.read(list_entries(team.team_id, occasion.limit), LIST_TIMEOUT)
            except OctosparkError as error:
                await self._list_failed(occasion, missing, error)
            else:
                self._failures = 0
                await self._serve(page, team, missing, asked_at)
                occasion.showed(len(page.value.data), len(missing))
        self._read_alone(missing.values())

    async def _serve(
        self, page: Response[PostEntries], team: Team, missing: dict[str, PendingRead], asked_at: float
    ) -> None:
        """Show the list to whom it is enough for, and take what nobody misses any more out of ``missing``."""
        found: dict[str, Any] = {}
        for item in page.value.data:
            key = item["id"].lower() if isinstance(item, dict) and isinstance(item.get("id"), str) else None
            if key in missing or key in team.planned:
                # Of two that contradict each other, neither is believed.
                found[key] = item if found.get(key, item) == item else None
        handled = 0
        for key, item in found.items():
            pending = missing.get(key)
            # Who has looked since the list was asked for has seen what is newer.
            early = team.early(key, asked_at)
            if pending is None and not early:
                continue
            handled += 1
            if handled % BATCH == 0:
                await asyncio.sleep(0)
            post = post_of(item)
            if post is None:
                continue
            response = Response(post, page.service_time)
            if pending is not None:
                pending.subscriptions = [each for each in pending.subscriptions if not self._show_list(each, response)]
                if not pending.subscriptions:
                    del missing[key]
            for subscription in early:
                if subscription.timer is not None:
                    self._show_list(subscription, response)

    async def _list_failed(self, occasion: ListAttempt, missing: dict[str, PendingRead], error: OctosparkError) -> None:
        """Find out whether the list is at fault or the service is down; if it is down, followers get the list's error."""
        if isinstance(error, OctosparkRequestError):
            occasion.refused()
        elif isinstance(error, OctosparkNotFoundError | OctosparkPermissionError | OctosparkConflictError):
            occasion.failed()
        elif not isinstance(error, OctosparkRateLimitError) and await self._answers_otherwise(missing):
            occasion.failed(unreadable=isinstance(error, OctosparkAnswerError))
        else:
            occasion.limit = None
            self._note(error)
            for pending in missing.values():
                pending.fail(error)
            missing.clear()

    async def _answers_otherwise(self, missing: dict[str, PendingRead]) -> bool:
        """Read one of the posts by itself, any of them: is the service there, and is the key good?"""
        pending = [each for each in missing.values() if each.is_wanted()]
        if not pending:
            return False
        scout = random.choice(pending)  # noqa: S311
        del missing[scout.post_id.lower()]
        error = await self._response(scout)
        return error is None or not (is_transient(error) or isinstance(error, OctosparkAuthError))


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
