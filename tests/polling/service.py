"""A small HTTP service of posts, in the event loop of the test, that can be made to lie, to stall and to refuse."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from email.utils import format_datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from airflow_provider_octospark.api.settings import ConnectionSettings
from tests.polling.things import NOON, TEAM, new_id, post_json, scheduled_json

TOKEN = "octo_test_waiting"

Reply = tuple[int, Any]
"""A status, and a body: JSON, or bytes as they are."""

Posts = list[dict[str, Any]]


class Service:
    """Posts of one team, newest first, behind a socket on the loopback.

    :param posts: by id, as the service writes them.
    :param listed: what a list shows of them when asked for so many; replace it to make lists lie.
    :param page_size: the most posts in a page of a list that names the next one; 0 for a list that does not page.
    :param refuses_cursors: whether a page but the first is refused.
    :param reply: decides instead of the service, if it returns something; gets the path and the limit.
    :param requests: each path that was asked for, in order.
    :param most_at_once: the most requests that were under way together.
    """

    def __init__(self) -> None:
        self.posts: dict[str, dict[str, Any]] = {}
        self.listed: Callable[[Posts, int], Any] = lambda posts, limit: posts[:limit]
        self.page_size = 0
        self.refuses_cursors = False
        self.reply: Callable[[str, int | None], Awaitable[Reply | None]] | None = None
        self.tokens = {TOKEN}
        self.up = True
        self.delay = 0.0
        self.headers: dict[str, str] = {}
        self.requests: list[str] = []
        self.limits: list[int] = []
        self.connections = 0
        self.open_connections: set[asyncio.StreamWriter] = set()
        self.under_way = self.most_at_once = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self.open_connections):
            writer.transport.abort()

    @property
    def base_url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def settings(self, token: str = TOKEN, **changes: Any) -> ConnectionSettings:
        """A connection to it."""
        return ConnectionSettings(base_url=self.base_url, token=token, **changes)

    def add_posts(self, count: int, **fields: Any) -> list[str]:
        """Add posts, each with a submission that is being published; return their ids."""
        added = [new_id() for _ in range(count)]
        for each in added:
            self.posts[each] = post_json(each, scheduled_json(each, **fields))
        return added

    def submission(self, post_id: str) -> dict[str, Any]:
        """The latest submission of a post, to look at and to change."""
        latest: dict[str, Any] = self.posts[post_id]["latestScheduledPost"]
        return latest

    @property
    def lists(self) -> int:
        """How many lists were asked for."""
        return len(self.limits)

    @property
    def singles(self) -> int:
        """How often a single post was asked for."""
        return len(self.requests) - self.lists

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections.add(writer)
        try:
            while self.up:
                head = await reader.readuntil(b"\r\n\r\n")
                self.under_way += 1
                self.most_at_once = max(self.most_at_once, self.under_way)
                try:
                    await self._serve(head.decode("latin-1"), writer)
                finally:
                    self.under_way -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open_connections.discard(writer)
            writer.close()

    async def _serve(self, head: str, writer: asyncio.StreamWriter) -> None:
        target = head.split(" ", 2)[1]
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        limit = int(query["limit"][0]) if "limit" in query else None
        start = int(query["cursor"][0]) if "cursor" in query else 0
        self.requests.append(parts.path)
        if limit is not None:
            self.limits.append(limit)
        if self.delay:
            await asyncio.sleep(self.delay)
        status, body = await self._response(parts.path, limit, head, start)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(content)}"]
        lines += [
            f"{name}: {value}" for name, value in {"Date": format_datetime(NOON, usegmt=True), **self.headers}.items()
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        await writer.drain()

    async def _response(self, path: str, limit: int | None, head: str, start: int) -> Reply:
        token = re.search(r"(?im)^authorization: Bearer (\S+)", head)
        if token is None or token[1] not in self.tokens:
            return 401, {"message": "no such key"}
        if self.reply is not None:
            reply = await self.reply(path, limit)
            if reply is not None:
                return reply
        if limit is not None and self.page_size:
            if start and self.refuses_cursors:
                return 400, {"message": "no such parameter"}
            end = start + min(limit, self.page_size)
            posts = list(self.posts.values())
            return 200, {"data": posts[start:end], "nextCursor": str(end) if end < len(posts) else None}
        if limit is not None:
            return 200, {"data": self.listed(list(self.posts.values()), limit)}
        post = self.posts.get(path.rsplit("/", 1)[1])
        if post is None or f"/teams/{TEAM}/" not in path:
            return 404, {"message": "no such post"}
        return 200, post
