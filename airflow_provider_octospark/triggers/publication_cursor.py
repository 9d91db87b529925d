"""Decide which publications of a list are new. The cursor keeps what was reported.

Pure: nothing here reads a clock, sleeps or sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_octospark.api.models import Post, ScheduledPost
from airflow_provider_octospark.outcomes import Outcome, classify, outcome_of
from airflow_provider_octospark.parameters.times import format_instant, on_service_clock, parse_instant

FORMAT = 1

REMEMBERED = 500
"""Maximum number of reported publications that the cursor keeps. When one is dropped, a publication that was due before it
and was never seen scheduled is not new any more. With :data:`AWAITED` the cursor stays below the 64 KiB at which Airflow's
store warns."""

AWAITED = 300
"""Maximum number of scheduled submissions that the cursor keeps; those that are due last are dropped first."""

GIVEN_UP_AFTER = timedelta(days=30)
"""How long after its time a submission is kept that no read shows."""

PATIENCE = 0.1
"""A post that lists do not show is read by itself when it is due, and again after this part of the time since it was
due."""


@dataclass(frozen=True)
class Awaited:
    """A submission that was seen scheduled.

    :param due: when it is to be published, in seconds since 1970 by the service's clock.
    """

    post_id: str
    due: float


@dataclass
class Cursor:
    """What was reported of a team's publications.

    :param since: when the watcher started, by our clock. A publication that was due before is reported only if it was seen
        scheduled.
    :param told: when each reported publication was due, by submission id.
    :param forgotten: when the latest of the dropped publications was due.
    :param awaited: the submissions that were seen scheduled, by id.
    """

    since: datetime
    reported: dict[str, float] = field(default_factory=dict)
    forgotten: float = 0.0
    awaited: dict[str, Awaited] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the cursor as JSON primitives."""
        return {
            "format": FORMAT,
            "since": format_instant(self.since),
            "reported": dict(self.reported),
            "forgotten": self.forgotten,
            "awaited": {key: [each.post_id, each.due] for key, each in self.awaited.items()},
        }

    @classmethod
    def from_json(cls, data: Any) -> Cursor | None:
        """Parse what :meth:`as_json` returned; None if it is invalid."""
        try:
            since = parse_instant(data["since"])
            if data["format"] != FORMAT or since is None:
                return None
            reported = {str(key): float(due) for key, due in data["reported"].items()}
            awaited = {str(key): Awaited(str(post_id), float(due)) for key, (post_id, due) in data["awaited"].items()}
            return cls(since, reported, float(data["forgotten"]), awaited)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    @property
    def latest(self) -> float:
        """When the latest reported publication was due."""
        return max(self.reported.values(), default=self.forgotten)

    def take(
        self, team_id: str, posts: Iterable[Post], service_time: datetime | None, now: datetime
    ) -> Iterator[Outcome]:
        """Process a list; return the outcome of each new publication.

        :param service_time: the service's clock at our ``now``, or None if it is not known.
        """
        begin = on_service_clock(self.since, service_time, now).timestamp()
        for post in posts:
            latest = post.latest_scheduled_post
            if latest is None or latest.id.lower() in self.reported:
                continue
            key, due, state = latest.id.lower(), _due(latest), classify(latest)[0]
            if state == "pending":
                self.awaited[key] = Awaited(post.id, now.timestamp() if due is None else due)
                continue
            was_awaited = self.awaited.pop(key, None)
            if state != "published":
                # This is not new, and does not prove that it will not be published.
                continue
            if due is None:
                due = 0.0 if was_awaited is None else was_awaited.due
            if was_awaited is None and (due < begin or due <= self.forgotten):
                continue
            self.reported[key] = due
            yield outcome_of(latest, team_id, post.id)
        self._forget((service_time or now).timestamp())

    def _forget(self, now: float) -> None:
        for key, each in list(self.awaited.items()):
            if each.due + GIVEN_UP_AFTER.total_seconds() < now:
                del self.awaited[key]
        for key in sorted(self.awaited, key=lambda key: self.awaited[key].due)[AWAITED:]:
            del self.awaited[key]
        for key in sorted(self.reported, key=self.reported.__getitem__)[: max(0, len(self.reported) - REMEMBERED)]:
            self.forgotten = max(self.forgotten, self.reported.pop(key))

    def missing(self, shown: Iterable[Post], now: datetime) -> list[str]:
        """Return the posts of kept submissions that are due and not in a list."""
        known = {post.id.lower() for post in shown}
        due = [each for each in self.awaited.values() if each.due <= now.timestamp()]
        return list(dict.fromkeys(each.post_id for each in due if each.post_id.lower() not in known))

    def pause_after(self, post_id: str, now: datetime) -> float:
        """Return the seconds until the next single read of a post."""
        dues = [each.due for each in self.awaited.values() if each.post_id == post_id]
        return PATIENCE * max(0.0, now.timestamp() - max(dues, default=now.timestamp()))


def _due(scheduled: ScheduledPost) -> float | None:
    """Return when it was due. ``updatedAt`` is no substitute, because that of an old publication changes too."""
    known = [
        instant.astimezone(UTC).timestamp()
        for instant in map(parse_instant, (scheduled.scheduled_at, scheduled.created_at))
        if instant is not None
    ]
    return max(known, default=None)
