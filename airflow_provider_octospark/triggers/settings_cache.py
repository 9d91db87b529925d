"""Connections for everyone in one event loop: looked up once, and once more after a key was refused.

In a triggerer a poll-up is a round trip to its supervisor, and perhaps to a secrets backend: a thousand triggers that
start together, or that are refused together, must not each make one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from airflow_provider_octospark.api.settings import ConnectionSettings

FRESH = 30.0
"""For how many seconds what was looked up serves others too."""


@dataclass(frozen=True)
class Refusal:
    """Settings whose key the service refused.

    :param at: when, by the event loop's clock.
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
    """Return a connection's settings, looked up at most :data:`FRESH` seconds ago.

    :param conn_id: id of the Airflow connection.
    :param look_up: reads it anew. It is awaited in the task of one of those who ask; all others wait for that.
    :param refusal: settings that were refused; they are looked up again, unless that was done since.
    :raises: what ``look_up`` raises; that is not kept.
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
