"""Switches for points that the API's documentation leaves open."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Undocumented points of the service, each with our assumption as the default."""

    model_config = ConfigDict(extra="forbid", strict=True, validate_assignment=True)

    latest: Literal["created", "updated"] = Field(
        default="created",
        description=(
            "Which scheduledPost a post shows as `latestScheduledPost`: the one created last, or the one changed last."
        ),
    )
    list_limit: int = Field(
        default=100, ge=1, description="The most posts that a list answers, whatever `limit` asks for."
    )
    list_order: Literal["updated", "created"] = Field(
        default="updated", description="What a list of posts is sorted by, newest first."
    )
    list_pages: bool = Field(
        default=False,
        description=(
            "Whether a list of posts names the next page in `nextCursor`, which the query parameter `cursor` takes, as the "
            "list of organizations is documented to; otherwise `cursor` is ignored."
        ),
    )
    accounts_envelope: Literal["data", "list"] = Field(
        default="data",
        description="The list of social accounts: an object with `data`, or the bare list.",
    )
    next_occurrence: Literal["at_publication", "at_its_time"] = Field(
        default="at_publication",
        description=(
            "When the next occurrence of a recurrence appears on the post: as soon as the one before it is published or "
            "failed, or when it is due."
        ),
    )
    performance: Literal["latest", "published"] = Field(
        default="latest",
        description=(
            "Which scheduledPost the performance of a post measures: the one that the post shows, or the one that was "
            "published last."
        ),
    )
    recurrence_limit: int = Field(
        default=12,
        ge=1,
        description=(
            "How many publications a recurrence makes at most, the first included; "
            "the emulator's own bound, so that a recurrence without an end ends."
        ),
    )
