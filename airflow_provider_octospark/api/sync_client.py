"""The synchronous client: the async client on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from airflow_provider_octospark.api.client import AsyncOctosparkClient, utcnow
from airflow_provider_octospark.api.operations import Operation
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.exceptions import OctosparkError, OctosparkInterruptedError

T = TypeVar("T")

LOOK_EVERY = 0.2
"""How often a caller that waits for a response looks whether it is to stop, in seconds."""

GRACE = 1.0
"""How long a caller that is to stop still waits for the response of a request that has left, in seconds."""


class BackgroundLoop:
    """Run coroutines for a synchronous caller. The thread starts with the first one.

    The thread is a daemon, so it does not keep a task process alive that Airflow ends. It also ends with this object.

    :param name: the thread's name.
    :param is_stopped: whether the caller is to stop; read while it waits.
    """

    def __init__(self, name: str, is_stopped: Callable[[], bool] = lambda: False) -> None:
        self._name = name
        self._is_stopped = is_stopped
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` and return its result.

        If the caller is interrupted (Airflow's execution timeout, a signal), the coroutine is cancelled.

        :raises OctosparkInterruptedError: if the caller is to stop, and no result has come shortly after.
        """
        future = asyncio.run_coroutine_threadsafe(coroutine, self._started())
        stop_at: float | None = None
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    return future.result(LOOK_EVERY)
                if future.done():
                    return future.result()
                if stop_at is None and self._is_stopped():
                    stop_at = time.monotonic() + GRACE
                if stop_at is not None and time.monotonic() >= stop_at:
                    raise OctosparkInterruptedError("Airflow told the task to stop while it waited for a response.")
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Stop the loop and wait for its thread, at most some seconds."""
        with self._starting:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            _stop(loop)
            thread.join(timeout=5)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
                weakref.finalize(self, _stop, self._loop)
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped, then cancel its tasks and close it."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.suppress(RuntimeError):  # It is closed already.
        loop.call_soon_threadsafe(loop.stop)


class OctosparkClient:
    """Synchronous client: every call blocks, and ends within its time limit.

    :param settings: how to reach the service.
    :param now: our own clock, for tests that move it.
    :param is_stopped: whether the task is to stop; a call that waits then raises :class:`OctosparkInterruptedError`.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        now: Callable[[], datetime] = utcnow,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._now = now
        self._loop = BackgroundLoop("octospark-client", is_stopped)
        self._client: AsyncOctosparkClient | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the event loop."""
        client, self._client = self._client, None
        try:
            if client is not None:
                self._loop.run(client.aclose())
        finally:
            self._loop.close()

    def request(self, operation: Operation[T]) -> Response[T]:
        """As :meth:`AsyncOctosparkClient.request`."""
        return self._loop.run(self._on_loop(lambda client: client.request(operation)))

    def submit(self, operation: Operation[T], leave_by: datetime) -> Response[T]:
        """As :meth:`AsyncOctosparkClient.submit`."""
        return self._loop.run(self._on_loop(lambda client: client.submit(operation, leave_by)))

    def request_all(self, operations: Iterable[Operation[T]]) -> list[Response[T] | OctosparkError]:
        """Send several safe operations at once, as many as ``max_in_flight`` allows; results in their order."""
        pending = list(operations)
        return self._loop.run(self._on_loop(lambda client: _all(client.request(operation) for operation in pending)))

    def submit_all(self, operations: Iterable[Operation[T]], leave_by: datetime) -> list[Response[T] | OctosparkError]:
        """Send several submissions at once, each once and on a connection of its own; results in their order."""
        pending = list(operations)
        return self._loop.run(
            self._on_loop(lambda client: _all(client.submit(operation, leave_by) for operation in pending))
        )

    async def _on_loop(self, call: Callable[[AsyncOctosparkClient], Awaitable[T]]) -> T:
        if self._client is None:
            self._client = AsyncOctosparkClient(self._settings, self._now)
        return await call(self._client)


async def _all(calls: Iterable[Awaitable[Response[T]]]) -> list[Response[T] | OctosparkError]:
    async def settled(call: Awaitable[Response[T]]) -> Response[T] | OctosparkError:
        try:
            return await call
        except OctosparkError as error:
            return error

    return list(await asyncio.gather(*(settled(call) for call in calls)))
