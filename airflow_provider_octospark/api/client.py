"""Send requests to Octospark.

The client is asynchronous. Synchronous code uses it through :class:`OctosparkClient`, which runs it on an event loop of
its own. So both share every decision, and a blocking call is bounded in *total* time: a socket timeout does not end a
response that arrives one byte per second.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterable, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Self, TypeVar, cast

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_before_delay

from airflow_provider_octospark.api.backoff import delay_after, is_repeatable_at_once
from airflow_provider_octospark.api.departure import Departure
from airflow_provider_octospark.api.operations import Operation
from airflow_provider_octospark.api.responses import MAX_RESPONSE_BYTES, RawResponse, Response, read_response
from airflow_provider_octospark.api.settings import ConnectionSettings, read_only_error
from airflow_provider_octospark.api.text import Redaction, sanitize
from airflow_provider_octospark.api.transport import KeptConnections, httpx, open_client, shared_ssl_context
from airflow_provider_octospark.exceptions import (
    OctosparkAnswerError,
    OctosparkArgumentError,
    OctosparkConnectError,
    OctosparkError,
    OctosparkNetworkError,
)

T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
"""Maximum time to establish a connection, in seconds, DNS and TLS included."""

RETRY_BUDGET = 2.0
"""Maximum time of a safe request with all its retries, as a multiple of the connection's ``timeout``."""

LEAST_FOR_A_RETRY = 0.5
"""The part of that budget that another attempt needs, as a multiple of ``timeout``. A shorter attempt would only hide the
error."""


def utcnow() -> datetime:
    """Return our own clock."""
    return datetime.now(UTC)


class AsyncOctosparkClient:
    """Client for one event loop: sends operations and reads their responses.

    :param settings: how to reach the service.
    :param now: our own clock, for tests that move it.
    """

    def __init__(self, settings: ConnectionSettings, now: Callable[[], datetime] = utcnow) -> None:
        self._settings = settings
        self._now = now
        self._redaction = Redaction(settings.token)
        self._connections = KeptConnections(settings)
        self._in_flight = asyncio.Semaphore(settings.max_in_flight)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connections.aclose()

    async def request(self, operation: Operation[T]) -> Response[T]:
        """Send a safe operation and read its response; repeat it after transient errors within the time budget.

        The budget begins when the request leaves the queue. The request keeps its place between attempts, so that a
        service in trouble gets fewer requests, not more.

        :raises OctosparkError: of the class that fits what happened.
        :raises OctosparkArgumentError: if the operation submits; use :meth:`submit`.
        """
        if operation.submits:
            raise OctosparkArgumentError(f"{operation.name} may not be repeated; use submit().")
        async with self._in_flight:
            timeout = self._settings.timeout
            retrying = AsyncRetrying(
                retry=retry_if_exception(is_repeatable_at_once),
                wait=_wait,
                stop=stop_before_delay(timeout * (RETRY_BUDGET - LEAST_FOR_A_RETRY)),
                reraise=True,
            )
            ends_at = asyncio.get_running_loop().time() + timeout * RETRY_BUDGET
            return await retrying(self._read, operation, ends_at)

    async def read(self, operation: Operation[T], within: float = math.inf) -> Response[T]:
        """Send a safe operation once and read its response, for callers that repeat it themselves.

        :param within: time limit in seconds, if it is shorter than the connection's ``timeout``.
        :raises OctosparkError: of the class that fits what happened.
        :raises OctosparkArgumentError: if the operation submits; that is :meth:`submit`'s.
        """
        if operation.submits:
            raise OctosparkArgumentError(f"{operation.name} may not be repeated; use submit().")
        async with self._in_flight:
            return await self._read(operation, asyncio.get_running_loop().time() + within)

    async def submit(self, operation: Operation[T], leave_by: datetime) -> Response[T]:
        """Send a submission once, on a connection of its own.

        :param leave_by: latest instant at which the request may start to leave. A process that was held up longer (paused,
            swapped out) must not send, because another one may have taken over.
        :raises OctosparkConnectError: no connection could be made; nothing was sent.
        :raises OctosparkHeldUpError: ``leave_by`` had passed; nothing was sent.
        :raises OctosparkReadOnlyError: the connection is read-only; nothing was sent.
        :raises OctosparkError: of the class that fits what happened. Only the status tells whether the request was
            processed.
        """
        if (refusal := read_only_error(self._settings)) is not None:
            raise refusal
        seconds = self._settings.submit_timeout + CONNECT_TIMEOUT
        return await self._exchange(self._send_alone, operation, seconds, leave_by)

    async def _read(self, operation: Operation[T], ends_at: float) -> Response[T]:
        seconds = min(self._settings.timeout, ends_at - asyncio.get_running_loop().time())
        return await self._exchange(self._send_on_kept, operation, seconds, None)

    async def _exchange(
        self,
        send: Callable[[Operation[Any], Departure, float], Awaitable[RawResponse]],
        operation: Operation[T],
        seconds: float,
        leave_by: datetime | None,
    ) -> Response[T]:
        departure = Departure(operation, leave_by, self._now)
        raw: RawResponse | None = None
        failure: OctosparkError | None = None
        try:
            async with asyncio.timeout(seconds):
                raw = await send(operation, departure, seconds)
        except TimeoutError:
            failure = _network_error(operation, departure, f"no whole answer within {seconds:.3g} s")
        except OctosparkError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - nothing but our own errors may come out
            failure = _network_error(operation, departure, self._redaction.of_text(_words(error)), error)
        if raw is None:
            # Raised here and not inside ``except``, without what was raised before: httpx's frames hold the request's
            # headers, and a traceback that shows locals would show the key.
            raise _detached(failure or _network_error(operation, departure, "no response"))
        return await read_response(operation, raw, self._now(), self._redaction)

    async def _send_on_kept(self, operation: Operation[Any], departure: Departure, seconds: float) -> RawResponse:
        """Send a request on a connection that is kept. The caller bounds the whole, so no step needs a limit but the first:
        a host that does not answer."""
        limits = {"connect": min(CONNECT_TIMEOUT, seconds)}
        connection = await self._connections.take()
        try:
            request = self._connections.request(operation, {"trace": departure.trace, "timeout": limits})
            async with departure:
                departure.handed_over = True
                response = await connection.send(request)
                try:
                    return await _whole(operation, response)
                finally:
                    await response.aclose()
        finally:
            await self._connections.give_back(connection)

    async def _send_alone(self, operation: Operation[Any], departure: Departure, _: float) -> RawResponse:
        """Send a request on a connection of its own, and close that."""
        limits = httpx.Timeout(self._settings.submit_timeout, connect=CONNECT_TIMEOUT)
        client = open_client(self._settings, await shared_ssl_context(self._settings), limits)
        try:
            content = operation.content()
            async with departure:
                departure.handed_over = True
                async with client.stream(
                    operation.method,
                    operation.url_path,
                    params=dict(operation.query) or None,
                    content=content,
                    headers={"Content-Type": "application/json"} if content is not None else None,
                    extensions={"trace": departure.trace},
                ) as response:
                    return await _whole(operation, response)
        finally:
            await client.aclose()


async def _whole(operation: Operation[Any], response: httpx.Response) -> RawResponse:
    """Read a response, and its body as it was sent.

    :raises OctosparkAnswerError: if it is too long.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in cast("AsyncIterable[bytes]", response.stream):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_RESPONSE_BYTES:
            raise OctosparkAnswerError(
                f"{operation.name} ({operation.about}): the response is longer than {MAX_RESPONSE_BYTES} bytes.",
                operation=operation.name,
                target=operation.about,
                status=response.status_code,
            )
    headers = {name.lower(): value for name, value in response.headers.items()}
    return RawResponse(response.status_code, headers, b"".join(chunks))


def _network_error(
    operation: Operation[Any], departure: Departure, problem: str, error: BaseException | None = None
) -> OctosparkError:
    kind: type[OctosparkError]
    if departure.never_left(error):
        kind, what = OctosparkConnectError, "no connection could be made"
        advice = (
            "Nothing was sent. Check the connection's host and the network; behind a company's proxy, also 'proxy' and "
            "'verify' (its CA bundle) in the connection's extra."
        )
    else:
        kind, what = OctosparkNetworkError, "the connection failed"
        advice = (
            "It may have been accepted all the same: look at the post before you send it again."
            if operation.submits
            else "A later try may succeed."
        )
    return kind(
        f"{operation.name} ({operation.about}): {what} ({problem}). {advice}",
        operation=operation.name,
        target=operation.about,
    )


def _detached(error: OctosparkError) -> OctosparkError:
    """Return ``error`` without its traceback and without its context."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _words(error: BaseException) -> str:
    said = sanitize(error, 160)
    name = type(error).__name__
    return f"{name}: {said}" if said else name


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return delay_after(error, state.attempt_number) if error else 0.0
