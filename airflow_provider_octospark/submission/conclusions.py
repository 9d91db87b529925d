"""What a try reports of a target beyond its record: not sent, too late, unknown, or a dry run."""

from __future__ import annotations

from datetime import datetime

from airflow_provider_octospark.api.text import sanitize
from airflow_provider_octospark.exceptions import OctosparkError, OctosparkFailError, OctosparkTooLateError
from airflow_provider_octospark.outcomes import Reason
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.decisions import note_on_doubt
from airflow_provider_octospark.submission.records import Record
from airflow_provider_octospark.submission.rules import Rules, Run
from airflow_provider_octospark.submission.steps import Conclusion
from airflow_provider_octospark.submission.transitions import outcome_about


def not_sent(record: Record, error: OctosparkError, reason: Reason, rules: Rules) -> Conclusion:
    """Conclude that a target is not sent in this try.

    A target that was to be submitted again keeps the outcome of its earlier submission, unless that outcome is a failure
    which a later try may still mend.
    """
    is_known = record.state == "answered" and record.known_outcome.scheduled_post_id is not None
    if is_known and (record.known_outcome.state == "published" or reason == "late"):
        is_meant = reason == "late" and rules.if_late == "skip"
        return Conclusion(record.known_outcome, None if is_meant else error, refuses_resubmission=not is_meant)
    outcome = outcome_about(record, "failed", reason, sanitize(error))
    if not isinstance(error, OctosparkFailError):
        outcome = outcome.model_copy(update={"error_category": "transient"})
    return Conclusion(outcome, error)


def unknown(record: Record, reason: Reason, why: str, request: str, run: Run) -> Conclusion:
    """Conclude that it cannot be known whether a target was submitted.

    :param request: names the request that a user's decision would be about.
    """
    return Conclusion(
        outcome_about(record, "unknown", reason, sanitize(why)),
        note=note_on_doubt(record, sanitize(why), request, run.state_store),
    )


def dry_run(record: Record) -> Conclusion:
    """Conclude that a target would have been sent."""
    return Conclusion(outcome_about(record, "pending", "dry_run"))


def is_sent_late(announcement: Announcement, rules: Rules, run: Run, now: datetime) -> bool:
    """Whether a post whose time has passed is scheduled for a time to come, with ``if_late="now"``."""
    scheduled_at, max_lateness = announcement.scheduled_at, rules.max_lateness
    if scheduled_at is None or max_lateness is None or announcement.at is None or run.is_backfill:
        return False
    return rules.if_late == "now" and scheduled_at <= now <= scheduled_at + max_lateness


def too_late(announcement: Announcement, rules: Rules, run: Run, now: datetime) -> OctosparkTooLateError | None:
    """Return why it is too late to send an announcement, or None if it is not."""
    scheduled_at = announcement.scheduled_at
    if rules.skip_in_backfill and run.is_backfill:
        why = "the run is a backfill. Set allow_backfill=True to publish in backfills too"
    elif scheduled_at is not None and scheduled_at <= now and is_sent_late(announcement, rules, run, now):
        return None
    elif scheduled_at is not None and scheduled_at <= now and rules.if_late == "now":
        why = (
            f"scheduled_at {scheduled_at.isoformat()} is longer ago than max_lateness ({rules.max_lateness}), or the run is a "
            "backfill"
        )
    elif scheduled_at is not None and scheduled_at <= now:
        why = (
            f"scheduled_at {scheduled_at.isoformat()} is in the past (it is {now.isoformat(timespec='seconds')}). Give a "
            'time to come, or set if_late="skip" or "now"'
        )
    elif rules.if_late != "now" and rules.max_lateness is not None and now - run.run_after > rules.max_lateness:
        why = f"the run was due at {run.run_after.isoformat()}, which is longer ago than max_lateness ({rules.max_lateness})"
    else:
        return None
    return OctosparkTooLateError(
        f"Nothing was sent for post {announcement.post_id}: {why}.", target=f"post {announcement.post_id}"
    )
