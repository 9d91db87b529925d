"""The control over HTTP, and the clock."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from airflow_provider_octospark.emulator import Emulator, Settings
from airflow_provider_octospark.emulator.service.clock import END_OF_TIME, VirtualClock
from tests.emulator.calling import Caller
from tests.emulator.conftest import START


class TestLists:
    def test_they_say_what_the_issue_lists(self, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
        scheduled = caller.post_now(post_id, x).json()
        emulator.advance_until_idle()
        (submission,) = caller.listed("submissions")
        assert submission.keys() == {
            *("at", "operation", "team_id", "post_id", "social_account_id", "scheduled_post_id")
        }
        (publication,) = caller.listed("publications")
        assert publication.keys() == {*("at", "post_id", "social_account_id", "scheduled_post_id", "platform_post_id")}
        (request,) = caller.listed("requests")
        assert request == {
            "at": "2026-03-02T09:00:00.000Z",
            "method": "POST",
            "path": f"/v1/teams/{emulator.team_id}/posts/{post_id}/post-now",
            "status": 200,
            "fault": None,
        }
        (known,) = caller.listed(f"scheduled-posts?post_id={post_id}")
        assert known == {**caller.latest(post_id)}
        assert known["id"] == scheduled["id"]

    def test_requests_never_hold_the_key(self, emulator: Emulator, caller: Caller, post_id: str) -> None:
        caller.http.headers["X-Api-Key"] = emulator.token
        caller.get_post(post_id)
        caller.http.get("/v1/organizations", params={"token": emulator.token})
        caller.http.get("/nothing")
        assert len(emulator.requests()) == 3
        assert emulator.token not in json.dumps(caller.listed("requests"))
        assert emulator.token not in caller.http.get("/").text

    def test_in_process_and_over_http_are_the_same(
        self, emulator: Emulator, caller: Caller, post_id: str, x: str
    ) -> None:
        caller.post_now(post_id, x)
        emulator.advance_until_idle()
        assert caller.listed("submissions") == emulator.submissions()
        assert caller.listed("publications") == emulator.publications()
        assert caller.listed("requests") == emulator.requests()
        assert caller.listed("posts") == emulator.posts
        assert caller.listed("accounts") == emulator.social_accounts


class TestSteering:
    def test_faults(self, caller: Caller, post_id: str) -> None:
        response = caller.control("faults", [{"operation": "get-post", "fault": "status", "status": 418}])
        assert response.json()["data"] == [{"operation": "get-post", "fault": "status", "status": 418, "times": 1}]
        assert caller.listed("faults") == response.json()["data"]
        assert caller.get_post(post_id).status_code == 418
        caller.control("faults", [{"operation": "*", "fault": "reset", "times": 3}])
        caller.tokenless.delete("/_emulator/faults")
        assert caller.get_post(post_id).status_code == 200

    def test_script(self, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
        rule = {"post_id": post_id, "scenario": "fail", "errorCategory": "auth", "errorCode": "E", "errorMessage": "M"}
        assert caller.control("script", rule).json()["data"] == [rule]
        caller.post_now(post_id, x)
        emulator.advance_until_idle()
        failed = caller.latest(post_id)
        assert (failed["errorCategory"], failed["errorCode"], failed["errorMessage"]) == ("auth", "E", "M")
        unknown = {"post_id": "00000000-0000-0000-0000-000000000000", "scenario": "fail"}
        assert caller.control("script", unknown).status_code == 404
        nothing = caller.control("script", {"scenario": "fail"})
        assert nothing.status_code == 400
        assert "post_id" in nothing.json()["error"]["message"]

    def test_posts_and_accounts(self, emulator: Emulator, caller: Caller) -> None:
        made = caller.control("posts", {"title": "Another", "text": "Text", "video": True}).json()["id"]
        assert caller.get_post(made).json()["postInput"]["attachments"][0]["type"] == "video"
        added = caller.control("accounts", {"provider": "x", "status": "disabled"}).json()["id"]
        path = f"{caller.team}/social-accounts/{added}"
        assert caller.http.get(path).json()["status"] == "disabled"
        caller.control("accounts", {"id": added, "status": "connected"})
        assert caller.http.get(path).json()["status"] == "connected"
        assert caller.control("accounts", {}).status_code == 400
        assert caller.control("accounts", {"id": "none"}).status_code == 404

    def test_settings(self, emulator: Emulator, caller: Caller) -> None:
        response = caller.control("settings", {"latest": "updated", "list_limit": 3})
        assert response.json() == {**Settings().model_dump(), "latest": "updated", "list_limit": 3}
        assert emulator.settings.latest == "updated"
        refused = caller.control("settings", {"latest": "newest"})
        assert refused.status_code == 400
        assert "latest" in refused.json()["error"]["message"]
        with pytest.raises(ValueError):
            emulator.settings.list_limit = 0
        with pytest.raises(ValueError):
            emulator.configure(latest="created", list_limit=0)
        assert emulator.settings.latest == "updated"

    def test_reset(self, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
        before = caller.get_post(post_id).json()
        caller.post_now(post_id, x)
        emulator.add_post("Another")
        emulator.configure(latest="updated")
        emulator.script("fail", post_id=post_id)
        emulator.fault("*", "reset", times=5)
        emulator.rotate_token()
        emulator.advance(3600)
        caller.control("reset", {})
        assert (emulator.submissions(), emulator.publications(), emulator.requests()) == ([], [], [])
        assert caller.get_post(post_id).json() == before
        assert emulator.now() == START
        assert emulator.settings == Settings()
        caller.post_now(post_id, x)
        emulator.advance_until_idle()
        assert len(emulator.publications()) == 1


class TestTime:
    def test_by_hand(self, emulator: Emulator, caller: Caller, post_id: str) -> None:
        response = caller.control("clock", {"advance_seconds": 90})
        assert response.json() == {"now": "2026-03-02T09:01:30.000Z", "factor": 0.0}
        date = parsedate_to_datetime(caller.get_post(post_id).headers["date"])
        assert date == START + timedelta(seconds=90) == emulator.now()
        assert caller.get_post("none").headers.get_list("date") == ["Mon, 02 Mar 2026 09:01:30 GMT"]

    def test_until_idle(self, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
        caller.schedule_multi(post_id, [x], "2027-01-01T00:00:00Z")
        response = caller.control("clock", {"until_idle": True})
        assert response.json()["now"] == "2027-01-01T00:00:01.500Z"
        assert len(emulator.publications()) == 1

    def test_by_a_factor(self, emulator: Emulator, caller: Caller) -> None:
        caller.control("clock", {"factor": 100_000})
        begin = emulator.now()
        while emulator.now() < begin + timedelta(hours=1):
            time.sleep(0.01)
        emulator.clock_factor(0)
        assert emulator.now() == emulator.now()

    def test_a_publication_in_real_time_by_a_factor(
        self, emulator: Emulator, caller: Caller, post_id: str, youtube: str
    ) -> None:
        emulator.clock_factor(1000)
        caller.post_now(post_id, youtube)
        for _ in range(2000):
            if caller.latest(post_id)["status"] == "published":
                break
        assert len(emulator.publications()) == 1

    @pytest.mark.parametrize(
        "order",
        [
            *({}, {"advance_seconds": -1}, {"advance_seconds": "5"}, {"advance_seconds": 1e12}),
            *({"factor": -1}, {"factor": 1e9}, {"factor": 1, "advance_seconds": 1}, {"until_idle": False}),
            *({"advance": 5}, {"factor": None}, []),
        ],
    )
    def test_orders_that_make_no_sense(self, emulator: Emulator, caller: Caller, order: Any) -> None:
        assert caller.control("clock", order).status_code == 400
        assert emulator.now() == START

    def test_it_never_goes_back(self) -> None:
        clock = VirtualClock(factor=1000)
        seen = [clock.now()]
        for factor in (0, 5, 1000, 1, 0):
            clock.set_factor(factor)
            seen.append(clock.now())
            clock.advance(0.5)
            seen.append(clock.now())
            clock.advance_to(START)
            seen.append(clock.now())
        assert seen == sorted(seen)

    def test_it_is_real_by_default(self) -> None:
        with Emulator() as emulator:
            assert abs(emulator.now() - datetime.now(UTC)) < timedelta(seconds=5)

    def test_it_ends(self) -> None:
        clock = VirtualClock(END_OF_TIME - timedelta(seconds=10), factor=0)
        with pytest.raises(ValueError, match="9000"):
            clock.advance(11)
        clock.set_factor(1_000_000)
        while clock.now() < END_OF_TIME:
            time.sleep(0.01)
        assert clock.now() == END_OF_TIME

    def test_idle_ends_with_it(self, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
        caller.schedule_multi(post_id, [x], "8999-12-31T23:59:59Z", recurrenceIntervalDays=365)
        emulator.advance_until_idle()
        assert len(emulator.publications()) <= 1
        assert caller.get_post(post_id).status_code == 200
