"""The steps of the submission protocol, and what is known of a post when one is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from airflow_provider_octospark.api.models import Post, ScheduledPost
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.exceptions import OctosparkAlreadySubmittedError, OctosparkError
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.records import Baseline, Record, Target

DecisionKey = tuple[str, str]
"""The account and the request that a user's decision is about."""


@dataclass(frozen=True)
class LogLine:
    """A line for the task's log."""

    level: Literal["info", "warning", "error"]
    message: str


@dataclass(frozen=True)
class Observed:
    """The result of reading a post.

    :param asked_at: our clock when the read began. A slow response may show the post as it was then.
    :param read_at: our clock when the response had come.
    """

    response: Response[Post] | OctosparkError
    asked_at: datetime
    read_at: datetime

    @property
    def latest(self) -> ScheduledPost | None:
        """The latest submission of the post, if the post could be read and has one."""
        return None if isinstance(self.response, OctosparkError) else self.response.value.latest_scheduled_post

    @property
    def service_time(self) -> datetime | None:
        """The service's clock, if the response has it."""
        return None if isinstance(self.response, OctosparkError) else self.response.service_time


@dataclass(frozen=True)
class Conclusion:
    """What this try reports of a target instead of its record's outcome. The try sends nothing more to the target.

    :param error: why the target was not submitted, or None.
    :param refuses_resubmission: whether ``error`` kept a submission from being repeated whose outcome still stands.
    :param note: for a target in doubt, what a user should know and do.
    """

    outcome: Outcome
    error: OctosparkError | None = None
    refuses_resubmission: bool = False
    note: str | None = None


@dataclass(frozen=True)
class PostState:
    """What is known of one post.

    :param announcements: the task's announcements of the post.
    :param records: the records of all its targets on the task's record, also of those that are announced no more.
    :param concluded: what this try has concluded already.
    :param observed: what the post shows, or None if it is to be read before anything more is sent.
    :param decisions: what a user decided, for each key that was looked up with ``observed``.
    :param was_read: whether this try has read the post.
    :param halted: why this try sends nothing more to any post, or None.
    :param runs: which other run of the DAG reports a submission, by the submission's id; None if it is not known.
    """

    announcements: tuple[Announcement, ...]
    records: Mapping[Target, Record]
    concluded: Mapping[Target, Conclusion] = field(default_factory=dict)
    observed: Observed | None = None
    decisions: Mapping[DecisionKey, object] = field(default_factory=dict)
    was_read: bool = False
    halted: OctosparkError | None = None
    runs: Mapping[str, str | None] = field(default_factory=dict)

    def open_records(self, announcement: Announcement | None = None) -> list[Record]:
        """Return the records about which nothing is concluded: all, or those of one announcement."""
        keys: Iterable[Target] = self.records if announcement is None else announcement.targets
        return [self.records[key] for key in keys if key in self.records and key not in self.concluded]

    def in_doubt(self) -> list[Record]:
        """Return the records in doubt about which nothing is concluded."""
        return [record for record in self.open_records() if record.state == "in_doubt"]


@dataclass(frozen=True)
class Read:
    """Read the post, and what a user decided about the requests in ``decisions``."""

    decisions: tuple[DecisionKey, ...] = ()


@dataclass(frozen=True)
class FindRun:
    """Find out which other run of the DAG reports a submission; ask for the next step with the result in ``runs``."""

    submission_id: str


@dataclass(frozen=True)
class Update:
    """Write ``records`` if there are any, take in ``concluded``, and ask for the next step.

    :param halts: why nothing more is sent to any post in this try, or None.
    :param reopened: targets whose conclusion no longer holds, because of what ``records`` say now.
    """

    records: tuple[Record, ...] = ()
    concluded: Mapping[Target, Conclusion] = field(default_factory=dict)
    log: tuple[LogLine, ...] = ()
    halts: OctosparkError | None = None
    reopened: frozenset[Target] = frozenset()


@dataclass(frozen=True)
class Send:
    """Write a fence for ``records``, and send one request for their targets."""

    announcement: Announcement
    records: tuple[Record, ...]
    baseline: Baseline
    log: tuple[LogLine, ...] = ()

    @property
    def accounts(self) -> Sequence[str]:
        """The accounts of the request."""
        return [record.social_account_id for record in self.records]


@dataclass(frozen=True)
class PollLater:
    """Read the post again at ``at``: a request is in doubt, and nothing more of the post is sent until then."""

    at: datetime
    log: tuple[LogLine, ...] = ()


@dataclass(frozen=True)
class Refuse:
    """Send nothing and fail: a target was submitted, and ``if_already_submitted`` is ``fail``."""

    error: OctosparkAlreadySubmittedError


@dataclass(frozen=True)
class Finish:
    """Nothing is left to do for the post in this try."""

    log: tuple[LogLine, ...] = ()


Step = Read | FindRun | Update | Send | PollLater | Refuse | Finish
