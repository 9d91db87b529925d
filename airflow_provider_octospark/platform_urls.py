"""The public address of a published post, where the platform's own id of it is enough to know."""

from __future__ import annotations

import re

# Instagram and Threads are missing on purpose: their addresses are built from a short code, and the API's
# numeric media id does not give it. A TikTok address needs the profile's handle; only the player's does not.
_FORMS: dict[str, tuple[re.Pattern[str], str]] = {
    "x": (re.compile(r"\d{1,20}"), "https://x.com/i/web/status/{}"),
    "youtube": (re.compile(r"[A-Za-z0-9_-]{11}"), "https://www.youtube.com/watch?v={}"),
    "tiktok": (re.compile(r"\d{15,20}"), "https://www.tiktok.com/player/v1/{}"),
    "linkedin": (
        re.compile(r"urn:li:(?:share|ugcPost|activity):\d{1,25}"),
        "https://www.linkedin.com/feed/update/{}/",
    ),
    "facebook": (re.compile(r"\d{1,25}_\d{1,25}"), "https://www.facebook.com/{}"),
}


def published_url(provider: str | None, platform_post_id: str | None) -> str | None:
    """Return the address of a published post, or None where it cannot be known without guessing.

    :param provider: platform name as the API writes it, for example ``x``.
    :param platform_post_id: the platform's id of the post.
    """
    if not provider or not platform_post_id or provider not in _FORMS:
        return None
    pattern, form = _FORMS[provider]
    return form.format(platform_post_id) if pattern.fullmatch(platform_post_id) else None
