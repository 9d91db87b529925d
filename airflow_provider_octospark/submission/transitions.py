"""What a target's record becomes when something is learnt of it: from a response, or from waiting.

Nothing here reads a clock, sleeps or sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_octospark.api.models import AccountResult, ScheduledPost, ScheduleMultiResponse
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.text import Log, sanitize
from airflow_provider_octospark.outcomes import Outcome, Reason, State, outcome_of, same_id
from airflow_provider_octospark.submission.decisions import note_on_doubt
from airflow_provider_octospark.submission.journal import Journal
from airflow_provider_octospark.submission.records import Record, Target, target_key
from airflow_provider_octospark.submission.rules import Run


def outcome_about(record: Record, state: State, reason: Reason | None, message: str | None = None) -> Outcome:
    """Return what is to be said of a target of which the service has said nothing."""
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
    """Take in that the service has accepted a request, or that a submission was found for it."""
    return record.model_copy(update={"state": "answered", "outcome": outcome})


def with_observed(record: Record, seen: Outcome) -> Record:
    """Take in what an accepted submission has become; one that was taken for ours, and failed, is in doubt again."""
    if not record.inferred or seen.state != "failed":
        return with_outcome(record, seen)
    return in_doubt_again(record)


def in_doubt_again(record: Record) -> Record:
    """Take in that a submission which was taken for the request's may be somebody else's."""
    run_began_at = record.run_began_at if record.baseline or record.run_began_at else record.fenced_at
    return record.model_copy(
        update={"state": "in_doubt", "outcome": None, "inferred": False, "run_began_at": run_began_at}
    )


def _rows(value: object) -> list[AccountResult]:
    if isinstance(value, ScheduledPost):
        return [AccountResult(social_account_id=value.social_account_id, scheduled_post=value)]
    return list(value.data) if isinstance(value, ScheduleMultiResponse) else []


def with_response(records: Sequence[Record], response: Response[Any], log: Log) -> list[Record]:
    """Return the records of those accounts of which a readable response speaks without contradiction.

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
                "The response does not tell how it went for account %s; looking for it.", record.social_account_id
            )
            continue
        result.append(with_outcome(record, outcome))
    if rows:
        log.warning("The response speaks of accounts that were not asked for: %s.", sanitize(sorted(rows)))
    return result


def record_final_outcomes(
    journal: Journal, outcomes: Sequence[Outcome], run: Run
) -> tuple[list[Outcome], dict[Target, str]]:
    """Record what waiting has proven of accepted submissions.

    What is unknown is not recorded: a later try waits again. A submission that was only taken for the task's own is not
    believed to have failed: its target is in doubt again, and unknown.

    :param outcomes: what the wait came to.
    :returns: the outcomes as the task may report them, and notes on those that are in doubt.
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
                "whether it is the one that was sent, or somebody else's, cannot be told"
            )
            reported[-1] = outcome.model_copy(update={"state": "unknown", "reason": "in_doubt", "error_message": why})
            notes[key] = note_on_doubt(changed[-1], why, record.request or "", run.state_store)
    if changed:
        journal.put(changed)
    return reported, notes
