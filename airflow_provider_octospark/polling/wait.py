"""What a publication has come to, and when to look at it next.

Nothing here reads a clock, sleeps or sends: the sensor's poke, its reschedule mode, the trigger and the resumed
task all hand in what they saw and when, and share every decision.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_octospark.api.backoff import delay_after, is_transient
from airflow_provider_octospark.api.models import Post, ScheduledPost
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.text import sanitize
from airflow_provider_octospark.exceptions import OctosparkArgumentError, OctosparkError, OctosparkNotFoundError
from airflow_provider_octospark.outcomes import (
    Outcome,
    Reason,
    classify,
    describe_submission,
    is_under_way,
    outcome_of,
    same_id,
)
from airflow_provider_octospark.parameters.defaults import HIDDEN_TIMEOUT, POLL_BACKOFF, POLL_INTERVAL, PUBLISH_TIMEOUT
from airflow_provider_octospark.parameters.times import format_instant, on_service_clock, parse_instant

LONGEST_POLL_INTERVAL = 86_400.0
"""Longest floor that can be set, in seconds."""

LONGEST_PAUSE = 60.0
"""Longest pause between looks at a post that is due, in seconds, unless the floor is longer."""

JITTER = 0.1
"""By which part of itself a pause is at most drawn out, so that the looks of many tasks drift apart."""

JITTER_AFTER_ERROR = 0.5
"""The same after a look that failed: an outage makes many fail at once, and they must not come back at once."""

NOT_FOUND_GRACE = timedelta(minutes=2)
"""How long a 404 is taken for 'not there yet': after submitting, a post may take some time to appear, and a single
404 in the middle of a wait is no proof that it is gone."""

FINAL_APPROACH = timedelta(minutes=2)
"""A post that is due within this time is not looked at again before it is due."""


def pause_after_due(elapsed: float, interval: float = POLL_INTERVAL, backoff: float = POLL_BACKOFF) -> float:
    """Return the seconds until the next look, ``elapsed`` seconds after a post was due.

    ``max(floor, factor * sqrt(elapsed))``, at most 60 s (or the floor, if that is longer): the least delay for a given
    number of looks has pauses of ``1 / sqrt(hazard)``, and the hazard of a long-tailed time falls with its inverse.
    """
    return min(max(LONGEST_PAUSE, interval), max(interval, backoff * math.sqrt(max(0.0, elapsed))))


def next_poll(
    now: datetime,
    due: datetime,
    *,
    interval: float = POLL_INTERVAL,
    backoff: float = POLL_BACKOFF,
    upload_remaining: float | None = None,
    jitter: float | None = None,
) -> datetime:
    """Return when a publication is worth the next look.

    Before it is due: when half of the remaining time has passed (it may have been moved or cancelled), and from
    two minutes before at its time. After: see :func:`pause_after_due`; an upload that will take longer is looked at
    when half of what remains of it has passed.

    :param now: the instant of the last look.
    :param due: the scheduled time, or the start of the wait for what is due at once.
    :param interval: shortest pause after it was due, in seconds (default 4.0).
    :param backoff: growth of the pause with the square root of the seconds since it was due (default 0.8).
    :param upload_remaining: estimated seconds until the upload ends, where progress was seen.
    :param jitter: a number from 0 to 1 that spreads looks of many tasks; random by default.
    """
    spread = random.random() if jitter is None else jitter  # noqa: S311
    remaining = due - now
    if remaining > FINAL_APPROACH:
        return now + remaining * (0.5 + JITTER / 2 * spread)
    if remaining > timedelta(0):
        return _later(due, timedelta(seconds=spread * interval / 2))
    pause = pause_after_due((now - due).total_seconds(), interval, backoff)
    if upload_remaining is not None:
        pause = max(pause, min(LONGEST_PAUSE, upload_remaining / 2))
    return _later(now, timedelta(seconds=pause * (1.0 + JITTER * spread)))


@dataclass
class Watch:
    """One publication that is waited for.

    :param outcome: what is known of it; ``scheduled_post_id`` and ``social_account_id`` may be None.
    :param deadline: absolute end of the wait for it.
    :param since: without a ``scheduled_post_id``, only a submission created at or after this is taken for it.
    :param patience: how long after a scheduled time to give up, should the first look show one that was not known
        when the wait began; None if the deadline stands.
    :param latest: what the deadline may not be put off beyond.
    """

    outcome: Outcome
    deadline: datetime
    since: datetime | None = None
    patience: timedelta | None = None
    latest: datetime | None = None
    hidden_by: tuple[str, str] | None = None
    shown: str | None = None
    upload: tuple[datetime, float] | None = None
    upload_remaining: float | None = None

    @property
    def post(self) -> tuple[str, str]:
        """Team and post: what has to be read to see it."""
        return self.outcome.team_id, self.outcome.post_id

    def due(self, started_at: datetime) -> datetime:
        """When it is expected to be published: its scheduled time, if that is later than the wait's start."""
        scheduled = parse_instant(self.outcome.scheduled_at)
        return started_at if scheduled is None else max(started_at, scheduled)

    def expected(self, started_at: datetime, now: datetime) -> datetime:
        """As :meth:`due`; but what is on its way is not to come, though the service's clock may be ahead of ours."""
        due = self.due(started_at)
        return min(due, now) if is_under_way(self.outcome) else due

    def label(self) -> str:
        """What a log line calls it."""
        outcome = self.outcome
        words = [f"post {outcome.post_id}"]
        if outcome.provider:
            words.append(f"on {outcome.provider}")
        if outcome.social_account_id:
            words.append(f"account {outcome.social_account_id}")
        return " ".join(words)

    def _is_mine(self, latest: ScheduledPost, not_before: datetime | None) -> bool:
        pending = self.outcome
        if pending.scheduled_post_id is not None:
            return same_id(latest.id, pending.scheduled_post_id)
        if pending.social_account_id is not None and not same_id(latest.social_account_id, pending.social_account_id):
            return False
        planned, due = parse_instant(pending.scheduled_at), parse_instant(latest.scheduled_at)
        if planned is not None and (due is None or abs(planned - due) >= timedelta(seconds=1)):
            return False
        created = parse_instant(latest.created_at)
        return not_before is None or (created is not None and created >= not_before)

    def _mine(self, response: Response[Post], now: datetime) -> ScheduledPost | None:
        latest = response.value.latest_scheduled_post
        not_before = on_service_clock(self.since, response.service_time, now) if self.since else None
        return latest if latest is not None and self._is_mine(latest, not_before) else None

    def is_shown_by(self, response: Response[Post], now: datetime) -> bool:
        """Whether an answer shows the publication as under way or published.

        What says less, or that it failed, is not believed from a list, which may be incomplete or behind.
        """
        mine = self._mine(response, now)
        return mine is not None and classify(mine)[0] in {"pending", "published"}

    def see(self, response: Response[Post], now: datetime) -> str | None:
        """Take in what a look showed; return a line for the log if something changed."""
        patience, self.patience = self.patience, None
        mine = self._mine(response, now)
        if mine is None:
            return self._see_other(response.value.latest_scheduled_post)
        self.hidden_by = None
        self._see_upload(mine, now)
        self.outcome = outcome_of(mine, self.outcome.team_id, self.outcome.post_id)
        if patience is not None:
            self._put_off(patience)
        return self._news(describe_submission(mine))

    def _put_off(self, patience: timedelta) -> None:
        scheduled = parse_instant(self.outcome.scheduled_at)
        if scheduled is not None:
            deadline = max(self.deadline, _later(scheduled, patience))
            self.deadline = deadline if self.latest is None else min(deadline, self.latest)

    def _see_other(self, latest: ScheduledPost | None) -> str | None:
        if self.outcome.scheduled_post_id is None:
            return self._news("not submitted yet")
        if latest is None:
            self.hidden_by = ("", "")
            return self._news("the service shows no submission of the post any more")
        self.hidden_by = (latest.id, latest.social_account_id)
        return self._news(
            f"cannot be seen: the service shows {latest.id} of account {latest.social_account_id} as the latest"
        )

    def _see_upload(self, latest: ScheduledPost, now: datetime) -> None:
        progress = latest.provider_publish_state.upload_progress
        fraction = progress.fraction if progress else None
        if fraction is None or fraction >= 1.0:
            self.upload = self.upload_remaining = None
            return
        if self.upload is None or fraction < self.upload[1]:
            self.upload, self.upload_remaining = (now, fraction), None
            return
        gained, took = fraction - self.upload[1], (now - self.upload[0]).total_seconds()
        self.upload_remaining = (1.0 - fraction) * took / gained if gained > 0 else None

    def _news(self, words: str) -> str | None:
        if words == self.shown:
            return None
        self.shown = words
        return f"{self.label()}: {words}"

    def end_unknown(self, reason: Reason, message: str | None = None) -> str:
        """End the wait without knowing what became of the publication; return the line for the log."""
        self.outcome = self.outcome.model_copy(
            update={
                "state": "unknown",
                "reason": reason,
                "error_message": message or self.outcome.error_message,
            }
        )
        return f"{self.label()}: unknown ({reason})" + (f": {message}" if message else "")

    def expire(self, started_at: datetime, hidden_timeout: timedelta, now: datetime) -> str | None:
        """End the wait if its time is over; return the line for the log if so."""
        if self.outcome.is_final:
            return None
        if now < self.ends_at(started_at, hidden_timeout):
            return None
        if self.hidden_by is not None:
            newer, account = self.hidden_by
            if same_id(account, self.outcome.social_account_id):
                return self.end_unknown("superseded", f"a newer submission of the same account hides it: {newer}")
            return self.end_unknown(
                "not_observable",
                f"a newer submission hides it: {newer} of account {account}"
                if newer
                else "the service shows no submission of the post any more",
            )
        return self.end_unknown("deadline", f"not over by {format_instant(self.deadline)}: {self.shown or 'not seen'}")

    def ends_at(self, started_at: datetime, hidden_timeout: timedelta) -> datetime:
        """When waiting for it ends, whatever is known then."""
        if self.hidden_by is None:
            return self.deadline
        return min(self.deadline, _later(self.due(started_at), hidden_timeout))


@dataclass
class _Look:
    """The next look at a post.

    :param at: when it is planned.
    :param not_before: the service asked not to come back earlier (``Retry-After``).
    :param failures: how many looks in a row have failed.
    :param said: the kind of error that the log knows of.
    :param missing_since: when the first of the last 404s in a row came.
    """

    at: datetime
    not_before: datetime | None = None
    failures: int = 0
    said: str | None = None
    missing_since: datetime | None = None


@dataclass
class Wait:
    """Publications that one task waits for together.

    Whoever waits calls :meth:`expire` for what is due, looks at what :meth:`posts_due` then names, hands what came of it to
    :meth:`saw` or :meth:`failed`, and sleeps until :meth:`next_poll`, until it is :attr:`done`.

    :param watches: what is waited for, in the order in which outcomes are reported.
    :param started_at: start of the wait; survives restarts, so that no schedule begins anew.
    :param hidden_timeout: how long after a publication was due it may stay hidden.
    :param interval: shortest pause between looks after a post was due, in seconds (default 4.0).
    :param backoff: growth of that pause with the square root of the time (default 0.8).
    :raises OctosparkArgumentError: if floor or factor make no sense.
    """

    watches: list[Watch]
    started_at: datetime
    hidden_timeout: timedelta = HIDDEN_TIMEOUT
    interval: float = POLL_INTERVAL
    backoff: float = POLL_BACKOFF
    _looks: dict[tuple[str, str], _Look] = field(default_factory=dict, repr=False)
    _by_post: dict[tuple[str, str], list[Watch]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not (_is_number(self.interval) and 0 < self.interval <= LONGEST_POLL_INTERVAL):
            raise OctosparkArgumentError(
                f"poll_interval is {self.interval!r:.80}; it must be a number of seconds above 0, "
                f"at most {LONGEST_POLL_INTERVAL:.0f}."
            )
        if not (_is_number(self.backoff) and 0 <= self.backoff <= LONGEST_POLL_INTERVAL):
            raise OctosparkArgumentError(
                f"poll_backoff is {self.backoff!r:.80}; it must be a number from 0 to {LONGEST_POLL_INTERVAL:.0f}."
            )
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
        """Begin to wait for ``outcomes``; those that are final stay as they are.

        :param publish_timeout: how long after ``started_at``, or after a later scheduled time, to give up. A scheduled
            time that is not known yet counts if the first look shows it, before the wait leaves this process.
        :param since: where an outcome names no submission, only one created at or after this is taken for it.
        :param latest: what no deadline may lie beyond; by default there is no such bound.
        :raises OctosparkArgumentError: if floor or factor make no sense.
        """
        watches = []
        for outcome in outcomes:
            watch = Watch(outcome, started_at, since if outcome.scheduled_post_id is None else None, latest=latest)
            watch.deadline = _later(watch.due(started_at), publish_timeout)
            if latest is not None:
                watch.deadline = min(watch.deadline, latest)
            if outcome.scheduled_at is None:
                watch.patience = publish_timeout
            watches.append(watch)
        return cls(watches, started_at, hidden_timeout, interval, backoff)

    @property
    def outcomes(self) -> list[Outcome]:
        """What is known of each publication, in order."""
        return [watch.outcome for watch in self.watches]

    @property
    def done(self) -> bool:
        """Whether all of them have ended."""
        return all(watch.outcome.is_final for watch in self.watches)

    @property
    def deadline(self) -> datetime:
        """When the last of them is given up."""
        return max((watch.deadline for watch in self.watches), default=self.started_at)

    def posts(self) -> list[tuple[str, str]]:
        """Return team and post of all that have not ended, each once."""
        return [post for post in self._by_post if self.is_open(post)]

    def is_open(self, post: tuple[str, str]) -> bool:
        """Whether anything about a post has not ended yet."""
        return bool(self._open(post))

    def posts_due(self, now: datetime) -> list[tuple[str, str]]:
        """Return team and post of all that should be looked at now."""
        return [post for post in self.posts() if self.look_at(post, now) <= now]

    def look_at(self, post: tuple[str, str], now: datetime) -> datetime:
        """Return when something is to be done about a post: a look, or the end of the wait for it."""
        at = self._looks[post].at if post in self._looks else now
        for watch in self._open(post):
            at = min(at, watch.ends_at(self.started_at, self.hidden_timeout))
        return at

    def next_poll(self, now: datetime) -> datetime:
        """Return when something is to be done about any post."""
        return min((self.look_at(post, now) for post in self.posts()), default=now)

    def hold(self, until: datetime) -> None:
        """Look at nothing before ``until``."""
        for post in self.posts():
            look = self._looks.setdefault(post, _Look(until))
            look.at = max(look.at, until)

    def is_shown_by(self, post: tuple[str, str], response: Response[Post], now: datetime) -> bool:
        """Whether a list's answer can stand for a look: it shows all that is waited for at a post."""
        return all(watch.is_shown_by(response, now) for watch in self._open(post))

    def saw(self, post: tuple[str, str], response: Response[Post], now: datetime) -> list[str]:
        """Take in what a look at a post showed; return lines for the log."""
        before = self._looks.get(post)
        lines: list[str | None] = [f"post {post[1]}: can be read again"] if before and before.said else []
        seen = self._open(post)
        lines += [watch.see(response, now) for watch in seen]
        lines += [watch.expire(self.started_at, self.hidden_timeout, now) for watch in seen]
        looks = [
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
        if looks:
            self._looks[post] = _Look(min(looks))
        return [line for line in lines if line]

    def failed(self, post: tuple[str, str], error: OctosparkError, now: datetime) -> list[str]:
        """Take in that a look failed; return lines for the log.

        What passes by itself backs off and goes on until the deadline, and so does a 404 for some time. Anything else
        ends the wait for this post as unknown: a refused key says nothing of the publication.
        """
        look = self._looks.setdefault(post, _Look(now))
        look.failures += 1
        words = sanitize(error, 300)
        lines: list[str | None] = []
        if look.said != type(error).__name__:
            look.said = type(error).__name__
            lines.append(f"post {post[1]}: a look failed: {words}")
        missing = isinstance(error, OctosparkNotFoundError)
        look.missing_since = (look.missing_since or now) if missing else None
        if is_transient(error) or (look.missing_since is not None and now < look.missing_since + NOT_FOUND_GRACE):
            self._back_off(post, look, error, now)
        else:
            reason: Reason = "not_observable" if missing else "access_lost"
            lines += [watch.end_unknown(reason, words) for watch in self._open(post)]
        lines += self._expire(post, now)
        return [line for line in lines if line]

    def _back_off(self, post: tuple[str, str], look: _Look, error: OctosparkError, now: datetime) -> None:
        due = min((watch.due(self.started_at) for watch in self._open(post)), default=now)
        regular = pause_after_due((now - due).total_seconds(), self.interval, self.backoff)
        pause = max(delay_after(error, look.failures), regular)
        look.at = now + timedelta(seconds=pause * (1.0 + JITTER_AFTER_ERROR * random.random()))  # noqa: S311
        look.not_before = None if error.retry_after is None else now + timedelta(seconds=error.retry_after)

    def expire(self, post: tuple[str, str], now: datetime) -> list[str]:
        """End the wait for whatever's time is over at a post, without a look at it; return lines for the log.

        Normally the last look comes first; but not where the service asked not to be asked before the deadline.
        """
        return [line for line in self._expire(post, now) if line] if self._is_held(post, now) else []

    def _is_held(self, post: tuple[str, str], now: datetime) -> bool:
        look = self._looks.get(post)
        return look is not None and look.not_before is not None and now < look.not_before

    def _expire(self, post: tuple[str, str], now: datetime) -> list[str | None]:
        return [watch.expire(self.started_at, self.hidden_timeout, now) for watch in self._open(post)]

    def _open(self, post: tuple[str, str]) -> list[Watch]:
        return [watch for watch in self._by_post[post] if not watch.outcome.is_final]

    def as_json(self) -> dict[str, Any]:
        """Return the wait as JSON primitives, for trigger arguments and Airflow's task state store."""
        return {
            "watches": [self._watch_as_json(watch) for watch in self.watches],
            "started_at": format_instant(self.started_at),
            "hidden_timeout": self.hidden_timeout.total_seconds(),
            "interval": self.interval,
            "backoff": self.backoff,
        }

    def _watch_as_json(self, watch: Watch) -> dict[str, Any]:
        look = None if watch.outcome.is_final else self._looks.get(watch.post)
        return {
            "outcome": watch.outcome.as_json(),
            "deadline": format_instant(watch.deadline),
            "since": format_instant(watch.since) if watch.since else None,
            "shown": watch.shown,
            "look_at": format_instant(look.at) if look else None,
            "not_before": format_instant(look.not_before) if look and look.not_before else None,
            "failures": look.failures if look else 0,
            "said": look.said if look else None,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Wait:
        """Read what :meth:`as_json` wrote.

        :raises ValueError: if it cannot be read.
        """
        try:
            wait = cls(
                watches=[
                    Watch(
                        outcome=Outcome.model_validate(entry["outcome"]),
                        deadline=_instant(entry["deadline"]),
                        since=_instant(entry["since"]) if entry.get("since") else None,
                        shown=entry.get("shown"),
                    )
                    for entry in data["watches"]
                ],
                started_at=_instant(data["started_at"]),
                hidden_timeout=timedelta(seconds=data["hidden_timeout"]),
                interval=float(data["interval"]),
                backoff=float(data["backoff"]),
            )
            for watch, entry in zip(wait.watches, data["watches"], strict=True):
                if entry.get("look_at"):
                    wait._looks[watch.post] = _Look(
                        _instant(entry["look_at"]),
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
        # What was not known when the wait began cannot be compared.
        account = outcome.social_account_id if pending.social_account_id else None
        scheduled = outcome.scheduled_post_id if pending.scheduled_post_id else None
        return tuple((part or "").lower() for part in (outcome.team_id, outcome.post_id, account, scheduled))

    return len(one) == len(other) and all(identity(a, b) == identity(b, b) for a, b in zip(one, other, strict=True))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _later(instant: datetime, duration: timedelta) -> datetime:
    """Return the moment after a duration, or the last one there is: the service may name the year 9999."""
    try:
        return instant + duration
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _instant(text: object) -> datetime:
    instant = parse_instant(text)
    if instant is None:
        raise ValueError(f"not a wait: {text!r} is no instant")
    return instant
