"""What went wrong with a post that is out is found, and nothing else is taken for it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_octospark.api.models import ScheduledPost
from airflow_provider_octospark.publish_problems import problem_of


def published(**fields: Any) -> ScheduledPost:
    return ScheduledPost.model_validate({"id": "s", "socialAccountId": "a", "status": "published", **fields})


@pytest.mark.parametrize(
    "results",
    [
        None,
        {},
        {"url": "https://platform.example/1", "publishedAt": "2026-11-22T12:00:00Z"},
        {"error": None, "errors": [], "firstComment": {"status": "published", "failed": False}},
        {"text": "how to handle an error"},
        ["failed to be an object"],
        "failed",
        7,
    ],
)
def test_nothing_went_wrong(results: Any) -> None:
    assert problem_of(published(publishResults=results)) is None


@pytest.mark.parametrize(
    ("results", "named"),
    [
        ({"error": "no"}, "publishResults.error: no"),
        ({"firstComment": {"status": "failed"}}, "publishResults.firstComment.status: failed"),
        (
            {"comments": [{"ok": True}, {"failureReason": "too long"}]},
            "publishResults.comments.1.failureReason: too long",
        ),
        (
            {"firstComment": {"errorMessage": "a\nforged line"}},
            "publishResults.firstComment.errorMessage: a forged line",
        ),
    ],
)
def test_what_went_wrong_is_named_with_its_place(results: Any, named: str) -> None:
    assert problem_of(published(publishResults=results)) == named


def test_the_service_s_own_error_counts_first() -> None:
    found = problem_of(published(errorCode="COMMENT_FAILED", errorMessage="No comment.", publishResults={"error": "x"}))
    assert found == "COMMENT_FAILED; No comment."


def test_what_is_long_or_deep_is_cut() -> None:
    deep: Any = {"error": "hidden"}
    for _ in range(50):
        deep = {"a": deep}
    assert problem_of(published(publishResults=deep)) is None
    assert len(problem_of(published(publishResults={"error": "x" * 10_000})) or "") <= 300
