"""What Airflow's triggerer does for the triggers of watchers, in the event loop of a test.

The manager of shared streams is Airflow's own. Around it stands what the triggerer keeps in its database: the events that were
stored, and the state stores of the assets. A test can hold back the word that an event is stored, and kill it all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from airflow.triggers.shared_stream import SharedStreamManager

from airflow_provider_octospark.triggers.published import OctosparkPublishedTrigger

PATIENCE = 20.0
"""How long a test waits for what must come, in seconds; none of them takes a tenth of it."""


class Store:
    """The state store of an asset, which outlives the triggerer; it takes what JSON can carry.

    :param broken: how many of the next calls fail.
    """

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.broken = 0
        self.writes = 0

    async def aget(self, key: str) -> Any:
        """Return a value, or None."""
        self._break()
        return json.loads(self.kept.get(key, "null"))

    async def aset(self, key: str, value: Any) -> None:
        """Keep a value."""
        self._break()
        self.writes += 1
        self.kept[key] = json.dumps(value, allow_nan=False)

    def _break(self) -> None:
        if self.broken:
            self.broken -= 1
            raise OSError("the metadata database is locked")


class Triggerer:
    """A triggerer with one or more watchers of the same team; start it again after :meth:`kill`.

    :param events: the outcomes in all events that were stored, across restarts.
    :param confirms: whether a watcher is told that its event is stored.
    :param stores: whether events are stored at all; what is fired meanwhile is lost with a kill.
    """

    def __init__(self, store: Store | None, make: Callable[[], OctosparkPublishedTrigger], watchers: int = 1) -> None:
        self.events: list[Any] = []
        self.confirms = self.stores = True
        self._store = store
        self._make = make
        self._watchers = watchers
        self._manager = SharedStreamManager()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Run the triggers."""
        self._manager = SharedStreamManager()
        for number in range(self._watchers):
            self._tasks.append(asyncio.create_task(self._run(number)))

    async def kill(self) -> None:
        """Stop at once, with whatever had not been stored."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._manager.stop_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something; what ends a watcher ends the test."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.01)

    def reported(self) -> list[str]:
        """The submissions whose publication was told, in order."""
        return [event["scheduled_post_id"] for event in self.events]

    async def _run(self, number: int) -> None:
        trigger: Any = self._make()
        trigger.asset_state_store = self._store
        key = trigger.shared_stream_key()
        stream = self._manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(stream):
                seq = self._manager.bind_pending_event(trigger_id=number, key=key)
                assert seq is not None
                if self.stores:
                    assert event.payload
                    self.events += json.loads(json.dumps(event.payload))
                if self.stores and self.confirms:
                    asyncio.get_running_loop().call_later(0.02, self._manager.confirm_persisted, [seq])
        finally:
            with suppress(asyncio.CancelledError):
                await self._manager.unsubscribe(number, key)
