"""The public API: what it answers, and what it refuses."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.emulator.service.operations import PATHS
from airflow_provider_octospark.emulator.service.resources import UUID_PATTERN
from tests.emulator.calling import Caller

# Copied from the seed page of post-now by hand, so that a field that the emulator forgets is missed.
REQUIRED = {
    *("id", "teamId", "contentItemId", "socialAccountId", "provider", "status", "scheduledAt", "timezone"),
    *("platformPostId", "platformSettings", "publishResults", "providerPublishState", "errorCode"),
    *("errorMessage", "errorCategory", "workflowId", "workflowRunId", "createdAt", "updatedAt"),
}
NEXT_WEEK = "2026-03-09T09:00:00Z"
NOBODY = "3c90c3cc-0d44-4b50-8888-8dd25736052a"


def check_scheduled_post(scheduled: dict[str, Any]) -> None:
    """Hold a scheduledPost against the seed page."""
    assert scheduled.keys() == REQUIRED
    for name in ("id", "teamId", "contentItemId", "socialAccountId"):
        assert re.fullmatch(UUID_PATTERN, scheduled[name])
    for name in ("scheduledAt", "createdAt", "updatedAt"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", scheduled[name])
    for name in ("platformSettings", "publishResults", "providerPublishState"):
        assert isinstance(scheduled[name], dict)


def refusal(response: httpx.Response) -> str:
    """The message of a 400."""
    assert response.status_code == 400, response.text
    return str(response.json()["error"]["message"])


class TestReading:
    def test_organizations_and_teams(self, emulator: Emulator, caller: Caller) -> None:
        organizations = caller.http.get("/v1/organizations", params={"limit": 1}).json()["data"]
        assert [each["id"] for each in organizations] == [emulator.organization_id]
        query = {"organizationId": emulator.organization_id, "limit": "5"}
        teams = caller.http.get("/v1/teams", params=query).json()["data"]
        assert [each["id"] for each in teams] == [emulator.team_id]
        assert caller.http.get("/v1/teams", params={"organizationId": NOBODY}).status_code == 404

    def test_a_post(self, caller: Caller, post_id: str) -> None:
        post = caller.get_post(post_id).json()
        assert post["id"] == post_id
        assert post["latestScheduledPost"] is None
        assert post.keys() >= {*("teamId", "title", "text", "assetIds", "contentPayloadId", "createdAt", "updatedAt")}
        assert post["postInput"] == {"text": post["text"], "attachments": []}

    def test_posts_newest_update_first(self, emulator: Emulator, caller: Caller, x: str) -> None:
        oldest = caller.http.get(f"{caller.team}/posts").json()["data"][-1]["id"]
        emulator.advance(10)
        caller.post_now(oldest, x)
        listed = caller.http.get(f"{caller.team}/posts", params={"limit": 3}).json()
        assert len(listed["data"]) == 3
        assert listed["data"][0]["id"] == oldest
        assert listed["total"] == len(emulator.posts) >= 8

    def test_a_list_pages_if_it_is_told_to(self, emulator: Emulator, caller: Caller) -> None:
        path = f"{caller.team}/posts"
        assert set(caller.http.get(path, params={"limit": 3, "cursor": "?"}).json()) == {"data", "total"}
        emulator.settings.list_pages = True
        added = [emulator.add_post(f"Post {number}") for number in range(8)]
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = caller.http.get(path, params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
            seen += [each["id"] for each in page["data"]]
            if len(seen) == 3:
                # It moves to the first page; the others stay where they are.
                caller.post_now(added[0], emulator.account_id("x"))
            cursor = page["nextCursor"]
        assert sorted(seen) == sorted({each["id"] for each in emulator.posts} - {added[0]})
        for wrong in ("x", "äöü", "MjAyNg==", "MjAyNi0wMS0wMSAx"):
            assert caller.http.get(path, params={"cursor": wrong}).status_code == 400

    def test_the_limits_of_a_list_are_switches(self, emulator: Emulator, caller: Caller, x: str) -> None:
        newest = caller.http.get(f"{caller.team}/posts").json()["data"][0]["id"]
        oldest = caller.http.get(f"{caller.team}/posts").json()["data"][-1]["id"]
        caller.post_now(oldest, x)
        emulator.configure(list_limit=2, list_order="created")
        listed = caller.http.get(f"{caller.team}/posts", params={"limit": 100}).json()["data"]
        assert len(listed) == 2
        assert listed[0]["id"] == newest

    def test_social_accounts(self, emulator: Emulator, caller: Caller) -> None:
        listed = caller.http.get(f"{caller.team}/social-accounts").json()["data"]
        connected = {each["provider"] for each in listed if each["status"] == "connected"}
        assert connected == {"x", "tiktok", "instagram", "facebook", "youtube", "linkedin", "threads"}
        assert {each["status"] for each in listed} == {*("connected", "refresh_needed", "disabled", "disconnected")}
        emulator.settings.accounts_envelope = "list"
        assert caller.http.get(f"{caller.team}/social-accounts").json() == listed

    def test_a_social_account(self, emulator: Emulator, caller: Caller, x: str) -> None:
        account = caller.http.get(f"{caller.team}/social-accounts/{x.upper()}").json()
        assert (account["id"], account["provider"], account["status"]) == (x, "x", "connected")
        assert account.keys() >= {"displayName", "profileHandle", "capabilities", "connectedAt"}

    def test_performance_grows(self, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
        path = f"{caller.team}/posts/{post_id}/performance"
        assert caller.http.get(path).status_code == 404
        scheduled = caller.post_now(post_id, x).json()
        emulator.advance(60)
        fresh = caller.http.get(path).json()
        assert (fresh["scheduledPostId"], fresh["collectionStatus"]) == (scheduled["id"], "pending")
        assert fresh["snapshots"] == []
        emulator.advance(25 * 3600)
        later = caller.http.get(path).json()
        assert later["collectionStatus"] == "completed"
        assert later["current"]["impressionCount"] > fresh["current"]["impressionCount"]
        assert [each["hoursSincePost"] for each in later["snapshots"]] == [1.0, 6.0, 24.0]


class TestSubmitting:
    def test_post_now(self, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
        response = caller.post_now(post_id, x, platformSettings={"a": {"b": [1, None]}})
        assert response.status_code == 200
        scheduled = response.json()
        check_scheduled_post(scheduled)
        assert (scheduled["contentItemId"], scheduled["socialAccountId"]) == (post_id, x)
        assert (scheduled["provider"], scheduled["status"]) == ("x", "publishing")
        assert scheduled["scheduledAt"] == "2026-03-02T09:00:00.000Z"
        assert scheduled["platformSettings"] == {"a": {"b": [1, None]}}
        assert caller.latest(post_id) == scheduled
        assert emulator.submissions() == [
            {
                "at": "2026-03-02T09:00:00.000Z",
                "operation": "post-now",
                "team_id": emulator.team_id,
                "post_id": post_id,
                "social_account_id": x,
                "scheduled_post_id": scheduled["id"],
            }
        ]

    def test_a_second_submission_is_never_refused(
        self, emulator: Emulator, caller: Caller, post_id: str, x: str
    ) -> None:
        for _ in range(3):
            assert caller.post_now(post_id, x).status_code == 200
            assert caller.schedule_multi(post_id, [x, x], NEXT_WEEK).json()["outcome"]["successCount"] == 2
        emulator.advance_until_idle()
        assert len(emulator.submissions()) == 9
        assert len({each["scheduled_post_id"] for each in emulator.submissions()}) == 9
        assert len({each["platform_post_id"] for each in emulator.publications()}) == 9

    def test_schedule_multi(self, emulator: Emulator, caller: Caller, post_id: str, x: str, youtube: str) -> None:
        response = caller.schedule_multi(
            post_id,
            [x, youtube],
            "2026-03-09T10:00:00+01:00",
            timezone="Europe/Berlin",
            platformSettings={"for": "all", "also": 1},
            platformSettingsBySocialAccountId={youtube.upper(): {"for": "youtube"}},
        )
        assert response.status_code == 200
        content = response.json()
        assert content["outcome"] == {"totalCount": 2, "successCount": 2, "failureCount": 0}
        assert [each["socialAccountId"] for each in content["data"]] == [x, youtube]
        settings = []
        for each in content["data"]:
            check_scheduled_post(each["scheduledPost"])
            assert each["scheduledPost"]["status"] == "scheduled"
            assert each["scheduledPost"]["scheduledAt"] == "2026-03-09T09:00:00.000Z"
            assert each["scheduledPost"]["timezone"] == "Europe/Berlin"
            settings.append(each["scheduledPost"]["platformSettings"])
        assert settings == [{"for": "all", "also": 1}, {"for": "youtube", "also": 1}]
        assert [each["operation"] for each in emulator.submissions()] == ["schedule-multi"] * 2

    def test_local_time_needs_a_time_zone(self, caller: Caller, post_id: str, x: str) -> None:
        local = "2026-03-09T10:00:00"
        assert "scheduledAt" in refusal(caller.schedule_multi(post_id, [x], local))
        content = caller.schedule_multi(post_id, [x], local, timezone="Europe/Berlin").json()
        assert content["data"][0]["scheduledPost"]["scheduledAt"] == "2026-03-09T09:00:00.000Z"

    @pytest.mark.parametrize("status", ["refresh_needed", "disabled", "disconnected"])
    def test_accounts_that_are_not_connected(
        self, emulator: Emulator, caller: Caller, post_id: str, x: str, status: Any
    ) -> None:
        broken = emulator.add_account("linkedin", status)
        content = caller.schedule_multi(post_id, [broken, x], NEXT_WEEK).json()
        assert content["outcome"] == {"totalCount": 2, "successCount": 1, "failureCount": 1}
        assert content["data"][0].keys() == {"socialAccountId", "error"}
        assert status in content["data"][0]["error"]["message"]
        assert content["data"][1].keys() == {"socialAccountId", "scheduledPost"}
        assert len(emulator.submissions()) == 1
        scheduled = caller.post_now(post_id, broken).json()
        check_scheduled_post(scheduled)
        assert (scheduled["status"], scheduled["errorCategory"]) == ("failed", "auth")
        emulator.advance_until_idle()
        assert [each["social_account_id"] for each in emulator.publications()] == [x]

    def test_move_to_draft_takes_off_what_has_not_begun(
        self, emulator: Emulator, caller: Caller, post_id: str, x: str, youtube: str
    ) -> None:
        caller.schedule_multi(post_id, [x, youtube], NEXT_WEEK)
        caller.post_now(post_id, x)
        response = caller.move_to_draft(post_id)
        assert response.status_code == 200
        assert response.json()["id"] == post_id
        statuses = [each["status"] for each in emulator.scheduled_posts(post_id)]
        assert statuses == ["draft", "draft", "publishing"]
        emulator.advance_until_idle()
        assert len(emulator.publications()) == 1
        assert caller.move_to_draft(post_id).status_code == 200


class TestRefusing:
    @pytest.mark.parametrize(
        "authorization", [None, "", "Bearer", "Bearer octo_test_wrong", "Basic octo_test_local_emulator_key"]
    )
    def test_without_the_token(
        self, emulator: Emulator, caller: Caller, post_id: str, authorization: str | None
    ) -> None:
        headers = {} if authorization is None else {"Authorization": authorization}
        for method, path in [*PATHS.values(), ("POST", "/v1/teams/{teamId}/no-such-thing")]:
            url = path.format(teamId=emulator.team_id, postId=post_id, socialAccountId=emulator.account_id("x"))
            response = caller.tokenless.request(method, url, headers=headers, content=b"{")
            assert response.status_code == 401, path
            assert response.json()["error"]["message"]
        assert emulator.submissions() == []

    def test_a_rotated_token(self, emulator: Emulator, caller: Caller, post_id: str) -> None:
        fresh = emulator.rotate_token()
        assert caller.get_post(post_id).status_code == 401
        caller.http.headers["Authorization"] = f"bearer {fresh}"
        assert caller.get_post(post_id).status_code == 200
        assert fresh in emulator.connection

    @pytest.mark.parametrize("unknown", [NOBODY, "not-a-uuid", "%00", "%F0%9F%90%99", "a" * 3000])
    def test_unknown_ids(self, emulator: Emulator, caller: Caller, post_id: str, x: str, unknown: str) -> None:
        assert caller.get_post(unknown).status_code == 404
        assert caller.post_now(unknown, x).status_code == 404
        assert caller.schedule_multi(unknown, [x], NEXT_WEEK).status_code == 404
        assert caller.move_to_draft(unknown).status_code == 404
        assert caller.http.get(f"{caller.team}/posts/{unknown}/performance").status_code == 404
        assert caller.http.get(f"{caller.team}/social-accounts/{unknown}").status_code == 404
        assert caller.http.get(f"/v1/teams/{unknown}/posts/{post_id}").status_code == 404
        assert caller.post_now(post_id, NOBODY).status_code == 404
        assert emulator.submissions() == []

    def test_an_unknown_account_of_several_is_an_error_of_its_own(self, caller: Caller, post_id: str, x: str) -> None:
        unknown = NOBODY
        content = caller.schedule_multi(post_id, [unknown, x], NEXT_WEEK).json()
        assert content["outcome"]["failureCount"] == 1
        assert content["data"][0]["error"]["message"] == "There is no such social account."

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("socialAccountId", None),
            ("socialAccountId", 7),
            ("socialAccountId", "x"),
            ("platformSettings", None),
            ("platformSettings", "{}"),
            ("firstComment", []),
            ("engagementCommentTrigger", "x"),
            ("repostAfter", 3),
            ("recurrenceIntervalDays", 0),
            ("recurrenceIntervalDays", 366),
            ("recurrenceIntervalDays", 1.5),
            ("recurrenceIntervalDays", "7"),
            ("recurrenceIntervalDays", True),
            ("recurrenceIntervalDays", None),
            ("recurrenceEndsAt", "soon"),
            ("recurrenceEndsAt", 5),
            ("scheduledAt", "2026-03-09T09:00:00Z"),
            ("idempotencyKey", "once"),
        ],
    )
    def test_bodies_of_post_now(
        self, emulator: Emulator, caller: Caller, post_id: str, x: str, field: str, value: Any
    ) -> None:
        body = {"socialAccountId": x, field: value}
        response = caller.http.post(f"{caller.team}/posts/{post_id}/post-now", json=body)
        assert field in refusal(response)
        assert emulator.submissions() == []

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("socialAccountIds", []),
            ("socialAccountIds", None),
            ("socialAccountIds", "x"),
            ("socialAccountIds", ["x"]),
            ("scheduledAt", None),
            ("scheduledAt", ""),
            ("scheduledAt", "tomorrow"),
            ("scheduledAt", "2026-03-09"),
            ("scheduledAt", "2026-02-30T09:00:00Z"),
            ("scheduledAt", "9999-12-31T23:59:59Z"),
            ("scheduledAt", "0001-01-01T00:00:00+14:00"),
            ("scheduledAt", 1772000000),
            ("timezone", "Europe/Atlantis"),
            ("timezone", "../../etc/passwd"),
            ("timezone", "\x00"),
            ("timezone", ""),
            ("platformSettingsBySocialAccountId", {"a": 1}),
            ("socialAccountId", "a96533d2-f364-5f41-a9e2-1e9edea1ab34"),
        ],
    )
    def test_bodies_of_schedule_multi(
        self, emulator: Emulator, caller: Caller, post_id: str, x: str, field: str, value: Any
    ) -> None:
        body = {"socialAccountIds": [x], "scheduledAt": NEXT_WEEK, field: value}
        response = caller.http.post(f"{caller.team}/posts/{post_id}/schedule-multi", json=body)
        assert field in refusal(response)
        assert emulator.submissions() == []

    @pytest.mark.parametrize("missing", ["socialAccountIds", "scheduledAt"])
    def test_missing_fields(self, caller: Caller, post_id: str, x: str, missing: str) -> None:
        body = {"socialAccountIds": [x], "scheduledAt": NEXT_WEEK}
        del body[missing]
        response = caller.http.post(f"{caller.team}/posts/{post_id}/schedule-multi", json=body)
        assert missing in refusal(response)

    @pytest.mark.parametrize(
        "content",
        [
            *(b"", b"{", b"null", b"[]", b'"text"', b"\xff", b"[" * 5000),
            b'{"platformSettings": {"a": NaN}}',
            b'{"platformSettings": {"a": 1e999}}',
            b'{"platformSettings": {"a": "\\ud800"}}',
        ],
    )
    def test_bodies_that_are_no_json_object(self, caller: Caller, post_id: str, content: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        response = caller.http.post(f"{caller.team}/posts/{post_id}/post-now", content=content, headers=headers)
        assert refusal(response)

    @pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5", ""])
    def test_limits(self, caller: Caller, limit: str) -> None:
        assert "limit" in refusal(caller.http.get(f"{caller.team}/posts", params={"limit": limit}))

    def test_wrong_methods_and_paths(self, caller: Caller, post_id: str) -> None:
        response = caller.http.get(f"{caller.team}/posts/{post_id}/post-now")
        assert (response.status_code, response.headers["allow"]) == (405, "POST")
        for path in ("/v1/nothing", f"{caller.team}/posts/{post_id}/", f"{caller.team}/posts/{post_id}/x"):
            assert caller.http.get(path).status_code == 404
