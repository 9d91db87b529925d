"""Posts, answers and outcomes as the service and the operators give them, for tests."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_octospark.api.models import Post
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters.times import format_instant

TEAM = "11111111-1111-4111-8111-111111111111"
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def new_id() -> str:
    """A fresh UUID."""
    return str(uuid.uuid4())


def seconds(number: float) -> timedelta:
    """So many seconds."""
    return timedelta(seconds=number)


def scheduled_json(post_id: str, **fields: Any) -> dict[str, Any]:
    """A scheduledPost as the service writes it, with all its fields."""
    return {
        "id": new_id(),
        "teamId": TEAM,
        "contentItemId": post_id,
        "socialAccountId": new_id(),
        "provider": "x",
        "status": "publishing",
        "scheduledAt": format_instant(NOON),
        "timezone": None,
        "platformPostId": None,
        "platformSettings": {},
        "publishResults": {},
        "providerPublishState": {},
        "errorCode": None,
        "errorMessage": None,
        "errorCategory": None,
        "workflowId": new_id(),
        "workflowRunId": None,
        "createdAt": format_instant(NOON),
        "updatedAt": format_instant(NOON),
        **fields,
    }


def post_json(post_id: str, scheduled: dict[str, Any] | None) -> dict[str, Any]:
    """A post as the service writes it."""
    return {
        "id": post_id,
        "teamId": TEAM,
        "title": "A post",
        "text": "Text of a post.",
        "assetIds": [],
        "contentPayloadId": None,
        "latestScheduledPost": scheduled,
        "createdAt": format_instant(NOON),
        "updatedAt": format_instant(NOON),
        "postInput": {"text": "Text of a post.", "attachments": []},
    }


def answer_with(post_id: str, scheduled: dict[str, Any] | None, service_time: datetime | None = None) -> Response[Post]:
    """A readable response that shows a post."""
    return Response(Post.model_validate(post_json(post_id, scheduled)), service_time)


def pending(post_id: str, scheduled: dict[str, Any] | None = None, **fields: Any) -> Outcome:
    """What an operator hands to a wait; without ``scheduled``, a post of which nothing else is known."""
    known: dict[str, Any] = {"social_account_id": None}
    if scheduled is not None:
        known = {
            "social_account_id": scheduled["socialAccountId"],
            "scheduled_post_id": scheduled["id"],
            "provider": scheduled["provider"],
            "status": scheduled["status"],
            "scheduled_at": scheduled["scheduledAt"],
        }
    return Outcome(**{"team_id": TEAM, "post_id": post_id, "state": "pending", **known, **fields})
