"""Turn the outcomes of a task's targets into the task's result: success, skip, retry or failure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_octospark.api.text import Log
from airflow_provider_octospark.exceptions import (
    OctosparkCancelledError,
    OctosparkError,
    OctosparkFailError,
    OctosparkHaltedError,
    OctosparkPublishFailedError,
    OctosparkPublishRetryableError,
    OctosparkUnknownError,
)
from airflow_provider_octospark.outcomes import Outcome, describe
from airflow_provider_octospark.parameters.defaults import PartialFailure
from airflow_provider_octospark.submission.rules import Rules, is_final_for_time, is_submitted_by_retry
from airflow_provider_octospark.tasks.metrics import count_unknown

Notes = Mapping[str, str]
"""What a user should know and do about targets in doubt, by :func:`note_key`."""

SHOWN = 10
"""Maximum number of outcomes in an error message. The task's XCom has all."""

UNKNOWN_PREFIX = "OCTOSPARK UNKNOWN"
"""Begins the log line of every unknown outcome, so that a search finds them."""


def report_unknown(outcomes: Iterable[Outcome], log: Log, notes: Notes | None = None) -> None:
    """Log and count every unknown outcome."""
    for outcome in outcomes:
        if outcome.state == "unknown":
            log.error("%s %s", UNKNOWN_PREFIX, _what_to_do(outcome, notes or {}))
            count_unknown(outcome)


def report_published(outcomes: Sequence[Outcome], log: Log) -> None:
    """Log the URLs of the first few publications, and what went wrong beside them."""
    for outcome in outcomes:
        if outcome.state == "published" and outcome.error_message:
            log.warning("Post %s is out, but the service reports a problem: %s", outcome.post_id, outcome.error_message)
    for outcome in [outcome for outcome in outcomes if outcome.url][:SHOWN]:
        log.info("Post %s is out: %s", outcome.post_id, outcome.url)


def note_on(outcome: Outcome, notes: Notes) -> str | None:
    """Return the note on an outcome, if there is one."""
    return notes.get(note_key(outcome.team_id, outcome.post_id, outcome.social_account_id))


def note_key(team_id: str, post_id: str, social_account_id: str | None) -> str:
    """Return the key of a target's note; UUIDs may come in either case."""
    return "/".join((team_id, post_id, social_account_id or "")).lower()


def _what_to_do(outcome: Outcome, notes: Notes) -> str:
    return note_on(outcome, notes) or (
        f"{describe(outcome)}. Look at the post in Octospark and on the platform before you publish it again."
    )


def raise_for_outcomes(
    outcomes: Sequence[Outcome],
    *,
    partial_failure: PartialFailure = "fail",
    rules: Rules | None = None,
    cause: OctosparkError | None = None,
    notes: Notes | None = None,
    soft_fail: bool = False,
    resubmission_error: OctosparkError | None = None,
) -> None:
    """Raise the exception that the task ends with, or return if it succeeds. A pending outcome counts as success.

    :param partial_failure: ``succeed`` tolerates failed and unknown targets, unless all are.
    :param rules: the rules of a task that submits, which say what its retry submits; None for a task that only waits.
    :param cause: the error that kept targets from being sent, or None.
    :param notes: see :data:`Notes`.
    :param soft_fail: whether a failure skips the task instead of failing it; an unknown outcome still fails it.
    :param resubmission_error: the error that kept a target from being submitted again, or None; its earlier outcome is
        then no success.
    :raises OctosparkError: of the class that fits, in the order unknown, cause, retryable, cancelled, failed.
    :raises AirflowSkipException: with ``soft_fail``, if no outcome is unknown.
    """
    unknown = [outcome for outcome in outcomes if outcome.state == "unknown"]
    skips = rules is not None and rules.if_late == "skip"
    failed = [o for o in outcomes if o.state == "failed" and not (skips and o.reason == "late")]
    bad = len(unknown) + len(failed)
    # What a halted task has not sent is no partial failure: a retry sends it.
    is_tolerated = partial_failure == "succeed" and bad < len(outcomes) and not isinstance(cause, OctosparkHaltedError)
    if not bad or is_tolerated:
        if resubmission_error is not None:
            raise resubmission_error
        return
    counts = _counts(outcomes, len(failed), len(unknown)) if len(outcomes) > 1 else ""
    if unknown:
        reported = " ".join(_what_to_do(outcome, notes or {}) for outcome in unknown[:SHOWN]) + _more(unknown)
        raise OctosparkUnknownError(f"{counts}{reported}")
    error = _failure(failed, counts, rules, cause, alone=len(failed) == len(outcomes))
    if soft_fail:
        raise AirflowSkipException(str(error))
    raise error


def _counts(outcomes: Sequence[Outcome], failed: int, unknown: int) -> str:
    parts = [f"{failed} failed"] * bool(failed) + [f"{unknown} unknown"] * bool(unknown)
    return f"Of {len(outcomes)} targets: {', '.join(parts)}. "


def fails_for_retry(outcomes: Sequence[Outcome], partial_failure: PartialFailure, rules: Rules) -> bool:
    """Whether a task fails with these outcomes although others are pending, and its retry would submit something.

    The exception is chosen by the same rule; see :func:`raise_for_outcomes`.
    """
    pending = [outcome for outcome in outcomes if not outcome.is_final]
    if any(outcome.state == "unknown" for outcome in outcomes) or (partial_failure == "succeed" and pending):
        return False
    return any(is_submitted_by_retry(outcome, rules) for outcome in outcomes if outcome.state == "failed")


def _failure(
    failed: Sequence[Outcome], counts: str, rules: Rules | None, cause: OctosparkError | None, *, alone: bool
) -> OctosparkError:
    retries = rules is not None and any(is_submitted_by_retry(outcome, rules) for outcome in failed)
    is_final = isinstance(cause, OctosparkFailError) and retries
    if cause is not None and not is_final and all(outcome.reason in {"not_sent", "late"} for outcome in failed):
        if alone:
            return cause
        kind = OctosparkPublishFailedError if isinstance(cause, OctosparkFailError) else OctosparkPublishRetryableError
        return kind(f"{counts}{cause}", retry_after=cause.retry_after)
    what = " ".join(f"{describe(outcome)}." for outcome in failed[:SHOWN]) + _more(failed)
    if retries:
        return OctosparkPublishRetryableError(
            f"{counts}{what} A retry submits only what failed for a transient reason."
        )
    if all(outcome.reason == "cancelled" for outcome in failed):
        return OctosparkCancelledError(f"{counts}{what} A user took it off the schedule.")
    too_late = (
        ' A retry cannot submit it again, because its scheduled_at is in the past; if_late="now" would.'
        if rules is not None and any(is_final_for_time(outcome, rules) for outcome in failed)
        else ""
    )
    reconnect = " Reconnect the account in Octospark, then clear the task." if _is_disconnected(failed) else ""
    return OctosparkPublishFailedError(f"{counts}{what}{too_late}{reconnect}")


def _is_disconnected(failed: Sequence[Outcome]) -> bool:
    return any(outcome.error_category == "auth" and outcome.reason is None for outcome in failed)


def _more(outcomes: Sequence[Outcome]) -> str:
    return f" And {len(outcomes) - SHOWN} more; see the task's XCom." if len(outcomes) > SHOWN else ""
