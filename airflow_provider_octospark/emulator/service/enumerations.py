"""The values of a platform, a status and an error category, by the reference pages."""

from __future__ import annotations

from typing import Literal

Provider = Literal["x", "tiktok", "instagram", "facebook", "youtube", "linkedin", "threads"]

Status = Literal["draft", "scheduled", "publishing", "published", "failed", "cancelled"]

ErrorCategory = Literal["rate_limited", "transient", "auth", "validation", "permanent"]

AccountStatus = Literal["connected", "disabled", "refresh_needed", "disconnected"]
