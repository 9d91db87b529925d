"""The emulator as an HTTP server in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import socket
import threading
from collections.abc import Coroutine
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

import uvicorn

from airflow_provider_octospark.emulator.http.app import application
from airflow_provider_octospark.emulator.http.middleware import Middleware
from airflow_provider_octospark.emulator.http.transport import ExposedProtocol
from airflow_provider_octospark.emulator.service.service import Service
from airflow_provider_octospark.emulator.settings import Settings

STOP_SECONDS: Final = 2.0
"""Time limit for open requests when the server stops, after their connections are closed."""


def check_loopback(host: str) -> None:
    """Refuse a host that is not a loopback address: the emulator is not protected."""
    if host == "localhost":
        return
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    raise ValueError(f"the emulator listens on loopback only, not on {host!r}")


class _Server(uvicorn.Server):
    """uvicorn, but it stops at once, also with open requests."""

    def __init__(self, config: uvicorn.Config, middleware: Middleware) -> None:
        super().__init__(config)
        self._middleware = middleware
        self._ending = asyncio.Event()
        self.settled = threading.Event()
        """Set once connections are accepted, or after a failed start."""

    def end(self) -> None:
        """Stop the server; call it in the server's event loop."""
        self._ending.set()

    async def main_loop(self) -> None:
        self.settled.set()
        await self._ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        self._middleware.release()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=STOP_SECONDS)


class Emulator(Service):
    """The emulator: `Service` over HTTP on a loopback address.

    Use it as a context manager, or with `start` and `stop`.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        start: datetime | None = None,
        factor: float = 1.0,
        seed: int | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Create the emulator without starting it.

        :param host: a loopback address.
        :param port: the port; 0 for a free one.
        :param start: the clock's first time (aware); default: the real time.
        :param factor: virtual seconds per real second; with 0 the clock stands still until it is advanced.
        :param seed: makes the ids of scheduledPosts and random faults reproducible; default: different in each run.
        :param settings: switches for undocumented points.
        """
        super().__init__(start=start, factor=factor, seed=seed, settings=settings)
        check_loopback(host)
        self._host = host
        self._port = port
        self._base_url: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._server: _Server | None = None
        self._middleware = Middleware(self, application())

    # Addresses

    @property
    def base_url(self) -> str:
        """The base URL of the API, for example `http://127.0.0.1:40123`."""
        if self._base_url is None:
            raise RuntimeError("the emulator has not been started")
        return self._base_url

    @property
    def connection(self) -> str:
        """An Airflow connection as JSON, ready for `AIRFLOW_CONN_OCTOSPARK_DEFAULT`."""
        host, _, port = self.base_url.rpartition(":")
        return json.dumps(
            {
                "conn_type": "octospark",
                "host": host,
                "port": int(port),
                "password": self.token,
                "extra": {"team_id": self.team_id},
            }
        )

    # Life

    def start(self) -> Self:
        """Start the server; return once it accepts connections."""
        if self._thread is not None:
            raise RuntimeError("the emulator has been started already")
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # asyncio disables Nagle's algorithm only for sockets that name their protocol. With it a # response takes 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, self._port))
        except BaseException:
            listener.close()
            raise
        address = f"[{self._host}]" if family == socket.AF_INET6 else self._host
        self._base_url = f"http://{address}:{listener.getsockname()[1]}"
        self.publish_under(self._base_url)
        config = uvicorn.Config(
            self._middleware,
            loop="asyncio",
            http=ExposedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            date_header=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
        )
        self._server = _Server(config, self._middleware)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(self._loop, self._server, listener), name="octospark-emulator", daemon=True
        )
        self._thread.start()
        self._server.settled.wait()
        if not self._server.started:
            raise RuntimeError("the emulator could not be started")
        return self

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop, server: _Server, listener: socket.socket) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(server.serve(sockets=[listener]))
        finally:
            loop.close()
            server.settled.set()

    def stop(self) -> None:
        """Stop at once. Open requests get no response."""
        if self._thread is None or self._loop is None or self._server is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed if the server was stopped before
            self._loop.call_soon_threadsafe(self._server.end)
        self._thread.join()

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()

    # What has to do with requests under way

    def _in_loop(self) -> bool:
        return self._thread is threading.current_thread()

    def settle(self) -> None:
        """Wait until all requests are processed, except those that are held without a response.

        A client that disconnected may have left a request that is not processed yet.
        """
        if self._loop is None or self._in_loop() or self._loop.is_closed():
            return
        waiting: Coroutine[Any, Any, None] = self._middleware.settle()
        asyncio.run_coroutine_threadsafe(waiting, self._loop).result()

    def advance(self, seconds: float) -> None:
        """Settle, advance the clock by `seconds` of virtual time, and process what is due."""
        self.settle()
        super().advance(seconds)

    def advance_until_idle(self) -> float:
        """Settle, and advance the clock until nothing is pending; return by how many virtual seconds.

        See `Service.advance_until_idle`.
        """
        self.settle()
        return super().advance_until_idle()

    def reset(self) -> None:
        """Reset the emulator; see `Service.reset`. Held and delayed requests are dropped without effect."""
        super().reset()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._middleware.release)
