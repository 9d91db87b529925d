"""Responses of the public API, by the reference pages.

They are typed dicts, because the emulator builds them itself: the type checker checks them, and FastAPI only describes
them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from airflow_provider_octospark.emulator.service.enumerations import AccountStatus, ErrorCategory, Provider, Status
from airflow_provider_octospark.emulator.service.records import ProviderPublishState

UUID_PATTERN: Final = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
"""The format of an id, in upper or lower case (reference pages)."""

Uuid = Annotated[str, Field(pattern=UUID_PATTERN)]
Timestamp = Annotated[str, Field(description="ISO 8601, UTC, milliseconds.")]


class ScheduledPostResponse(TypedDict):
    """A scheduledPost; every field is required (reference pages). An entry of `Emulator.scheduled_posts()`.

    :param id: id of the submission, a UUID.
    :param teamId: id of the team, a UUID.
    :param contentItemId: id of the post, a UUID.
    :param socialAccountId: id of the account, a UUID.
    :param provider: the platform: `x`, `tiktok`, `instagram`, `facebook`, `youtube`, `linkedin` or `threads`.
    :param status: `draft`, `scheduled`, `publishing`, `published`, `failed` or `cancelled`.
    :param scheduledAt: when it is due, ISO 8601 in UTC.
    :param timezone: the zone that was sent with it, or None.
    :param platformPostId: the platform's id of the post as the API shows it, or None.
    :param platformSettings: the settings that were sent with it.
    :param publishResults: what publishing resulted in; its content is an assumption.
    :param providerPublishState: the platform's own state; `{}` for a post that needs no polling.
    :param errorCode: the code of a failure, or None.
    :param errorMessage: a failure in words, or None.
    :param errorCategory: `rate_limited`, `transient`, `auth`, `validation` or `permanent`; or None.
    :param workflowId: id of the workflow that publishes it.
    :param workflowRunId: id of that workflow's latest run.
    :param createdAt: when it was accepted, ISO 8601 in UTC.
    :param updatedAt: when it changed last, ISO 8601 in UTC.
    """

    id: Uuid
    teamId: Uuid
    contentItemId: Uuid
    socialAccountId: Uuid
    provider: Provider
    status: Status
    scheduledAt: Timestamp
    timezone: str | None
    platformPostId: str | None
    platformSettings: dict[str, Any]
    publishResults: dict[str, Any]
    providerPublishState: ProviderPublishState
    errorCode: str | None
    errorMessage: str | None
    errorCategory: ErrorCategory | None
    workflowId: str | None
    workflowRunId: str | None
    createdAt: Timestamp
    updatedAt: Timestamp


class AccountError(TypedDict):
    """Why an account of schedule-multi was not scheduled (reference page)."""

    message: str


class AccountResult(TypedDict, total=False):
    """The result for an account of schedule-multi: `scheduledPost` or `error` is present (reference page)."""

    socialAccountId: Uuid
    scheduledPost: ScheduledPostResponse
    error: AccountError


class OutcomeResponse(TypedDict):
    """The counts of schedule-multi (reference page)."""

    totalCount: int
    successCount: int
    failureCount: int


class ScheduleMultiResponse(TypedDict):
    """The response of schedule-multi (reference page)."""

    data: list[AccountResult]
    outcome: OutcomeResponse


class AttachmentResponse(TypedDict):
    """An attachment of a post; its fields are an assumption."""

    assetId: Uuid
    type: str


class PostInputResponse(TypedDict):
    """The content of a post."""

    text: str
    attachments: list[AttachmentResponse]


class PostResponse(TypedDict):
    """A post with the scheduledPost that the API shows."""

    id: Uuid
    teamId: Uuid
    title: str
    text: str
    assetIds: list[Uuid]
    contentPayloadId: Uuid
    latestScheduledPost: ScheduledPostResponse | None
    createdAt: Timestamp
    updatedAt: Timestamp
    postInput: PostInputResponse


class SocialAccountResponse(TypedDict):
    """A social account."""

    id: Uuid
    teamId: Uuid
    provider: Provider
    providerAccountId: str
    displayName: str
    profileHandle: str
    profileImageUrl: str | None
    accountSubType: str | None
    status: AccountStatus
    scopes: list[str]
    providerSettings: dict[str, Any]
    capabilities: dict[str, Any]
    connectedAt: Timestamp
    disconnectedAt: Timestamp | None
    createdAt: Timestamp
    updatedAt: Timestamp


class Counts(TypedDict):
    """The counts of a publication."""

    likeCount: int
    commentCount: int
    shareCount: int
    saveCount: int
    impressionCount: int
    reachCount: int


class DerivedMetrics(TypedDict):
    """Metrics derived from the counts."""

    engagementRate: float
    performanceScore: float
    viralityScore: float
    qualityScore: float
    banditReward: float


class Snapshot(Counts):
    """The counts at some time after publication."""

    hoursSincePost: float
    snapshotTakenAt: Timestamp
    collectionError: str | None


class PerformanceResponse(TypedDict):
    """The performance of a post."""

    scheduledPostId: Uuid
    platform: Provider
    collectionStatus: str
    current: Counts
    derivedMetrics: DerivedMetrics
    snapshots: list[Snapshot]
    lastCollectedAt: Timestamp | None


class NamedResponse(TypedDict):
    """An organization or a team."""

    id: Uuid
    name: str


class NamedListResponse(TypedDict):
    """A list of organizations or of teams."""

    data: list[NamedResponse]


class PostListResponse(TypedDict):
    """A list of posts; with the setting `list_pages`, a page of it."""

    data: list[PostResponse]
    total: int
    nextCursor: NotRequired[str | None]
    prevCursor: NotRequired[str | None]


class SocialAccountListResponse(TypedDict):
    """A list of social accounts, in an envelope."""

    data: list[SocialAccountResponse]


class ErrorDetail(TypedDict):
    """The error of a request."""

    message: str
    code: str


class ErrorResponse(TypedDict):
    """The body of every error. Assumption: its shape is not documented."""

    error: ErrorDetail
