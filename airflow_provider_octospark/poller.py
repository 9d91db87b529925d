"""Reading posts for everyone who waits in one event loop: one client for each connection, one read for each post."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from airflow_provider_octospark.answers import Answer
from airflow_provider_octospark.client import AsyncOctosparkClient
from airflow_provider_octospark.connection import ConnectionSettings
from airflow_provider_octospark.models import Post
from airflow_provider_octospark.operations import get_post


class Poller:
    """Reads posts for many subscribers over one client; made by :func:`subscribed`."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._client = AsyncOctosparkClient(settings)
        self._under_way: dict[tuple[str, str], asyncio.Task[Answer[Post]]] = {}
        self.subscribers = 0

    async def read(self, team_id: str, post_id: str) -> Answer[Post]:
        """Return a post as the service shows it now; readers of the same post share one request.

        :raises OctosparkError: of the class that fits what happened.
        """
        key = (team_id.lower(), post_id.lower())
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._client.request(get_post(team_id, post_id)))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        # A subscriber that is cancelled must not take the read away from the others.
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """End the reads under way and close the connections."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ConnectionSettings, Poller]] = WeakKeyDictionary()


@asynccontextmanager
async def subscribed(settings: ConnectionSettings) -> AsyncIterator[Poller]:
    """Give the running loop's poller for these settings; it ends with its last subscriber.

    A changed key makes other settings, hence another poller.
    """
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get(settings)
    if poller is None:
        poller = pollers[settings] = Poller(settings)
    poller.subscribers += 1
    try:
        yield poller
    finally:
        poller.subscribers -= 1
        if poller.subscribers == 0:
            pollers.pop(settings, None)
            await poller.aclose()
