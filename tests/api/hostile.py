"""A server that responses as badly as a test asks it to, on 127.0.0.1."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"

_LINGER_ZERO = struct.pack("ii", 1, 0)


@dataclass
class Request:
    """A whole request, as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Exchange:
    """One connection, in the hands of a behaviour."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[Request]

    async def read_head(self) -> tuple[str, str, dict[str, str]]:
        """Read a request up to its empty line."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.split(":", 1) for line in lines if line)
        return method, target, {name.strip().lower(): value.strip() for name, value in pairs}

    async def read_request(self) -> Request:
        """Read a whole request, and count it."""
        method, target, headers = await self.read_head()
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        request = Request(method, target, headers, body)
        self.requests.append(request)
        return request

    async def send(self, data: bytes) -> None:
        """Send bytes, at the pace at which they are taken."""
        self.writer.write(data)
        await self.writer.drain()

    async def silence(self) -> None:
        """Say nothing more until the other side gives up."""
        while await self.reader.read(65536):
            pass

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.writer.transport.abort()


Behaviour = Callable[[Exchange], Awaitable[None]]


@dataclass
class HostileServer:
    """Gives every connection to a behaviour, from entering to leaving the context.

    :param behaviour: returns when the connection is to be closed.
    :param tls: what to show if connections are TLS.
    """

    behaviour: Behaviour
    tls: ssl.SSLContext | None = None
    connections: int = 0
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        self.connections += 1
        # A client may go away at any point; that is no concern of the server's.
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError, ssl.SSLError):
            await self.behaviour(Exchange(reader, writer, self.requests))
        writer.close()


def response(
    status: int = 200, body: bytes = b"{}", headers: dict[str, str] | None = None, *, reason: str = "Whatever"
) -> bytes:
    """Return a whole answer, with the right length unless the headers say another."""
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in fields.items() if value)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def answering(data: bytes, *, keeps: bool = False) -> Behaviour:
    """Return a behaviour that reads a request and sends ``data``.

    :param keeps: whether further requests on the same connection are served likewise.
    """

    async def behave(exchange: Exchange) -> None:
        await exchange.read_request()
        await exchange.send(data)
        while keeps:
            await exchange.read_request()
            await exchange.send(data)

    return behave
