"""Models of the API's requests (strict) and responses (tolerant).

Field names and rules are those of the reference pages for ``post-now`` and ``schedule-multi``; ``Post`` and
``SocialAccount`` follow the pages for reading a post and an account.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, field_validator
from pydantic.alias_generators import to_camel


class _Request(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        defer_build=True,
        # Not null, which would be sent as something else than was meant: the client refuses them by name.
        ser_json_inf_nan="constants",
    )

    def body(self) -> dict[str, Any]:
        """Return the JSON object to send, without the fields that were not given."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


class PublishOptions(_Request):
    """The optional fields of both submitting operations; all default to absent."""

    platform_settings: dict[str, Any] | None = None
    first_comment: dict[str, Any] | None = None
    engagement_comment_trigger: dict[str, Any] | None = None
    repost_after: dict[str, Any] | None = None
    recurrence_interval_days: Annotated[int, Field(ge=1, le=365)] | None = None
    recurrence_ends_at: str | None = None


class PostNowRequest(PublishOptions):
    """Body of ``POST /v1/teams/{teamId}/posts/{postId}/post-now``."""

    social_account_id: str


class ScheduleMultiRequest(PublishOptions):
    """Body of ``POST /v1/teams/{teamId}/posts/{postId}/schedule-multi``."""

    social_account_ids: Annotated[list[str], Field(min_length=1)]
    scheduled_at: str
    timezone: str | None = None
    platform_settings_by_social_account_id: dict[str, dict[str, Any]] | None = None


class _Response(BaseModel):
    # What the service adds later is kept; what it leaves out is None. Only what identifies a thing is required.
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow", defer_build=True)


ServiceId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
Word = Annotated[str, Field(max_length=200)]


class UploadProgress(_Response):
    """Progress of an upload to the platform, in bytes."""

    next_byte_start: float | None = None
    upload_size: float | None = None

    @property
    def fraction(self) -> float | None:
        """The part that is uploaded, from 0.0 to 1.0, or None if it is not known."""
        if self.next_byte_start is None or not self.upload_size or self.upload_size < 0:
            return None
        return min(1.0, max(0.0, self.next_byte_start / self.upload_size))


class ProviderPublishState(_Response):
    """The platform's own state of a publication; empty for a post that needs no polling."""

    requires_polling: bool | None = None
    publish_id: str | None = None
    platform_post_id: str | None = None
    provider_status: str | None = None
    polling_reason: str | None = None
    upload_progress: UploadProgress | None = None
    failure_code: str | None = None


class ScheduledPost(_Response):
    """A submission of a post to one social account.

    Times keep the text of the response, so that two reads can be compared exactly.
    """

    id: ServiceId
    social_account_id: ServiceId
    status: Word
    team_id: str | None = None
    content_item_id: str | None = None
    provider: Word | None = None
    scheduled_at: str | None = None
    timezone: str | None = None
    platform_post_id: Annotated[str, Field(max_length=500)] | None = None
    provider_publish_state: ProviderPublishState = Field(default_factory=ProviderPublishState)
    publish_results: Any = None
    error_code: str | None = None
    error_message: str | None = None
    error_category: Word | None = None
    created_at: str | None = None
    updated_at: str | None = None

    @field_validator("provider_publish_state", mode="before")
    @classmethod
    def _null_is_empty(cls, value: object) -> object:
        return {} if value is None else value

    @property
    def any_platform_post_id(self) -> str | None:
        """The platform's id of the post, from either place in which the API may put it."""
        return self.platform_post_id or self.provider_publish_state.platform_post_id or None


class AccountError(_Response):
    """Why an account was refused."""

    message: str | None = None


class AccountResult(_Response):
    """The result for one account: a submission or an error."""

    social_account_id: ServiceId
    scheduled_post: ScheduledPost | None = None
    error: AccountError | None = None


class ScheduleMultiResponse(_Response):
    """Response of ``schedule-multi``. Results come from ``data``; the counts in ``outcome`` are not used."""

    data: Annotated[list[AccountResult], FailFast()]
    outcome: dict[str, Any] | None = None


class Post(_Response):
    """A prepared post with its latest submission, the only one that can be read."""

    id: ServiceId
    team_id: str | None = None
    title: str | None = None
    latest_scheduled_post: ScheduledPost | None = None
    created_at: str | None = None
    updated_at: str | None = None


class PostList(_Response):
    """A page of a team's posts."""

    data: Annotated[list[Post], FailFast()]


class PostEntries(BaseModel):
    """A page of a team's posts with unvalidated entries, so that an invalid entry does not hide the others."""

    data: list[Any]


class SocialAccount(_Response):
    """A connected profile on a platform."""

    id: ServiceId
    provider: Word | None = None
    display_name: str | None = None
    profile_handle: str | None = None
    status: Word | None = None


class SocialAccountList(_Response):
    """A team's social accounts, in an envelope."""

    data: Annotated[list[SocialAccount], FailFast()]


class Named(_Response):
    """An organization or a team."""

    id: ServiceId
    name: str | None = None


class NamedList(_Response):
    """A page of organizations or teams."""

    data: Annotated[list[Named], FailFast()]


class Performance(_Response):
    """Performance of a published post; counts keep the form of the response."""

    scheduled_post_id: str | None = None
    platform: str | None = None
    collection_status: str | None = None
    current: dict[str, Any] | None = None
    derived_metrics: dict[str, Any] | None = None
    snapshots: list[dict[str, Any]] | None = None
    last_collected_at: str | None = None
