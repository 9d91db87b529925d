"""What can go wrong on the wire: each fault as a server that does it to whoever calls."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tests.api.calls import Call
from tests.api.hostile import Behaviour, Exchange, answering, response

Certificate = Literal["right", "other host", "expired", "unknown authority"]
Address = Literal["listening", "refusing", "not accepting", "unresolvable", "unreachable", "slow to resolve"]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    :param behaviour: what the server does with a connection on which this call comes.
    :param certificate: what the server shows, if it speaks TLS.
    :param asks_tls: whether the client's address is an https one.
    :param waits: whether the call comes to an end by a timeout only.
    :param harmless: whether the call succeeds all the same.
    """

    group: str
    name: str
    behaviour: Callable[[Call], Behaviour]
    address: Address = "listening"
    certificate: Certificate | None = None
    asks_tls: bool = False
    waits: bool = False
    harmless: bool = False

    @property
    def title(self) -> str:
        """What the table calls it."""
        return f"{self.group}: {self.name}"


def _fixed(data: bytes, *, keeps: bool = False) -> Callable[[Call], Behaviour]:
    return lambda _call: answering(data, keeps=keeps)


def _the_same(behaviour: Behaviour) -> Callable[[Call], Behaviour]:
    return lambda _call: behaviour


async def _never(_exchange: Exchange) -> None:
    raise AssertionError("nobody can have connected")


async def _silent_from_the_start(exchange: Exchange) -> None:
    await exchange.silence()


# Before a request is there.

_CONNECTING = (
    Fault("connecting", "connection refused", _the_same(_never), "refusing"),
    Fault("connecting", "name does not resolve", _the_same(_never), "unresolvable"),
    Fault("connecting", "resolver does not answer in time", _the_same(_never), "slow to resolve", waits=True),
    Fault("connecting", "network unreachable", _the_same(_never), "unreachable"),
    Fault("connecting", "connection never accepted", _the_same(_never), "not accepting", waits=True),
    Fault("TLS", "certificate for another host", _fixed(response()), certificate="other host", asks_tls=True),
    Fault("TLS", "certificate expired", _fixed(response()), certificate="expired", asks_tls=True),
    Fault(
        "TLS", "certificate of an unknown authority", _fixed(response()), certificate="unknown authority", asks_tls=True
    ),
    Fault("TLS", "plain HTTP on a TLS port", _fixed(response()), asks_tls=True, waits=True),
    Fault("TLS", "handshake never answered", _the_same(_silent_from_the_start), asks_tls=True, waits=True),
)


async def _reset_at_once(exchange: Exchange) -> None:
    exchange.reset()


async def _reset_in_handshake(exchange: Exchange) -> None:
    await exchange.reader.read(1)
    exchange.reset()


async def _close_at_once(_exchange: Exchange) -> None:
    return


async def _reset_in_request(exchange: Exchange) -> None:
    await exchange.reader.readexactly(20)
    exchange.reset()


async def _silence(exchange: Exchange) -> None:
    await exchange.read_request()
    await exchange.silence()


async def _reset_after_request(exchange: Exchange) -> None:
    await exchange.read_request()
    exchange.reset()


async def _close_after_request(exchange: Exchange) -> None:
    await exchange.read_request()


def _then(data: bytes, end: Callable[[Exchange], Any]) -> Callable[[Call], Behaviour]:
    async def behave(exchange: Exchange) -> None:
        await exchange.read_request()
        await exchange.send(data)
        # So that the reset does not overtake the data.
        await asyncio.sleep(0.05)
        result = end(exchange)
        if result is not None:
            await result

    return _the_same(behave)


def _drop(_exchange: Exchange) -> None:
    return None


def _dripping(data: bytes) -> Callable[[Call], Behaviour]:
    async def behave(exchange: Exchange) -> None:
        await exchange.read_request()
        for byte in data:
            await exchange.send(bytes([byte]))
            await asyncio.sleep(0.1)

    return _the_same(behave)


def _endless(head: bytes, part: bytes) -> Callable[[Call], Behaviour]:
    async def behave(exchange: Exchange) -> None:
        await exchange.read_request()
        await exchange.send(head)
        while True:
            await exchange.send(part)
            await asyncio.sleep(0)

    return _the_same(behave)


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

# A connection that does not do what connections do. A tenth of a second for a byte is, for the timeouts of these tests,
# what a second is for real ones.
_CONNECTION = (
    Fault("connection", "reset when accepted", _the_same(_reset_at_once)),
    Fault("connection", "reset in the TLS handshake", _the_same(_reset_in_handshake), asks_tls=True),
    Fault("connection", "closed when accepted", _the_same(_close_at_once)),
    Fault("connection", "reset in the middle of the request", _the_same(_reset_in_request)),
    Fault("connection", "silence after the request", _the_same(_silence), waits=True),
    Fault("connection", "reset after the request", _the_same(_reset_after_request)),
    Fault("connection", "closed after the request", _the_same(_close_after_request)),
    Fault("connection", "reset in the status line", _then(b"HTTP/1.1 20", Exchange.reset)),
    Fault("connection", "closed in the headers", _then(b"HTTP/1.1 200 OK\r\nContent-Ty", _drop)),
    Fault(
        "connection",
        "silence after the headers",
        _then(_HEAD + b"Content-Length: 9\r\n\r\n", Exchange.silence),
        waits=True,
    ),
    Fault("connection", "reset after the headers", _then(_HEAD + b"Content-Length: 9\r\n\r\n", Exchange.reset)),
    Fault(
        "connection",
        "silence in the body",
        _then(_HEAD + b'Content-Length: 9\r\n\r\n{"id"', Exchange.silence),
        waits=True,
    ),
    Fault("connection", "reset in the body", _then(_HEAD + b'Content-Length: 9\r\n\r\n{"id"', Exchange.reset)),
    Fault("connection", "headers one byte at a time", _dripping(_HEAD + b"X: " + b"x" * 200), waits=True),
    Fault("connection", "body one byte at a time", _dripping(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 200), waits=True),
)


def _bomb(size: int) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, 31)
    return machine.compress(b'{"id":"' + b"a" * size) + machine.compress(b'"}') + machine.flush()


def _gzipped(call: Call) -> Behaviour:
    return answering(response(body=gzip.compress(json.dumps(call.good).encode()), headers={"Content-Encoding": "gzip"}))


def _padded(size: int) -> Callable[[Call], Behaviour]:
    def of(call: Call) -> Behaviour:
        good = call.good_copy()
        good["padding"] = "a" * size
        return answering(response(body=json.dumps(good).encode()))

    return of


def _good(headers: dict[str, str], before: bytes = b"") -> Callable[[Call], Behaviour]:
    return lambda call: answering(before + response(body=json.dumps(call.good).encode(), headers=headers))


_GZIP = {"Content-Encoding": "gzip"}

# Bytes that are not the HTTP that they should be.
_FRAMING = (
    Fault(
        "framing", "fewer bytes than Content-Length says", _fixed(response(body=b"{}", headers={"Content-Length": "9"}))
    ),
    Fault("framing", "more bytes than Content-Length says", _good({"Content-Length": "5"})),
    Fault("framing", "Content-Length is no number", _good({"Content-Length": "many"})),
    Fault("framing", "two Content-Lengths", _good({"content-length": "1"})),
    Fault("framing", "chunked and cut", _fixed(_CHUNKED + b'5\r\n{"id"\r\n')),
    Fault("framing", "chunk size is no number", _fixed(_CHUNKED + b'zz\r\n{"id"\r\n0\r\n\r\n')),
    Fault("framing", "not HTTP at all", _fixed(b"SSH-2.0-OpenSSH_9.6\r\n")),
    Fault("framing", "HTTP/2 without being asked", _fixed(b"\0\0\x12\x04\0\0\0\0\0" + b"\0" * 18)),
    Fault("framing", "200 KB of headers", _good({f"X-{number}": "x" * 1000 for number in range(200)})),
    Fault("framing", "a status of 000", _fixed(b"HTTP/1.1 000 Nothing\r\n\r\n")),
    Fault("framing", "endless 100 Continue", _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), waits=True),
    Fault("framing", "101 Switching Protocols", _fixed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")),
    Fault("size", "gzip although not asked for", _gzipped, harmless=True),
    Fault("size", "gzip bomb, 60 MB in 60 KB", _fixed(response(body=_bomb(60_000_000), headers=_GZIP))),
    Fault("size", "gzip that is broken", _fixed(response(body=b"\x1f\x8b\x08\0garbage", headers=_GZIP))),
    Fault("size", "gzip that is cut", _fixed(response(body=gzip.compress(b"{}" * 500)[:-9], headers=_GZIP))),
    Fault("size", "an encoding nobody asked for", _good({"Content-Encoding": "br"})),
    Fault("size", "5 MB", _padded(5_000_000), harmless=True),
    Fault("size", "9 MB", _fixed(response(body=b" " * 9_000_000))),
    Fault("size", "a body without end", _endless(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536)),
    Fault("size", "a million empty values", _fixed(response(body=b'{"data":[' + b"{}," * 999_999 + b"{}]}"))),
)


# Bodies of a response 200.


def _body(body: bytes) -> Callable[[Call], Behaviour]:
    return _fixed(response(body=body))


def _replaced(value: object) -> Callable[[Call], Behaviour]:
    """The right response with every leaf replaced."""

    def replace(node: object) -> object:
        if isinstance(node, dict):
            return {key: replace(entry) for key, entry in node.items()}
        return [replace(entry) for entry in node] if isinstance(node, list) else value

    return lambda call: answering(response(body=json.dumps(replace(call.good)).encode()))


def _each_scheduled(change: dict[str, Any]) -> Callable[[Call], Behaviour]:
    """The right response with something else in each scheduledPost and account."""

    def of(node: object) -> object:
        if isinstance(node, list):
            return [of(entry) for entry in node]
        if isinstance(node, dict):
            touched = {key: change[key] for key in change if key in node}
            return {key: of(entry) for key, entry in node.items()} | touched
        return node

    return lambda call: answering(response(body=json.dumps(of(call.good)).encode()))


_BODIES = (
    Fault("200", "no body", _body(b"")),
    Fault("200", "null", _body(b"null")),
    Fault("200", "[]", _body(b"[]")),
    Fault("200", "{}", _body(b"{}")),
    Fault("200", "[{}]", _body(b"[{}]")),
    Fault("200", '{"data": {}}', _body(b'{"data": {}}')),
    Fault("200", "a text", _body(b'"ok"')),
    Fault("200", "a number", _body(b"42")),
    Fault("200", "true", _body(b"true")),
    Fault("200", "NaN", _body(b"NaN")),
    Fault("200", "an HTML page, as of a proxy that wants a login", _body(b"<!doctype html><title>Sign in</title>")),
    Fault("200", "JSON that is cut", _body(b'{"data": [{"id": "a"')),
    Fault("200", "JSON with a second value behind it", _body(b'{"data": []} {}')),
    Fault("200", "bytes that are no UTF-8", _body(b'{"id": "\xff\xfe", "data": ["\xc3\x28"]}')),
    Fault("200", "UTF-16", _body('{"id": "a", "data": []}'.encode("utf-16"))),
    Fault("200", "nested 100,000 deep", _body(b"[" * 100_000 + b"]" * 100_000)),
    Fault(
        "200", "nested deep in an unknown field", _body(b'{"id":"a","data":[],"x":' + b"[" * 9000 + b"]" * 9000 + b"}")
    ),
    Fault("200", "every value null", _replaced(None)),
    Fault("200", "every value a number", _replaced(7)),
    Fault(
        "200", "every value a huge number", _fixed(response(body=b'{"id": 1' + b"0" * 5000 + b', "data": 1e999999}'))
    ),
    Fault("200", "every value an object", _replaced({"a": 1})),
    Fault("200", "every value a list", _replaced([1])),
    Fault("200", "every value a text of 100 KB", _replaced("a" * 100_000)),
    Fault("200", "unknown enum values", _each_scheduled({"status": "pondering", "provider": "myspace"}), harmless=True),
    Fault(
        "200",
        "NUL, escape and bidi characters in texts",
        _each_scheduled(
            {"status": "a\0b\x1b[2J\u202egnp.exe", "title": "x\r\n2026-01-01 ERROR forged", "name": "\u2028"}
        ),
        harmless=True,
    ),
    Fault("200", "control characters in the id", _each_scheduled({"id": "a\r\nb"})),
    Fault("200", "unknown fields", _each_scheduled({"platformSettings": {"a": [None] * 100}}), harmless=True),
)

# Statuses.

STATUSES = (
    *(300, 301, 302, 303, 304, 307, 308, 399),
    *range(400, 419),
    *range(421, 427),
    *(428, 429, 431, 451, 499),
    *range(500, 509),
    *(510, 511, 599, 600, 999),
)
ELSEWHERE = "http://elsewhere.test/v1/stolen"


def _status(status: int) -> Fault:
    headers = {"Location": ELSEWHERE} if 300 <= status < 400 else {}
    body = json.dumps({"error": {"message": f"refused with {status}"}}).encode()
    if status == 304:
        return Fault("status", "304", _fixed(response(304, b"", {**headers, "Content-Length": "0"}), keeps=True))
    return Fault("status", str(status), _fixed(response(status, body, headers), keeps=True))


_STATUSES = tuple(_status(status) for status in STATUSES)


# What errors say, and how long they ask to wait.

_ERRORS = (
    Fault(
        "error body",
        "an HTML page of a proxy (502)",
        _fixed(response(502, b"<html><title>502 Bad Gateway</title>"), keeps=True),
    ),
    Fault("error body", "none (500)", _fixed(response(500, b""), keeps=True)),
    Fault("error body", "8 MB of text (500)", _fixed(response(500, b"x" * 8_000_000), keeps=True)),
    Fault(
        "error body",
        "forged log lines (400)",
        _fixed(response(400, b"x\r\n[2026-01-01] ERROR forged \x1b[31m"), keeps=True),
    ),
    Fault("error body", "nested deep (400)", _fixed(response(400, b'{"message":' * 20_000), keeps=True)),
    Fault("error body", "no UTF-8 (400)", _fixed(response(400, b"\xff\xfe\x00"), keeps=True)),
    Fault("error body", "a gzip bomb (400)", _fixed(response(400, _bomb(60_000_000), _GZIP), keeps=True)),
)
_A_DATE = "Tue, 01 Jan 2030 00:00:00 GMT"


def _asked(status: int, asked: str) -> Fault:
    body = b'{"message": "slow down"}'
    headers = {"Retry-After": asked, "Date": _A_DATE}
    return Fault(f"Retry-After ({status})", asked or "empty", _fixed(response(status, body, headers), keeps=True))


_RETRY_AFTER = tuple(
    _asked(status, asked)
    for status in (429, 503)
    for asked in (
        "0",
        "0.2",
        "3600",
        "99999999999999999999",
        "-5",
        "soon",
        "1e1",
        "Tue, 01 Jan 2030 00:00:30 GMT",
        "Tuesday, 01-Jan-30 00:01:00 GMT",
        "Tue Jan  1 02:00:00 2030",
        "Mon, 01 Jan 2029 00:00:00 GMT",
        "Tue, 99 Foo 2030 99:99:99 GMT",
    )
)

FAULTS = (
    Fault("none", "the right response", _good({}), harmless=True),
    Fault("none", "the right response over TLS", _good({}), certificate="right", asks_tls=True, harmless=True),
    Fault("none", "the right response, called text", _good({"Content-Type": "text/plain"}), harmless=True),
    *_CONNECTING,
    *_CONNECTION,
    *_FRAMING,
    *_BODIES,
    *_STATUSES,
    *_ERRORS,
    *_RETRY_AFTER,
)
