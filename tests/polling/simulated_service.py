"""A service on a virtual clock that stands where the client would: for waits of hours and days.

Its responses are read by the same models as those that come over the wire; what comes over the wire itself is tested
with a real server.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections import Counter
from datetime import timedelta
from typing import Any, TypeVar

from airflow_provider_octospark.api.operations import Operation
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.exceptions import (
    OctosparkAuthError,
    OctosparkConnectError,
    OctosparkError,
    OctosparkNotFoundError,
)
from airflow_provider_octospark.parameters.times import format_instant
from tests.polling.things import NOON, new_id, post_json, scheduled_json
from tests.polling.virtual_time import Clock

T = TypeVar("T")


class SimulatedPost:
    """A post that is published at a known time, in seconds since the beginning; never, if that is infinite."""

    def __init__(self, scheduled: dict[str, Any], out_at: float) -> None:
        self.scheduled = scheduled
        self.out_at = out_at
        self.id = str(scheduled["contentItemId"])
        self._pending = post_json(self.id, {**scheduled, "status": "scheduled"})
        self._published = post_json(self.id, {**scheduled, "status": "published"})

    def as_json(self, now: float) -> dict[str, Any]:
        """How the service shows it."""
        return self._published if now >= self.out_at else self._pending

    def as_text(self, now: float) -> str:
        """How a list shows it."""
        return json.dumps(self.as_json(now))


class SimulatedService:
    """Posts of one team.

    :param lists: whether a list shows them; otherwise it is empty.
    :param most_listed: the most posts in a list, newest update first.
    :param pages: whether a list names the next page.
    :param outages: times in which nobody can connect, in seconds since the beginning.
    :param tokens: the keys that are good.
    :param asked: how many requests came in each second.
    :param refused: how many came with another key.
    """

    def __init__(self, clock: Clock, *, lists: bool = True) -> None:
        self.clock = clock
        self.lists = lists
        self.most_listed = 100_000
        self.pages = False
        self.posts: dict[str, SimulatedPost] = {}
        self.outages: list[tuple[float, float]] = []
        self.tokens = {"octo_test_good"}
        self.asked: Counter[int] = Counter()
        self.polls: Counter[str] = Counter()
        self.open_clients = 0
        self.refused = 0
        self._chance = random.Random(7)  # noqa: S311 - a simulation

    def settings(self, token: str = "octo_test_good") -> ConnectionSettings:  # noqa: S107
        """A connection to it."""
        return ConnectionSettings(base_url="https://simulated.invalid", token=token)

    def add(self, *, due: float, out_at: float) -> SimulatedPost:
        """Add a post."""
        post = SimulatedPost(
            scheduled_json(new_id(), scheduledAt=format_instant(NOON + timedelta(seconds=due)), status="scheduled"),
            out_at,
        )
        self.posts[post.id] = post
        return post

    def client(self, settings: ConnectionSettings) -> SimulatedClient:
        """What takes the place of ``AsyncOctosparkClient``."""
        self.open_clients += 1
        return SimulatedClient(self, settings)

    def requests(self, begin: float = 0.0, end: float = float("inf")) -> int:
        """How many requests came within some time."""
        return sum(count for second, count in self.asked.items() if begin <= second < end)

    def response(self, operation: Operation[T], token: str) -> Response[T]:
        """What it answers at this moment."""
        now = self.clock.elapsed
        self.asked[int(now)] += 1
        if any(begin <= now < end for begin, end in self.outages):
            raise OctosparkConnectError(f"{operation.name}: connection refused")
        if token not in self.tokens:
            self.refused += 1
            raise OctosparkAuthError(f"{operation.name}: 401", status=401)
        assert operation.response is not None
        if operation.name == "list-posts":
            start, limit = int(operation.query.get("cursor", 0)), min(int(operation.query["limit"]), self.most_listed)
            ordered = sorted(
                self.posts.values(), key=lambda post: post.out_at if now >= post.out_at else -1.0, reverse=True
            )
            shown = [(post.id, post.as_text(now)) for post in ordered[start : start + limit]] if self.lists else []
            more = {"nextCursor": str(start + limit)} if self.pages and start + limit < len(ordered) else {}
            return Response(operation.response.validate_python({"data": shown, **more}), self.clock.now())
        post = self.posts.get(operation.path[-1])
        if post is None:
            raise OctosparkNotFoundError("no such post", status=404)
        self.polls[post.id] += 1
        return Response(operation.response.validate_python(post.as_json(now)), self.clock.now())

    async def delay(self, operation: Operation[Any]) -> None:
        """A round trip."""
        await asyncio.sleep(self._chance.uniform(0.02, 0.2))


class SimulatedClient:
    """The part of ``AsyncOctosparkClient`` that the poller uses."""

    def __init__(self, service: SimulatedService, settings: ConnectionSettings) -> None:
        self._service = service
        self._token = settings.token

    async def read(self, operation: Operation[T], within: float = math.inf) -> Response[T]:
        """Send once."""
        await self._service.delay(operation)
        failure: OctosparkError
        try:
            return self._service.response(operation, self._token)
        except OctosparkError as error:
            failure = error
        raise failure

    async def aclose(self) -> None:
        """Close."""
        self._service.open_clients -= 1
