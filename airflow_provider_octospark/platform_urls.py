"""The public URL of a published post, if it follows from the platform's post id."""

from __future__ import annotations

import re

# Instagram and Threads are missing because their URLs have a short code, which does not follow from the API's # numeric
# media id. A TikTok URL needs the profile's handle; the player's URL does not.
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
    """Return the URL of a published post, or None if it does not follow from the id.

    :param provider: platform name as the API writes it, for example ``x``.
    :param platform_post_id: the platform's id of the post.
    """
    if not provider or not platform_post_id or provider not in _FORMS:
        return None
    pattern, form = _FORMS[provider]
    return form.format(platform_post_id) if pattern.fullmatch(platform_post_id) else None
