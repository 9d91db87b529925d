"""The public address of a published post."""

from __future__ import annotations

import pytest

from airflow_provider_octospark.platform_urls import published_url


@pytest.mark.parametrize(
    ("provider", "platform_post_id", "url"),
    [
        ("x", "1900000000000000001", "https://x.com/i/web/status/1900000000000000001"),
        ("youtube", "dQw4w9WgXcQ", "https://www.youtube.com/watch?v=dQw4w9WgXcQ"),
        ("tiktok", "7500000000000000001", "https://www.tiktok.com/player/v1/7500000000000000001"),
        ("linkedin", "urn:li:share:7000000000000000001", "https://www.linkedin.com/feed/update/urn:li:share:7000000000000000001/"),
        ("linkedin", "urn:li:ugcPost:7", "https://www.linkedin.com/feed/update/urn:li:ugcPost:7/"),
        ("facebook", "1000460012300004_12", "https://www.facebook.com/1000460012300004_12"),
    ],
)  # fmt: skip
def test_it_is_built_from_the_platform_s_id(provider: str, platform_post_id: str, url: str) -> None:
    assert published_url(provider, platform_post_id) == url


@pytest.mark.parametrize(
    ("provider", "platform_post_id"),
    [
        # The numeric id of a medium is not the short code of its page.
        ("instagram", "180000000000000001"),
        ("threads", "180000000000000001"),
        ("mastodon", "1"),
        ("x", None),
        ("x", ""),
        (None, "1900000000000000001"),
        # What is not of the platform's form could lead anywhere.
        ("x", "1?x=//evil.example"),
        ("x", "1/../../evil"),
        ("x", "1\n"),
        ("youtube", "javascript:"),
        ("youtube", "dQw4w9WgXcQ&list=x"),
        ("tiktok", "@somebody"),
        ("linkedin", "urn:li:person:7"),
        ("facebook", "1000460012300004"),
        ("facebook", "l.php?u=https_1"),
    ],
)
def test_it_is_not_guessed(provider: str | None, platform_post_id: str | None) -> None:
    assert published_url(provider, platform_post_id) is None
