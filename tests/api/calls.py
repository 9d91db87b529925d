"""Every operation of the API with arguments and a response that is right."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_provider_octospark.api import operations
from airflow_provider_octospark.api.models import PostNowRequest, ScheduleMultiRequest
from airflow_provider_octospark.api.operations import Operation

TEAM = "7c1d0a3e-4f0b-4a7e-9d55-0e6c4d2b1a90"
POST = "1f2e3d4c-5b6a-4978-8899-aabbccddeeff"
ACCOUNT = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
KEY = "octo_live_MARKED-5f1e/7a+b"
"""A key that looks different in each way of quoting."""

SCHEDULED_POST: dict[str, Any] = {
    "id": "9a8b7c6d-5e4f-4031-9213-243546576879",
    "teamId": TEAM,
    "contentItemId": POST,
    "socialAccountId": ACCOUNT,
    "provider": "x",
    "status": "publishing",
    "scheduledAt": "2026-11-20T09:00:00.000Z",
    "timezone": None,
    "platformPostId": None,
    "platformSettings": {},
    "publishResults": {},
    "providerPublishState": {
        "requiresPolling": True,
        "publishId": "p-1",
        "platformPostId": "pp-1",
        "providerStatus": "PROCESSING",
        "pollingReason": "upload",
        "uploadProgress": {"nextByteStart": 5, "uploadSize": 10},
        "failureCode": None,
    },
    "errorCode": None,
    "errorMessage": None,
    "errorCategory": None,
    "workflowId": None,
    "workflowRunId": None,
    "createdAt": "2026-11-20T08:59:59.000Z",
    "updatedAt": "2026-11-20T09:00:01.000Z",
}
_POST: dict[str, Any] = {
    "id": POST,
    "teamId": TEAM,
    "title": "Release 2.4",
    "latestScheduledPost": SCHEDULED_POST,
    "createdAt": "2026-11-01T00:00:00.000Z",
    "updatedAt": "2026-11-20T09:00:01.000Z",
}
_SOCIAL_ACCOUNT: dict[str, Any] = {
    "id": ACCOUNT,
    "provider": "x",
    "displayName": "Northwind",
    "profileHandle": "northwind",
    "status": "connected",
}


@dataclass(frozen=True)
class Call:
    """One operation.

    :param make: makes it anew, with arguments that are right.
    :param good: a response that is right.
    """

    make: Callable[[], Operation[Any]]
    good: Any

    @property
    def name(self) -> str:
        """The operation's name."""
        return self.make().name

    @property
    def submits(self) -> bool:
        """Whether it may be sent once only."""
        return self.make().submits

    def good_copy(self) -> Any:
        """The right response, to be changed."""
        return copy.deepcopy(self.good)


CALLS = (
    Call(lambda: operations.get_post(TEAM, POST), _POST),
    Call(lambda: operations.list_posts(TEAM, 5), {"data": [_POST]}),
    Call(lambda: operations.list_social_accounts(TEAM), {"data": [_SOCIAL_ACCOUNT]}),
    Call(lambda: operations.get_social_account(TEAM, ACCOUNT), _SOCIAL_ACCOUNT),
    Call(
        lambda: operations.get_post_performance(TEAM, POST),
        {
            "scheduledPostId": SCHEDULED_POST["id"],
            "platform": "x",
            "collectionStatus": "completed",
            "current": {"likeCount": 3},
            "derivedMetrics": {"engagementRate": 0.5},
            "snapshots": [{"hoursSincePost": 1, "likeCount": 3}],
            "lastCollectedAt": "2026-11-20T10:00:00.000Z",
        },
    ),
    Call(lambda: operations.list_organizations(5), {"data": [{"id": "org-1", "name": "Northwind"}]}),
    Call(lambda: operations.list_teams("org-1", 5), {"data": [{"id": TEAM, "name": "Data"}]}),
    Call(lambda: operations.move_to_draft(TEAM, POST), {}),
    Call(lambda: operations.post_now(TEAM, POST, PostNowRequest(social_account_id=ACCOUNT)), SCHEDULED_POST),
    Call(
        lambda: operations.schedule_multi(
            TEAM,
            POST,
            ScheduleMultiRequest(social_account_ids=[ACCOUNT], scheduled_at="2026-11-20T09:00:00.000Z"),
        ),
        {
            "data": [{"socialAccountId": ACCOUNT, "scheduledPost": SCHEDULED_POST, "error": None}],
            "outcome": {"totalCount": 1, "successCount": 1, "failureCount": 0},
        },
    ),
)
