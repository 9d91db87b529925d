"""The HTTP library: TLS, proxy and limits of a connection's settings. This is the only module that imports httpx."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache, partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode
from urllib.request import getproxies

from airflow_provider_octospark import __version__
from airflow_provider_octospark.api.operations import Operation
from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.api.text import sanitize
from airflow_provider_octospark.exceptions import OctosparkSettingsError

if TYPE_CHECKING:
    import httpx as httpx
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

KEEPALIVE_EXPIRY = 75.0
"""How long an idle connection is kept, in seconds: longer than the longest pause between two polls of a post."""


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


async def shared_ssl_context(settings: ConnectionSettings) -> ssl.SSLContext:
    """Return the shared TLS context for a connection; a new one is made in a thread.

    :raises OctosparkSettingsError: if the CA bundle cannot be read.
    """
    return await asyncio.to_thread(ssl_context, settings.verify, settings.trust_env)


def open_client(
    settings: ConnectionSettings, context: ssl.SSLContext, timeout: httpx.Timeout | None = None
) -> httpx.AsyncClient:
    """Return a client with one connection.

    :param timeout: limits of each step of a request; None (default) if each request brings its own.
    :raises OctosparkSettingsError: if the library refuses the settings.
    """
    # Whatever goes wrong: httpx's frames hold the headers, so nothing of it is let out.
    with suppress(Exception):
        return httpx.AsyncClient(
            base_url=settings.base_url,
            headers=_headers(settings),
            # None is kept: the service has no use for them, and whoever answers could fill the memory with them.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            timeout=timeout,
            limits=_ONE_CONNECTION,
            verify=context,
            proxy=_proxy(settings, context),
            # A service on this machine is reached directly, without the environment's proxy.
            trust_env=_trusts_environment(settings),
            follow_redirects=False,
        )
    raise _unusable()


class KeptConnection:
    """A connection that is kept between reads, opened by the first one.

    It has a transport of its own, because a shared pool walks all its connections at both ends of each request and asks the
    operating system about each idle one: with 12 connections this takes more than half of the time of a read (measured).

    :raises OctosparkSettingsError: if the library refuses the settings.
    """

    def __init__(self, settings: ConnectionSettings, context: ssl.SSLContext) -> None:
        self.idle_since = 0.0
        self._transport: httpx.AsyncHTTPTransport | httpx.AsyncClient
        if settings.proxy is None and _trusts_environment(settings) and _environment_has_proxy():
            # Only the client reads NO_PROXY.
            self._transport = client = open_client(settings, context)
            self._send: Callable[[httpx.Request], Awaitable[httpx.Response]] = partial(client.send, stream=True)
        else:
            self._transport = transport = _transport(settings, context)
            self._send = transport.handle_async_request

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the caller reads the response's stream and closes the response."""
        return await self._send(request)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._transport.aclose()


class KeptConnections:
    """The connections for the reads of one client. The caller limits their number.

    The one that was used last is used next, so that few are open if few are needed.

    :param settings: how to reach the service.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._opening = asyncio.Lock()
        self._context: ssl.SSLContext | None = None
        self._headers: httpx.Headers | None = None
        self._all: set[KeptConnection] = set()
        self._idle: deque[KeptConnection] = deque()

    async def take(self) -> KeptConnection:
        """Return a connection that nobody uses.

        :raises OctosparkSettingsError: if the settings cannot be used.
        """
        if self._idle:
            return self._idle.pop()
        if self._context is None:
            async with self._opening:
                if self._context is None:
                    self._context = await shared_ssl_context(self._settings)
        connection = KeptConnection(self._settings, self._context)
        self._all.add(connection)
        return connection

    async def give_back(self, connection: KeptConnection) -> None:
        """Let others use a connection, and close one that was not used for long."""
        if connection not in self._all:
            await connection.aclose()
            return
        now = connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)
        if self._idle[0].idle_since + KEEPALIVE_EXPIRY < now:
            expired = self._idle.popleft()
            self._all.discard(expired)
            await expired.aclose()

    def request(self, operation: Operation[Any], extensions: dict[str, Any]) -> httpx.Request:
        """Return an operation's request.

        :param extensions: as httpx documents them: time limits and trace.
        :raises OctosparkArgumentError: if the operation's body holds what JSON cannot carry.
        """
        if self._headers is None:
            netloc = httpx.URL(self._settings.base_url).netloc
            self._headers = httpx.Headers({"Host": netloc.decode("ascii"), **_headers(self._settings)})
        url = self._settings.base_url + operation.url_path
        if operation.query:
            url += "?" + urlencode(operation.query, quote_via=quote)
        content = operation.content()
        if content is None and operation.method == "GET":
            # A given stream spares the library the search for headers that such a request does not have.
            nothing = httpx.ByteStream(b"")
            return httpx.Request("GET", url, headers=self._headers, stream=nothing, extensions=extensions)
        headers = self._headers.copy()
        if content is not None:
            headers["Content-Type"] = "application/json"
        return httpx.Request(operation.method, url, headers=headers, content=content, extensions=extensions)

    async def aclose(self) -> None:
        """Close all connections."""
        connections, self._all = self._all, set()
        self._idle.clear()
        for connection in connections:
            await connection.aclose()


_ONE_CONNECTION = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_EXPIRY)


def _headers(settings: ConnectionSettings) -> dict[str, str]:
    return {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Authorization": f"Bearer {settings.token}",
        "Connection": "keep-alive",
        "User-Agent": user_agent(),
    }


def _transport(settings: ConnectionSettings, context: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
    with suppress(Exception):
        return httpx.AsyncHTTPTransport(
            verify=context, limits=_ONE_CONNECTION, proxy=_proxy(settings, context), trust_env=False
        )
    raise _unusable()


def _unusable() -> OctosparkSettingsError:
    return OctosparkSettingsError(
        "No HTTP client can be made from the connection. Check 'proxy' in its extra and, with 'trust_env', the "
        "proxy variables of the environment: each must be a URL such as http://proxy.example:3128, and one that begins "
        "with socks5 needs the package socksio."
    )


def _trusts_environment(settings: ConnectionSettings) -> bool:
    return settings.trust_env and not settings.is_loopback


def _environment_has_proxy() -> bool:
    proxies = getproxies()
    return any(proxies.get(scheme) for scheme in ("http", "https", "all"))


def _proxy(settings: ConnectionSettings, context: ssl.SSLContext) -> httpx.Proxy | None:
    if settings.proxy is None:
        return None
    # httpx accepts a TLS context for the connection to the proxy only then.
    return httpx.Proxy(settings.proxy, ssl_context=context if settings.proxy.startswith("https:") else None)
