"""Tell from an account's own status why schedule-multi refuses it, afterwards and beforehand: its response gives no category."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from airflow_provider_octospark.api.models import SocialAccount
from airflow_provider_octospark.api.operations import get_social_account, list_social_accounts, social_accounts_of
from airflow_provider_octospark.api.text import Log, sanitize, without_stop
from airflow_provider_octospark.exceptions import OctosparkError
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.records import Record, Target
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


def report_disconnected(
    announcements: Iterable[Announcement], records: Mapping[Target, Record], api: Api, log: Log
) -> None:
    """Read the accounts of each team once; warn of those that the service will refuse in what a batch has not sent yet.

    The requests are sent all the same: the service's response decides. If a list cannot be read, nothing is said of its accounts.
    """
    posts = Counter(
        (team, account)
        for announcement in announcements
        for team, post, account in announcement.targets
        if (record := records.get((team, post, account))) is None or record.state == "unsent"
    )
    teams = list(dict.fromkeys(team for team, _ in posts))
    for team, response in zip(teams, api.request_all([list_social_accounts(team) for team in teams]), strict=True):
        if isinstance(response, OctosparkError):
            continue
        for account in social_accounts_of(response.value):
            count = posts[team, account.id.lower()]
            if count and account.status in DISCONNECTED:
                log.warning(
                    "The %s account '%s' (%s) has the status %s: the service will refuse %s of this batch. "
                    "Reconnect the account in Octospark.",
                    sanitize(account.provider or "", 40),
                    sanitize(account.display_name or "", 80),
                    account.id,
                    account.status,
                    "1 post" if count == 1 else f"{count} posts",
                )


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
