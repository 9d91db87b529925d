"""A hostile server, or an obedient one, beside blocking code: in a thread of its own."""

from __future__ import annotations

import asyncio
import ssl
import threading
from types import TracebackType
from typing import Self

from tests.api.hostile import LOOPBACK, Behaviour, HostileServer, Request


class ServerThread:
    """A server for blocking code, from entering to leaving the context."""

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self._server = HostileServer(behaviour, tls)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.__aenter__(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._server.__aexit__(None, None, None), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def requests(self) -> list[Request]:
        """The whole requests that came."""
        return self._server.requests

    @property
    def connections(self) -> int:
        """How many connections came."""
        return self._server.connections

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    @property
    def base_url(self) -> str:
        """Its address."""
        return f"{'https' if self._server.tls else 'http'}://{LOOPBACK}:{self.port}"
