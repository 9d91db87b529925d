"""Subscribers and their polls: which are planned, and which are batched."""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Protocol

from airflow_provider_octospark.api.models import Post
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.exceptions import OctosparkError
from airflow_provider_octospark.polling.team_list import COMPANY, ListStrategy

BATCH_DELAY = 1.0
"""How long a read waits for others of its team, in seconds, where others are expected."""

EARLY = 0.25
"""The part of its pause by which a poll may come early if a list is requested anyway. So polls fall together, and one list
serves more of them."""

EARLIEST = 15.0
"""The maximum of that, in seconds."""


class Subscriber(Protocol):
    """An object that polls a post repeatedly. The poller calls it in the context in which it subscribed."""

    @property
    def polls(self) -> int:
        """The number of responses it has processed."""

    def pause(self) -> float | None:
        """Return the seconds until its next poll, 0 or less if it is due; None if it needs no more polls."""

    def is_shown_by(self, response: Response[Post]) -> bool:
        """Whether a list's response suffices; if not, the post is read by itself."""

    def see(self, response: Response[Post]) -> None:
        """Process the post that was read."""


class Once:
    """A subscriber that polls once, at once.

    :param shows: whether a list's response suffices; by default if it shows any submission.
    """

    def __init__(self, shows: Callable[[Response[Post]], bool] | None = None) -> None:
        self._shows = shows
        self._responses: list[Response[Post]] = []

    @property
    def polls(self) -> int:
        """How many answers it has seen."""
        return len(self._responses)

    @property
    def response(self) -> Response[Post]:
        """The response."""
        [response] = self._responses
        return response

    def pause(self) -> float | None:
        """Return 0 until there is a response."""
        return None if self._responses else 0.0

    def is_shown_by(self, response: Response[Post]) -> bool:
        """Whether a list's response suffices."""
        return self._shows(response) if self._shows else response.value.latest_scheduled_post is not None

    def see(self, response: Response[Post]) -> None:
        """Keep the response."""
        self._responses.append(response)


@dataclass(eq=False, slots=True)
class Subscription:
    """A subscriber in the poller, with its planned poll.

    :param finished: done when it needs no more polls, or with the error.
    :param context: the context in which it is called.
    :param timer: set while its next poll is planned, not while it is due.
    :param planned_at: when the next poll was planned, by the event loop's clock.
    :param due_at: the time of the planned poll.
    """

    team_id: str
    post_id: str
    subscriber: Subscriber
    finished: asyncio.Future[None]
    context: Context = field(default_factory=copy_context)
    timer: asyncio.TimerHandle | None = None
    planned_at: float = 0.0
    due_at: float = 0.0

    @property
    def key(self) -> tuple[str, str]:
        """Team and post; UUIDs may come in either case."""
        return self.team_id.lower(), self.post_id.lower()

    @property
    def is_over(self) -> bool:
        """Whether it needs no more polls: it is done, failed or was cancelled."""
        return self.finished.done()

    def pause(self) -> float | None:
        """As its follower's."""
        return self.context.run(self.subscriber.pause)

    def is_shown_by(self, response: Response[Post]) -> bool:
        """As its follower's."""
        return self.context.run(self.subscriber.is_shown_by, response)

    def see(self, response: Response[Post]) -> None:
        """As its follower's."""
        self.context.run(self.subscriber.see, response)

    def may_read_early(self, asked_at: float) -> bool:
        """Whether a list requested at that time may serve its next poll. Its first poll must not come early."""
        early = min(EARLIEST, EARLY * (self.due_at - self.planned_at))
        return self.subscriber.polls > 0 and asked_at >= self.due_at - early

    def finish(self) -> None:
        """End the subscription."""
        if not self.finished.done():
            self.finished.set_result(None)

    def fail(self, error: BaseException) -> None:
        """End the subscription with an error."""
        if not self.finished.done():
            # Each gets a copy: raising one exception in many tasks accumulates their tracebacks in it.
            self.finished.set_exception(copy.copy(error) if isinstance(error, OctosparkError) else error)


@dataclass(eq=False, slots=True)
class PendingRead:
    """A post that is due for a read, with its subscribers.

    :param due_at: when the read became due, by the event loop's clock.
    """

    team_id: str
    post_id: str
    due_at: float
    subscriptions: list[Subscription] = field(default_factory=list)
    is_asked_for: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Team and post."""
        return self.team_id.lower(), self.post_id.lower()

    def is_wanted(self) -> bool:
        """Whether anybody still waits for it."""
        return any(not subscription.is_over for subscription in self.subscriptions)

    def fail(self, error: BaseException) -> None:
        """End the subscriptions with an error."""
        for subscription in self.subscriptions:
            subscription.fail(error)


@dataclass(eq=False)
class Team:
    """The subscribers of one team's posts.

    :param batch: the polls that are due, by post.
    :param planned: the planned polls, by post.
    :param since: when the first poll of the batch was added.
    :param timer: closes the batch.
    """

    team_id: str
    list_strategy: ListStrategy = field(default_factory=ListStrategy)
    batch: dict[str, PendingRead] = field(default_factory=dict)
    planned: dict[str, set[Subscription]] = field(default_factory=dict)
    since: float = 0.0
    timer: asyncio.Handle | None = None
    _arrivals: float = 0.0
    _arrived_at: float = 0.0

    def arrives(self, now: float) -> None:
        """Count a poll that is due, with exponential decay of the earlier ones."""
        self._arrivals = 1.0 + self._arrivals * math.exp((self._arrived_at - now) / BATCH_DELAY)
        self._arrived_at = now

    @property
    def expects_company(self) -> bool:
        """Whether enough polls come lately to wait for more."""
        return self._arrivals >= COMPANY

    def is_idle_since(self, instant: float) -> bool:
        """Whether it has no subscribers, and had none since then."""
        return not self.batch and not self.planned and self._arrived_at < instant

    def plan(self, subscription: Subscription) -> None:
        """Add a planned poll."""
        self.planned.setdefault(subscription.post_id.lower(), set()).add(subscription)

    def unplan(self, subscription: Subscription) -> None:
        """Remove a planned poll."""
        subscriptions = self.planned.get(subscription.post_id.lower(), set())
        subscriptions.discard(subscription)
        if not subscriptions:
            self.planned.pop(subscription.post_id.lower(), None)

    def early(self, post_key: str, asked_at: float) -> list[Subscription]:
        """Return the subscribers whose poll of a post a list requested at that time may serve."""
        return [each for each in self.planned.get(post_key, ()) if each.may_read_early(asked_at)]
