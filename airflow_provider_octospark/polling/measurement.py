"""The measurement of publications: when to read their performance, and what a response means.

Pure, as ``polling/wait.py`` is: the worker and the trigger pass in responses and times, and share every decision.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Self, get_args

from airflow_provider_octospark.api.backoff import delay_after, is_transient
from airflow_provider_octospark.api.performance import Performance
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.text import sanitize, without_stop
from airflow_provider_octospark.exceptions import OctosparkError, OctosparkNotFoundError
from airflow_provider_octospark.outcomes import Outcome, describe, same_id
from airflow_provider_octospark.parameters.times import format_instant, on_service_clock, parse_instant
from airflow_provider_octospark.polling.performance_rows import PerformanceRow, current_row, snapshot_rows
from airflow_provider_octospark.polling.schedule import later, next_poll
from airflow_provider_octospark.polling.wait import Wait
from airflow_provider_octospark.polling.watch import NOT_FOUND_GRACE, Watch

COLLECTED = ("completed", "failed", "stale")
"""The statuses after which the service collects again at a time of its own."""

ReadingState = Literal[
    "pending", "measured", "not_published", "unknown", "hidden", "not_found", "access_lost", "deadline"
]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is accepted as measured, and how long to wait for it.

    :param collected_after: how long after its scheduled time, or after the start, a publication is collected at the earliest.
    :param collect_timeout: how long to wait from then on.
    :param max_age: the largest age of a collection; None for any.
    :param snapshots: whether there is a row for each snapshot in place of one for the last collection.
    :param hidden_timeout: how long the performance may name another submission.
    :param interval: the pause between two reads, in seconds.
    """

    collected_after: timedelta
    collect_timeout: timedelta
    max_age: timedelta | None
    snapshots: bool
    hidden_timeout: timedelta
    interval: float

    def as_json(self) -> dict[str, Any]:
        """Return JSON primitives; durations in seconds."""
        return {
            "collected_after": self.collected_after.total_seconds(),
            "collect_timeout": self.collect_timeout.total_seconds(),
            "max_age": None if self.max_age is None else self.max_age.total_seconds(),
            "snapshots": self.snapshots,
            "hidden_timeout": self.hidden_timeout.total_seconds(),
            "interval": self.interval,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Parse what :meth:`as_json` returned."""
        return cls(
            collected_after=timedelta(seconds=data["collected_after"]),
            collect_timeout=timedelta(seconds=data["collect_timeout"]),
            max_age=None if data["max_age"] is None else timedelta(seconds=data["max_age"]),
            snapshots=data["snapshots"] is True,
            hidden_timeout=timedelta(seconds=data["hidden_timeout"]),
            interval=float(data["interval"]),
        )


@dataclass
class Reading:
    """The measurement of one publication.

    :param wanted_from: the earliest time of a collection that counts.
    :param is_service_time: whether that is a time of the service's clock, and not of ours.
    :param begins_at: the first read of the performance.
    :param deadline: the end of the measurement.
    :param state: ``pending``, ``measured``, or why there are no numbers.
    :param message: why there are none, in words.
    :param rows: the rows of a publication that is measured.
    """

    wanted_from: datetime
    is_service_time: bool
    begins_at: datetime
    deadline: datetime
    state: ReadingState = "pending"
    message: str | None = None
    rows: list[PerformanceRow] = field(default_factory=list)
    seen: str = "the performance was not read"

    def end(self, state: ReadingState, message: str) -> None:
        """End the measurement without numbers."""
        self.state, self.message = state, message

    def as_json(self) -> dict[str, Any]:
        """Return JSON primitives."""
        return {
            "wanted_from": format_instant(self.wanted_from),
            "is_service_time": self.is_service_time,
            "begins_at": format_instant(self.begins_at),
            "deadline": format_instant(self.deadline),
            "state": self.state,
            "message": self.message,
            "rows": self.rows,
            "seen": self.seen,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Parse what :meth:`as_json` returned.

        :raises ValueError: if it is invalid.
        """
        fields = dict(data)
        for name in ("wanted_from", "begins_at", "deadline"):
            fields[name] = parse_instant(data[name])
            if fields[name] is None:
                raise ValueError(f"not a reading: {name} is no instant")
        if data["state"] not in get_args(ReadingState) or not isinstance(data["rows"], list):
            raise ValueError("not a reading")
        return cls(**fields)


@dataclass
class _Reads:
    """The next read of a post's performance."""

    at: datetime
    failures: int = 0
    said: str | None = None
    missing_since: datetime | None = None


@dataclass
class Measurement:
    """The publications that a task measures. Each is awaited first, if it is not out yet.

    No request is sent before the first time at which it can bring news. The caller repeats for each post of :meth:`posts`: pass
    the post to whoever polls :attr:`wait`, call :meth:`expire`, read the performance when :meth:`read_at` says, and pass the result
    to :meth:`record_response` or :meth:`record_error`.

    :param wait: the wait for the publications; its outcomes are those of the readings, in order.
    """

    wait: Wait
    readings: list[Reading]
    terms: Terms
    _reads: dict[tuple[str, str], _Reads] = field(default_factory=dict, repr=False)
    _by_post: dict[tuple[str, str], list[tuple[Watch, Reading]]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for pair in zip(self.wait.watches, self.readings, strict=True):
            self._by_post.setdefault(pair[0].post, []).append(pair)
        for post in self._by_post:
            self._take_outcomes(post)

    @classmethod
    def start(cls, outcomes: Iterable[Outcome], terms: Terms, *, started_at: datetime) -> Self:
        """Start to measure ``outcomes``; a post without a known submission is measured by its latest one."""
        watches, readings = [], []
        for outcome in outcomes:
            scheduled = parse_instant(outcome.scheduled_at)
            wanted = later(scheduled or started_at, terms.collected_after)
            begins = max(wanted, started_at)
            deadline = later(begins, terms.collect_timeout)
            watches.append(Watch(outcome, deadline))
            readings.append(Reading(wanted, scheduled is not None, begins, deadline))
        wait = Wait(watches, started_at, hidden_timeout=terms.hidden_timeout, interval=terms.interval)
        measurement = cls(wait, readings, terms)
        for post in wait.posts():
            wait.hold(min(reading.begins_at for _, reading in measurement._open(post)), [post])
        return measurement

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcome of each publication, in order."""
        return self.wait.outcomes

    @property
    def done(self) -> bool:
        """Whether nothing is left to read."""
        return not self.posts()

    @property
    def deadline(self) -> datetime:
        """The latest deadline."""
        return max(reading.deadline for reading in self.readings)

    def posts(self) -> list[tuple[str, str]]:
        """Return team and post of all open readings, each once."""
        return [post for post in self._by_post if self._open(post)]

    def _take_outcomes(self, post: tuple[str, str]) -> None:
        """End the readings of what the wait has found not to be published."""
        for watch, reading in self._open(post):
            outcome = watch.outcome
            if not outcome.is_final or outcome.state == "published":
                continue
            reading.end(
                "unknown" if outcome.state == "unknown" else "not_published",
                f"{describe(outcome)}. Only what is published is measured.",
            )

    def read_at(self, post: tuple[str, str], now: datetime) -> datetime | None:
        """Return the time of the next read of a post's performance, or of a deadline; None if none is left.

        While the post itself is awaited, that is the time of the wait's next poll.
        """
        self._take_outcomes(post)
        if self.wait.is_open(post):
            return self.wait.poll_at(post, now)
        open_ = self._open(post)
        if not open_:
            return None
        planned = self._reads[post].at if post in self._reads else min(reading.begins_at for _, reading in open_)
        return min(planned, *(reading.deadline for _, reading in open_))

    def posts_due(self, now: datetime) -> list[tuple[str, str]]:
        """Return team and post of all performances to read now."""
        candidates = [post for post in self.posts() if not self.wait.is_open(post)]
        return [post for post in candidates if (at := self.read_at(post, now)) is not None and at <= now]

    def next_step(self, now: datetime) -> datetime:
        """Return the time of the next request or deadline."""
        return min((at for post in self.posts() if (at := self.read_at(post, now)) is not None), default=now)

    def hold(self, until: datetime) -> None:
        """Postpone all requests to ``until``."""
        self.wait.hold(until)
        for post in self.posts():
            if self.wait.is_open(post):
                continue
            begins = min(reading.begins_at for _, reading in self._open(post))
            reads = self._reads.setdefault(post, _Reads(begins))
            reads.at = max(reads.at, until)

    def record_response(self, post: tuple[str, str], response: Response[Performance], now: datetime) -> list[str]:
        """Process a performance; return lines for the log."""
        before = self._reads.get(post)
        lines = [f"Post {post[1]}: its performance can be read again."] if before and before.said else []
        for watch, reading in self._open(post):
            seen = self._see(watch.outcome, reading, response, now)
            if seen != reading.seen:
                reading.seen = seen
                lines.append(f"{watch.label()}: {seen}.")
        lines += self.expire(post, now)
        open_ = self._open(post)
        if open_:
            begins = min(reading.begins_at for _, reading in open_)
            self._reads[post] = _Reads(next_poll(now, min(begins, now), interval=self.terms.interval))
        return lines

    def _see(self, outcome: Outcome, reading: Reading, response: Response[Performance], now: datetime) -> str:
        performance = response.value
        if not same_id(performance.scheduled_post_id, outcome.scheduled_post_id):
            named = sanitize(performance.scheduled_post_id, 60) or "no submission"
            seen = f"the performance of the post measures {named}, and not {outcome.scheduled_post_id}"
            if now >= later(reading.begins_at, self.terms.hidden_timeout):
                reading.end(
                    "hidden",
                    f"{describe(outcome)}: {seen}. The numbers of another submission are not returned. Octospark measures one "
                    "submission of a post; use a post of its own for each account and each time.",
                )
            return seen
        wanted = reading.wanted_from
        if not reading.is_service_time:
            wanted = on_service_clock(wanted, response.service_time, now)
        if self.terms.max_age is not None:
            wanted = max(wanted, on_service_clock(now, response.service_time, now) - self.terms.max_age)
        last = parse_instant(performance.last_collected_at)
        status = sanitize(performance.collection_status, 40) or "not given"
        if performance.collection_status in COLLECTED and last is not None and last >= wanted:
            reading.state = "measured"
            is_snapshots = self.terms.snapshots
            reading.rows = snapshot_rows(outcome, performance) if is_snapshots else [current_row(outcome, performance)]
            return f"{status}, collected at {format_instant(last)}"
        when = "never" if last is None else format_instant(last)
        return f"{status}, collected last at {when}; wanted from {format_instant(wanted)} on"

    def record_error(self, post: tuple[str, str], error: OctosparkError, now: datetime) -> list[str]:
        """Process the error of a read; return lines for the log.

        After a transient error, and for some time after a 404, reading goes on until the deadline. Any other error ends the
        measurement of the post.
        """
        open_ = self._open(post)
        reads = self._reads.setdefault(post, _Reads(now))
        reads.failures += 1
        words = without_stop(sanitize(error, 300))
        lines: list[str] = []
        if reads.said != type(error).__name__:
            reads.said = type(error).__name__
            lines.append(f"Post {post[1]}: its performance could not be read: {words}.")
        is_missing = isinstance(error, OctosparkNotFoundError)
        reads.missing_since = (reads.missing_since or now) if is_missing else None
        if is_transient(error) or (reads.missing_since is not None and now < reads.missing_since + NOT_FOUND_GRACE):
            reads.at = later(now, timedelta(seconds=delay_after(error, reads.failures)))
            for _, reading in open_:
                reading.seen = words
        else:
            for watch, reading in open_:
                reading.end(
                    "not_found" if is_missing else "access_lost",
                    f"{describe(watch.outcome)}: its performance cannot be read: {words}.",
                )
        return lines + self.expire(post, now)

    def expire(self, post: tuple[str, str], now: datetime) -> list[str]:
        """End the readings of a post whose deadline has passed; return lines for the log."""
        lines = []
        for watch, reading in self._open(post):
            if now < reading.deadline or self.wait.is_open(post):
                continue
            message = f"{describe(watch.outcome)}: not measured by {format_instant(reading.deadline)}: {reading.seen}."
            reading.end("deadline", message)
            lines.append(message)
        return lines

    def _open(self, post: tuple[str, str]) -> list[tuple[Watch, Reading]]:
        return [pair for pair in self._by_post[post] if pair[1].state == "pending"]

    def as_json(self) -> dict[str, Any]:
        """Return the measurement as JSON primitives."""
        return {
            "wait": self.wait.as_json(),
            "readings": [reading.as_json() for reading in self.readings],
            "terms": self.terms.as_json(),
        }

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Parse what :meth:`as_json` returned.

        :raises ValueError: if it is invalid.
        """
        try:
            wait = Wait.from_json(data["wait"])
            readings = [Reading.from_json(each) for each in data["readings"]]
            terms = Terms.from_json(data["terms"])
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a measurement: {type(error).__name__} {error}") from None
        if len(readings) != len(wait.watches):
            raise ValueError("not a measurement: another number of readings than of publications")
        return cls(wait, readings, terms)
