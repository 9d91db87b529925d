"""What a user does in the app between two polls of ours."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_octospark.emulator import Emulator
from tests.emulator.calling import Caller
from tests.emulator.conftest import START

NEXT_WEEK = "2026-03-09T09:00:00Z"


@pytest.fixture
def scheduled(caller: Caller, post_id: str, x: str) -> dict[str, Any]:
    """A post that is scheduled on X for next week."""
    data = caller.schedule_multi(post_id, [x], NEXT_WEEK).json()["data"]
    only: dict[str, Any] = data[0]["scheduledPost"]
    return only


def test_reschedule_by_an_hour(emulator: Emulator, caller: Caller, post_id: str, scheduled: dict[str, Any]) -> None:
    (moved,) = emulator.user_action("reschedule", post_id)
    assert moved["id"] == scheduled["id"]
    assert moved["scheduledAt"] == "2026-03-09T10:00:00.000Z"
    assert moved["updatedAt"] > scheduled["updatedAt"]
    emulator.advance_until_idle()
    assert [each["at"] for each in emulator.publications()] == ["2026-03-09T10:00:01.500Z"]


def test_reschedule_to_an_earlier_time(
    emulator: Emulator, caller: Caller, post_id: str, scheduled: dict[str, Any]
) -> None:
    emulator.user_action("reschedule", post_id, scheduled_at=START + timedelta(hours=1))
    emulator.advance(3602)
    assert caller.latest(post_id)["status"] == "published"
    emulator.advance_until_idle()
    assert len(emulator.publications()) == 1


@pytest.mark.parametrize(("action", "status"), [("move_to_draft", "draft"), ("cancel", "cancelled")])
def test_taking_it_off(
    emulator: Emulator, caller: Caller, post_id: str, scheduled: dict[str, Any], action: Any, status: str
) -> None:
    assert [each["status"] for each in emulator.user_action(action, post_id)] == [status]
    emulator.advance_until_idle()
    assert caller.latest(post_id)["status"] == status
    assert emulator.publications() == []
    assert emulator.user_action(action, post_id) == [] if action == "move_to_draft" else True


def test_a_draft_can_be_scheduled_again(
    emulator: Emulator, caller: Caller, post_id: str, scheduled: dict[str, Any]
) -> None:
    emulator.user_action("move_to_draft", post_id)
    (again,) = emulator.user_action("reschedule", post_id)
    assert (again["id"], again["status"]) == (scheduled["id"], "scheduled")
    emulator.advance_until_idle()
    assert len(emulator.publications()) == 1


def test_retry_is_the_same_scheduled_post(emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
    emulator.script("fail", post_id=post_id, times=1, error_category="transient")
    submitted = caller.post_now(post_id, x).json()
    assert emulator.user_action("retry", post_id) == []
    emulator.advance(10)
    (retried,) = emulator.user_action("retry", post_id)
    assert (retried["id"], retried["status"]) == (submitted["id"], "publishing")
    assert (retried["errorCategory"], retried["errorMessage"]) == (None, None)
    emulator.advance_until_idle()
    assert caller.latest(post_id)["status"] == "published"
    assert len(emulator.submissions()) == 1


def test_post_now_by_hand(emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
    (made,) = emulator.user_action("post_now", post_id, social_account_id=x)
    assert caller.latest(post_id) == made
    emulator.advance_until_idle()
    assert [each["operation"] for each in emulator.submissions()] == ["user-action"]
    assert [each["scheduled_post_id"] for each in emulator.publications()] == [made["id"]]
    assert [each for each in emulator.requests() if each["method"] == "POST"] == []
    with pytest.raises(ValueError, match="social_account_id"):
        emulator.user_action("post_now", post_id)


def test_only_one_account(emulator: Emulator, caller: Caller, post_id: str, x: str, youtube: str) -> None:
    caller.schedule_multi(post_id, [x, youtube], NEXT_WEEK)
    emulator.user_action("cancel", post_id, social_account_id=youtube)
    assert [each["status"] for each in emulator.scheduled_posts(post_id)] == ["scheduled", "cancelled"]
    with pytest.raises(LookupError):
        emulator.user_action("cancel", "no such post")


def test_over_http(caller: Caller, post_id: str, x: str, scheduled: dict[str, Any]) -> None:
    order = {"action": "reschedule", "post_id": post_id, "scheduled_at": "2026-03-10T00:00:00+02:00"}
    (moved,) = caller.control("user-action", order).json()["data"]
    assert moved["scheduledAt"] == "2026-03-09T22:00:00.000Z"
    by_hand = caller.control("user-action", {"action": "post_now", "post_id": post_id, "social_account_id": x})
    assert by_hand.json()["data"][0]["status"] == "publishing"
    for order, named in (
        ({"action": "shout", "post_id": post_id}, "action"),
        ({"action": "post_now", "post_id": post_id}, "social_account_id"),
        ({"action": "reschedule", "post_id": post_id, "scheduled_at": "later"}, "scheduled_at"),
    ):
        response = caller.control("user-action", order)
        assert response.status_code == 400
        assert named in response.json()["error"]["message"]
    assert caller.control("user-action", {"action": "cancel", "post_id": "none"}).status_code == 404
