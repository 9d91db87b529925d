"""One poller for each event loop and connection, shared by all triggers."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from weakref import WeakKeyDictionary

from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.polling.poller import Poller

_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ConnectionSettings, Poller]] = WeakKeyDictionary()
_closing: set[asyncio.Task[None]] = set()


class _SharedPoller:
    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._poller: Poller | None = None

    async def __aenter__(self) -> Poller:
        loop = asyncio.get_running_loop()
        poller = _pollers.get(loop, {}).get(self._settings)
        if poller is None:
            for closed in [each for each in _pollers if each.is_closed()]:
                # A loop that was closed with running tasks leaves pollers that cannot end.
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
    # A second cancellation of a trigger must not leave connections open.
    await asyncio.shield(closing)


def subscribed(settings: ConnectionSettings) -> AbstractAsyncContextManager[Poller]:
    """Yield the running loop's poller for these settings. It ends with its last subscriber.

    Another key is another setting, so it gets another poller.
    """
    return _SharedPoller(settings)
