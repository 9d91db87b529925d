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
"""In how many steps an upload is seen to move."""

UPLOAD_SHARE: Final = 0.6
"""The part of the time that uploading takes; the rest is the platform's processing."""


@dataclass(frozen=True, slots=True)
class Platform:
    """How one platform publishes."""

    seconds: float
    """From the start of publishing to its end, in virtual seconds."""
    polling: Literal["never", "always", "video"]
    """Whether the service has to poll the platform until a post is out."""
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
    """What the platform says, `after` the start of publishing."""

    after: timedelta
    state: ProviderPublishState


def needs_polling(provider: Provider, post: Post) -> bool:
    """Whether publishing this post there goes through `requiresPolling`."""
    polling = PLATFORMS[provider].polling
    return polling == "always" or (polling == "video" and post.video)


def stages(provider: Provider, publish_id: str, seconds: float) -> list[Stage]:
    """What is seen of an upload and its processing that take `seconds`, without the end."""
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
    """The id that the platform gives to the `publication`-th publication of a post on an account.

    The same in every world, so that a history can be run again, and different for each publication.
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
