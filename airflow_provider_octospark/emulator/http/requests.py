"""Requests to the public API as pydantic models. They refuse what the reference pages do not allow."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from airflow_provider_octospark.emulator.service.records import Recurrence, Submission
from airflow_provider_octospark.emulator.service.resources import Uuid
from airflow_provider_octospark.emulator.service.timestamps import parse_timestamp, parse_zone


def _without_default(schema: dict[str, Any]) -> None:
    """The default of a field that is absent, which differs from every value that a client can send."""
    del schema["default"]


class PublishRequest(BaseModel):
    """The optional fields of post-now and schedule-multi (reference pages). Assumption: an unknown field is refused."""

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
        """The recurrence, or None."""
        if "recurrenceIntervalDays" not in self.model_fields_set:
            return None
        ends_at = None if self.recurrenceEndsAt is None else parse_timestamp(self.recurrenceEndsAt)
        return Recurrence(self.recurrenceIntervalDays, ends_at)

    def repost(self) -> dict[str, Any] | None:
        """`repostAfter`, or None."""
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
        """Return the request for one of the accounts."""
        own = {key.lower(): value for key, value in self.platformSettingsBySocialAccountId.items()}
        return Submission(
            scheduled_at=parse_timestamp(self.scheduledAt, self.timezone),
            timezone=self.timezone,
            platform_settings={**self.platformSettings, **own.get(account_id.lower(), {})},
            recurrence=self.recurrence(),
            repost_after=self.repost(),
        )


def parse_field(name: str, text: str, timezone: str | None = None) -> None:
    """Refuse text that is not a time; the message names the field."""
    try:
        parse_timestamp(text, timezone)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error
