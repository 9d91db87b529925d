"""Transitions of a target's record, after a response, a read or a decision.

Nothing here reads a clock, sleeps or sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from airflow_provider_octospark.api.models import AccountResult, ScheduledPost, ScheduleMultiResponse
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.text import Log, sanitize
from airflow_provider_octospark.exceptions import OctosparkError
from airflow_provider_octospark.outcomes import Outcome, Reason, State, outcome_of, same_id
from airflow_provider_octospark.parameters.times import format_instant
from airflow_provider_octospark.submission.decisions import note_on_doubt
from airflow_provider_octospark.submission.journal import Journal
from airflow_provider_octospark.submission.records import Baseline, Record, RefusedRequest, Target, target_key
from airflow_provider_octospark.submission.rules import Run


def outcome_about(record: Record, state: State, reason: Reason | None, message: str | None = None) -> Outcome:
    """Return an outcome for a target without a response of the service."""
    return Outcome(
        team_id=record.team_id,
        post_id=record.post_id,
        social_account_id=record.social_account_id,
        state=state,
        reason=reason,
        scheduled_at=record.scheduled_at,
        error_message=message,
    )


def with_outcome(record: Record, outcome: Outcome) -> Record:
    """Return the record of a target whose request was answered."""
    return record.model_copy(update={"state": "answered", "outcome": outcome, "refused": None})


def with_observed(record: Record, seen: Outcome) -> Record:
    """Return the record with the current outcome of its submission. An adopted submission that failed puts it in doubt
    again."""
    if not record.inferred or seen.state != "failed":
        return with_outcome(record, seen)
    return in_doubt_again(record)


def in_doubt_again(record: Record) -> Record:
    """Return the record in doubt, because its adopted submission may be somebody else's."""
    run_began_at = record.run_began_at if record.baseline or record.run_began_at else record.fenced_at
    return record.model_copy(
        update={"state": "in_doubt", "outcome": None, "inferred": False, "run_began_at": run_began_at}
    )


def adopted(record: Record, outcome: Outcome, run: Run) -> Record:
    """Return the record with an adopted submission.

    A clear counts only from now on, because the user did not know this submission before.
    """
    update = {"inferred": True, "max_tries": run.max_tries, "earlier": record.submissions()}
    return with_outcome(record, outcome).model_copy(update=update)


def decided_accepted(record: Record, run: Run, *, request: str | None = None, fence: datetime | None = None) -> Record:
    """Return the record after a user's decision that the request was accepted.

    :param request: names the request where the record does not (default: the record's).
    :param fence: when it left (default: the record's fence).
    """
    return record.model_copy(
        update={
            "state": "answered",
            "request": request or record.request,
            "try_number": run.try_number,
            "max_tries": run.max_tries,
            "fenced_at": format_instant(fence or record.fence),
            "inferred": True,
            "outcome": outcome_about(record, "pending", None),
        }
    )


def decided_not_accepted(record: Record, foreign: str | None) -> Record:
    """Return the record after a user's decision that the request was not accepted.

    :param foreign: a submission with the marks of the request, which the user has thereby called somebody else's.
    """
    known = record.foreign if foreign is None else [*record.foreign, foreign]
    return record.model_copy(update={"state": "unsent", "foreign": known, "refused": None})


def fenced(
    record: Record, request: str, baseline: Baseline, scheduled_at: str | None, run: Run, now: datetime
) -> Record:
    """Return the record that must be written before a request leaves."""
    return record.model_copy(
        update={
            "state": "in_doubt",
            "request": request,
            "try_number": run.try_number,
            "max_tries": run.max_tries,
            "fenced_at": format_instant(now),
            "baseline": baseline,
            "run_began_at": None,
            "scheduled_at": scheduled_at,
            "outcome": None,
            "inferred": False,
            "earlier": record.submissions(),
            "other_submission": None,
            "sends": 1 + (record.sends if record.try_number == run.try_number else 0),
        }
    )


def refused(before: Record, request: Record, error: OctosparkError) -> Record:
    """Return a record after its request was refused: as it was before the fence, with the marks of the request.

    :param before: the record before the fence.
    :param request: the record with the fence.
    :param error: the refusal; without a status the request never reached the service.
    """
    if error.status is None or before.refused is not None or request.fenced_at is None or request.request is None:
        return before
    marks = RefusedRequest(
        request=request.request,
        fenced_at=request.fenced_at,
        baseline=request.baseline,
        scheduled_at=request.scheduled_at,
        status=error.status,
    )
    return before.model_copy(update={"refused": marks})


def in_doubt_over_refused(record: Record) -> Record | None:
    """Return a record as it is in doubt over its refused request, or None if there is none."""
    marks = record.refused
    if marks is None:
        return None
    return record.model_copy(
        update={
            "state": "in_doubt",
            "request": marks.request,
            "fenced_at": marks.fenced_at,
            "baseline": marks.baseline,
            "scheduled_at": marks.scheduled_at,
            "run_began_at": None,
            "earlier": record.submissions(),
            "outcome": None,
            "inferred": False,
        }
    )


def _rows(value: object) -> list[AccountResult]:
    if isinstance(value, ScheduledPost):
        return [AccountResult(social_account_id=value.social_account_id, scheduled_post=value)]
    return list(value.data) if isinstance(value, ScheduleMultiResponse) else []


def with_response(records: Sequence[Record], response: Response[Any], log: Log) -> list[Record]:
    """Return the records of the accounts for which a response is unambiguous.

    :param records: those of the targets of one request.
    """
    rows: dict[str, list[AccountResult]] = {}
    for row in _rows(response.value):
        rows.setdefault(row.social_account_id.lower(), []).append(row)
    result = []
    for record in records:
        mine = rows.pop(record.social_account_id.lower(), [])
        scheduled = [row.scheduled_post for row in mine if row.scheduled_post is not None]
        refusals = [row.error for row in mine if row.error is not None]
        if len(scheduled) == 1 and not refusals and same_id(scheduled[0].social_account_id, record.social_account_id):
            outcome = outcome_of(scheduled[0], record.team_id, record.post_id)
            log.info(
                "Accepted: post %s, account %s, submission %s (%s).",
                record.post_id,
                record.social_account_id,
                outcome.scheduled_post_id,
                outcome.state,
            )
        elif refusals and not scheduled:
            message = sanitize(refusals[0].message) or "the service gave no reason"
            outcome = outcome_about(record, "failed", None, message)
            log.error("Refused: post %s, account %s: %s", record.post_id, record.social_account_id, message)
        else:
            log.warning(
                "The response has no clear result for post %s account %s; reading the post to find out.",
                record.post_id,
                record.social_account_id,
            )
            continue
        result.append(with_outcome(record, outcome))
    if rows:
        log.warning(
            "The response for post %s names accounts that were not in the request: %s.",
            records[0].post_id,
            sanitize(", ".join(sorted(rows))),
        )
    return result


def outcomes_on_record(journal: Journal, why: str, run: Run) -> tuple[list[Outcome], dict[Target, str]]:
    """Return what is known of each target, and notes on those in doubt, for a try that ends before the protocol does.

    Unknown is what is in doubt, and what was accepted without being recorded; the latter has the submission's id.

    :param why: why the try cannot find out more.
    """
    outcomes, notes = [], {}
    for key, record in journal.records.items():
        outcome = record.outcome
        is_unsaved = key in journal.unsaved and outcome is not None and outcome.was_scheduled
        if record.state == "in_doubt" or is_unsaved:
            unknown = {"state": "unknown", "reason": "in_doubt", "error_message": why}
            outcome = (outcome or outcome_about(record, "unknown", "in_doubt")).model_copy(update=unknown)
            if outcome.scheduled_post_id is None:
                notes[key] = note_on_doubt(record, why, record.request or "", run.state_store)
        if outcome is not None:
            outcomes.append(outcome)
    return outcomes, notes


def record_final_outcomes(
    journal: Journal, outcomes: Sequence[Outcome], run: Run
) -> tuple[list[Outcome], dict[Target, str]]:
    """Record the results of a wait for accepted submissions.

    An unknown outcome is not recorded, so a later try waits again. If an adopted submission failed, its target is in doubt
    again, and unknown.

    :param outcomes: the outcomes of the wait.
    :returns: the outcomes to report, and notes on targets in doubt.
    :raises OctosparkStateStoreError: if the record cannot be written.
    """
    reported: list[Outcome] = []
    notes: dict[Target, str] = {}
    changed: list[Record] = []
    for outcome in outcomes:
        reported.append(outcome)
        key = target_key(outcome.team_id, outcome.post_id, outcome.social_account_id or "")
        record = journal.records.get(key)
        if record is None or record.state != "answered" or outcome.state not in {"published", "failed"}:
            continue
        known = record.known_outcome.scheduled_post_id
        if outcome.scheduled_post_id is None or (known is not None and not same_id(known, outcome.scheduled_post_id)):
            continue
        changed.append(with_observed(record, outcome))
        if changed[-1].state == "in_doubt":
            why = (
                f"submission {outcome.scheduled_post_id}, which was taken for it, has ended as {sanitize(outcome.status, 40)}; "
                "it cannot be told whether it is the one that was sent, or somebody else's"
            )
            reported[-1] = outcome.model_copy(update={"state": "unknown", "reason": "in_doubt", "error_message": why})
            notes[key] = note_on_doubt(changed[-1], why, record.request or "", run.state_store)
    if changed:
        journal.put(changed)
    return reported, notes
