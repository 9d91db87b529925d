"""The note to a user about a request in doubt, and the user's decision."""

from __future__ import annotations

from airflow_provider_octospark.api.text import sanitize, without_stop
from airflow_provider_octospark.submission.journal import PAGE_KEY, decision_key
from airflow_provider_octospark.submission.records import Record
from airflow_provider_octospark.submission.steps import LogLine


def request_of(record: Record) -> str:
    """Return the name of a record's request for the start of a sentence."""
    if record.request is None or record.run_began_at is not None:
        return "A request of an earlier try"
    return f"The request of try {record.try_number} at {record.fenced_at} (request {record.request})"


def note_on_doubt(record: Record, why: str, request: str, state_store: str | None) -> str:
    """Return what a user should know and do about a target that is in doubt.

    :param why: why it cannot be known whether the request was accepted.
    :param request: names the request; the decision is bound to it.
    :param state_store: path in Airflow's REST API of the task instance's store, with ``{key}``; None where it has none.
    """
    return (
        f"It is not known whether post {record.post_id} is published, or will be, on account {record.social_account_id}. "
        f"{request_of(record)} may have been accepted: {without_stop(why)}. Look at the post in Octospark and at the account. "
        + _how_to_decide(decision_key(record.social_account_id, request), state_store)
    )


def decision_of(value: object, social_account_id: str, request: str, log: list[LogLine]) -> str | None:
    """Return what a user decided about a request: ``accepted``, ``not_accepted``, or None.

    :param value: the stored decision, or None.
    :param log: a line about the decision is added to it.
    """
    if value is None:
        return None
    if value in ("accepted", "not_accepted"):
        log.append(LogLine("info", f"Request {request} to account {social_account_id}: a user decided {value}."))
        return str(value)
    log.append(
        LogLine(
            "warning",
            f"Request {request} to account {social_account_id}: {sanitize(value, 60)} is no decision; write "
            '{"decision": "accepted"} or {"decision": "not_accepted"}.',
        )
    )
    return None


def _how_to_decide(key: str, state_store: str | None) -> str:
    if state_store is None:
        return "If it is out, or will be, mark the task as successful; if it is not, clear the task, which looks once more."
    of_key, of_page = (state_store.replace("{key}", name) for name in (key, PAGE_KEY))
    return (
        f'Then tell the task by Airflow\'s REST API: PUT {of_key} with the body {{"value": {{"decision": "accepted"}}}} or '
        f'{{"value": {{"decision": "not_accepted"}}}}, and clear it. The record is under {of_page}.'
    )
