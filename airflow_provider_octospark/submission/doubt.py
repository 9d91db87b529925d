"""Resolve a request that may have been accepted, from what the service shows of its post.

Pure functions: nothing here reads a clock, a store or the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_provider_octospark.api.backoff import is_transient
from airflow_provider_octospark.api.models import Post, ScheduledPost
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.text import sanitize
from airflow_provider_octospark.exceptions import OctosparkError
from airflow_provider_octospark.outcomes import Reason, classify, same_id
from airflow_provider_octospark.parameters.defaults import SETTLE_TIME
from airflow_provider_octospark.parameters.times import on_service_clock, parse_instant
from airflow_provider_octospark.submission.records import Record
from airflow_provider_octospark.submission.rules import CLOCK_MARGIN

POLLS_IN_DOUBT = (timedelta(seconds=15), timedelta(minutes=1), timedelta(minutes=4))
"""How long after its fence a request in doubt is looked for; the last poll is at the end of ``settle_time``."""

DUE_AT_ONCE = timedelta(hours=1)
"""How long after its creation the submission of a post-now is due at the latest; the service's intervals are whole days."""


@dataclass(frozen=True)
class Adopt:
    """The request was accepted: ``scheduled`` is its submission."""

    scheduled: ScheduledPost


@dataclass(frozen=True)
class SendAgain:
    """The request was not accepted, by proof or by a user's decision."""


@dataclass(frozen=True)
class PollAgain:
    """Nothing is proven yet; the post is to be read again at ``at``."""

    at: datetime


@dataclass(frozen=True)
class Unknown:
    """Nothing can be proven any more."""

    why: str
    reason: Reason = "in_doubt"


def resolve_doubt(
    record: Record,
    response: Response[Post] | OctosparkError,
    now: datetime,
    settle_time: timedelta | None,
    asked: datetime | None = None,
) -> Adopt | SendAgain | PollAgain | Unknown:
    """Decide whether a request in doubt was accepted.

    :param record: the target's record, in state ``in_doubt``.
    :param response: the post, or why it could not be read.
    :param now: our clock when the response had come.
    :param settle_time: see :class:`Rules`.
    :param asked: our clock when the post was requested (default ``now``). A slow response may show the post as it was then.
    """
    asked = now if asked is None else asked
    patience = SETTLE_TIME if settle_time is None else settle_time
    if isinstance(response, OctosparkError):
        # Nothing is proven while the post cannot be read. A transient error gets twice the time to pass.
        given = 2 * patience if is_transient(response) else patience
        if now < record.fence + given:
            return PollAgain(_poll_in_doubt(record, now, given))
        return Unknown(f"the post cannot be read: {sanitize(response)}", "access_lost")
    latest = response.value.latest_scheduled_post
    is_marked = latest is not None and bears_our_marks(record, latest, response.service_time, now)
    if latest is not None and is_marked and is_adoptable(latest) and not record.is_over_refused:
        return Adopt(latest)
    if asked < record.fence + patience:
        return PollAgain(_poll_in_doubt(record, now, patience))
    if _is_early_by_its_clock(record, response.service_time, patience):
        if asked < record.fence + 2 * patience:
            return PollAgain(now + timedelta(minutes=1))
        return Unknown("by the service's clock settle_time is not over, by ours twice that; one of them is wrong")
    if latest is not None and is_marked and record.is_over_refused:
        return Unknown(
            f"the service refused it with status {record.refused_status}, but submission {latest.id}, created "
            f"{sanitize(latest.created_at, 40)} for the same account, may come from it all the same"
        )
    if latest is not None and is_marked:
        return Unknown(
            f"submission {latest.id}, created {sanitize(latest.created_at, 40)} for the same account, "
            f"has status {sanitize(latest.status, 40)}; it cannot be told whether it is the one that was sent, or somebody else's"
        )
    if not _is_as_before(record, latest, response.service_time, now):
        return Unknown(
            f"the post's latest submission is now {latest.id} of account {latest.social_account_id} "
            f"({sanitize(latest.status, 40)}, created {sanitize(latest.created_at, 40)}); it is not what was sent, and the post "
            "is not as it was before"
            if latest
            else "the post shows no submission at all any more, where there was one before"
        )
    if settle_time is None:
        return Unknown("nothing new is to be seen, and with settle_time=None nothing in doubt is sent again")
    return SendAgain()


def _is_early_by_its_clock(record: Record, service_time: datetime | None, patience: timedelta) -> bool:
    """Whether ``patience`` has not passed by the service's clock. The clocks of two workers may disagree."""
    before = parse_instant(record.baseline.service_time) if record.baseline else None
    # The header ``Date`` has whole seconds.
    return before is not None and service_time is not None and service_time < before + patience - timedelta(seconds=1)


def is_adoptable(latest: ScheduledPost) -> bool:
    """Whether a submission with the marks of a request may be adopted.

    One that failed or was cancelled may not. It may be somebody else's and hide the request's own submission, and
    adopting it could lead to another submission in its place.
    """
    return classify(latest)[0] != "failed"


def _poll_in_doubt(record: Record, now: datetime, patience: timedelta) -> datetime:
    end = record.fence + patience
    later = [record.fence + after for after in POLLS_IN_DOUBT if record.fence + after > now]
    return min([*later, end if end > now else now + timedelta(minutes=1)])


def bears_our_marks(record: Record, latest: ScheduledPost, service_time: datetime | None, now: datetime) -> bool:
    """Whether a submission can come from a record's request.

    It must be of the same account and time, unknown so far, and not older than the baseline. A record without a request
    has no marks.
    """
    known = [*record.foreign, *(submission.scheduled_post_id for submission in record.submissions())]
    if not same_id(latest.social_account_id, record.social_account_id) or any(
        same_id(latest.id, each) for each in known
    ):
        return False
    created = parse_instant(latest.created_at)
    if record.baseline is not None:
        if same_id(latest.id, record.baseline.scheduled_post_id):
            return False
        not_before = parse_instant(record.baseline.service_time)
    else:
        not_before = _run_begin(record, service_time, now)
    if created is None or not_before is None or created < not_before:
        return False
    pending, got = parse_instant(record.scheduled_at), parse_instant(latest.scheduled_at)
    if record.scheduled_at is None:
        # What is published at once is due at once. A later occurrence of a recurring post is not.
        return got is None or got < created + DUE_AT_ONCE
    return pending is not None and got is not None and abs(pending - got) < timedelta(seconds=1)


def is_created_since(begin: datetime, latest: ScheduledPost, service_time: datetime | None, now: datetime) -> bool:
    """Whether a submission was created after an instant of our clock."""
    created = parse_instant(latest.created_at)
    return created is not None and created >= on_service_clock(begin, service_time, now)


def _is_as_before(record: Record, latest: ScheduledPost | None, service_time: datetime | None, now: datetime) -> bool:
    """Whether the post shows exactly what it showed before the request."""
    if record.baseline is not None:
        if latest is None:
            return record.baseline.scheduled_post_id is None
        return same_id(latest.id, record.baseline.scheduled_post_id) and latest.updated_at == record.baseline.updated_at
    if latest is None:
        return True
    begin = _run_begin(record, service_time, now)
    if (parse_instant(record.run_began_at) or record.fence) > record.fence:
        # The run is not due yet (a custom timetable before Airflow 3), so its begin proves nothing.
        return False
    created, updated = parse_instant(latest.created_at), parse_instant(latest.updated_at)
    return None not in (begin, created, updated) and created < begin and updated < begin  # type: ignore[operator]


def _run_begin(record: Record, service_time: datetime | None, now: datetime) -> datetime | None:
    begin = parse_instant(record.run_began_at)
    return None if begin is None else on_service_clock(begin, service_time, now) - CLOCK_MARGIN
