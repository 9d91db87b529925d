"""The prepared post and the accounts that a task submits it to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from airflow_provider_octospark.api.operations import Operation
from airflow_provider_octospark.parameters.times import format_instant
from airflow_provider_octospark.submission.records import Record, Target, target_key


@dataclass(frozen=True)
class Announcement:
    """One prepared post and the accounts that it goes to.

    :param operation: returns the request for some of the accounts.
    :param scheduled_at: when the post is due, or None for now.
    :param accounts_per_call: the most accounts in one request; None (default) for all.
    :param content_hash: the hash of what may be sent; None (default) for anything.
    :param at: returns the same announcement for another time; None (default) for one that has no time.
    """

    team_id: str
    post_id: str
    social_account_ids: tuple[str, ...]
    operation: Callable[[Sequence[str]], Operation[Any]]
    scheduled_at: datetime | None = None
    accounts_per_call: int | None = None
    at: Callable[[datetime], Announcement] | None = None
    content_hash: str | None = None

    @property
    def post(self) -> tuple[str, str]:
        """Team and post, in lower case."""
        return self.team_id.lower(), self.post_id.lower()

    @cached_property
    def targets(self) -> list[Target]:
        """The keys of its targets, in order."""
        return [target_key(self.team_id, self.post_id, account) for account in self.social_account_ids]

    @property
    def time_to_send(self) -> str | None:
        """``scheduled_at`` in the form in which it is sent and recorded."""
        return None if self.scheduled_at is None else format_instant(self.scheduled_at)

    def unsent_records(self) -> list[Record]:
        """Return an ``unsent`` record for each target, in order."""
        return [
            Record(team_id=self.team_id, post_id=self.post_id, social_account_id=account)
            for account in self.social_account_ids
        ]
