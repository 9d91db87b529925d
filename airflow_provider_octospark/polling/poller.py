"""Read posts for all subscribers in one event loop.

All triggers of a triggerer share one poller for each connection. The poller has one client. Subscribers to the same post
share a read, and many subscribers to posts of one team share a list of posts. The poller calls a subscriber at each poll
instead of waking its task, so a thousand waiting tasks cost little.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterable
from functools import partial

from airflow_provider_octospark.api.backoff import is_transient
from airflow_provider_octospark.api.client import AsyncOctosparkClient
from airflow_provider_octospark.api.models import Post, PostEntries
from airflow_provider_octospark.api.operations import get_post, get_post_performance, list_entries
from airflow_provider_octospark.api.performance import Performance
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.exceptions import (
    OctosparkError,
    OctosparkNetworkError,
    OctosparkRateLimitError,
)
from airflow_provider_octospark.polling.lateness import Lateness
from airflow_provider_octospark.polling.list_reader import BATCH, ListReader
from airflow_provider_octospark.polling.subscriptions import (
    BATCH_DELAY,
    Once,
    PendingRead,
    Subscriber,
    Subscription,
    Team,
)
from airflow_provider_octospark.polling.team_list import COMPANY, LONGEST_REST
from airflow_provider_octospark.polling.work_queue import WorkQueue

FIRST_BATCH_DELAY = 0.05
"""How long a read waits for others of its team, in seconds, where none are expected: many triggers may start at the same
moment."""

OUTAGE = 12
"""This many failures in a row mean that the service is down."""

LONGEST_SLEEP = 3600.0
"""After this many seconds the poller asks a subscriber again for its next poll, because the event loop's clock and the
wall clock may drift apart."""


class Poller:
    """Read posts for many subscribers with one client; created by :func:`subscribed`."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.subscribers = 0
        self.loop = asyncio.get_running_loop()
        self._client = AsyncOctosparkClient(settings)
        self._subscriptions: set[Subscription] = set()
        self._teams: dict[str, Team] = {}
        self._alone: dict[tuple[str, str], PendingRead] = {}
        self._queue = WorkQueue(settings.max_in_flight)
        self._lists = ListReader(self._client, self)
        self._lateness = Lateness()
        self._failures = 0
        self._held_until = 0.0
        self._held_by: OctosparkError | None = None

    async def subscribe(self, team_id: str, post_id: str, subscriber: Subscriber) -> None:
        """Pass a subscriber its post at each poll, until it needs no more polls.

        Polls of the same post share a request; polls of a team's posts may share a list.

        :raises OctosparkError: of the class that fits what happened to a poll.
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
        """Read a post now; the request is shared as in :meth:`follow`.

        :param shows: as :class:`~airflow_provider_octospark.polling.subscriptions.Once`.
        :raises OctosparkError: of the class that fits what happened.
        """
        once = Once(shows)
        await self.subscribe(team_id, post_id, once)
        return once.response

    async def entries(self, team_id: str, limit: int) -> Response[PostEntries]:
        """Read a list of a team's posts now.

        :raises OctosparkError: of the class that fits what happened.
        """
        return await self._client.read(list_entries(team_id, limit))

    async def performance(self, team_id: str, post_id: str) -> Response[Performance]:
        """Read the performance of a post now.

        :raises OctosparkError: of the class that fits what happened.
        """
        return await self._client.read(get_post_performance(team_id, post_id))

    async def aclose(self) -> None:
        """Cancel all requests and close the connections."""
        for team in self._teams.values():
            if team.timer is not None:
                team.timer.cancel()
        for subscription in self._subscriptions:
            self._unplan(subscription)
            subscription.fail(OctosparkNetworkError("The poller was closed while a post was followed."))
        await self._queue.aclose()
        self._alone.clear()
        self._teams.clear()
        await self._client.aclose()

    # Planning

    def _plan(self, subscription: Subscription) -> None:
        """Plan a subscriber's next poll, or end it if it needs no more polls."""
        self._unplan(subscription)
        if subscription.is_over:
            return
        try:
            pause = subscription.pause()
        except Exception as error:  # noqa: BLE001 - the subscriber's own; it is raised where it began to follow
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

    def show_list(self, subscription: Subscription, response: Response[Post]) -> bool:
        """Pass a subscriber a list's response if that suffices; return whether its poll is served."""
        try:
            is_enough = subscription.is_over or subscription.is_shown_by(response)
        except Exception as error:  # noqa: BLE001 - as above
            subscription.fail(error)
            return True
        if is_enough:
            self._show(subscription, response)
        return is_enough

    def _show(self, subscription: Subscription, response: Response[Post]) -> None:
        """Pass a subscriber a response, and plan its next poll."""
        if subscription.is_over:
            return
        try:
            subscription.see(response)
        except Exception as error:  # noqa: BLE001 - as above
            subscription.fail(error)
        self._plan(subscription)

    # Gathering

    def _want(self, subscription: Subscription) -> None:
        """Add a poll that is due to the pending reads."""
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
        """Return the error that stops all requests, if the service limits the rate or is down."""
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
            subscription.post_id.lower(), PendingRead(subscription.team_id, subscription.post_id, now)
        )

    def _look(self, team: Team) -> None:
        """Read the batch; or, if many polls came in a short time, wait for more of them."""
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
            self._queue.put(partial(self._lists.read, team, batch))
        else:
            self.read_alone(batch.values())

    # Single posts

    def read_alone(self, posts: Iterable[PendingRead]) -> None:
        for pending in posts:
            if not pending.is_wanted():
                continue
            present = self._alone.get(pending.key)
            if present is not None:
                present.subscriptions += pending.subscriptions
                continue
            self._alone[pending.key] = pending
            self._queue.put(partial(self._get, pending))

    async def _get(self, pending: PendingRead) -> None:
        """Read one post, unless nobody waits for it any more."""
        if pending.is_wanted():
            pending.is_asked_for = True
            now = self.loop.time()
            self._lateness.record(now - pending.due_at, now, len(self._subscriptions))
            await self.read_post(pending)
        else:
            self._forget(pending)

    def _forget(self, pending: PendingRead) -> None:
        if self._alone.get(pending.key) is pending:
            del self._alone[pending.key]

    async def read_post(self, pending: PendingRead) -> Exception | None:
        """Read one post and pass it on; return the error, if there was one."""
        try:
            response = await self._client.read(get_post(pending.team_id, pending.post_id))
        except Exception as error:  # noqa: BLE001 - its subscribers raise it
            pending.fail(error)
            self.record_failure(error)
            return error
        finally:
            # A later poll needs a new request.
            self._forget(pending)
        self.record_success()
        for number, subscription in enumerate(pending.subscriptions, 1):
            self._show(subscription, response)
            if number % BATCH == 0:
                await asyncio.sleep(0)
        return None

    def record_success(self) -> None:
        """Record that the service responded."""
        self._failures = 0

    def record_failure(self, error: Exception) -> None:
        """Drop the pending requests if the service is down or limits the rate."""
        self._failures = self._failures + 1 if is_transient(error) else 0
        if isinstance(error, OctosparkRateLimitError) and error.retry_after:
            self._held_until, self._held_by = max(self._held_until, self.loop.time() + error.retry_after), error
        elif self._failures < OUTAGE:
            return
        for pending in [each for each in self._alone.values() if not each.is_asked_for]:
            del self._alone[pending.key]
            pending.fail(error)
