"""Read a team's list of posts instead of single posts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import Protocol

from airflow_provider_octospark.api.backoff import is_transient
from airflow_provider_octospark.api.client import AsyncOctosparkClient
from airflow_provider_octospark.api.models import Post, PostEntries
from airflow_provider_octospark.api.operations import list_entries, post_of
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.slices import Entry
from airflow_provider_octospark.exceptions import (
    OctosparkAnswerError,
    OctosparkAuthError,
    OctosparkConflictError,
    OctosparkError,
    OctosparkNotFoundError,
    OctosparkPermissionError,
    OctosparkRateLimitError,
    OctosparkRequestError,
)
from airflow_provider_octospark.polling.subscriptions import PendingRead, Subscription, Team
from airflow_provider_octospark.polling.team_list import ListAttempt

LIST_TIMEOUT = 20.0
"""Time limit of a list request, in seconds. Many subscribers wait for it."""

BATCH = 10
"""How many subscribers receive a response before the event loop runs other tasks."""


class SingleReads(Protocol):
    """Reads of single posts, used where a list does not help."""

    def read_alone(self, posts: Iterable[PendingRead]) -> None:
        """Read posts one by one."""

    async def read_post(self, pending: PendingRead) -> Exception | None:
        """Read one post now; return the error, if there was one."""

    def show_list(self, subscription: Subscription, response: Response[Post]) -> bool:
        """Pass a subscriber its post; return whether it needs no read of its own."""

    def record_success(self) -> None:
        """Record that the service responded."""

    def record_failure(self, error: Exception) -> None:
        """Record that a request failed."""


class ListReader:
    """Read lists of posts for the pending reads of a team."""

    def __init__(self, client: AsyncOctosparkClient, reads: SingleReads) -> None:
        self._client = client
        self._reads = reads

    async def read(self, team: Team, missing: dict[str, PendingRead]) -> None:
        """Serve as many reads as possible from lists, and read the other posts one by one."""
        try:
            await self._read_lists(team, missing)
        except Exception as error:  # noqa: BLE001 - its subscribers raise it
            for pending in missing.values():
                pending.fail(error)

    async def _read_lists(self, team: Team, missing: dict[str, PendingRead]) -> None:
        for key in [key for key, pending in missing.items() if not pending.is_wanted()]:
            del missing[key]
        attempt = ListAttempt(team.list_strategy, len(missing), asyncio.get_running_loop().time())
        while attempt.limit is not None:
            asked_at = asyncio.get_running_loop().time()
            try:
                operation = list_entries(team.team_id, attempt.limit, attempt.cursor)
                page = await self._client.read(operation, LIST_TIMEOUT)
            except OctosparkError as error:
                await self._handle_failure(attempt, missing, error)
            else:
                self._reads.record_success()
                await self._show(page, team, missing, asked_at)
                attempt.showed(len(page.value.data), len(missing), page.value.next_cursor)
        self._reads.read_alone(missing.values())

    async def _show(
        self, page: Response[PostEntries], team: Team, missing: dict[str, PendingRead], asked_at: float
    ) -> None:
        """Pass the list to the subscribers that it suffices for, and remove their posts from ``missing``."""
        found: dict[str, Entry | None] = {}
        for entry in page.value.data:
            key = entry[0].lower() if entry[0] is not None else ""
            if key in missing or key in team.planned:
                # Two entries that contradict each other are both ignored.
                found[key] = entry if found.get(key, entry) == entry else None
        await asyncio.sleep(0)
        handled = 0
        for key, listed in found.items():
            pending = missing.get(key)
            # A subscriber that was served after the request of the list has newer data.
            early = team.early(key, asked_at)
            if pending is None and not early:
                continue
            handled += 1
            if handled % BATCH == 0:
                await asyncio.sleep(0)
            post = None if listed is None else post_of(listed)
            if post is None:
                continue
            response = Response(post, page.service_time)
            if pending is not None:
                pending.subscriptions = [
                    each for each in pending.subscriptions if not self._reads.show_list(each, response)
                ]
                if not pending.subscriptions:
                    del missing[key]
            for subscription in early:
                if subscription.timer is not None:
                    self._reads.show_list(subscription, response)

    async def _handle_failure(
        self, attempt: ListAttempt, missing: dict[str, PendingRead], error: OctosparkError
    ) -> None:
        """Find out whether only the list fails or the service is down. If it is down, subscribers get the list's error."""
        if isinstance(error, OctosparkRequestError):
            attempt.refused()
        elif isinstance(error, OctosparkNotFoundError | OctosparkPermissionError | OctosparkConflictError):
            attempt.failed()
        elif not isinstance(error, OctosparkRateLimitError) and await self._responds_to_a_read(missing):
            attempt.failed(unreadable=isinstance(error, OctosparkAnswerError))
        else:
            attempt.limit = None
            self._reads.record_failure(error)
            for pending in missing.values():
                pending.fail(error)
            missing.clear()

    async def _responds_to_a_read(self, missing: dict[str, PendingRead]) -> bool:
        """Read any one of the posts, to test the service and the key."""
        pending = [each for each in missing.values() if each.is_wanted()]
        if not pending:
            return False
        sample = random.choice(pending)  # noqa: S311
        del missing[sample.post_id.lower()]
        error = await self._reads.read_post(sample)
        return error is None or not (is_transient(error) or isinstance(error, OctosparkAuthError))
