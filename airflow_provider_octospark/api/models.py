"""Models of the API's requests (strict) and responses (tolerant).

Field names and rules are those of the reference pages for ``post-now`` and ``schedule-multi``; ``Post`` and
``SocialAccount`` follow the pages for reading a post and an account.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, PlainValidator, field_validator
from pydantic.alias_generators import to_camel

from airflow_provider_octospark.api.slices import Entry


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
    """The optional fields of both submitting operations; all default to absent.

    The reference pages do not say what the objects hold; the service checks them.

    :param platform_settings: settings for the platform.
    :param first_comment: a comment to add below the post.
    :param engagement_comment_trigger: a comment to add when the post gets engagement.
    :param repost_after: when and how to repost.
    :param recurrence_interval_days: the interval of the recurrence in whole days, 1 to 365.
    :param recurrence_ends_at: end of the recurrence, ISO 8601.
    """

    platform_settings: dict[str, Any] | None = None
    first_comment: dict[str, Any] | None = None
    engagement_comment_trigger: dict[str, Any] | None = None
    repost_after: dict[str, Any] | None = None
    recurrence_interval_days: Annotated[int, Field(ge=1, le=365)] | None = None
    recurrence_ends_at: str | None = None


class PostNowRequest(PublishOptions):
    """Body of ``POST /v1/teams/{teamId}/posts/{postId}/post-now``.

    :param social_account_id: id of the account to publish to, a UUID.
    """

    social_account_id: str


class ScheduleMultiRequest(PublishOptions):
    """Body of ``POST /v1/teams/{teamId}/posts/{postId}/schedule-multi``.

    :param social_account_ids: ids of the accounts to publish to, UUIDs; at least one.
    :param scheduled_at: when to publish, ISO 8601.
    :param timezone: IANA name of the zone in which a user sees the time.
    :param platform_settings_by_social_account_id: settings for single accounts, by their ids.
    """

    social_account_ids: Annotated[list[str], Field(min_length=1)]
    scheduled_at: str
    timezone: str | None = None
    platform_settings_by_social_account_id: dict[str, dict[str, Any]] | None = None


class ResponseModel(BaseModel):
    """Base of the models of responses."""

    # What the service adds later is kept; what it leaves out is None. Only what identifies a thing is required.
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow", defer_build=True)


ServiceId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
Word = Annotated[str, Field(max_length=200)]

KnownProvider = Literal["x", "tiktok", "instagram", "facebook", "youtube", "linkedin", "threads"]
"""The platforms of the reference pages."""

KnownStatus = Literal["draft", "scheduled", "publishing", "published", "failed", "cancelled"]
"""The statuses of the reference pages. ``published``, ``failed``, ``cancelled`` and ``draft`` are final; see
:func:`~airflow_provider_octospark.outcomes.classify`."""

KnownErrorCategory = Literal["rate_limited", "transient", "auth", "validation", "permanent"]
"""The categories of the reference pages."""


def _object_or_empty(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count_or_none(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


# Nothing is decided by these, so a value of another type must not make a response unreadable: that would put a submission in
# doubt. They are not looked into either, so a poll does not pay for them.
JsonObject = Annotated[dict[str, Any], PlainValidator(_object_or_empty)]
Note = Annotated[str | None, PlainValidator(_text_or_none)]
Count = Annotated[int | None, PlainValidator(_count_or_none)]


class UploadProgress(ResponseModel):
    """Progress of an upload to the platform, in bytes.

    :param next_byte_start: the number of bytes that are uploaded.
    :param upload_size: the number of bytes in all.
    """

    next_byte_start: float | None = None
    upload_size: float | None = None

    @property
    def fraction(self) -> float | None:
        """The part that is uploaded, from 0.0 to 1.0, or None if it is not known."""
        if self.next_byte_start is None or not self.upload_size or self.upload_size < 0:
            return None
        return min(1.0, max(0.0, self.next_byte_start / self.upload_size))


class ProviderPublishState(ResponseModel):
    """The platform's own state of a publication; empty for a post that needs no polling.

    :param requires_polling: whether the service polls the platform for the end of the publication.
    :param publish_id: the platform's id of the publication under way.
    :param platform_post_id: the platform's id of the post, once it is out.
    :param provider_status: the status in the platform's own words.
    :param polling_reason: why the service polls the platform.
    :param upload_progress: the progress of an upload.
    :param failure_code: the platform's code of a failure.
    """

    requires_polling: bool | None = None
    publish_id: str | None = None
    platform_post_id: str | None = None
    provider_status: str | None = None
    polling_reason: str | None = None
    upload_progress: UploadProgress | None = None
    failure_code: str | None = None


class ScheduledPost(ResponseModel):
    """A submission of a post to one social account.

    The reference pages require every field in a response; what is missing all the same is None, or an empty object. Times are
    ISO 8601 and keep the text of the response, so that two reads can be compared exactly.

    :param id: id of the submission, a UUID.
    :param social_account_id: id of the account, a UUID.
    :param status: one of :data:`KnownStatus`, or one that is new, which counts as pending.
    :param team_id: id of the team, a UUID.
    :param content_item_id: id of the post, a UUID.
    :param provider: one of :data:`KnownProvider`, or one that is new.
    :param scheduled_at: when it is due.
    :param timezone: IANA name of the zone in which a user sees the time.
    :param platform_post_id: the platform's id of the post, once it is out.
    :param platform_settings: settings for the platform, as they were requested.
    :param publish_results: what publishing resulted in; its content is not documented.
    :param provider_publish_state: the platform's own state of the publication.
    :param error_code: the code of a failure.
    :param error_message: a failure in words.
    :param error_category: one of :data:`KnownErrorCategory`, or one that is new, which counts as permanent.
    :param workflow_id: id of the service's own workflow that publishes it. The vendor's support asks for it.
    :param workflow_run_id: id of that workflow's latest run.
    :param created_at: when the service accepted it.
    :param updated_at: when the service changed it last.
    """

    id: ServiceId
    social_account_id: ServiceId
    status: KnownStatus | Word
    team_id: str | None = None
    content_item_id: str | None = None
    provider: KnownProvider | Word | None = None
    scheduled_at: str | None = None
    timezone: str | None = None
    platform_post_id: Annotated[str, Field(max_length=500)] | None = None
    platform_settings: JsonObject = Field(default_factory=dict)
    publish_results: JsonObject = Field(default_factory=dict)
    provider_publish_state: ProviderPublishState = Field(default_factory=ProviderPublishState)
    error_code: str | None = None
    error_message: str | None = None
    error_category: KnownErrorCategory | Word | None = None
    workflow_id: Note = None
    workflow_run_id: Note = None
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


class AccountError(ResponseModel):
    """Why an account was refused.

    :param message: the reason in words.
    """

    message: str | None = None


class AccountResult(ResponseModel):
    """The result for one account: a submission or an error.

    :param social_account_id: id of the account, a UUID.
    :param scheduled_post: the submission, if the account was accepted.
    :param error: why it was refused, if it was.
    """

    social_account_id: ServiceId
    scheduled_post: ScheduledPost | None = None
    error: AccountError | None = None


class OutcomeCounts(ResponseModel):
    """The service's own counts of the accounts of a request.

    :param total_count: the number of accounts, 0 or more.
    :param success_count: how many were accepted.
    :param failure_count: how many were refused.
    """

    total_count: Count = None
    success_count: Count = None
    failure_count: Count = None


class ScheduleMultiResponse(ResponseModel):
    """Response of ``schedule-multi``. Results come from ``data``; nothing is decided by the counts.

    :param data: the result for each account.
    :param outcome: the counts.
    """

    data: Annotated[list[AccountResult], FailFast()]
    outcome: OutcomeCounts = Field(default_factory=OutcomeCounts)

    @field_validator("outcome", mode="before")
    @classmethod
    def _no_object_is_empty(cls, value: object) -> object:
        return value if isinstance(value, dict | OutcomeCounts) else {}


class Post(ResponseModel):
    """A prepared post with its latest submission, the only one that can be read."""

    id: ServiceId
    team_id: str | None = None
    title: str | None = None
    latest_scheduled_post: ScheduledPost | None = None
    created_at: str | None = None
    updated_at: str | None = None


class PostList(ResponseModel):
    """A page of a team's posts."""

    data: Annotated[list[Post], FailFast()]


LONGEST_CURSOR = 1000


def _cursor_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST_CURSOR else None


class PostEntries(BaseModel):
    """A page of a team's posts with entries as texts, so that an invalid entry does not hide the others.

    Assumption: the list of posts pages as the list of organizations does, whose ``nextCursor`` is documented.

    :param next_cursor: names the next page; None if there is none, or if the service does not page.
    """

    data: list[Entry]
    next_cursor: Annotated[str | None, PlainValidator(_cursor_or_none), Field(alias="nextCursor")] = None


class SocialAccount(ResponseModel):
    """A connected profile on a platform."""

    id: ServiceId
    provider: Word | None = None
    display_name: str | None = None
    profile_handle: str | None = None
    status: Word | None = None


class SocialAccountList(ResponseModel):
    """A team's social accounts, in an envelope."""

    data: Annotated[list[SocialAccount], FailFast()]


class Named(ResponseModel):
    """An organization or a team."""

    id: ServiceId
    name: str | None = None


class NamedList(ResponseModel):
    """A page of organizations or teams."""

    data: Annotated[list[Named], FailFast()]
