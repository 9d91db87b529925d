"""Build responses from stored objects."""

from __future__ import annotations

from airflow_provider_octospark.emulator.service.records import Post, ScheduledPost, SocialAccount
from airflow_provider_octospark.emulator.service.resources import (
    AttachmentResponse,
    PostResponse,
    ScheduledPostResponse,
    SocialAccountResponse,
)
from airflow_provider_octospark.emulator.service.seed_data import TEAM_ID, fixed_id
from airflow_provider_octospark.emulator.service.timestamps import format_timestamp


def scheduled_post_response(scheduled: ScheduledPost) -> ScheduledPostResponse:
    """A scheduledPost."""
    return {
        "id": scheduled.id,
        "teamId": TEAM_ID,
        "contentItemId": scheduled.post.id,
        "socialAccountId": scheduled.account.id,
        "provider": scheduled.account.provider,
        "status": scheduled.status,
        "scheduledAt": format_timestamp(scheduled.scheduled_at),
        "timezone": scheduled.request.timezone,
        "platformPostId": scheduled.platform_post_id,
        "platformSettings": scheduled.request.platform_settings,
        "publishResults": scheduled.publish_results,
        "providerPublishState": scheduled.publish_state,
        "errorCode": scheduled.error_code,
        "errorMessage": scheduled.error_message,
        "errorCategory": scheduled.error_category,
        "workflowId": scheduled.workflow_id,
        "workflowRunId": scheduled.workflow_run_id,
        "createdAt": format_timestamp(scheduled.created_at),
        "updatedAt": format_timestamp(scheduled.updated_at),
    }


def post_response(post: Post, latest: ScheduledPost | None) -> PostResponse:
    """A post with the scheduledPost that the API shows."""
    attachments: list[AttachmentResponse] = (
        [{"assetId": fixed_id(f"video of {post.id}"), "type": "video"}] if post.video else []
    )
    return {
        "id": post.id,
        "teamId": TEAM_ID,
        "title": post.title,
        "text": post.text,
        "assetIds": [each["assetId"] for each in attachments],
        "contentPayloadId": fixed_id(f"payload of {post.id}"),
        "latestScheduledPost": None if latest is None else scheduled_post_response(latest),
        "createdAt": format_timestamp(post.created_at),
        "updatedAt": format_timestamp(post.updated_at),
        "postInput": {"text": post.text, "attachments": attachments},
    }


def social_account_response(account: SocialAccount) -> SocialAccountResponse:
    """A social account."""
    return {
        "id": account.id,
        "teamId": TEAM_ID,
        "provider": account.provider,
        "providerAccountId": account.provider_account_id,
        "displayName": account.display_name,
        "profileHandle": account.handle,
        "profileImageUrl": None,
        "accountSubType": "page" if account.provider in ("facebook", "linkedin") else None,
        "status": account.status,
        "scopes": ["publish", "read"],
        "providerSettings": {},
        "capabilities": {"publish": True},
        "connectedAt": format_timestamp(account.connected_at),
        "disconnectedAt": (None if account.disconnected_at is None else format_timestamp(account.disconnected_at)),
        "createdAt": format_timestamp(account.connected_at),
        "updatedAt": format_timestamp(account.updated_at),
    }
