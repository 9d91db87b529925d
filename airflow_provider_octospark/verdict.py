"""What the outcomes of a task's targets mean for the task: whether it succeeds, is skipped, may be retried or fails."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from airflow.providers.common.compat.sdk import AirflowSkipException, Stats

from airflow_provider_octospark.exceptions import (
    OctosparkCancelledError,
    OctosparkError,
    OctosparkFailError,
    OctosparkPublishFailedError,
    OctosparkPublishRetryableError,
    OctosparkUnknownError,
)
from airflow_provider_octospark.models import Outcome
from airflow_provider_octospark.submission_rules import is_retryable_failure
from airflow_provider_octospark.text import Log

PartialFailure = Literal["fail", "succeed"]

UNKNOWN_PREFIX = "OCTOSPARK UNKNOWN"
"""Begins the log line of every outcome that is not known, so that they can be listed."""

UNKNOWN_METRIC = "octospark.unknown"
"""Counts them in Airflow's metrics."""


def report_unknown(outcomes: Iterable[Outcome], notes: Iterable[str], log: Log) -> None:
    """Write a log line and count a metric for every outcome that is not known.

    :param notes: what a person should know and do about them, where more is known than the outcome says.
    """
    for outcome in outcomes:
        if outcome.end == "unknown":
            log.error("%s %s", UNKNOWN_PREFIX, describe(outcome))
            Stats.incr(UNKNOWN_METRIC)
    for note in notes:
        log.error("%s %s", UNKNOWN_PREFIX, note)


def describe(outcome: Outcome) -> str:
    """Return an outcome as one line for a person."""
    words = [f"team {outcome.team_id} post {outcome.post_id}"]
    if outcome.social_account_id:
        words.append(f"account {outcome.social_account_id}")
    if outcome.provider:
        words.append(f"on {outcome.provider}")
    if outcome.scheduled_post_id:
        words.append(f"submission {outcome.scheduled_post_id}")
    said = f"{' '.join(words)}: {outcome.end}"
    details = [outcome.reason, outcome.error_category, outcome.error_code, outcome.error_message]
    told = "; ".join(detail for detail in details if detail)
    if outcome.end == "unknown" and outcome.platform_post_id:
        told += f"; it may be live as {outcome.platform_post_id}"
    return f"{said} ({told})" if told else said


def judge(
    outcomes: Sequence[Outcome],
    *,
    partial_failure: PartialFailure,
    retry_submits: bool,
    cause: OctosparkError | None = None,
    notes: Sequence[str] = (),
    soft_fail: bool = False,
) -> None:
    """Return if the outcomes are a success; raise what Airflow should see if they are not.

    :param partial_failure: with ``succeed``, some failed or unknown ones are no failure as long as one is not.
    :param retry_submits: whether a retry of the task submits again what may be; else no failure is worth a retry.
    :param cause: what kept a request from being sent or accepted, where that was so.
    :param notes: what a person should do about unknown ones.
    :param soft_fail: skip instead of failing; never for what is unknown.
    :raises OctosparkError: of the class that fits, in the order unknown, cause, retryable, cancelled, failed.
    :raises AirflowSkipException: with ``soft_fail``, if all that is not a success is a proven failure.
    """
    unknown = [outcome for outcome in outcomes if outcome.end == "unknown"]
    failed = [outcome for outcome in outcomes if outcome.end == "failed"]
    bad = len(unknown) + len(failed)
    if not bad or (partial_failure == "succeed" and bad < len(outcomes)):
        return
    error = _error(unknown, failed, bad, len(outcomes), retry_submits, cause, notes)
    if soft_fail and not unknown:
        raise AirflowSkipException(str(error))
    raise error


def _error(
    unknown: Sequence[Outcome],
    failed: Sequence[Outcome],
    bad: int,
    total: int,
    retry_submits: bool,
    cause: OctosparkError | None,
    notes: Sequence[str],
) -> OctosparkError:
    counts = f"{bad} of {total} not published. " if total > 1 else ""
    if unknown:
        what = (
            " ".join(notes)
            or " ".join(f"{describe(outcome)}." for outcome in unknown)
            + " Look at the post in Octospark and on the platform before you publish it again."
        )
        return OctosparkUnknownError(f"{counts}{what}")
    if cause is not None and all(outcome.reason in {"not_sent", "late"} for outcome in failed):
        if total == len(failed):
            return cause
        kind = OctosparkPublishFailedError if isinstance(cause, OctosparkFailError) else OctosparkPublishRetryableError
        return kind(f"{counts}{cause}")
    what = " ".join(f"{describe(outcome)}." for outcome in failed)
    if retry_submits and any(is_retryable_failure(outcome) for outcome in failed):
        return OctosparkPublishRetryableError(f"{counts}{what} A retry submits only what failed so.")
    if all(outcome.reason == "cancelled" for outcome in failed):
        return OctosparkCancelledError(f"{counts}{what} A person took it off the schedule.")
    return OctosparkPublishFailedError(f"{counts}{what}")
