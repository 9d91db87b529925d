"""The ledger: what the emulator received and published."""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

from typing_extensions import TypedDict

from airflow_provider_octospark.emulator.service.faults import FaultName

SubmittingOperation = Literal["post-now", "schedule-multi", "user-action"]

REQUESTS_KEPT: Final = 100_000
"""Maximum number of requests in the ledger; the oldest ones are dropped."""


class SubmissionEntry(TypedDict):
    """A submission that the service accepted; `user-action` is one by a user in the app."""

    at: str
    operation: SubmittingOperation
    team_id: str
    post_id: str
    social_account_id: str
    scheduled_post_id: str


class PublicationEntry(TypedDict):
    """A publication, whatever the API shows of it."""

    at: str
    post_id: str
    social_account_id: str
    scheduled_post_id: str
    platform_post_id: str


class RequestEntry(TypedDict):
    """A request to the public API, without its headers, because one of them is the key.

    `status` is null while there is no response.
    """

    at: str
    method: str
    path: str
    status: int | None
    fault: FaultName | None


class Ledger:
    """Submissions, publications and requests, oldest first."""

    def __init__(self) -> None:
        self.submissions: list[SubmissionEntry] = []
        self.publications: list[PublicationEntry] = []
        self.requests: deque[RequestEntry] = deque(maxlen=REQUESTS_KEPT)
