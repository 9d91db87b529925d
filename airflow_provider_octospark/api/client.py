"""Send requests to Octospark. This is the only module that imports httpx.

The client is asynchronous. Synchronous code uses it through :class:`OctosparkClient`, which runs it on an event loop of
its own. So both share every decision, and a blocking call is bounded in *total* time: a socket timeout does not end a
response that arrives one byte per second.
"""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_before_delay

from airflow_provider_octospark import __version__
from airflow_provider_octospark.api.backoff import delay_after, is_repeatable_at_once
from airflow_provider_octospark.api.operations import Operation
from airflow_provider_octospark.api.responses import MAX_RESPONSE_BYTES, RawResponse, Response, read_response
from airflow_provider_octospark.api.settings import ConnectionSettings, read_only_error
from airflow_provider_octospark.api.text import Redaction, sanitize
from airflow_provider_octospark.exceptions import (
    OctosparkAnswerError,
    OctosparkArgumentError,
    OctosparkConnectError,
    OctosparkError,
    OctosparkHeldUpError,
    OctosparkNetworkError,
    OctosparkSettingsError,
)

if TYPE_CHECKING:
    import httpx
else:
    # httpx2 is httpx's maintained successor with the same interface; it is taken where it is installed.
    try:
        import httpx2 as httpx
    except ImportError:
        import httpx
    else:
        # Airflow quiets httpx, which writes a line for each request, and does not know its successor.
        if logging.getLogger(httpx.__name__).level == logging.NOTSET:
            logging.getLogger(httpx.__name__).setLevel(logging.WARNING)

T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
"""Maximum time to establish a connection, in seconds, DNS and TLS included."""

KEEPALIVE_EXPIRY = 75.0
"""How long an idle connection is kept, in seconds: longer than the longest pause between two polls of a post."""

RETRY_BUDGET = 2.0
"""Maximum time of a safe request with all its retries, as a multiple of the connection's ``timeout``."""

LEAST_FOR_A_RETRY = 0.5
"""The part of that budget that another attempt needs, as a multiple of ``timeout``. A shorter attempt would only hide the
error."""


@cache
def ssl_context(verify: bool | str, trust_env: bool) -> ssl.SSLContext:
    """Return the shared TLS context for these settings. Creating one takes 25 ms of CPU.

    :raises OctosparkSettingsError: if the CA bundle cannot be read.
    """
    source = "SSL_CERT_FILE or SSL_CERT_DIR of the environment"
    try:
        if isinstance(verify, bool):
            return httpx.create_ssl_context(verify=verify, trust_env=trust_env)
        source = f"the connection's extra 'verify', which is {verify!r},"
        if Path(verify).is_dir():
            return ssl.create_default_context(capath=verify)
        return ssl.create_default_context(cafile=verify)
    except (OSError, ValueError) as error:
        problem = sanitize(error, 120)
    raise OctosparkSettingsError(
        f"{source[0].upper()}{source[1:]} cannot be read as a CA bundle ({problem}). Name a file of certificates in "
        "PEM form, or a folder of them as c_rehash makes it."
    )


@cache
def user_agent() -> str:
    """Return the User-Agent, with the versions of this provider and of Airflow."""
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
    """Client for one event loop: sends operations and reads their responses.

    :param settings: how to reach the service.
    :param now: our own clock, for tests that move it.
    """

    def __init__(self, settings: ConnectionSettings, now: Callable[[], datetime] = utcnow) -> None:
        self._settings = settings
        self._now = now
        self._redaction = Redaction(settings.token)
        self._shared: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()
        # This limit precedes httpx's pool, because the time of the pool's own queue grows with the square of its length.
        self._in_flight = asyncio.Semaphore(settings.max_in_flight)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the idle connections."""
        shared, self._shared = self._shared, None
        if shared is not None:
            await shared.aclose()

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
        return await self._exchange(self._own(), operation, seconds, leave_by)

    async def _read(self, operation: Operation[T], ends_at: float) -> Response[T]:
        seconds = min(self._settings.timeout, ends_at - asyncio.get_running_loop().time())
        return await self._exchange(self._kept(), operation, seconds, None)

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[httpx.AsyncClient]:
        """Yield a client with one new connection, and close it."""
        client = await self._open(1, httpx.Timeout(self._settings.submit_timeout, connect=CONNECT_TIMEOUT))
        try:
            yield client
        finally:
            await client.aclose()

    @asynccontextmanager
    async def _kept(self) -> AsyncIterator[httpx.AsyncClient]:
        """Yield the client that keeps its connections."""
        async with self._opening:
            if self._shared is None:
                seconds = self._settings.timeout
                self._shared = await self._open(
                    self._settings.max_in_flight, httpx.Timeout(seconds, connect=min(CONNECT_TIMEOUT, seconds))
                )
            shared = self._shared
        yield shared

    async def _open(self, connections: int, limits: httpx.Timeout) -> httpx.AsyncClient:
        settings = self._settings
        context = await asyncio.to_thread(ssl_context, settings.verify, settings.trust_env)
        # Whatever goes wrong: httpx's frames hold the headers, so nothing of it is let out.
        with suppress(Exception):
            return httpx.AsyncClient(
                base_url=settings.base_url,
                headers={
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                    "Authorization": f"Bearer {settings.token}",
                    "User-Agent": user_agent(),
                },
                # None is kept: the service has no use for them, and whoever answers could fill the memory with them.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                timeout=limits,
                limits=httpx.Limits(
                    max_connections=connections,
                    max_keepalive_connections=connections,
                    keepalive_expiry=KEEPALIVE_EXPIRY,
                ),
                verify=context,
                proxy=_proxy(settings, context),
                # A service on this machine is reached directly, without the environment's proxy.
                trust_env=settings.trust_env and not settings.is_loopback,
                follow_redirects=False,
            )
        raise OctosparkSettingsError(
            "No HTTP client can be made from the connection. Check 'proxy' in its extra and, with 'trust_env', the "
            "proxy variables of the environment: each must be a URL such as http://proxy.example:3128, and one that begins "
            "with socks5 needs the package socksio."
        )

    async def _exchange(
        self,
        opened: AbstractAsyncContextManager[httpx.AsyncClient],
        operation: Operation[T],
        seconds: float,
        leave_by: datetime | None,
    ) -> Response[T]:
        departure = _Departure(operation, leave_by, self._now)
        raw: RawResponse | None = None
        failure: OctosparkError | None = None
        try:
            async with asyncio.timeout(seconds), opened as client, departure:
                raw = await self._send(client, operation, departure)
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
        return read_response(operation, raw, self._now(), self._redaction)

    async def _send(self, client: httpx.AsyncClient, operation: Operation[Any], departure: _Departure) -> RawResponse:
        content = operation.content()
        departure.handed_over = True
        async with client.stream(
            operation.method,
            operation.url_path,
            params=dict(operation.query) or None,
            content=content,
            headers={"Content-Type": "application/json"} if content is not None else None,
            extensions={"trace": departure.trace},
        ) as response:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_RESPONSE_BYTES:
                    raise OctosparkAnswerError(
                        f"{operation.name} ({operation.about}): the response is longer than {MAX_RESPONSE_BYTES} bytes.",
                        operation=operation.name,
                        target=operation.about,
                        status=response.status_code,
                    )
            headers = {name.lower(): value for name, value in response.headers.items()}
            return RawResponse(response.status_code, headers, bytes(body))


class _Departure:
    """Record whether a request has started to leave, and stop it if that is too late.

    httpcore calls :meth:`trace` at each step of a request (httpx documentation, 'Extensions', "trace").

    A context manager around the request: httpcore forgets a connection whose TLS handshake is cancelled, so that it would
    stay open for as long as the event loop runs; it is closed here.
    """

    def __init__(self, operation: Operation[Any], leave_by: datetime | None, now: Callable[[], datetime]) -> None:
        self._operation = operation
        self._leave_by = leave_by
        self._now = now
        self._traced = False
        self._begun = False
        self._unfinished: Any = None
        self.handed_over = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        unfinished, self._unfinished = self._unfinished, None
        if unfinished is not None:
            await unfinished.aclose()

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        self._traced = True
        if event.endswith("connect_tcp.complete"):
            self._unfinished = info.get("return_value")
        elif event.endswith("start_tls.complete"):
            self._unfinished = None
        if not event.endswith("send_request_headers.started"):
            return
        if getattr(info.get("request"), "method", None) == b"CONNECT":
            return  # This goes to the proxy; the request itself follows.
        if self._leave_by is not None and self._now() > self._leave_by:
            operation = self._operation
            raise OctosparkHeldUpError(
                f"{operation.name} ({operation.about}): not sent, because this process was held up until after "
                f"{self._leave_by.isoformat()}.",
                operation=operation.name,
                target=operation.about,
            )
        self._begun = True
        self._unfinished = None

    def never_left(self, error: BaseException | None) -> bool:
        """Whether it is certain that no byte of the request has left."""
        if not self.handed_over:
            return True
        if self._traced:
            return not self._begun
        return isinstance(
            error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.UnsupportedProtocol
        )


def _proxy(settings: ConnectionSettings, context: ssl.SSLContext) -> httpx.Proxy | None:
    if settings.proxy is None:
        return None
    # httpx accepts a TLS context for the connection to the proxy only then.
    return httpx.Proxy(settings.proxy, ssl_context=context if settings.proxy.startswith("https:") else None)


def _network_error(
    operation: Operation[Any], departure: _Departure, problem: str, error: BaseException | None = None
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
