"""The public API's requests and answers, as the seed pages describe them.

Requests are pydantic models that refuse whatever the seed pages do not allow. Answers are typed
dicts: they are built by the emulator itself, so they are checked by the type checker, and only
described to FastAPI.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from airflow_provider_octospark.emulator.service.records import (
    AccountStatus,
    ErrorCategory,
    Provider,
    ProviderPublishState,
    Recurrence,
    Status,
    Submission,
)
from airflow_provider_octospark.emulator.service.timestamps import parse_timestamp, parse_zone

UUID_PATTERN: Final = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
"""The form of an id, in either case of letters (seed pages)."""

Uuid = Annotated[str, Field(pattern=UUID_PATTERN)]
Timestamp = Annotated[str, Field(description="ISO 8601, UTC, milliseconds.")]


def _without_default(schema: dict[str, Any]) -> None:
    """Absent is not the same as any value that could be sent."""
    del schema["default"]


class PublishRequest(BaseModel):
    """The optional fields that post-now and schedule-multi share (seed pages).

    Assumption: a field that is not known is refused; the seed pages do not say.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    platformSettings: dict[str, Any] = Field(default_factory=dict)  # noqa: N815 - the API's own name
    firstComment: dict[str, Any] = Field(default_factory=dict)  # noqa: N815
    engagementCommentTrigger: dict[str, Any] = Field(default_factory=dict)  # noqa: N815
    repostAfter: dict[str, Any] = Field(default_factory=dict)  # noqa: N815
    recurrenceIntervalDays: int = Field(  # noqa: N815
        default=0,
        ge=1,
        le=365,
        description="A number between 1 and 365; no recurrence without it.",
        json_schema_extra=_without_default,
    )
    recurrenceEndsAt: str | None = Field(  # noqa: N815
        default=None, description="ISO 8601 with an offset.", json_schema_extra={"format": "date-time"}
    )

    @model_validator(mode="after")
    def _check_recurrence(self) -> PublishRequest:
        if self.recurrenceEndsAt is not None:
            parse_field("recurrenceEndsAt", self.recurrenceEndsAt)
        return self

    def recurrence(self) -> Recurrence | None:
        """How the publication comes again, if it does."""
        if "recurrenceIntervalDays" not in self.model_fields_set:
            return None
        ends_at = None if self.recurrenceEndsAt is None else parse_timestamp(self.recurrenceEndsAt)
        return Recurrence(self.recurrenceIntervalDays, ends_at)

    def repost(self) -> dict[str, Any] | None:
        """`repostAfter`, if it was given."""
        return self.repostAfter if "repostAfter" in self.model_fields_set else None


class PostNowRequest(PublishRequest):
    """The body of post-now (seed page)."""

    socialAccountId: Uuid  # noqa: N815


class ScheduleMultiRequest(PublishRequest):
    """The body of schedule-multi (seed page)."""

    socialAccountIds: list[Uuid] = Field(min_length=1)  # noqa: N815
    scheduledAt: str = Field(  # noqa: N815
        description="ISO 8601 with an offset, or local time together with `timezone`.",
        json_schema_extra={"format": "date-time"},
    )
    timezone: str | None = Field(default=None, description="An IANA time zone.")
    platformSettingsBySocialAccountId: dict[str, dict[str, Any]] = Field(  # noqa: N815
        default_factory=dict
    )

    @model_validator(mode="after")
    def _check_times(self) -> ScheduleMultiRequest:
        if self.timezone is not None:
            try:
                parse_zone(self.timezone)
            except ValueError as error:
                raise ValueError(f"timezone {error}") from error
        parse_field("scheduledAt", self.scheduledAt, self.timezone)
        return self

    def submission(self, account_id: str) -> Submission:
        """What is asked for on one of the accounts."""
        own = {key.lower(): value for key, value in self.platformSettingsBySocialAccountId.items()}
        return Submission(
            scheduled_at=parse_timestamp(self.scheduledAt, self.timezone),
            timezone=self.timezone,
            platform_settings={**self.platformSettings, **own.get(account_id.lower(), {})},
            recurrence=self.recurrence(),
            repost_after=self.repost(),
        )


def parse_field(name: str, text: str, timezone: str | None = None) -> None:
    """Refuse text that is not a time, with a message that names the field."""
    try:
        parse_timestamp(text, timezone)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error


class ScheduledPostResponse(TypedDict):
    """A scheduledPost; every field is required (seed pages)."""

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
    """Why an account of a schedule-multi was not scheduled (seed page)."""

    message: str


class AccountResult(TypedDict, total=False):
    """How an account of a schedule-multi fared: `scheduledPost` or `error` is there (seed page)."""

    socialAccountId: Uuid
    scheduledPost: ScheduledPostResponse
    error: AccountError


class OutcomeResponse(TypedDict):
    """The counts of a schedule-multi (seed page)."""

    totalCount: int
    successCount: int
    failureCount: int


class ScheduleMultiResponse(TypedDict):
    """The answer of schedule-multi (seed page)."""

    data: list[AccountResult]
    outcome: OutcomeResponse


class AttachmentResponse(TypedDict):
    """An attachment of a post; its fields are an assumption."""

    assetId: Uuid
    type: str


class PostInputResponse(TypedDict):
    """What a post was made of."""

    text: str
    attachments: list[AttachmentResponse]


class PostResponse(TypedDict):
    """A post, with the one scheduledPost that can be seen."""

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
    """How a publication is received."""

    likeCount: int
    commentCount: int
    shareCount: int
    saveCount: int
    impressionCount: int
    reachCount: int


class DerivedMetrics(TypedDict):
    """What Octospark makes of the counts."""

    engagementRate: float
    performanceScore: float
    viralityScore: float
    qualityScore: float
    banditReward: float


class Snapshot(Counts):
    """The counts at a time after publication."""

    hoursSincePost: float
    snapshotTakenAt: Timestamp
    collectionError: str | None


class PerformanceResponse(TypedDict):
    """How a post performs."""

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
    """A list of posts."""

    data: list[PostResponse]
    total: int


class SocialAccountListResponse(TypedDict):
    """A list of social accounts, in an envelope."""

    data: list[SocialAccountResponse]


class ErrorDetail(TypedDict):
    """What went wrong."""

    message: str
    code: str


class ErrorResponse(TypedDict):
    """The body of every error. Assumption: its shape is not documented."""

    error: ErrorDetail
