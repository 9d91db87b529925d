"""The collection of counts: its times, its statuses, what a test scripts, and the charts on the page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from airflow_provider_octospark.emulator import Emulator
from tests.emulator.calling import Caller

HOUR = 3600.0
COUNTS = ("likeCount", "commentCount", "shareCount", "saveCount", "impressionCount", "reachCount")


@pytest.fixture
def published(emulator: Emulator, caller: Caller, post_id: str, x: str) -> str:
    """A post that goes out on X at 09:00:00 and a half."""
    emulator.script("slow", post_id=post_id, seconds=0.5)
    caller.post_now(post_id, x)
    emulator.advance(0.5)
    return post_id


def performance(caller: Caller, post_id: str) -> dict[str, Any]:
    response: dict[str, Any] = caller.http.get(f"{caller.team}/posts/{post_id}/performance").json()
    return response


def test_it_is_collected_again_and_again_on_the_clock(emulator: Emulator, caller: Caller, published: str) -> None:
    seen = []
    for hours in (0.5, 0.5, 1 / 30, 4, 0.975, 1 / 30, 162, 24):
        emulator.advance(hours * HOUR)
        response = performance(caller, published)
        seen.append((response["collectionStatus"], len(response["snapshots"]), response["lastCollectedAt"]))
    assert seen == [
        ("pending", 0, None),
        ("collecting", 0, None),
        ("completed", 1, "2026-03-02T10:01:00.500Z"),
        ("completed", 1, "2026-03-02T10:01:00.500Z"),
        ("collecting", 1, "2026-03-02T10:01:00.500Z"),
        ("completed", 2, "2026-03-02T15:01:00.500Z"),
        ("completed", 5, "2026-03-09T09:01:00.500Z"),
        ("stale", 5, "2026-03-09T09:01:00.500Z"),
    ]


def test_counts_grow_from_snapshot_to_snapshot(emulator: Emulator, caller: Caller, published: str) -> None:
    emulator.advance(200 * HOUR)
    response = performance(caller, published)
    assert [each["hoursSincePost"] for each in response["snapshots"]] == [1.0, 6.0, 24.0, 72.0, 168.0]
    for name in COUNTS:
        grown = [each[name] for each in response["snapshots"]]
        assert grown == sorted(grown)
        assert grown[0] < grown[-1] == response["current"][name]
    assert performance(caller, published) == response


@pytest.mark.parametrize("status", ["pending", "collecting", "completed", "failed", "stale"])
def test_what_a_collection_ends_with_is_scripted(
    status: Any, emulator: Emulator, caller: Caller, published: str
) -> None:
    emulator.script_performance(status, post_id=published.upper())
    emulator.advance(2 * HOUR)
    response = performance(caller, published)
    assert response["collectionStatus"] == status
    assert (response["lastCollectedAt"] is None) is (status in {"pending", "collecting"})
    assert (response["current"]["impressionCount"] > 0) is (status in {"completed", "stale"})
    errors = [each["collectionError"] for each in response["snapshots"]]
    assert errors == {"failed": ["The platform did not answer."], "completed": [None], "stale": [None]}.get(status, [])


def test_counts_times_and_the_submission_are_scripted(
    emulator: Emulator, caller: Caller, published: str, x: str
) -> None:
    other = emulator.account_id("youtube")
    rule = {"social_account_id": x, "collected_at": [3, 2], "lacks": ["saveCount"], "scheduled_post_id": other}
    [listed] = caller.control("performance", {**rule, "counts": {"likeCount": -1, "reachCount": None}}).json()["data"]
    assert (listed["collected_at"], listed["lacks"]) == ([2.0, 3.0], ["saveCount"])
    emulator.script_performance("failed", social_account_id=other)
    emulator.advance(2.5 * HOUR)
    response = performance(caller, published)
    assert (response["scheduledPostId"], response["collectionStatus"]) == (other, "completed")
    for counts in (response["current"], *response["snapshots"]):
        assert (counts["likeCount"], counts["reachCount"]) == (-1, None)
        assert "saveCount" not in counts
        assert counts["impressionCount"] > 0
    emulator.reset()
    assert len(caller.control("performance", {}).json()["data"]) == 1


@pytest.mark.parametrize("wrong", [{"status": "done"}, {"collected_at": [-1]}, {"counts": 1}, {"other": 1}])
def test_a_rule_that_cannot_be_is_refused(wrong: dict[str, Any], emulator: Emulator, caller: Caller) -> None:
    with pytest.raises(ValidationError):
        emulator.script_performance(**wrong)
    assert caller.control("performance", wrong).status_code == 400


def test_the_page_has_a_chart_for_each_count(emulator: Emulator, caller: Caller, published: str) -> None:
    assert "<svg" not in caller.tokenless.get("/").text
    emulator.advance(25 * HOUR)
    text = caller.tokenless.get("/").text
    assert text.count("<polyline") == len(COUNTS)
    [points] = re.findall(r'<b>([\d,]+)</b> <span class="sub">impressions</span><svg.*?points="([^"]*)"', text)
    assert points[0] == f"{performance(caller, published)['current']['impressionCount']:,}"
    # From nothing at the bottom left to the latest snapshot at the top right.
    assert points[1].split()[0] == "0.0,22.0"
    assert points[1].split()[-1] == "88.0,0.0"
    assert len(points[1].split()) == 4
    assert '<span class="pill completed">completed</span>' in text


def test_a_scripted_count_is_escaped_on_the_page(emulator: Emulator, caller: Caller, published: str) -> None:
    emulator.script_performance(counts={"likeCount": "<img src=x>", "saveCount": None})
    emulator.advance(2 * HOUR)
    text = caller.tokenless.get("/").text
    assert "&lt;img src=x&gt;" in text
    assert "<img" not in text
