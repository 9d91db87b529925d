"""The trigger that fires when posts get published, by whomever, for asset watchers (Airflow 3.0 and newer)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_octospark.airflow_compat import asset_state_stores, require_airflow
from airflow_provider_octospark.api.backoff import delay_after
from airflow_provider_octospark.api.models import Post
from airflow_provider_octospark.api.operations import post_of
from airflow_provider_octospark.api.text import sanitize, shown
from airflow_provider_octospark.exceptions import OctosparkArgumentError, OctosparkError, OctosparkRequestError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.parameters.times import require_duration
from airflow_provider_octospark.triggers.publication_cursor import Cursor
from airflow_provider_octospark.triggers.reader import Reader

if TYPE_CHECKING:
    from airflow.triggers.base import BaseEventTrigger
    from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer
else:
    # Older versions of Airflow must be able to import this module.
    try:
        from airflow.triggers.base import BaseEventTrigger
    except ImportError:
        from airflow.triggers.base import BaseTrigger as BaseEventTrigger
    try:
        from airflow.triggers.shared_stream import SharedStreamProducer
    except ImportError:
        SharedStreamProducer = object

log = logging.getLogger(__name__)

INTERVAL = 30.0
SHORTEST_INTERVAL = 5.0
"""Minimum time between two events, in seconds, so that Airflow's scheduler creates a run for each."""

LONGEST_INTERVAL = 86_400.0

LIST_LIMIT = 100
"""The limit of a list."""

LEAST_LIMIT = 10
"""The lowest limit, if the service refuses a higher one."""

READS_AT_ONCE = 50
"""Maximum number of single reads after a list."""

READS_WITHIN = 60.0
"""Time limit of these reads, in seconds. Airflow gives up on a watcher that is busy for five minutes."""

STORE_WITHIN = 60.0
"""Time limit of Airflow's state store, in seconds. It takes half a minute at first on a busy machine, and never responds
while it shuts down."""

STORE_PAUSE = 5.0
"""Pause between two attempts to read the cursor, in seconds."""

CURSOR_KEY = "octospark.published"

Keep = Callable[[], Awaitable[None]]


@dataclass(eq=False)
class TeamPosts:
    """A list of the team's posts.

    :param service_time: the service's clock at that time, if it is known.
    :param keep: called once all events from it are stored.
    """

    posts: Sequence[Post]
    service_time: datetime | None
    keep: list[Keep] = field(default_factory=list)

    async def was_reported(self) -> None:
        """Report that all events from it are stored."""
        for keep in self.keep:
            await keep()


class _Lists(SharedStreamProducer):
    """The shared polls of a team's watchers. Airflow reports to it when their events are stored."""

    def __init__(self, watched: dict[str, Any]) -> None:
        self._watched = watched

    async def open_stream(self) -> AsyncIterator[tuple[TeamPosts, TeamPosts]]:
        async for poll in polls(**self._watched):
            yield poll, poll

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        for poll, outcome in batch:
            if outcome.is_clean:
                await poll.was_reported()


class OctosparkPublishedTrigger(BaseEventTrigger):
    """Fire when posts of a team get published; for an ``AssetWatcher`` (Airflow 3.0 and newer).

    The payload of an event is a list of the outcomes published since the previous event, each publication once. There are
    no other events. If the service is down, refuses the key or returns an invalid list, the trigger logs it and polls
    again.

    A publication is reported if it was due after the watcher's first start, or was seen scheduled since then. The service
    shows the latest submission of a post only. If several accounts share a post, a publication that another one hides at
    the time of a poll is missed.

    In Airflow 3.3 and newer, a team's watchers share polls, and the asset's state store keeps a cursor. It is written
    after Airflow has stored the event, so a restart misses nothing. If a triggerer is killed between the two, it reports
    the same submission again: use ``scheduled_post_id`` as the deduplication key. Before 3.3 there is no cursor, so a
    publication is missed if the triggerer is down at that time.

    .. code-block:: python

        watcher = AssetWatcher(name="octospark", trigger=OctosparkPublishedTrigger(team_id="…"))
        with DAG("after_publication", schedule=[Asset("octospark_published", watchers=[watcher])]):
            ...

    :param team_id: id of the team whose posts are watched.
    :param interval: time between two polls, in seconds or as a timedelta, from 5 seconds to a day (default 30.0).
    :param octospark_conn_id: id of the Airflow connection (default ``octospark_default``).
    :raises OctosparkArgumentError: naming the parameter that is unusable.
    :raises OctosparkVersionError: before Airflow 3.0.
    """

    def __init__(
        self,
        team_id: str,
        interval: float | timedelta = INTERVAL,
        octospark_conn_id: str = OctosparkHook.default_conn_name,
    ) -> None:
        require_airflow("OctosparkPublishedTrigger", 3, 0)
        super().__init__()  # type: ignore[no-untyped-call]
        self.team_id = arguments.required_id(team_id, "team_id")
        self.interval = _seconds(interval)
        if not isinstance(octospark_conn_id, str) or arguments.is_absent(octospark_conn_id):
            raise OctosparkArgumentError(
                f"octospark_conn_id is {shown(octospark_conn_id)}; it must be the id of an Airflow connection."
            )
        self.octospark_conn_id = octospark_conn_id
        self._kept: Any = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, JSON primitives only."""
        return (
            "airflow_provider_octospark.triggers.published.OctosparkPublishedTrigger",
            {"team_id": self.team_id, "interval": self.interval, "octospark_conn_id": self.octospark_conn_id},
        )

    def shared_stream_key(self) -> Hashable | None:
        """Return a key that is equal for watchers that share polls."""
        return ("octospark-published", self.octospark_conn_id, self.team_id, self.interval)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return the shared polls, which Airflow passes to all watchers that share them."""
        return _Lists(kwargs)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[TeamPosts]) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each poll that shows new publications."""
        cursor = await self._recall()
        next_reads: dict[str, float] = {}
        async with Reader(self.octospark_conn_id) as reader:
            async for poll in shared_stream:
                now = datetime.now(UTC)
                news = list(cursor.take(self.team_id, poll.posts, poll.service_time, now))
                news += await self._read_missing(cursor, poll, next_reads, reader)
                for outcome in news:
                    log.info(
                        "Published: post %s on %s, submission %s.",
                        outcome.post_id,
                        outcome.provider or outcome.social_account_id,
                        outcome.scheduled_post_id,
                    )
                if news:
                    # All are in one event: if a second one comes before the scheduler has created the run of the first, #
                    # Airflow (seen in 3.3.2) adds it to a later run.
                    yield TriggerEvent([outcome.as_json() for outcome in news])  # type: ignore[no-untyped-call]
                # This comes after the event: a trigger that is stopped at its event must repeat this poll.
                poll.keep.append(partial(self._remember, cursor.as_json()))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the events with polls of its own, where Airflow shares none (before 3.3)."""
        async for event in self.filter_shared_stream(self._own_polls()):
            yield event

    async def _own_polls(self) -> AsyncIterator[TeamPosts]:
        async for poll in polls(**self.serialize()[1]):
            yield poll
            await poll.was_reported()

    async def _read_missing(
        self, cursor: Cursor, poll: TeamPosts, next_reads: dict[str, float], reader: Reader
    ) -> list[Outcome]:
        """Read kept posts that are due and not in the list. A post that cannot be read now is read later."""
        now = poll.service_time or datetime.now(UTC)
        clock = asyncio.get_running_loop().time
        missing = cursor.missing(poll.posts, now)

        def when(post_id: str) -> float:
            return next_reads.get(post_id, 0.0)

        for post_id in next_reads.keys() - set(missing):
            del next_reads[post_id]
        pending = sorted((each for each in missing if when(each) <= clock()), key=when)
        news: list[Outcome] = []

        async def read(post_id: str) -> None:
            next_reads[post_id] = clock() + max(self.interval, cursor.pause_after(post_id, now))
            try:
                response = await reader.read((self.team_id, post_id))
            except OctosparkError as error:
                log.debug("Post %s cannot be read: %s", post_id, error)
            else:
                news.extend(cursor.take(self.team_id, [response.value], response.service_time, datetime.now(UTC)))

        if pending:
            try:
                async with asyncio.timeout(READS_WITHIN), asyncio.TaskGroup() as group:
                    for post_id in pending[:READS_AT_ONCE]:
                        group.create_task(read(post_id))
            except TimeoutError:
                log.warning(
                    "Not all posts of team %s that are due could be read in time; going on later.", self.team_id
                )
        return news

    # The cursor in the asset's state store

    @property
    def _cursor_key(self) -> str:
        return f"{CURSOR_KEY}.{self.team_id.lower()}"

    async def _recall(self) -> Cursor:
        """Return the stored cursor, or a new one without a store or at the first start."""
        found: list[Cursor] = []
        for store in asset_state_stores(self):
            kept = await self._read_store(store)
            cursor = Cursor.from_json(kept)
            if cursor is not None:
                found.append(cursor)
            elif kept is not None:
                log.warning("What was told before cannot be read: it was written by another version. Beginning anew.")
        cursor = max(found, key=lambda each: each.latest, default=None)
        if cursor is None:
            cursor = Cursor(since=datetime.now(UTC))
            await self._remember(cursor.as_json())
        return cursor

    async def _read_store(self, store: Any) -> Any:
        """Read the store until it responds: a new cursor would miss what was published in the meantime."""
        while True:
            try:
                async with asyncio.timeout(STORE_WITHIN):
                    return await store.aget(self._cursor_key)
            except Exception as error:  # noqa: BLE001 - Airflow's and any backend's
                log.warning(
                    "What was told before cannot be read from Airflow's state store (%s); trying again.", _words(error)
                )
            await asyncio.sleep(STORE_PAUSE)

    async def _remember(self, cursor: dict[str, Any]) -> None:
        """Store the cursor if it changed. After an error, the next poll stores it."""
        stores = asset_state_stores(self)
        if cursor == self._kept or not stores:
            return
        try:
            for store in stores:
                async with asyncio.timeout(STORE_WITHIN):
                    await store.aset(self._cursor_key, cursor)
        except Exception as error:  # noqa: BLE001 - Airflow's and any backend's
            log.warning(
                "What was told cannot be written to Airflow's state store (%s); a restart now would tell it again.",
                _words(error),
            )
        else:
            self._kept = cursor


async def polls(team_id: str, interval: float, octospark_conn_id: str) -> AsyncIterator[TeamPosts]:
    """Yield a list of a team's posts once an interval, for ever. Errors are logged."""
    limit, failures, unreadable = LIST_LIMIT, 0, 0
    async with Reader(octospark_conn_id) as reader:
        while True:
            try:
                response = await reader.entries(team_id, limit)
            except OctosparkError as error:
                failures += 1
                if isinstance(error, OctosparkRequestError):
                    # The service may refuse the limit.
                    limit = max(LEAST_LIMIT, limit // 2)
                pause = max(interval, delay_after(error, failures))
                if failures & (failures - 1) == 0:
                    # Log the first, second, fourth, … error in a row, so that a long outage does not fill the log.
                    log.warning(
                        "The posts of team %s cannot be listed (failure %d in a row); trying again in %.0f s, and until it "
                        "succeeds: %s",
                        team_id,
                        failures,
                        pause,
                        error,
                    )
                await asyncio.sleep(pause)
                continue
            if failures:
                log.info("The posts of team %s can be listed again.", team_id)
            failures = 0
            entries = response.value.data
            posts = [post for post in map(post_of, entries) if post is not None]
            if unreadable != len(entries) - len(posts):
                unreadable = len(entries) - len(posts)
                log.warning(
                    "Of %d posts of team %s, %d cannot be read; they are left out.", len(entries), team_id, unreadable
                )
            yield TeamPosts(posts, response.service_time)
            await asyncio.sleep(interval)


def _seconds(interval: object) -> float:
    seconds = require_duration(interval, field="interval").total_seconds()
    if not SHORTEST_INTERVAL <= seconds <= LONGEST_INTERVAL:
        raise OctosparkArgumentError(
            f"interval is {seconds:g} seconds; it must be from {SHORTEST_INTERVAL:g} to {LONGEST_INTERVAL:g}."
        )
    return seconds


def _words(error: Exception) -> str:
    # The text of the exception may contain a secret.
    return sanitize(type(error).__name__, 80)
