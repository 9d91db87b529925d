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
    """A submission that the service accepted; an entry of `Emulator.submissions()`.

    :param at: when it was accepted by the emulator's clock, ISO 8601 in UTC.
    :param operation: the request, `post-now` or `schedule-multi`; or `user-action` for a user in the app.
    :param team_id: id of the team, a UUID.
    :param post_id: id of the post, a UUID.
    :param social_account_id: id of the account, a UUID.
    :param scheduled_post_id: id of the scheduledPost that it made, a UUID.
    """

    at: str
    operation: SubmittingOperation
    team_id: str
    post_id: str
    social_account_id: str
    scheduled_post_id: str


class PublicationEntry(TypedDict):
    """A publication, whatever the API shows of it; an entry of `Emulator.publications()`.

    :param at: when it went out by the emulator's clock, ISO 8601 in UTC.
    :param post_id: id of the post, a UUID.
    :param social_account_id: id of the account, a UUID.
    :param scheduled_post_id: id of the scheduledPost, a UUID; each occurrence of a recurring post has its own.
    :param platform_post_id: the platform's id of the post.
    """

    at: str
    post_id: str
    social_account_id: str
    scheduled_post_id: str
    platform_post_id: str


class RequestEntry(TypedDict):
    """A request to the public API, without its headers, because one of them is the key; an entry of `Emulator.requests()`.

    :param at: when it came by the emulator's clock, ISO 8601 in UTC.
    :param method: the HTTP method.
    :param path: the path, without the query.
    :param status: the HTTP status of the response; None while there is none.
    :param fault: the scripted fault that it met, or None.
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
