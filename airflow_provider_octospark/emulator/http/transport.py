"""Connections that can be reset, truncated or dropped."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Final

from starlette.types import Receive
from uvicorn.protocols.http.h11_impl import H11Protocol

_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


class ExposedProtocol(H11Protocol):
    """uvicorn's HTTP protocol, which hands its transport to the application as `state["transport"]`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app_state = dict(self.app_state)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Store the transport."""
        self.app_state["transport"] = transport
        super().connection_made(transport)


async def gone(receive: Receive) -> None:
    """Wait until either side closes the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def reset(transport: asyncio.Transport, receive: Receive) -> None:
    """End the connection with a TCP reset."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    await drop(transport, receive)


async def drop(transport: asyncio.Transport, receive: Receive) -> None:
    """Close the connection without another byte."""
    transport.abort()
    await gone(receive)


async def cut_off(transport: asyncio.Transport, receive: Receive, start: bytes) -> None:
    """Send the start of a response and close the connection."""
    transport.write(start)
    transport.close()
    await gone(receive)
