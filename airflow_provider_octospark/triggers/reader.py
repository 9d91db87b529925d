"""A trigger's access to the shared poller, with a second attempt after a key was rotated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Self, TypeVar

from airflow_provider_octospark.api.models import Post, PostEntries
from airflow_provider_octospark.api.performance import Performance
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.exceptions import OctosparkAuthError, OctosparkError, OctosparkNetworkError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.polling.poller import Poller
from airflow_provider_octospark.polling.registry import subscribed
from airflow_provider_octospark.polling.subscriptions import Subscriber
from airflow_provider_octospark.triggers.settings_cache import Refusal, settings_of

T = TypeVar("T")


class Reader:
    """Read through the shared poller of a connection; after a refused key, through one with the current key.

    :param conn_id: id of the Airflow connection.
    """

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._turn = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._settings: ConnectionSettings | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def token(self) -> str:
        """The API key in use; empty before the first request."""
        return self._settings.token if self._settings else ""

    async def subscribe(self, post: tuple[str, str], subscriber: Subscriber) -> None:
        """Pass a subscriber a post at each poll, until it needs no more polls.

        After a refused key, the connection is read again and the poll repeated, once for each time that the key worked.

        :param post: team and post.
        :raises OctosparkError: of the class that fits what happened to a poll.
        """
        refusal: Refusal | None = None
        while True:
            settings = self._settings if self._settings and refusal is None else await self._connect(refusal)
            polls = subscriber.polls
            try:
                return await self._ask_with(settings, lambda poller: poller.subscribe(*post, subscriber))
            except OctosparkAuthError:
                if refusal is not None and subscriber.polls == polls:
                    raise
            refusal = Refusal(settings, asyncio.get_running_loop().time())

    async def read(self, post: tuple[str, str]) -> Response[Post]:
        """Read a post now; after a refused key, once more with the current key.

        :param post: team and post.
        :raises OctosparkError: of the class that fits what happened.
        """
        return await self._ask(lambda poller: poller.read(*post))

    async def entries(self, team_id: str, limit: int) -> Response[PostEntries]:
        """Read a list of a team's posts now; after a refused key, once more with the current key.

        :raises OctosparkError: of the class that fits what happened.
        """
        return await self._ask(lambda poller: poller.entries(team_id, limit))

    async def performance(self, post: tuple[str, str]) -> Response[Performance]:
        """Read the performance of a post now; after a refused key, once more with the current key.

        :param post: team and post.
        :raises OctosparkError: of the class that fits what happened.
        """
        return await self._ask(lambda poller: poller.performance(*post))

    async def _ask(self, question: Callable[[Poller], Awaitable[T]]) -> T:
        settings = self._settings or await self._connect(None)
        refusal: Refusal | None = None
        try:
            return await self._ask_with(settings, question)
        except OctosparkAuthError:
            refusal = Refusal(settings, asyncio.get_running_loop().time())
        return await self._ask_with(await self._connect(refusal), question)

    async def _ask_with(self, settings: ConnectionSettings, question: Callable[[Poller], Awaitable[T]]) -> T:
        # The poller must outlive this request, also if another one of this reader leaves it.
        async with subscribed(settings) as poller:
            return await question(poller)

    async def _look_up(self) -> ConnectionSettings:
        return await OctosparkHook(self._conn_id).aget_settings()

    async def _connect(self, refusal: Refusal | None) -> ConnectionSettings:
        async with self._turn:
            try:
                settings = await settings_of(self._conn_id, self._look_up, refusal)
            except OctosparkError:
                raise
            except Exception as error:  # noqa: BLE001 - Airflow's and any secrets backend's
                # The text of the exception may contain a secret.
                problem = type(error).__name__
            else:
                if settings != self._settings:
                    await self._stack.aclose()
                    await self._stack.enter_async_context(subscribed(settings))
                    self._settings = settings
                return settings
        raise OctosparkNetworkError(f"Airflow could not read the connection {self._conn_id!r} ({problem}).")
