"""The service that all of them ask, in a process of its own: ``python -m benchmarks.service``.

Prints one line of JSON when it listens, over http and over TLS, on the loopback; ends with its standard input. It
does as little as it can for a response, so that what is measured is the other side.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from benchmarks.schedule import Schedule

TEAM = str(UUID(int=1 << 100))


def post_id(task: int) -> str:
    """The id of a task's post."""
    return str(UUID(int=(2 << 100) + task))


def scheduled_post_id(task: int) -> str:
    """The id of its submission."""
    return str(UUID(int=(3 << 100) + task))


ACCOUNT = str(UUID(int=4 << 100))


def _post(task: int, status: str) -> bytes:
    moment = "2026-01-01T00:00:00.000Z"
    text = f"Post {task}. " + "What a post says, which may be a sentence or two. " * 4
    return json.dumps(
        {
            "id": post_id(task),
            "teamId": TEAM,
            "title": f"Post {task}",
            "text": text,
            "assetIds": [str(UUID(int=5 << 100))],
            "contentPayloadId": str(UUID(int=6 << 100)),
            "latestScheduledPost": {
                "id": scheduled_post_id(task),
                "teamId": TEAM,
                "contentItemId": post_id(task),
                "socialAccountId": ACCOUNT,
                "provider": "instagram",
                "status": status,
                "scheduledAt": moment,
                "timezone": None,
                "platformPostId": "17900000000000000" if status == "published" else None,
                "platformSettings": {"shareToFeed": True},
                "publishResults": {},
                "providerPublishState": {"requiresPolling": True, "providerStatus": "IN_PROGRESS"},
                "errorCode": None,
                "errorMessage": None,
                "errorCategory": None,
                "workflowId": f"publish-{task}",
                "workflowRunId": str(UUID(int=7 << 100)),
                "createdAt": moment,
                "updatedAt": moment,
            },
            "createdAt": moment,
            "updatedAt": moment,
            "postInput": {"text": text, "attachments": []},
        }
    ).encode()


class Service:
    """The posts of the present case.

    :param requests: how many requests came since it began.
    :param looks: how many posts, or job runs, were shown one by one since it began.
    """

    def __init__(self) -> None:
        self.requests = self.looks = 0
        self._schedule = Schedule(0, 1.0, "herd")
        self._begin = 0.0
        self._lists = "all"
        self._pending: list[bytes] = []
        self._published: list[bytes] = []
        self._out_at: list[float] = []

    def begin(self, case: dict[str, Any]) -> None:
        """Take in what the next case is."""
        self._schedule = Schedule(case["tasks"], case["interval"], case["start"])
        self._begin, self._lists = case["begin"], case["lists"]
        self.requests = self.looks = 0
        tasks = range(case["tasks"])
        self._pending = [_post(task, "publishing") for task in tasks]
        self._published = [_post(task, "published") for task in tasks]
        self._out_at = [self._begin + self._schedule.published(task) for task in tasks]

    def response(self, path: str) -> tuple[int, bytes]:
        """Status and body for a path."""
        self.requests += 1
        now = time.time()
        head, _, last = path.partition("?")[0].rpartition("/")
        if head.endswith("/posts"):
            self.looks += 1
            return 200, self._shown(UUID(last).int - (2 << 100), now)
        if last == "posts":
            return self._listed(int(path.partition("limit=")[2] or 100), now)
        self.looks += 1
        if head == "/sensor":
            return (200, b"{}") if now >= self._out_at[int(last)] else (404, b"{}")
        # dbt Cloud: /api/v2/accounts/1/runs/17/
        status = 10 if now >= self._out_at[int(head.rpartition("/")[2])] else 3
        return 200, json.dumps({"data": {"id": 17, "status": status, "is_complete": status == 10}}).encode()

    def _shown(self, task: int, now: float) -> bytes:
        return self._published[task] if now >= self._out_at[task] else self._pending[task]

    def _listed(self, limit: int, now: float) -> tuple[int, bytes]:
        if self._lists == "none":
            return 403, b'{"message": "no lists"}'
        tasks = range(len(self._out_at))
        if self._lists == "newest":
            # Newest update first, as services do: what has just been published comes before what is waited for.
            limit = min(limit, 100)
            newest = sorted(
                tasks, key=lambda task: self._out_at[task] if now >= self._out_at[task] else 0.0, reverse=True
            )
            return 200, b'{"data":[' + b",".join(self._shown(task, now) for task in newest[:limit]) + b"]}"
        return 200, b'{"data":[' + b",".join(self._shown(task, now) for task in tasks[:limit]) + b"]}"


class _Connection(asyncio.Protocol):
    def __init__(self, service: Service) -> None:
        self._service = service
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            status, body = self._service.response(head.split(b" ", 2)[1].decode())
            lines = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self._transport.write(lines.encode() + body)


async def _serve(certificate: Path, key: Path) -> None:
    service = Service()
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    sanitize = await loop.create_server(lambda: _Connection(service), "127.0.0.1", 0, backlog=20_000)
    tls = await loop.create_server(lambda: _Connection(service), "127.0.0.1", 0, ssl=context, backlog=20_000)
    ports = {"http": sanitize.sockets[0].getsockname()[1], "https": tls.sockets[0].getsockname()[1]}
    print(json.dumps(ports), flush=True)

    ended = asyncio.Event()

    def orders() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(obey, json.loads(line))
        loop.call_soon_threadsafe(ended.set)

    def obey(order: dict[str, Any]) -> None:
        if order:
            service.begin(order)
        print(json.dumps({"requests": service.requests, "looks": service.looks}), flush=True)

    threading.Thread(target=orders, daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    asyncio.run(_serve(Path(sys.argv[1]), Path(sys.argv[2])))
