"""The log lines and errors of the submission protocol."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from airflow_provider_octospark.api.content import content_hash
from airflow_provider_octospark.api.models import Post, ScheduledPost
from airflow_provider_octospark.api.operations import Operation
from airflow_provider_octospark.api.text import Log, sanitize
from airflow_provider_octospark.exceptions import (
    OctosparkAlreadySubmittedError,
    OctosparkAnswerError,
    OctosparkContentChangedError,
    OctosparkError,
    OctosparkServerError,
)
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.decisions import request_of
from airflow_provider_octospark.submission.records import Record
from airflow_provider_octospark.submission.rules import Run
from airflow_provider_octospark.submission.steps import LogLine


def write_log(log: Log, lines: Iterable[LogLine]) -> None:
    """Write lines to the task's log."""
    for line in lines:
        getattr(log, line.level)("%s", line.message)


def adopting(record: Record, scheduled: ScheduledPost) -> LogLine:
    """Report that the submission of a request in doubt was found."""
    return LogLine(
        "info",
        f"{request_of(record)} for {_target(record)} was accepted: adopting submission {scheduled.id}, created "
        f"{sanitize(scheduled.created_at, 40)}.",
    )


def adopting_late(record: Record, scheduled: ScheduledPost) -> LogLine:
    """Report that a submission was found after its request had been taken for not accepted."""
    return LogLine(
        "warning",
        f"{request_of(record)} for {_target(record)} was accepted after all: adopting submission "
        f"{scheduled.id}, which shows up only now. Raise settle_time.",
    )


def not_accepted(record: Record, why: str) -> LogLine:
    """Report that a request in doubt was not accepted."""
    return LogLine(
        "info",
        f"{request_of(record)} for {_target(record)} was not accepted{why}. It may be sent again.",
    )


def resubmitting(record: Record) -> LogLine:
    """Report that a target is submitted again."""
    outcome = record.known_outcome
    category = f" ({outcome.error_category})" if outcome.error_category else ""
    return LogLine(
        "info",
        f"Submitting {_target(record)} again: the earlier submission "
        f"{outcome.scheduled_post_id or '(refused)'} ended as {outcome.state}{category}.",
    )


def not_resubmitting(record: Record, seen: Outcome) -> LogLine:
    """Report that an earlier submission has changed, so that its target is not submitted again."""
    return LogLine(
        "warning",
        f"Not submitting {_target(record)} again: submission {seen.scheduled_post_id} is {seen.state} after all.",
    )


def not_once_more(record: Record, error: OctosparkError) -> LogLine:
    """Report that a target was to be submitted again and is not; its earlier outcome stands."""
    return LogLine("warning", f"Not submitted again: {_target(record)}: {sanitize(error)}")


def scheduling_late(announcement: Announcement, instant: datetime) -> LogLine:
    """Report that a post whose time has passed is scheduled for another time."""
    late = announcement.scheduled_at.isoformat() if announcement.scheduled_at else "its time"
    return LogLine(
        "warning",
        f"Post {announcement.post_id}: scheduled_at {late} is in the past; scheduling it for "
        f'{instant.isoformat(timespec="seconds")}, as if_late="now" says.',
    )


def reattached(record: Record) -> LogLine:
    """Report that an earlier try submitted a target."""
    outcome = record.known_outcome
    return LogLine(
        "info",
        f"{request_of(record)} has already submitted {_target(record)}: submission "
        f"{outcome.scheduled_post_id or '(id not known)'}, {outcome.state}. It is not sent again.",
    )


def dry_run(operation: Operation[Any]) -> LogLine:
    """Report what would be sent."""
    return LogLine(
        "info", f"Dry run: would send {operation.method} {operation.url_path} with {sanitize(operation.body, 2000)}"
    )


def already_submitted(record: Record) -> OctosparkAlreadySubmittedError:
    """Return the error of ``if_already_submitted="fail"``."""
    outcome = record.known_outcome
    return OctosparkAlreadySubmittedError(
        f"{request_of(record)} submitted post {record.post_id} to account {record.social_account_id} (submission "
        f'{outcome.scheduled_post_id}, {outcome.state}), and if_already_submitted is "fail". Nothing was sent.',
        target=_target(record),
    )


def not_approved(announcement: Announcement, post: Post) -> OctosparkError | None:
    """Return the error for a post that is not what ``content_hash`` was taken of; None if it is, or none was given."""
    if announcement.content_hash is None:
        return None
    try:
        if announcement.content_hash == content_hash(post):
            return None
    except OctosparkAnswerError as error:
        return error
    return OctosparkContentChangedError(
        f"Post {announcement.post_id} was edited since content_hash was taken (the post was last changed at "
        f"{sanitize(post.updated_at, 40)}). Nothing was sent. Have it approved again, and give the new hash.",
        target=f"post {announcement.post_id}",
    )


def repeat(record: Record, run: Run, run_id: str | None) -> OctosparkAlreadySubmittedError:
    """Return the error for a target that has another submission since the run began.

    :param run_id: the run of the DAG that reports that submission; None if none is known.
    """
    other = record.other_submission
    if run_id is None:
        made_by, advice = "that this task did not make", 'Set repeats="allow" to submit it all the same.'
    else:
        made_by = f"that run {run_id} of this DAG made"
        advice = 'Set repeats="other_runs" if each run is to submit it.'
    return OctosparkAlreadySubmittedError(
        f"Post {record.post_id} has a submission to account {record.social_account_id} {made_by}: "
        f"{other.scheduled_post_id if other else None}, created after this run began ({run.began_at.isoformat()}). "
        f"Nothing was sent. {advice}",
        target=_target(record),
    )


def used_up(record: Record) -> OctosparkServerError:
    """Return the error for a target whose requests of this try got no response."""
    return OctosparkServerError(
        f"Octospark did not accept post {record.post_id} for account {record.social_account_id}: {record.sends} requests "
        "of this try had no clear response, and the post shows that none of them was accepted.",
        target=_target(record),
    )


def _target(record: Record) -> str:
    """Return the words for a target; a batch has hundreds, so both ids are named."""
    return f"post {record.post_id} account {record.social_account_id}"
