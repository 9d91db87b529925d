"""The stored objects of the emulated service: accounts, posts and scheduledPosts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from typing_extensions import TypedDict

from airflow_provider_octospark.emulator.service.enumerations import AccountStatus, ErrorCategory, Provider, Status
from airflow_provider_octospark.emulator.service.scenarios import ScenarioRule


class UploadProgress(TypedDict):
    """Progress of an upload, in bytes (reference pages)."""

    nextByteStart: int
    uploadSize: int


class ProviderPublishState(TypedDict, total=False):
    """The platform's state of a publication (reference pages).

    Each key can be absent. Assumption: the object is `{}` for a post that needs no polling.
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
    """The recurrence of a publication: every `interval_days`, until `ends_at`."""

    interval_days: int
    ends_at: datetime | None


@dataclass(slots=True)
class Submission:
    """The options of a request, the same for all its accounts."""

    scheduled_at: datetime
    timezone: str | None = None
    platform_settings: dict[str, Any] = field(default_factory=dict)
    recurrence: Recurrence | None = None
    repost_after: dict[str, Any] | None = None


@dataclass(slots=True, eq=False)
class ScheduledPost:
    """A submission of a post to an account, with its publication."""

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
    """The scripted scenario of its first attempt, if there is one."""
    came_again: bool = False
    """Whether the next occurrence exists."""
    life: int = 0
    """Grows when planned events become void; an event of an older life has no effect."""


@dataclass(slots=True, eq=False)
class Post:
    """A prepared post, with its content and all its submissions."""

    id: str
    title: str
    text: str
    video: bool
    created_at: datetime
    updated_at: datetime
    updated_order: int
    scheduled_posts: list[ScheduledPost] = field(default_factory=list)
