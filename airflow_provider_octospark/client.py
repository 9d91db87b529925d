"""Sending requests to Octospark: the only module that imports httpx.

There is one way to send, the asynchronous one. Synchronous code uses it through :class:`OctosparkClient`, which
runs it on an event loop of its own, so that both colours share every decision, and so that even a blocking call
is bounded in *total* time: a socket timeout alone never ends a server that sends one byte per second.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_before_delay

from airflow_provider_octospark import __version__
from airflow_provider_octospark.answers import MAX_ANSWER_BYTES, Answer, RawAnswer, read_answer
from airflow_provider_octospark.background_loop import BackgroundLoop
from airflow_provider_octospark.connection import ConnectionSettings
from airflow_provider_octospark.exceptions import (
    OctosparkAnswerError,
    OctosparkArgumentError,
    OctosparkConnectError,
    OctosparkError,
    OctosparkHeldUpError,
    OctosparkNetworkError,
    OctosparkSettingsError,
)
from airflow_provider_octospark.operations import Operation
from airflow_provider_octospark.retrying import delay_after, is_repeatable_at_once
from airflow_provider_octospark.text import plain

if TYPE_CHECKING:
    import httpx
else:
    # httpx2 is httpx's maintained successor with the same interface; it is taken where it is installed.
    try:
        import httpx2 as httpx
    except ImportError:
        import httpx

T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
"""Longest time to make a connection, in seconds, DNS and TLS included."""

KEEPALIVE_EXPIRY = 75.0
"""Seconds that an idle connection is kept: longer than the longest pause between two looks at a post."""

RETRY_BUDGET = 2.0
"""Time for a safe request with all its retries, as a multiple of the connection's ``timeout``."""


@cache
def ssl_context(verify: bool | str, trust_env: bool) -> ssl.SSLContext:
    """Return the process's one TLS context for these settings; making one costs 25 ms of CPU.

    :raises OctosparkSettingsError: if the CA bundle cannot be read.
    """
    if isinstance(verify, bool):
        return httpx.create_ssl_context(verify=verify, trust_env=trust_env)
    problem: str
    try:
        path = Path(verify)
        if path.is_dir():
            return ssl.create_default_context(capath=str(path))
        return ssl.create_default_context(cafile=str(path))
    except (OSError, ValueError) as error:
        problem = plain(error, 120)
    raise OctosparkSettingsError(
        f"The connection's extra 'verify' is {verify!r}, which cannot be read as a CA bundle ({problem})."
    )


@cache
def user_agent() -> str:
    """Return the User-Agent: this provider's and Airflow's version."""
    for distribution in ("apache-airflow-core", "apache-airflow"):
        try:
            return f"airflow-provider-octospark/{__version__} apache-airflow/{version(distribution)}"
        except PackageNotFoundError:
            continue
    return f"airflow-provider-octospark/{__version__}"


def utcnow() -> datetime:
    """Return our own clock."""
    return datetime.now(UTC)


class AsyncOctosparkClient:
    """Sends operations and reads their answers; bound to one event loop.

    :param settings: how to reach the service.
    :param now: our own clock, for tests that move it.
    """

    def __init__(self, settings: ConnectionSettings, now: Callable[[], datetime] = utcnow) -> None:
        self._settings = settings
        self._now = now
        self._shared: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()
        # In front of httpx's pool, whose own queue takes time that grows with the square of its length.
        self._in_flight = asyncio.Semaphore(settings.max_in_flight)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        shared, self._shared = self._shared, None
        if shared is not None:
            await shared.aclose()

    async def request(self, operation: Operation[T]) -> Answer[T]:
        """Send a safe operation, again after passing errors within the time budget, and read its answer.

        :raises OctosparkError: of the class that fits what happened.
        :raises OctosparkArgumentError: if the operation submits; that is :meth:`submit`'s.
        """
        if operation.submits:
            raise OctosparkArgumentError(f"{operation.name} may not be repeated; use submit().")
        budget = self._settings.timeout * RETRY_BUDGET
        retrying = AsyncRetrying(
            retry=retry_if_exception(is_repeatable_at_once),
            wait=_wait,
            stop=stop_before_delay(budget),
            reraise=True,
        )
        return await retrying(self._read, operation)

    async def submit(self, operation: Operation[T], leave_by: datetime) -> Answer[T]:
        """Send a submission once, on a connection of its own.

        :param leave_by: latest instant at which the request may begin to leave. A process that was held up
            longer (paused, swapped out) must not send: another one may have taken over meanwhile.
        :raises OctosparkConnectError: no connection could be made; nothing was sent.
        :raises OctosparkHeldUpError: ``leave_by`` had passed; nothing was sent.
        :raises OctosparkError: of the class that fits what happened; whether it was processed is not known but
            from its status.
        """
        limits = httpx.Timeout(self._settings.submit_timeout, connect=CONNECT_TIMEOUT)
        async with await self._open(connections=1, limits=limits) as own:
            return await self._exchange(own, operation, self._settings.submit_timeout + CONNECT_TIMEOUT, leave_by)

    async def _read(self, operation: Operation[T]) -> Answer[T]:
        async with self._opening:
            if self._shared is None:
                seconds = self._settings.timeout
                self._shared = await self._open(
                    connections=self._settings.max_in_flight,
                    limits=httpx.Timeout(seconds, connect=min(CONNECT_TIMEOUT, seconds), pool=None),
                )
        async with self._in_flight:
            return await self._exchange(self._shared, operation, self._settings.timeout, None)

    async def _open(self, *, connections: int, limits: httpx.Timeout) -> httpx.AsyncClient:
        settings = self._settings
        context = await asyncio.to_thread(ssl_context, settings.verify, settings.trust_env)
        try:
            return httpx.AsyncClient(
                base_url=settings.base_url,
                headers={
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                    "Authorization": f"Bearer {settings.token}",
                    "User-Agent": user_agent(),
                },
                timeout=limits,
                limits=httpx.Limits(
                    max_connections=connections,
                    max_keepalive_connections=connections,
                    keepalive_expiry=KEEPALIVE_EXPIRY,
                ),
                verify=context,
                proxy=settings.proxy,
                trust_env=settings.trust_env,
                follow_redirects=False,
            )
        except (ValueError, TypeError, ImportError, httpx.InvalidURL):
            pass
        raise OctosparkSettingsError(
            "No HTTP client can be made from the connection. Check 'proxy' in its extra and, with 'trust_env', the "
            "proxy variables of the environment: each must be a URL such as http://proxy.example:3128."
        )

    async def _exchange(
        self, client: httpx.AsyncClient, operation: Operation[T], seconds: float, leave_by: datetime | None
    ) -> Answer[T]:
        departure = _Departure(operation, leave_by, self._now)
        raw: RawAnswer | None = None
        failure: OctosparkError | None = None
        try:
            async with asyncio.timeout(seconds):
                raw = await self._send(client, operation, departure)
        except TimeoutError:
            failure = _network_error(operation, departure, f"no whole answer within {seconds:g} s")
        except (httpx.HTTPError, httpx.StreamError, OSError, ssl.SSLError) as error:
            failure = _network_error(operation, departure, _words(error), error)
        if failure is not None or raw is None:
            # Raised here and not inside ``except``: httpx's frames hold the request's headers, and a traceback
            # that shows locals would show the key.
            raise failure or AssertionError("unreachable")
        return read_answer(operation, raw, self._now())

    async def _send(self, client: httpx.AsyncClient, operation: Operation[Any], departure: _Departure) -> RawAnswer:
        async with client.stream(
            operation.method,
            operation.url_path,
            params=dict(operation.query) or None,
            json=dict(operation.body) if operation.body is not None else None,
            extensions={"trace": departure.trace},
        ) as response:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise OctosparkAnswerError(
                        f"{operation.name} ({operation.about}): the answer is longer than {MAX_ANSWER_BYTES} bytes.",
                        operation=operation.name,
                        target=operation.about,
                        status=response.status_code,
                    )
            headers = {name.lower(): value for name, value in response.headers.items()}
            return RawAnswer(response.status_code, headers, bytes(body))


class _Departure:
    """Notes whether a request has begun to leave, and stops it if that comes too late.

    httpcore calls :meth:`trace` at each step of a request (httpx documentation, 'Extensions', "trace").
    """

    def __init__(self, operation: Operation[Any], leave_by: datetime | None, now: Callable[[], datetime]) -> None:
        self._operation = operation
        self._leave_by = leave_by
        self._now = now
        self.begun = False

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        if not event.endswith("send_request_headers.started"):
            return
        if getattr(info.get("request"), "method", None) == b"CONNECT":
            return  # To a proxy; the request itself follows.
        if self._leave_by is not None and self._now() > self._leave_by:
            operation = self._operation
            raise OctosparkHeldUpError(
                f"{operation.name} ({operation.about}): not sent, because this process was held up until after "
                f"{self._leave_by.isoformat()}.",
                operation=operation.name,
                target=operation.about,
            )
        self.begun = True


def _network_error(
    operation: Operation[Any], departure: _Departure, problem: str, error: BaseException | None = None
) -> OctosparkError:
    never_left = not departure.begun and isinstance(
        error,
        httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError | httpx.UnsupportedProtocol,
    )
    kind = OctosparkConnectError if never_left else OctosparkNetworkError
    what = "no connection could be made" if never_left else "the connection failed"
    return kind(
        f"{operation.name} ({operation.about}): {what} ({problem}).",
        operation=operation.name,
        target=operation.about,
    )


def _words(error: BaseException) -> str:
    said = plain(error, 160)
    name = type(error).__name__
    return f"{name}: {said}" if said else name


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return delay_after(error, state.attempt_number) if error else 0.0


class OctosparkClient:
    """The same for synchronous code: every call blocks, and ends within its time."""

    def __init__(self, settings: ConnectionSettings, now: Callable[[], datetime] = utcnow) -> None:
        self._settings = settings
        self._now = now
        self._loop = BackgroundLoop("octospark-client")
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

    def request(self, operation: Operation[T]) -> Answer[T]:
        """As :meth:`AsyncOctosparkClient.request`."""
        return self._loop.run(self._on_loop(lambda client: client.request(operation)))

    def submit(self, operation: Operation[T], leave_by: datetime) -> Answer[T]:
        """As :meth:`AsyncOctosparkClient.submit`."""
        return self._loop.run(self._on_loop(lambda client: client.submit(operation, leave_by)))

    def request_all(self, operations: Iterable[Operation[T]]) -> list[Answer[T] | OctosparkError]:
        """Send several safe operations at once, as many as ``max_in_flight`` allows; results in their order."""
        wanted = list(operations)
        return self._loop.run(self._on_loop(lambda client: _all(client.request(operation) for operation in wanted)))

    def submit_all(self, operations: Iterable[Operation[T]], leave_by: datetime) -> list[Answer[T] | OctosparkError]:
        """Send several submissions at once, each once and on a connection of its own; results in their order."""
        wanted = list(operations)
        return self._loop.run(
            self._on_loop(lambda client: _all(client.submit(operation, leave_by) for operation in wanted))
        )

    async def _on_loop(self, call: Callable[[AsyncOctosparkClient], Awaitable[T]]) -> T:
        if self._client is None:
            self._client = AsyncOctosparkClient(self._settings, self._now)
        return await call(self._client)


async def _all(calls: Iterable[Awaitable[Answer[T]]]) -> list[Answer[T] | OctosparkError]:
    async def settled(call: Awaitable[Answer[T]]) -> Answer[T] | OctosparkError:
        try:
            return await call
        except OctosparkError as error:
            return error

    return list(await asyncio.gather(*(settled(call) for call in calls)))
