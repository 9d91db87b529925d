"""How each platform publishes. All durations and names of stages here are assumptions."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from airflow_provider_octospark.emulator.service.enumerations import Provider
from airflow_provider_octospark.emulator.service.records import (
    Post,
    ProviderPublishState,
    SocialAccount,
    UploadProgress,
)

UPLOAD_SIZE: Final = 48 * 1024 * 1024
"""The size of every upload, in bytes."""

UPLOAD_CHUNKS: Final = 8
"""Number of visible steps of an upload."""

UPLOAD_SHARE: Final = 0.6
"""The upload's part of the publishing time; the rest is the platform's processing."""


@dataclass(frozen=True, slots=True)
class Platform:
    """How one platform publishes."""

    seconds: float
    """Duration of publishing, in virtual seconds."""
    polling: Literal["never", "always", "video"]
    """Whether the service polls the platform until a post is published."""
    uploading: str = ""
    processing: str = ""
    done: str = ""


PLATFORMS: Final[dict[Provider, Platform]] = {
    "x": Platform(1.5, "never"),
    "threads": Platform(2.0, "never"),
    "linkedin": Platform(2.5, "never"),
    "facebook": Platform(12.0, "video", "upload_in_progress", "processing", "ready"),
    "instagram": Platform(15.0, "always", "IN_PROGRESS", "FINISHED", "PUBLISHED"),
    "tiktok": Platform(20.0, "always", "PROCESSING_UPLOAD", "PROCESSING_DOWNLOAD", "PUBLISH_COMPLETE"),
    "youtube": Platform(30.0, "always", "uploading", "processing", "succeeded"),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """The platform's state at some time after the start of publishing."""

    after: timedelta
    state: ProviderPublishState


def needs_polling(provider: Provider, post: Post) -> bool:
    """Whether publishing this post sets `requiresPolling`."""
    polling = PLATFORMS[provider].polling
    return polling == "always" or (polling == "video" and post.video)


def stages(provider: Provider, publish_id: str, seconds: float) -> list[Stage]:
    """Return the visible states of an upload and its processing within `seconds`, without the final one."""
    platform = PLATFORMS[provider]
    seen: list[Stage] = []
    for chunk in range(UPLOAD_CHUNKS):
        uploading = ProviderPublishState(
            requiresPolling=True,
            publishId=publish_id,
            providerStatus=platform.uploading,
            pollingReason="upload_in_progress",
            uploadProgress=UploadProgress(nextByteStart=UPLOAD_SIZE * chunk // UPLOAD_CHUNKS, uploadSize=UPLOAD_SIZE),
        )
        share = UPLOAD_SHARE * chunk / UPLOAD_CHUNKS
        seen.append(Stage(timedelta(seconds=seconds * share), uploading))
    processing = ProviderPublishState(
        requiresPolling=True,
        publishId=publish_id,
        providerStatus=platform.processing,
        pollingReason="platform_processing",
        uploadProgress=UploadProgress(nextByteStart=UPLOAD_SIZE, uploadSize=UPLOAD_SIZE),
    )
    seen.append(Stage(timedelta(seconds=seconds * UPLOAD_SHARE), processing))
    return seen


def platform_post_id(account: SocialAccount, post_id: str, publication: int) -> str:
    """Return the platform's id of the `publication`-th publication of a post on an account.

    It is reproducible, and different for each publication.
    """
    digest = hashlib.sha256(f"{account.id}:{post_id}:{publication}".encode()).digest()
    number = int.from_bytes(digest[:8])
    match account.provider:
        case "youtube":
            return base64.urlsafe_b64encode(digest)[:11].decode()
        case "linkedin":
            return f"urn:li:share:7{number % 10**18:018d}"
        case "facebook":
            return f"{account.provider_account_id}_{number % 10**15:015d}"
        case "x":
            return f"19{number % 10**17:017d}"
        case "tiktok":
            return f"75{number % 10**17:017d}"
        case "instagram" | "threads":
            return f"18{number % 10**15:015d}"
