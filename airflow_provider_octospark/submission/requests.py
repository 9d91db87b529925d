"""Build announcements from parameters, for operators, items of a batch and the notifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from airflow_provider_octospark.api.models import PostNowRequest, PublishOptions, ScheduleMultiRequest
from airflow_provider_octospark.api.operations import Operation, post_now, schedule_multi
from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.parameters.times import format_instant
from airflow_provider_octospark.submission.announcements import Announcement

OPTIONS = (
    "platform_settings",
    "first_comment",
    "engagement_comment_trigger",
    "repost_after",
    "recurrence_interval_days",
    "recurrence_ends_at",
)
"""Parameters of the optional fields that both requests share."""

POST_NOW = ("post_id", "team_id", *OPTIONS, "social_account_id")
"""Parameters of an announcement that is published at once."""

SCHEDULE_MULTI = (
    "post_id",
    "team_id",
    *OPTIONS,
    "content_hash",
    "social_account_ids",
    "scheduled_at",
    "timezone",
    "platform_settings_by_social_account_id",
)
"""Parameters of an announcement that is scheduled."""

TeamOf = Callable[[object], str]
"""Returns the team id for a ``team_id`` that may be absent."""


def to_post_now(given: Mapping[str, Any], team_of: TeamOf) -> Announcement:
    """Return the announcement of one post on one account at once.

    :param given: parameters by their names (:data:`POST_NOW`, and ``content_hash``); those that are missing are absent.
    :raises OctosparkArgumentError: naming the parameter that is unusable.
    """
    post_id = arguments.required_id(given.get("post_id"), "post_id")
    account = arguments.required_account(given.get("social_account_id"), "social_account_id")
    options = _options(given, None, None)
    team_id = team_of(given.get("team_id"))
    request = PostNowRequest(social_account_id=account, **options)
    content_hash = arguments.optional_hash(given.get("content_hash"), "content_hash")
    return Announcement(
        team_id, post_id, (account,), lambda _: post_now(team_id, post_id, request), content_hash=content_hash
    )


def to_schedule(given: Mapping[str, Any], team_of: TeamOf, accounts_per_call: int | None = None) -> Announcement:
    """Return the announcement of one post on several accounts at a time.

    :param given: parameters by their names (:data:`SCHEDULE_MULTI`); those that are missing are absent.
    :raises OctosparkArgumentError: naming the parameter that is unusable.
    """
    post_id = arguments.required_id(given.get("post_id"), "post_id")
    accounts = arguments.required_accounts(given.get("social_account_ids"), "social_account_ids")
    zone = arguments.optional_timezone(given.get("timezone"), "timezone")
    scheduled_at = arguments.required_instant(given.get("scheduled_at"), zone, "scheduled_at")
    settings = arguments.optional_objects_by_account(
        given.get("platform_settings_by_social_account_id"), accounts, "platform_settings_by_social_account_id"
    )
    options = _options(given, zone, scheduled_at)
    content_hash = arguments.optional_hash(given.get("content_hash"), "content_hash")
    team_id = team_of(given.get("team_id"))

    def announce(instant: datetime) -> Announcement:
        def call(some: Sequence[str]) -> Operation[Any]:
            request = ScheduleMultiRequest(
                social_account_ids=list(some),
                scheduled_at=format_instant(instant),
                timezone=zone,
                platform_settings_by_social_account_id=(
                    None if settings is None else {key: entry for key, entry in settings.items() if key in some}
                ),
                **options,
            )
            return schedule_multi(team_id, post_id, request)

        return Announcement(team_id, post_id, accounts, call, instant, accounts_per_call, announce, content_hash)

    return announce(scheduled_at)


def _options(given: Mapping[str, Any], zone: str | None, scheduled_at: datetime | None) -> dict[str, Any]:
    objects = ("platform_settings", "first_comment", "engagement_comment_trigger", "repost_after")
    interval_days = arguments.optional_interval_days(given.get("recurrence_interval_days"), "recurrence_interval_days")
    ends_at = arguments.optional_instant(given.get("recurrence_ends_at"), zone, "recurrence_ends_at")
    if ends_at is not None and interval_days is None:
        raise OctosparkArgumentError(
            f"recurrence_ends_at is {format_instant(ends_at)}, but nothing recurs: set recurrence_interval_days as well, or "
            "leave recurrence_ends_at out."
        )
    if ends_at is not None and scheduled_at is not None and ends_at <= scheduled_at:
        raise OctosparkArgumentError(
            f"recurrence_ends_at is {format_instant(ends_at)}, but scheduled_at is {format_instant(scheduled_at)}; the end "
            "must be after the start."
        )
    return PublishOptions(
        **{name: arguments.optional_object(given.get(name), name) for name in objects},
        recurrence_interval_days=interval_days,
        recurrence_ends_at=None if ends_at is None else format_instant(ends_at),
    ).model_dump()
