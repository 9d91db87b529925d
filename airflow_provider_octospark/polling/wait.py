"""The wait for publications: their outcomes, and when to poll next.

Pure: nothing here reads a clock, sleeps or sends. The sensor's poke, its reschedule mode, the trigger and the resumed task
pass in responses and times, and share every decision.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_octospark.api.backoff import delay_after, is_transient
from airflow_provider_octospark.api.models import Post
from airflow_provider_octospark.api.performance import Performance
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.text import sanitize, without_stop
from airflow_provider_octospark.exceptions import OctosparkArgumentError, OctosparkError, OctosparkNotFoundError
from airflow_provider_octospark.outcomes import (
    Outcome,
    Reason,
)
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.parameters.defaults import HIDDEN_TIMEOUT, POLL_BACKOFF, POLL_INTERVAL, PUBLISH_TIMEOUT
from airflow_provider_octospark.parameters.times import format_instant, parse_instant
from airflow_provider_octospark.polling.schedule import (
    JITTER_AFTER_ERROR,
    later,
    next_poll,
    pause_after_due,
)
from airflow_provider_octospark.polling.watch import NOT_FOUND_GRACE, Watch


@dataclass
class _Polls:
    """The next poll of a post.

    :param at: when it is planned.
    :param not_before: the earliest time by the service's ``Retry-After``.
    :param failures: the number of failed polls in a row.
    :param said: the kind of error that was logged last.
    :param missing_since: when the first of the last 404s in a row came.
    """

    at: datetime
    not_before: datetime | None = None
    failures: int = 0
    said: str | None = None
    missing_since: datetime | None = None


@dataclass
class Wait:
    """The publications that a task waits for.

    The caller repeats these steps until :attr:`done`: call :meth:`expire`, read the posts of :meth:`posts_due`, pass the
    results to :meth:`record_response` or :meth:`record_error`, and sleep until :meth:`next_poll`.

    :param watches: what is waited for, in the order in which outcomes are reported.
    :param started_at: start of the wait. It survives restarts, so the schedule does not begin again.
    :param hidden_timeout: how long after its time a publication may stay hidden by a newer one.
    :param interval: shortest pause between polls after a post was due, in seconds (default 4.0).
    :param backoff: growth of that pause with the square root of the time (default 0.8).
    :raises OctosparkArgumentError: if ``interval`` or ``backoff`` is out of range.
    """

    watches: list[Watch]
    started_at: datetime
    hidden_timeout: timedelta = HIDDEN_TIMEOUT
    interval: float = POLL_INTERVAL
    backoff: float = POLL_BACKOFF
    _polls: dict[tuple[str, str], _Polls] = field(default_factory=dict, repr=False)
    _by_post: dict[tuple[str, str], list[Watch]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        arguments.poll_interval(self.interval)
        arguments.poll_backoff(self.backoff)
        self._by_post = {}
        for watch in self.watches:
            self._by_post.setdefault(watch.post, []).append(watch)

    @classmethod
    def start(
        cls,
        outcomes: Iterable[Outcome],
        *,
        started_at: datetime,
        publish_timeout: timedelta = PUBLISH_TIMEOUT,
        since: datetime | None = None,
        hidden_timeout: timedelta = HIDDEN_TIMEOUT,
        interval: float = POLL_INTERVAL,
        backoff: float = POLL_BACKOFF,
        latest: datetime | None = None,
    ) -> Wait:
        """Start to wait for ``outcomes``; final ones stay as they are.

        :param publish_timeout: how long to wait after ``started_at`` or a later scheduled time. A scheduled time that is
            not known counts if the first poll shows it, in this process.
        :param since: for an outcome without a submission id, only a submission created at or after this time is accepted.
        :param latest: the latest possible deadline; None (default) for no bound.
        :raises OctosparkArgumentError: if floor or factor make no sense.
        """
        watches = []
        for outcome in outcomes:
            watch = Watch(outcome, started_at, since if outcome.scheduled_post_id is None else None, latest=latest)
            watch.deadline = later(watch.due(started_at), publish_timeout)
            if latest is not None:
                watch.deadline = min(watch.deadline, latest)
            if outcome.scheduled_at is None:
                watch.patience = publish_timeout
            watches.append(watch)
        return cls(watches, started_at, hidden_timeout, interval, backoff)

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcome of each publication, in order."""
        return [watch.outcome for watch in self.watches]

    @property
    def done(self) -> bool:
        """Whether all publications are final."""
        return all(watch.outcome.is_final for watch in self.watches)

    def end_unknown(self, reason: Reason, message: str) -> None:
        """End the wait; pending outcomes are unknown."""
        for watch in self.watches:
            if not watch.outcome.is_final:
                watch.end_unknown(reason, message)

    @property
    def deadline(self) -> datetime:
        """The latest deadline."""
        return max((watch.deadline for watch in self.watches), default=self.started_at)

    def posts(self) -> list[tuple[str, str]]:
        """Return team and post of all pending publications, each once."""
        return [post for post in self._by_post if self.is_open(post)]

    def is_open(self, post: tuple[str, str]) -> bool:
        """Whether a post has a pending publication."""
        return bool(self._open(post))

    def posts_due(self, now: datetime) -> list[tuple[str, str]]:
        """Return team and post of all polls that are due."""
        return [post for post in self.posts() if self.poll_at(post, now) <= now]

    def poll_at(self, post: tuple[str, str], now: datetime) -> datetime:
        """Return the time of a post's next poll or deadline."""
        at = self._polls[post].at if post in self._polls else now
        for watch in self._open(post):
            at = min(at, watch.ends_at(self.started_at, self.hidden_timeout))
        return at

    def next_poll(self, now: datetime) -> datetime:
        """Return the time of the next poll or deadline of any post."""
        return min((self.poll_at(post, now) for post in self.posts()), default=now)

    def hold(self, until: datetime, posts: Sequence[tuple[str, str]] | None = None) -> None:
        """Postpone the polls of some posts, or of all, to ``until``."""
        for post in self.posts() if posts is None else posts:
            poll = self._polls.setdefault(post, _Polls(until))
            poll.at = max(poll.at, until)

    def is_shown_by(self, post: tuple[str, str], response: Response[Post], now: datetime) -> bool:
        """Whether a list's response suffices for a poll: it shows all pending publications of a post."""
        return all(watch.is_shown_by(response, now) for watch in self._open(post))

    def record_response(self, post: tuple[str, str], response: Response[Post], now: datetime) -> list[str]:
        """Process the response to a poll; return lines for the log."""
        before = self._polls.get(post)
        lines: list[str | None] = [f"Post {post[1]} can be read again."] if before and before.said else []
        seen = self._open(post)
        lines += [watch.see(response, now) for watch in seen]
        lines += [watch.expire(self.started_at, self.hidden_timeout, now) for watch in seen]
        polls = [
            next_poll(
                now,
                watch.expected(self.started_at, now),
                interval=self.interval,
                backoff=self.backoff,
                upload_remaining=watch.upload_remaining,
            )
            for watch in seen
            if not watch.outcome.is_final
        ]
        if polls:
            self._polls[post] = _Polls(min(polls))
        return [line for line in lines if line]

    def record_error(self, post: tuple[str, str], error: OctosparkError, now: datetime) -> list[str]:
        """Process the error of a poll; return lines for the log.

        After a transient error, and for some time after a 404, polling goes on with backoff until the deadline. Any other
        error ends the wait for the post with the outcome unknown: a refused key says nothing about the publication.
        """
        poll = self._polls.setdefault(post, _Polls(now))
        poll.failures += 1
        words = sanitize(error, 300)
        lines: list[str | None] = []
        if poll.said != type(error).__name__:
            poll.said = type(error).__name__
            lines.append(f"Post {post[1]}: a poll failed: {without_stop(words)}.")
        missing = isinstance(error, OctosparkNotFoundError)
        poll.missing_since = (poll.missing_since or now) if missing else None
        if is_transient(error) or (poll.missing_since is not None and now < poll.missing_since + NOT_FOUND_GRACE):
            self._back_off(post, poll, error, now)
        else:
            reason: Reason = "not_observable" if missing else "access_lost"
            lines += [watch.end_unknown(reason, words) for watch in self._open(post)]
        lines += self._expire(post, now)
        return [line for line in lines if line]

    def _back_off(self, post: tuple[str, str], poll: _Polls, error: OctosparkError, now: datetime) -> None:
        due = min((watch.due(self.started_at) for watch in self._open(post)), default=now)
        regular = pause_after_due((now - due).total_seconds(), self.interval, self.backoff)
        pause = max(delay_after(error, poll.failures), regular)
        poll.at = now + timedelta(seconds=pause * (1.0 + JITTER_AFTER_ERROR * random.random()))  # noqa: S311
        poll.not_before = None if error.retry_after is None else now + timedelta(seconds=error.retry_after)

    def unconfirmed(self) -> list[tuple[str, str]]:
        """Return team and post of publications that another submission hides, and whose performance may still name them."""
        return [post for post, watches in self._by_post.items() if any(watch.is_unconfirmed for watch in watches)]

    def record_performance(self, post: tuple[str, str], response: Response[Performance] | OctosparkError) -> list[str]:
        """Process the performance of a post; return lines for the log. After an error the outcomes stay unknown."""
        lines = []
        for watch in self._by_post[post]:
            if watch.is_unconfirmed and isinstance(response, Response):
                lines.append(watch.see_performance(response))
            watch.is_unconfirmed = False
        return [line for line in lines if line]

    def expire(self, post: tuple[str, str], now: datetime) -> list[str]:
        """End the wait for publications of a post whose deadline has passed, without a poll; return lines for the log.

        Normally the last poll precedes this, unless the service asked to wait beyond the deadline.
        """
        return [line for line in self._expire(post, now) if line] if self._is_held(post, now) else []

    def _is_held(self, post: tuple[str, str], now: datetime) -> bool:
        poll = self._polls.get(post)
        return poll is not None and poll.not_before is not None and now < poll.not_before

    def _expire(self, post: tuple[str, str], now: datetime) -> list[str | None]:
        return [watch.expire(self.started_at, self.hidden_timeout, now) for watch in self._open(post)]

    def _open(self, post: tuple[str, str]) -> list[Watch]:
        return [watch for watch in self._by_post[post] if not watch.outcome.is_final]

    def as_json(self, *, with_details: bool = False) -> dict[str, Any]:
        """Return the wait as JSON primitives.

        :param with_details: whether final outcomes have their details, which no later poll reads again (default False, as in
            trigger arguments).
        """
        return {
            "watches": [self._watch_as_json(watch, with_details) for watch in self.watches],
            "started_at": format_instant(self.started_at),
            "hidden_timeout": self.hidden_timeout.total_seconds(),
            "interval": self.interval,
            "backoff": self.backoff,
        }

    def _watch_as_json(self, watch: Watch, with_details: bool) -> dict[str, Any]:
        outcome = watch.outcome
        poll = None if watch.outcome.is_final else self._polls.get(watch.post)
        return {
            "outcome": outcome.as_json() if with_details and outcome.is_final else outcome.as_stored(),
            "deadline": format_instant(watch.deadline),
            "since": format_instant(watch.since) if watch.since else None,
            "shown": watch.shown,
            "poll_at": format_instant(poll.at) if poll else None,
            "not_before": format_instant(poll.not_before) if poll and poll.not_before else None,
            "failures": poll.failures if poll else 0,
            "said": poll.said if poll else None,
            **({"keeps_response": True} if watch.keeps_response else {}),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Wait:
        """Parse what :meth:`as_json` returned.

        :raises ValueError: if it is invalid.
        """
        try:
            wait = cls(
                watches=[
                    Watch(
                        outcome=Outcome.model_validate(entry["outcome"]),
                        deadline=_instant(entry["deadline"]),
                        since=_instant(entry["since"]) if entry.get("since") else None,
                        shown=entry.get("shown"),
                        keeps_response=entry.get("keeps_response") is True,
                    )
                    for entry in data["watches"]
                ],
                started_at=_instant(data["started_at"]),
                hidden_timeout=timedelta(seconds=data["hidden_timeout"]),
                interval=float(data["interval"]),
                backoff=float(data["backoff"]),
            )
            for watch, entry in zip(wait.watches, data["watches"], strict=True):
                if entry.get("poll_at"):
                    wait._polls[watch.post] = _Polls(
                        _instant(entry["poll_at"]),
                        not_before=_instant(entry["not_before"]) if entry.get("not_before") else None,
                        failures=int(entry.get("failures", 0)),
                        said=entry.get("said"),
                    )
        except (KeyError, TypeError, AttributeError, OverflowError, OctosparkArgumentError) as error:
            raise ValueError(f"not a wait: {type(error).__name__} {error}") from None
        return wait


def same_targets(one: Sequence[Outcome], other: Sequence[Outcome]) -> bool:
    """Whether two lists of outcomes are about the same publications, in the same order."""

    def identity(outcome: Outcome, pending: Outcome) -> tuple[str, ...]:
        # An id that was not known at the start of the wait cannot be compared.
        account = outcome.social_account_id if pending.social_account_id else None
        scheduled = outcome.scheduled_post_id if pending.scheduled_post_id else None
        return tuple((part or "").lower() for part in (outcome.team_id, outcome.post_id, account, scheduled))

    return len(one) == len(other) and all(identity(a, b) == identity(b, b) for a, b in zip(one, other, strict=True))


def _instant(text: object) -> datetime:
    instant = parse_instant(text)
    if instant is None:
        raise ValueError(f"not a wait: {text!r} is no instant")
    return instant
