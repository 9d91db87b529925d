"""Build responses from stored objects."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow_provider_octospark.emulator.service.records import Post, ScheduledPost, SocialAccount
from airflow_provider_octospark.emulator.service.resources import (
    AttachmentResponse,
    Counts,
    PerformanceResponse,
    PostResponse,
    ScheduledPostResponse,
    Snapshot,
    SocialAccountResponse,
)
from airflow_provider_octospark.emulator.service.seed_data import TEAM_ID, fixed_id
from airflow_provider_octospark.emulator.service.timestamps import format_timestamp

COLLECTED_AFTER = timedelta(hours=1)
"""Assumption: time from publication to the first collection of counts."""

SNAPSHOT_HOURS = (1, 6, 24, 72, 168)
"""Assumption: when snapshots of the counts are stored, in hours after publication."""


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


def performance_response(scheduled: ScheduledPost, now: datetime) -> PerformanceResponse:
    """The performance of a publication. The counts grow for a week and are reproducible."""
    published = scheduled.updated_at if scheduled.status == "published" else None
    age = timedelta(0) if published is None else now - published
    hours = age / timedelta(hours=1)
    current = _counts(scheduled, hours)
    collected = published is not None and age >= COLLECTED_AFTER
    snapshots: list[Snapshot] = []
    if published is not None:
        snapshots = [
            {
                "hoursSincePost": float(at),
                "snapshotTakenAt": format_timestamp(published + timedelta(hours=at)),
                "collectionError": None,
                **_counts(scheduled, float(at)),
            }
            for at in SNAPSHOT_HOURS
            if at <= hours
        ]
    engaged = current["likeCount"] + current["commentCount"] + current["shareCount"]
    rate = round(engaged / current["impressionCount"], 4) if current["impressionCount"] else 0.0
    return {
        "scheduledPostId": scheduled.id,
        "platform": scheduled.account.provider,
        "collectionStatus": "completed" if collected else "pending",
        "current": current,
        "derivedMetrics": {
            "engagementRate": rate,
            "performanceScore": round(min(1.0, rate * 10), 4),
            "viralityScore": round(min(1.0, current["shareCount"] / 100), 4),
            "qualityScore": 0.5,
            "banditReward": round(rate, 4),
        },
        "snapshots": snapshots,
        "lastCollectedAt": format_timestamp(now) if collected else None,
    }


def _counts(scheduled: ScheduledPost, hours: float) -> Counts:
    strength = 1 + sum(scheduled.post.id.encode()) % 7
    grown = min(hours, 168.0) if hours >= 1 else 0.0
    impressions = int(grown * 12 * strength)
    return {
        "likeCount": impressions // 20,
        "commentCount": impressions // 150,
        "shareCount": impressions // 90,
        "saveCount": impressions // 120,
        "impressionCount": impressions,
        "reachCount": impressions * 4 // 5,
    }
