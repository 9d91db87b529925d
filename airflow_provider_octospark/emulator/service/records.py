"""What the emulated service keeps: accounts, posts and scheduledPosts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from typing_extensions import TypedDict

from airflow_provider_octospark.emulator.service.enumerations import AccountStatus, ErrorCategory, Provider, Status
from airflow_provider_octospark.emulator.service.scenarios import ScenarioRule


class UploadProgress(TypedDict):
    """How far an upload is, in bytes (seed pages)."""

    nextByteStart: int
    uploadSize: int


class ProviderPublishState(TypedDict, total=False):
    """What the platform says of a publication under way (seed pages).

    Each key can be missing. Assumption: the object is `{}` for a post that never needed polling.
    """

    requiresPolling: bool
    publishId: str
    platformPostId: str
    providerStatus: str
    pollingReason: str
    uploadProgress: UploadProgress
    failureCode: str


@dataclass(slots=True)
class SocialAccount:
    """A social account of the team."""

    id: str
    provider: Provider
    provider_account_id: str
    display_name: str
    handle: str
    status: AccountStatus
    connected_at: datetime
    updated_at: datetime
    disconnected_at: datetime | None = None


@dataclass(slots=True)
class Recurrence:
    """How a publication comes again: every `interval_days`, no later than `ends_at`."""

    interval_days: int
    ends_at: datetime | None


@dataclass(slots=True)
class Submission:
    """What a request asks for, the same for each account that it names."""

    scheduled_at: datetime
    timezone: str | None = None
    platform_settings: dict[str, Any] = field(default_factory=dict)
    recurrence: Recurrence | None = None
    repost_after: dict[str, Any] | None = None


@dataclass(slots=True, eq=False)
class ScheduledPost:
    """One publication of a post on an account: the thing that a client waits for."""

    id: str
    post: Post
    account: SocialAccount
    request: Submission
    scheduled_at: datetime
    workflow_id: str
    workflow_run_id: str
    created_at: datetime
    updated_at: datetime
    created_order: int
    updated_order: int
    occurrence: int = 1
    status: Status = "scheduled"
    platform_post_id: str | None = None
    publish_results: dict[str, Any] = field(default_factory=dict)
    publish_state: ProviderPublishState = field(default_factory=lambda: ProviderPublishState())
    error_code: str | None = None
    error_message: str | None = None
    error_category: ErrorCategory | None = None
    bound_scenario: ScenarioRule | None = None
    """The scripted scenario of its first try, if the submission was tied to one."""
    came_again: bool = False
    """Whether its recurrence has made the next one already."""
    life: int = 0
    """Grows whenever what was planned for it is void; an event of an older life does nothing."""


@dataclass(slots=True, eq=False)
class Post:
    """A post that was prepared in Octospark: its content, and all that was ever made of it."""

    id: str
    title: str
    text: str
    video: bool
    created_at: datetime
    updated_at: datetime
    updated_order: int
    scheduled_posts: list[ScheduledPost] = field(default_factory=list)
