"""The middleware: records requests, applies faults, and sets the header `Date`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_octospark.emulator.http import transport
from airflow_provider_octospark.emulator.http.routes import UNDISTURBED, Interference
from airflow_provider_octospark.emulator.service.faults import Fault, accounts_named
from airflow_provider_octospark.emulator.service.ledger import RequestEntry
from airflow_provider_octospark.emulator.service.operations import called
from airflow_provider_octospark.emulator.service.service import Service

HOLD_SECONDS: Final = 600.0
"""Maximum time for which a request without a response is held, in real seconds."""

SETTLE_TURNS: Final = 25
"""Number of event loop iterations within which a request gets from the socket to its processing."""

SETTLE_SECONDS: Final = 10.0
"""Time limit of `settle`, in real seconds."""

_OWN_PATHS: Final = ("/_emulator", "/published/", "/openapi.json", "/favicon.ico")

_HTML_PAGE: Final = b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


@dataclass(slots=True)
class _Response:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(slots=True)
class _Exchange:
    """A request to the public API."""

    scope: Scope
    receive: Receive
    send: Send
    body: bytes
    entry: RequestEntry
    fault: Fault | None
    generation: int
    transport: asyncio.Transport = field(init=False)

    def __post_init__(self) -> None:
        self.transport = self.scope["state"]["transport"]


class _SilenceError(Exception):
    """Raised if there is no response and the connection is held."""


class _DoneError(Exception):
    """Raised if the fault has handled the connection, so nothing more is sent."""


class Middleware:
    """The ASGI application that the server runs."""

    def __init__(self, service: Service, app: ASGIApp) -> None:
        self._service = service
        self._app = app
        self._busy = 0
        self._released = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        state = scope["state"]
        state["service"] = self._service
        state["interference"] = UNDISTURBED
        state["settle"] = self.settle
        body = await _read(receive)
        if body is None:
            return
        path: str = scope["path"]
        if path == "/" or path.startswith(_OWN_PATHS):
            await self._response(send, await self._ask(scope, body))
            return
        released = self._released
        self._busy += 1
        try:
            call = called(scope["method"], path)
            accounts = [] if call is None else accounts_named(call, body)
            entry, fault = self._service.receive(scope["method"], path, call, accounts)
            exchange = _Exchange(scope, receive, send, body, entry, fault, self._service.generation)
            await self._serve(exchange, released)
        except _DoneError:
            return
        except _SilenceError:
            pass
        else:
            return
        finally:
            self._busy -= 1
        await _hold(receive, released)
        await transport.drop(exchange.transport, receive)

    # Steering

    def release(self) -> None:
        """Drop all connections that are held or delayed."""
        self._released.set()
        self._released = asyncio.Event()

    async def settle(self) -> None:
        """Wait until all requests are processed, except those that are held."""
        deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
        calm = 0
        while calm < SETTLE_TURNS and asyncio.get_running_loop().time() < deadline:
            if self._busy:
                calm = 0
                await asyncio.sleep(0.001)
            else:
                calm += 1
                await asyncio.sleep(0)

    # One call

    async def _serve(self, exchange: _Exchange, released: asyncio.Event) -> None:
        fault = exchange.fault
        if fault is None:
            response = await self._process(exchange)
        elif fault.fault == "late":
            await self._process(exchange, Interference(late=fault.seconds))
            raise _SilenceError
        elif fault.fault == "omit_account":
            response = await self._process(exchange, Interference(omit=fault))
        elif fault.timestamp == "before":
            await self._strike(exchange, fault, None, released)
            response = await self._process(exchange)
        else:
            response = await self._process(exchange)
            await self._strike(exchange, fault, response, released)
        exchange.entry["status"] = response.status
        await self._response(exchange.send, response)

    async def _process(self, exchange: _Exchange, interference: Interference = UNDISTURBED) -> _Response:
        if exchange.generation != self._service.generation:
            # The emulator was reset in between, and the request belongs to the old state.
            raise _SilenceError
        exchange.scope["state"]["interference"] = interference
        return await self._ask(exchange.scope, exchange.body)

    async def _strike(
        self, exchange: _Exchange, fault: Fault, response: _Response | None, released: asyncio.Event
    ) -> None:
        """Apply a fault. Returns only if the request goes on."""
        match fault.fault:
            case "delay":
                # Processed also if the client gives up, as a slow server does.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(released.wait(), fault.seconds)
            case "no_answer":
                raise _SilenceError
            case "reset":
                await transport.reset(exchange.transport, exchange.receive)
                raise _DoneError
            case "status":
                await self._respond_instead(exchange, _scripted(fault))
            case "not_json":
                html = _Response(200, [(b"content-type", b"text/html; charset=utf-8")], _HTML_PAGE)
                await self._respond_instead(exchange, html)
            case "truncate":
                whole = response or _Response(200, [(b"content-type", b"application/json")], b"{}")
                exchange.entry["status"] = whole.status
                await transport.cut_off(exchange.transport, exchange.receive, self._cut(whole))
                raise _DoneError

    async def _respond_instead(self, exchange: _Exchange, response: _Response) -> None:
        exchange.entry["status"] = response.status
        await self._response(exchange.send, response)
        raise _DoneError

    # Answers

    async def _ask(self, scope: Scope, body: bytes) -> _Response:
        """Return the application's response."""
        response = _Response(500, [], b"")
        unread = [body]

        async def receive() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                response.status = message["status"]
                response.headers = list(message.get("headers", []))
            else:
                response.body += message.get("body", b"")

        await self._app(scope, receive, send)
        return response

    async def _response(self, send: Send, response: _Response) -> None:
        headers = [*response.headers, self._date()]
        if not any(name == b"content-length" for name, _ in headers):
            headers.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    def _date(self) -> tuple[bytes, bytes]:
        return (b"date", format_datetime(self._service.now(), usegmt=True).encode())

    def _cut(self, response: _Response) -> bytes:
        """Return the head of a response, with the full Content-Length, and half of the body."""
        lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}".encode()]
        lines += [name + b": " + value for name, value in [*response.headers, self._date()]]
        return b"\r\n".join(lines) + b"\r\n\r\n" + response.body[: len(response.body) // 2]


async def _read(receive: Receive) -> bytes | None:
    """Return the body of the request, or None if the client disconnected."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part: bytes = message.get("body", b"")
        body += part
        if not message.get("more_body", False):
            return body


async def _hold(receive: Receive, released: asyncio.Event) -> None:
    """Wait until the client disconnects, all requests are released, or the time limit is reached."""
    waiting: set[asyncio.Task[Any]] = {
        asyncio.ensure_future(transport.gone(receive)),
        asyncio.ensure_future(released.wait()),
    }
    await asyncio.wait(waiting, timeout=HOLD_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Emulated"


def _scripted(fault: Fault) -> _Response:
    status = fault.status or 500
    headers = [(name.lower().encode(), value.encode()) for name, value in fault.headers.items()]
    if status in (204, 304):
        return _Response(status, headers, b"")
    body: Any = {"error": {"message": _phrase(status), "code": "emulated_fault"}}
    if "body" in fault.model_fields_set:
        body = fault.body
    sanitize = isinstance(body, str)
    if not any(name == b"content-type" for name, _ in headers):
        headers.append((b"content-type", b"text/plain; charset=utf-8" if sanitize else b"application/json"))
    return _Response(status, headers, body.encode() if sanitize else json.dumps(body).encode())
