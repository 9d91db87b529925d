"""Tell from its own status why schedule-multi refused an account: its response gives no category."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from airflow_provider_octospark.api.models import SocialAccount
from airflow_provider_octospark.api.text import sanitize, without_stop
from airflow_provider_octospark.submission.records import Record
from airflow_provider_octospark.submission.rules import Run

DISCONNECTED: Final = frozenset({"disabled", "refresh_needed", "disconnected"})
"""The statuses of a social account that cannot be posted to until a user connects it again (source: the vendor's API)."""


def refused_accounts(records: Iterable[Record], run: Run) -> list[Record]:
    """Return the records of the accounts that this try's requests were refused for, without a category."""
    return [record for record in records if record.try_number == run.try_number and _is_refused(record)]


def with_account_status(record: Record, account: SocialAccount) -> Record:
    """Return the record of a refused account with the reason that the account's status gives, if it gives one.

    The outcome then has ``provider`` and ``error_category`` ``auth``, so that a retry does not submit it again.
    """
    if account.status not in DISCONNECTED:
        return record
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
