"""Cache of connection settings for one event loop: read once, and again after a refused key.

In a triggerer, reading a connection is a round trip to its supervisor, and perhaps to a secrets backend. A thousand
triggers that start together must not each make one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from airflow_provider_octospark.api.settings import ConnectionSettings

FRESH = 30.0
"""How long settings are cached, in seconds."""


@dataclass(frozen=True)
class Refusal:
    """Settings with a refused key.

    :param at: when it was refused, by the event loop's clock.
    """

    settings: ConnectionSettings
    at: float


@dataclass
class _Known:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    settings: ConnectionSettings | None = None
    asked_at: float = 0.0

    def usable(self, refusal: Refusal | None, now: float) -> ConnectionSettings | None:
        if self.settings is None or now >= self.asked_at + FRESH:
            return None
        if refusal is not None and self.settings == refusal.settings and self.asked_at < refusal.at:
            return None
        return self.settings


_known: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Known]] = WeakKeyDictionary()


async def settings_of(
    conn_id: str, look_up: Callable[[], Awaitable[ConnectionSettings]], refusal: Refusal | None = None
) -> ConnectionSettings:
    """Return a connection's settings, read at most :data:`FRESH` seconds ago.

    :param conn_id: id of the Airflow connection.
    :param look_up: reads the connection. It is awaited in one caller's task; the other callers wait for it.
    :param refusal: refused settings; they are read again, unless that was done since.
    :raises: what ``look_up`` raises; errors are not cached.
    """
    loop = asyncio.get_running_loop()
    known = _known.setdefault(loop, {}).setdefault(conn_id, _Known())
    settings = known.usable(refusal, loop.time())
    if settings is not None:
        return settings
    async with known.turn:
        settings = known.usable(refusal, loop.time())
        if settings is None:
            asked_at = loop.time()
            settings = await look_up()
            known.settings, known.asked_at = settings, asked_at
    return settings
