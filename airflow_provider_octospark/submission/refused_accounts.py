"""Tell from its own status why schedule-multi refused an account: its response gives no category."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from airflow_provider_octospark.api.models import SocialAccount
from airflow_provider_octospark.api.operations import get_social_account
from airflow_provider_octospark.api.text import sanitize, without_stop
from airflow_provider_octospark.exceptions import OctosparkError
from airflow_provider_octospark.submission.records import Record
from airflow_provider_octospark.submission.rules import Run
from airflow_provider_octospark.submission.sending import Api

DISCONNECTED: Final = frozenset({"disabled", "refresh_needed", "disconnected"})
"""The statuses of a social account that cannot be posted to until a user connects it again (source: the vendor's API)."""


def explain_refusals(records: Iterable[Record], run: Run, api: Api) -> list[Record]:
    """Read each account that this try's requests were refused for without a category; return the records that say more then.

    If an account cannot be read, its records stay as they are.
    """
    refused = [record for record in records if record.try_number == run.try_number and _is_refused(record)]
    accounts = list(dict.fromkeys((record.team_id, record.social_account_id) for record in refused))
    responses = api.request_all([get_social_account(*account) for account in accounts]) if accounts else []
    read = dict(zip(accounts, responses, strict=True))
    explained: list[Record] = []
    for record in refused:
        response = read[record.team_id, record.social_account_id]
        if not isinstance(response, OctosparkError) and response.value.status in DISCONNECTED:
            explained.append(_with_account_status(record, response.value))
    return explained


def _with_account_status(record: Record, account: SocialAccount) -> Record:
    """Return the record with ``provider`` and ``error_category`` ``auth``, so that a retry does not submit it again."""
    refusal = record.known_outcome
    provider = sanitize(account.provider, 40) or None
    said = f"{without_stop(refusal.error_message)}. " if refusal.error_message else ""
    message = f"{said}The account's status is {account.status}."
    update = {"provider": provider, "error_category": "auth", "error_message": message}
    return record.model_copy(update={"outcome": refusal.model_copy(update=update)})


def _is_refused(record: Record) -> bool:
    outcome = record.outcome
    if record.state != "answered" or outcome is None or outcome.scheduled_post_id is not None:
        return False
    return outcome.state == "failed" and outcome.reason is None and outcome.error_category is None
