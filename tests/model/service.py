"""A model of Octospark: one post, its submissions, and time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from airflow_provider_octospark.api.models import Post, ScheduledPost
from airflow_provider_octospark.parameters.times import format_instant

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
TEAM, POST = "team", "post"
OCCURRENCE = 86_400


@dataclass(frozen=True)
class Submission:
    """A scheduledPost. Times are seconds since the start.

    :param by_task: whether the task's request caused it; no occurrence and no user.
    """

    id: str
    account: str
    by_task: bool
    status: str
    created: float
    updated: float
    due: float
    category: str | None = None

    def view(self) -> ScheduledPost:
        """The form in which the API shows it."""
        return ScheduledPost(
            id=self.id,
            social_account_id=self.account,
            status=self.status,
            scheduled_at=at(self.due),
            error_category=self.category,
            created_at=at(self.created),
            updated_at=at(self.updated),
        )

    @property
    def is_live(self) -> bool:
        """Whether it is out, or comes out."""
        return self.status in {"scheduled", "published"}


def at(seconds: float) -> str:
    """An instant in the API's form."""
    return format_instant(START + timedelta(seconds=seconds))


class Service:
    """The service.

    :param latest: by what the latest submission of a post is chosen.
    :param recurs: whether an occurrence follows each submission that is published.
    """

    def __init__(self, latest: Literal["created", "updated"], *, recurs: bool) -> None:
        self._latest = latest
        self._recurs = recurs
        self.seconds = 0.0
        self.fails_next: str | None = None
        """The errorCategory with which the next publication fails, or None."""
        self.submissions: list[Submission] = []
        self._effects: list[tuple[float, Callable[[], object], str]] = []

    def now(self) -> datetime:
        """The service's clock."""
        return START + timedelta(seconds=self.seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass, with all that happens in it."""
        end = self.seconds + max(0.0, seconds)
        while event := min(self._events(), key=lambda each: each[0], default=None):
            if event[0] > end:
                break
            self.seconds = max(self.seconds, event[0])
            self._effects = [each for each in self._effects if each is not event]
            event[1]()
        self.seconds = end

    def _events(self) -> list[tuple[float, Callable[[], object], str]]:
        scheduled = [each for each in self.submissions if each.status == "scheduled"]
        return [*self._effects, *((each.due, self._publisher(each), each.account) for each in scheduled)]

    def is_under_way(self, account: str) -> bool:
        """Whether a request for an account is still to have its effect."""
        return any(each == account for _, _, each in self._effects)

    def accept(self, account: str, due: float | None, *, by_task: bool, after: float = 0.0) -> Submission | None:
        """Take a request, now or ``after`` some seconds."""
        if after:
            self._effects.append((self.seconds + after, lambda: self._add(account, due, by_task=by_task), account))
            return None
        return self._add(account, due, by_task=by_task)

    def _add(self, account: str, due: float | None, *, by_task: bool) -> Submission:
        when = self.seconds if due is None else due
        added = Submission(f"s{len(self.submissions)}", account, by_task, "scheduled", self.seconds, self.seconds, when)
        self.submissions.append(added)
        return added

    def _publisher(self, submission: Submission) -> Callable[[], None]:
        def publish() -> None:
            if self.fails_next is not None:
                self.change(submission, status="failed", category=self.fails_next)
                self.fails_next = None
                return
            self.change(submission, status="published")
            if self._recurs and submission.due < OCCURRENCE:
                self._add(submission.account, submission.due + OCCURRENCE, by_task=False)

        return publish

    def change(self, submission: Submission, **changes: Any) -> None:
        """Change a submission; its ``updatedAt`` tells of it."""
        index = self.submissions.index(submission)
        self.submissions[index] = replace(submission, updated=self.seconds, **changes)

    def post(self) -> Post:
        """The post, as it can be read."""
        key: Callable[[Submission], float] = lambda each: getattr(each, self._latest)  # noqa: E731
        latest = max(reversed(self.submissions), key=key, default=None)
        return Post(id=POST, latest_scheduled_post=latest.view() if latest else None)

    def state(self) -> tuple[Any, ...]:
        """All that decides what it does from now on."""
        return self.seconds, self.fails_next, tuple(self.submissions), tuple(when for when, _, _ in self._effects)
