"""How publications live, from the submission to the platform's post."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_provider_octospark.emulator import Emulator
from tests.emulator.calling import Caller

NEXT_WEEK = "2026-03-09T09:00:00Z"
WEEK = 7 * 86_400

PLATFORM_POST_IDS = {
    "x": r"\d{19}",
    "threads": r"\d{17}",
    "linkedin": r"urn:li:share:\d{19}",
    "facebook": r"\d+_\d+",
    "instagram": r"\d{17}",
    "tiktok": r"\d{19}",
    "youtube": r"[\w-]{11}",
}


@pytest.mark.parametrize("provider", PLATFORM_POST_IDS)
def test_every_platform_publishes(emulator: Emulator, caller: Caller, post_id: str, provider: Any) -> None:
    account_id = emulator.account_id(provider)
    first, second = (caller.post_now(post_id, account_id).json()["id"] for _ in range(2))
    emulator.advance(60)
    by_id = {each["id"]: each for each in emulator.scheduled_posts(post_id)}
    assert {by_id[each]["status"] for each in (first, second)} == {"published"}
    went_out = {each["scheduled_post_id"]: each["platform_post_id"] for each in emulator.publications()}
    assert went_out == {each: by_id[each]["platformPostId"] for each in (first, second)}
    assert went_out[first] != went_out[second]
    assert re.fullmatch(PLATFORM_POST_IDS[provider], went_out[first])


@pytest.mark.parametrize("provider", ["x", "threads", "linkedin", "facebook"])
def test_quick_platforms_need_no_polling(emulator: Emulator, caller: Caller, post_id: str, provider: Any) -> None:
    assert caller.post_now(post_id, emulator.account_id(provider)).json()["providerPublishState"] == {}
    emulator.advance(60)
    assert caller.latest(post_id)["providerPublishState"] == {}


@pytest.mark.parametrize("provider", ["tiktok", "youtube", "instagram", "facebook"])
def test_uploads_are_seen_to_move(emulator: Emulator, caller: Caller, provider: Any) -> None:
    film = emulator.add_post("A film", video=True)
    seen = [caller.post_now(film, emulator.account_id(provider)).json()]
    while seen[-1]["status"] == "publishing" and len(seen) < 100:
        emulator.advance(1)
        seen.append(caller.latest(film))
    states = [each["providerPublishState"] for each in seen]
    assert all(state["requiresPolling"] for state in states[:-1])
    assert len({state["publishId"] for state in states}) == 1
    assert len({state["providerStatus"] for state in states}) == 3
    progress = [state["uploadProgress"]["nextByteStart"] for state in states]
    assert progress == sorted(progress)
    assert progress[0] == 0
    assert progress[-1] == states[-1]["uploadProgress"]["uploadSize"] > 0
    assert len(set(progress)) > 4
    assert states[-1]["requiresPolling"] is False
    assert states[-1]["platformPostId"] == seen[-1]["platformPostId"]
    updates = [each["updatedAt"] for each in seen]
    assert updates == sorted(updates)


def test_a_schedule_waits_for_its_time(emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
    caller.schedule_multi(post_id, [x], NEXT_WEEK)
    emulator.advance(WEEK - 1)
    assert caller.latest(post_id)["status"] == "scheduled"
    assert emulator.publications() == []
    emulator.advance(1)
    assert caller.latest(post_id)["status"] == "publishing"
    emulator.advance(1.5)
    assert caller.latest(post_id)["status"] == "published"
    # Its own time counts, not that of whoever looks first.
    assert [each["at"] for each in emulator.publications()] == ["2026-03-09T09:00:01.500Z"]


def test_a_time_in_the_past_means_at_once(caller: Caller, post_id: str, x: str) -> None:
    content = caller.schedule_multi(post_id, [x], "2020-01-01T00:00:00Z").json()
    assert content["data"][0]["scheduledPost"]["status"] == "publishing"


def test_an_account_can_lapse_before_its_time(emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
    caller.schedule_multi(post_id, [x], NEXT_WEEK)
    emulator.set_account_status(x, "refresh_needed")
    emulator.advance_until_idle()
    assert caller.latest(post_id)["errorCategory"] == "auth"
    assert emulator.publications() == []


class TestLatest:
    def test_created(self, emulator: Emulator, caller: Caller, post_id: str, x: str, youtube: str) -> None:
        emulator.settings.latest = "created"
        data = caller.schedule_multi(post_id, [youtube, x], NEXT_WEEK).json()["data"]
        emulator.advance(WEEK + 20)
        assert caller.latest(post_id)["id"] == data[1]["scheduledPost"]["id"]

    def test_updated(self, emulator: Emulator, caller: Caller, post_id: str, x: str, youtube: str) -> None:
        emulator.settings.latest = "updated"
        data = caller.schedule_multi(post_id, [youtube, x], NEXT_WEEK).json()["data"]
        assert caller.latest(post_id)["id"] == data[1]["scheduledPost"]["id"]
        emulator.advance(WEEK + 20)
        assert caller.latest(post_id)["id"] == data[0]["scheduledPost"]["id"]


class TestAgain:
    def test_a_recurrence_ends(self, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
        first = caller.schedule_multi(
            post_id, [x], NEXT_WEEK, recurrenceIntervalDays=7, recurrenceEndsAt="2026-03-23T09:00:00Z"
        ).json()["data"][0]["scheduledPost"]
        emulator.advance(WEEK + 5)
        following = caller.latest(post_id)
        assert following["id"] != first["id"]
        assert (following["status"], following["scheduledAt"]) == ("scheduled", "2026-03-16T09:00:00.000Z")
        emulator.advance_until_idle()
        assert len(emulator.submissions()) == 1
        assert [each["at"][:10] for each in emulator.publications()] == [*("2026-03-09", "2026-03-16", "2026-03-23")]

    def test_an_occurrence_may_appear_when_it_is_due(
        self, emulator: Emulator, caller: Caller, post_id: str, x: str
    ) -> None:
        emulator.configure(next_occurrence="at_its_time", recurrence_limit=2)
        first = caller.post_now(post_id, x, recurrenceIntervalDays=1).json()["id"]
        emulator.advance(86_000)
        assert caller.latest(post_id)["id"] == first
        emulator.advance_until_idle()
        assert len(emulator.publications()) == 2
        assert caller.latest(post_id)["id"] != first

    def test_an_occurrence_keeps_the_time_of_day(
        self, emulator: Emulator, caller: Caller, post_id: str, x: str
    ) -> None:
        """The clocks in Berlin change on 29 March 2026."""
        emulator.configure(recurrence_limit=2)
        caller.schedule_multi(post_id, [x], "2026-03-28T09:00:00Z", timezone="Europe/Berlin", recurrenceIntervalDays=1)
        emulator.advance_until_idle()
        assert [each["at"][:16] for each in emulator.publications()] == ["2026-03-28T09:00", "2026-03-29T08:00"]

    @pytest.mark.parametrize(("performance", "names_first"), [("latest", False), ("published", True)])
    def test_the_performance_names_what_is_measured(
        self, performance: Any, names_first: bool, emulator: Emulator, caller: Caller, post_id: str, x: str
    ) -> None:
        emulator.configure(performance=performance)
        first = caller.post_now(post_id, x, recurrenceIntervalDays=1).json()["id"]
        emulator.advance(60)
        measured = caller.http.get(f"{caller.team}/posts/{post_id}/performance").json()
        assert (measured["scheduledPostId"] == first) is names_first

    def test_a_recurrence_without_an_end_is_cut(self, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
        emulator.configure(recurrence_limit=3)
        caller.post_now(post_id, x, recurrenceIntervalDays=365, recurrenceEndsAt=None)
        assert emulator.advance_until_idle() > 2 * 365 * 86_400
        assert len(emulator.publications()) == 3

    def test_a_recurrence_goes_on_after_a_failure_but_not_after_a_cancellation(
        self, emulator: Emulator, caller: Caller, post_id: str, x: str
    ) -> None:
        emulator.script("fail", post_id=post_id, times=1)
        caller.post_now(post_id, x, recurrenceIntervalDays=1)
        emulator.advance(5)
        assert [each["status"] for each in emulator.scheduled_posts()] == ["failed", "scheduled"]
        emulator.user_action("cancel", post_id)
        emulator.advance_until_idle()
        assert [each["status"] for each in emulator.scheduled_posts()] == ["failed", "cancelled"]

    @pytest.mark.parametrize(
        ("asked", "hours"), [({"hours": 2}, 2), ({"days": 1, "minutes": 60}, 25), ({"who": "knows"}, 24)]
    )
    def test_a_repost(
        self,
        emulator: Emulator,
        caller: Caller,
        post_id: str,
        x: str,
        asked: dict[str, Any],
        hours: int,
    ) -> None:
        caller.post_now(post_id, x, repostAfter=asked)
        passed = emulator.advance_until_idle()
        assert passed == pytest.approx(hours * 3600 + 3)
        assert len(emulator.publications()) == 2
        assert len(emulator.scheduled_posts(post_id)) == 2


class TestFates:
    def test_publish_over_fail(self, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
        emulator.script("fail", post_id=post_id)
        emulator.script("publish", post_id=post_id, social_account_id=x)
        caller.post_now(post_id, x)
        emulator.advance_until_idle()
        assert caller.latest(post_id)["status"] == "published"

    def test_fail(self, emulator: Emulator, caller: Caller, post_id: str, x: str, youtube: str) -> None:
        emulator.script(
            "fail",
            social_account_id=youtube.upper(),
            error_category="validation",
            error_code="TOO_LONG",
            error_message="Too long.",
        )
        caller.post_now(post_id, x)
        caller.post_now(post_id, youtube)
        emulator.advance_until_idle()
        failed = caller.latest(post_id)
        assert failed["status"] == "failed"
        assert (failed["errorCategory"], failed["errorCode"]) == ("validation", "TOO_LONG")
        assert failed["errorMessage"] == "Too long."
        assert failed["platformPostId"] is None
        assert failed["providerPublishState"]["failureCode"] == "TOO_LONG"
        assert [each["social_account_id"] for each in emulator.publications()] == [x]

    @pytest.mark.parametrize("provider", ["x", "youtube"])
    def test_stuck(self, emulator: Emulator, caller: Caller, post_id: str, provider: Any) -> None:
        emulator.script("stuck", post_id=post_id)
        caller.post_now(post_id, emulator.account_id(provider))
        emulator.advance_until_idle()
        emulator.advance(30 * 86_400)
        assert caller.latest(post_id)["status"] == "publishing"

    def test_cancel(self, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
        emulator.script("cancel", post_id=post_id)
        caller.post_now(post_id, x)
        emulator.advance_until_idle()
        assert caller.latest(post_id)["status"] == "cancelled"
        assert emulator.publications() == []

    @pytest.mark.parametrize("shown_in", ["post", "state"])
    def test_fail_but_live(self, emulator: Emulator, caller: Caller, post_id: str, x: str, shown_in: Any) -> None:
        emulator.script("fail_but_live", post_id=post_id, shown_in=shown_in)
        caller.post_now(post_id, x)
        emulator.advance_until_idle()
        (live,) = emulator.publications()
        failed = caller.latest(post_id)
        assert failed["status"] == "failed"
        places = {"post": failed["platformPostId"], "state": failed["providerPublishState"].get("platformPostId")}
        other = "state" if shown_in == "post" else "post"
        assert places == {shown_in: live["platform_post_id"], other: None}

    def test_fail_then_publish(self, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
        emulator.script("fail_then_publish", post_id=post_id, seconds=100)
        submitted = caller.post_now(post_id, x).json()
        emulator.advance(10)
        failed = caller.latest(post_id)
        assert (failed["status"], failed["errorCategory"]) == ("failed", "transient")
        assert failed["platformPostId"] is None
        emulator.advance(92)
        assert caller.latest(post_id)["status"] == "publishing"
        emulator.advance(10)
        out = caller.latest(post_id)
        assert (out["id"], out["status"], out["errorCategory"]) == (submitted["id"], "published", None)
        assert len(emulator.publications()) == 1

    def test_slow(self, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
        emulator.script("slow", post_id=post_id, seconds=3600)
        caller.post_now(post_id, x)
        emulator.advance(3599)
        assert caller.latest(post_id)["status"] == "publishing"
        emulator.advance(1)
        assert caller.latest(post_id)["status"] == "published"

    def test_the_next_submissions_only(self, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
        caller.schedule_multi(post_id, [x], NEXT_WEEK)
        emulator.script("fail", post_id=post_id, times=1)
        for _ in range(2):
            caller.post_now(post_id, x)
        emulator.advance_until_idle()
        statuses = [each["status"] for each in emulator.scheduled_posts(post_id)]
        assert statuses == ["published", "failed", "published"]

    def test_a_rule_holds_for_what_was_submitted_before_it(
        self, emulator: Emulator, caller: Caller, post_id: str, x: str
    ) -> None:
        caller.schedule_multi(post_id, [x], NEXT_WEEK)
        emulator.script("fail", post_id=post_id)
        emulator.advance_until_idle()
        assert caller.latest(post_id)["status"] == "failed"

    @pytest.mark.parametrize(
        "rule",
        [
            {"scenario": "explode", "social_account_id": "it"},
            {"scenario": "publish"},
            {"scenario": "slow", "social_account_id": "it"},
            {"scenario": "publish", "social_account_id": "it", "error_code": "X"},
            {"scenario": "fail", "social_account_id": "it", "shown_in": "state"},
            {"scenario": "fail", "social_account_id": "it", "error_category": "bad_luck"},
        ],
    )
    def test_rules_that_make_no_sense(self, emulator: Emulator, x: str, rule: dict[str, Any]) -> None:
        if "social_account_id" in rule:
            rule = {**rule, "social_account_id": x}
        with pytest.raises(ValueError):
            emulator.script(**rule)
        with pytest.raises(LookupError):
            emulator.script("fail", post_id="unknown")


def test_ids_of_publications_are_the_same_in_every_world(emulator: Emulator, caller: Caller) -> None:
    def history() -> list[str]:
        for provider in PLATFORM_POST_IDS:
            caller.post_now(emulator.posts[0]["id"], emulator.account_id(provider))  # type: ignore[arg-type]
        emulator.advance_until_idle()
        return [each["platform_post_id"] for each in emulator.publications()]

    first = history()
    own_ids = {each["id"] for each in emulator.scheduled_posts()}
    emulator.reset()
    assert history() == first
    assert own_ids.isdisjoint(each["id"] for each in emulator.scheduled_posts())
