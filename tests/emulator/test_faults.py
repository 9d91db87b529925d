"""What goes wrong on the way: each fault, over real connections."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from airflow_provider_octospark.emulator import Emulator
from tests.emulator.calling import Caller

NEXT_WEEK = "2026-03-09T09:00:00Z"
PROCESSED = {"before": 0, "after": 1}


def last_request(emulator: Emulator) -> tuple[int | None, str | None]:
    """Status and fault of the last request."""
    entry = emulator.requests()[-1]
    return entry["status"], entry["fault"]


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether something holds within a generous while."""
    deadline = time.monotonic() + 60
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@pytest.mark.parametrize("when", ["before", "after"])
class TestBeforeAndAfterProcessing:
    def test_status(self, emulator: Emulator, caller: Caller, post_id: str, x: str, when: Any) -> None:
        emulator.fault("post-now", "status", status=503, headers={"Retry-After": "7"}, when=when)
        response = caller.post_now(post_id, x)
        assert response.status_code == 503
        assert response.headers["retry-after"] == "7"
        assert response.json()["error"]["message"] == "Service Unavailable"
        assert len(emulator.submissions()) == PROCESSED[when]
        assert last_request(emulator) == (503, "status")
        assert caller.post_now(post_id, x).status_code == 200

    def test_reset(self, emulator: Emulator, caller: Caller, post_id: str, x: str, when: Any) -> None:
        emulator.fault("post-now", "reset", when=when)
        with pytest.raises(httpx.ReadError, match="reset"):
            caller.post_now(post_id, x)
        assert len(emulator.submissions()) == PROCESSED[when]
        assert last_request(emulator) == (None, "reset")
        assert caller.post_now(post_id, x).status_code == 200

    def test_no_answer(self, emulator: Emulator, caller: Caller, post_id: str, x: str, when: Any) -> None:
        emulator.fault("post-now", "no_answer", when=when)
        caller.http.timeout = httpx.Timeout(5, read=0.1)
        with pytest.raises(httpx.ReadTimeout):
            caller.post_now(post_id, x)
        emulator.advance_until_idle()
        assert len(emulator.submissions()) == PROCESSED[when]
        assert last_request(emulator) == (None, "no_answer")

    def test_delay(self, emulator: Emulator, caller: Caller, post_id: str, x: str, when: Any) -> None:
        emulator.fault("post-now", "delay", seconds=0.3, when=when)
        responses: list[httpx.Response] = []
        begin = time.monotonic()
        sending = threading.Thread(target=lambda: responses.append(caller.post_now(post_id, x)))
        sending.start()
        assert eventually(lambda: bool(emulator.requests()))
        if when == "after":
            assert eventually(lambda: bool(emulator.submissions()))
            assert responses == []
        sending.join()
        assert time.monotonic() - begin >= 0.3
        assert responses[0].status_code == 200
        assert len(emulator.submissions()) == 1

    def test_not_json(self, emulator: Emulator, caller: Caller, post_id: str, x: str, when: Any) -> None:
        emulator.fault("post-now", "not_json", when=when)
        response = caller.post_now(post_id, x)
        assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
        with pytest.raises(ValueError):
            response.json()
        assert len(emulator.submissions()) == PROCESSED[when]

    def test_omit_account(
        self, emulator: Emulator, caller: Caller, post_id: str, x: str, youtube: str, when: Any
    ) -> None:
        emulator.fault("schedule-multi", "omit_account", social_account_id=x.upper(), when=when)
        content = caller.schedule_multi(post_id, [x, youtube], NEXT_WEEK).json()
        assert [each["socialAccountId"] for each in content["data"]] == [youtube]
        submitted = {each["social_account_id"] for each in emulator.submissions()}
        assert submitted == ({youtube} if when == "before" else {x, youtube})


def test_a_client_that_gives_up_over_a_delay_is_served_all_the_same(
    emulator: Emulator, caller: Caller, post_id: str, x: str
) -> None:
    emulator.fault("post-now", "delay", seconds=0.3)
    caller.http.timeout = httpx.Timeout(5, read=0.05)
    with pytest.raises(httpx.ReadTimeout):
        caller.post_now(post_id, x)
    assert emulator.submissions() == []
    emulator.advance_until_idle()
    assert len(emulator.publications()) == 1


def test_the_last_account_is_omitted_by_default(
    emulator: Emulator, caller: Caller, post_id: str, x: str, youtube: str
) -> None:
    emulator.fault("schedule-multi", "omit_account")
    content = caller.schedule_multi(post_id, [x, youtube], NEXT_WEEK).json()
    assert [each["socialAccountId"] for each in content["data"]] == [x]
    assert content["outcome"]["totalCount"] == 2


def test_late(emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
    emulator.fault("post-now", "late", seconds=600)
    caller.http.timeout = httpx.Timeout(5, read=0.1)
    with pytest.raises(httpx.ReadTimeout):
        caller.post_now(post_id, x)
    caller.http.close()
    emulator.advance(599)
    assert emulator.submissions() == []
    emulator.advance(1)
    assert [each["at"] for each in emulator.submissions()] == ["2026-03-02T09:10:00.000Z"]
    with Caller(emulator) as another:
        assert another.latest(post_id)["createdAt"] == "2026-03-02T09:10:00.000Z"
        assert last_request(emulator)[1] is None
    assert emulator.requests()[0]["status"] is None


def test_late_is_waited_for_until_idle(emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
    emulator.fault("schedule-multi", "late", seconds=30 * 86_400)
    caller.http.timeout = httpx.Timeout(5, read=0.1)
    with pytest.raises(httpx.ReadTimeout):
        caller.schedule_multi(post_id, [x], NEXT_WEEK)
    emulator.advance_until_idle()
    assert len(emulator.publications()) == 1


def test_a_late_request_that_is_refused_causes_nothing(
    emulator: Emulator, caller: Caller, post_id: str, x: str
) -> None:
    emulator.fault("*", "late", seconds=5, times=2)
    caller.http.timeout = httpx.Timeout(5, read=0.1)
    for account_id in ("no uuid", "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(httpx.ReadTimeout):
            caller.post_now(post_id, account_id)
    emulator.advance_until_idle()
    assert emulator.submissions() == []
    assert caller.post_now(post_id, x).status_code == 200


def test_truncate(emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
    emulator.fault("post-now", "truncate")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        caller.post_now(post_id, x)
    assert len(emulator.submissions()) == 1
    assert last_request(emulator) == (200, "truncate")


@pytest.mark.parametrize(
    ("status", "body", "content_type"),
    [
        (500, {"message": "no"}, "application/json"),
        (502, "<html><title>Bad Gateway</title></html>", "text/plain; charset=utf-8"),
        (200, [], "application/json"),
        (200, None, "application/json"),
        (408, {}, "application/json"),
        (409, {"error": "conflict"}, "application/json"),
        (302, "", "text/plain; charset=utf-8"),
        (599, 1.5, "application/json"),
    ],
)
def test_any_status_with_any_body(
    emulator: Emulator, caller: Caller, post_id: str, status: int, body: Any, content_type: str
) -> None:
    emulator.faults([{"operation": "get-post", "fault": "status", "status": status, "body": body}])
    response = caller.get_post(post_id)
    assert response.status_code == status
    assert response.headers["content-type"] == content_type
    assert (response.text if isinstance(body, str) else response.json()) == body
    assert caller.get_post(post_id).status_code == 200


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(emulator: Emulator, caller: Caller, post_id: str, status: int) -> None:
    emulator.fault("get-post", "status", status=status)
    response = caller.get_post(post_id)
    assert (response.status_code, response.content) == (status, b"")
    assert caller.get_post(post_id).status_code == 200


class TestWhichCalls:
    def test_operation(self, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
        emulator.fault("get-post", "status", status=500)
        assert caller.post_now(post_id, x).status_code == 200
        assert caller.http.get(f"{caller.team}/posts").status_code == 200
        assert caller.get_post(post_id).status_code == 500

    def test_any_operation_but_not_the_control(self, emulator: Emulator, caller: Caller, post_id: str) -> None:
        emulator.fault("*", "status", status=500, times=2)
        assert caller.listed("submissions") == []
        assert caller.http.get("/").status_code == 200
        assert caller.http.get("/v1/organizations").status_code == 500
        assert caller.get_post(post_id).status_code == 500
        assert caller.get_post(post_id).status_code == 200

    def test_post_and_account(self, emulator: Emulator, caller: Caller, post_id: str, x: str, youtube: str) -> None:
        other = emulator.posts[1]["id"]
        emulator.fault("*", "status", status=500, post_id=other, social_account_id=youtube)
        assert caller.post_now(post_id, youtube).status_code == 200
        assert caller.post_now(other, x).status_code == 200
        assert caller.get_post(other).status_code == 200
        assert caller.schedule_multi(other, [x, youtube], NEXT_WEEK).status_code == 500
        emulator.fault("get-social-account", "status", status=500, social_account_id=youtube)
        assert caller.http.get(f"{caller.team}/social-accounts/{x}").status_code == 200
        assert caller.http.get(f"{caller.team}/social-accounts/{youtube}").status_code == 500

    def test_skip_times_and_order(self, emulator: Emulator, caller: Caller, post_id: str) -> None:
        emulator.fault("get-post", "status", status=500, skip=2, times=2)
        emulator.fault("get-post", "status", status=502)
        statuses = [caller.get_post(post_id).status_code for _ in range(6)]
        assert statuses == [502, 200, 500, 500, 200, 200]
        assert emulator.faults([]) == []

    def test_probability(self, emulator: Emulator, caller: Caller, post_id: str) -> None:
        def struck() -> list[bool]:
            emulator.reset()
            emulator.fault("*", "status", status=500, probability=0.5)
            return [caller.get_post(post_id).status_code == 500 for _ in range(40)]

        first = struck()
        assert 5 < sum(first) < 35
        assert struck() == first

    def test_taken_away(self, emulator: Emulator, caller: Caller, post_id: str) -> None:
        emulator.fault("*", "status", status=500, times=9)
        emulator.clear_faults()
        assert caller.get_post(post_id).status_code == 200


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"fault": "explode"}, "fault"),
        ({"fault": "reset", "operation": "delete-post"}, "operation"),
        ({"fault": "status"}, "status"),
        ({"fault": "delay"}, "seconds"),
        ({"fault": "late"}, "seconds"),
        ({"fault": "late", "seconds": -1}, "seconds"),
        ({"fault": "late", "seconds": 1, "when": "after"}, "when"),
        ({"fault": "reset", "status": 500}, "status"),
        ({"fault": "truncate", "when": "before"}, "when"),
        ({"fault": "status", "status": 100}, "status"),
        ({"fault": "status", "status": "500"}, "status"),
        ({"fault": "status", "status": 500, "headers": {"A b": "c"}}, "headers"),
        ({"fault": "status", "status": 500, "headers": {"A": "b\r\nC: d"}}, "headers"),
        ({"fault": "status", "status": 500, "headers": {"Content-Length": "5"}}, "headers"),
        ({"fault": "omit_account"}, "schedule-multi"),
        ({"fault": "reset", "times": 0}, "times"),
        ({"fault": "reset", "probability": 2}, "probability"),
        ({"fault": "reset", "color": "red"}, "color"),
    ],
)
def test_faults_that_make_no_sense(emulator: Emulator, caller: Caller, fault: dict[str, Any], named: str) -> None:
    response = caller.control("faults", [{"operation": "*", **fault}])
    assert response.status_code == 400
    assert named in response.json()["error"]["message"]
    with pytest.raises(ValueError, match=named):
        emulator.faults([{"operation": "*", **fault}])
    assert emulator.faults([]) == []


def test_a_reset_of_the_emulator_drops_who_waits(emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
    for fault in ({"fault": "delay", "seconds": 30.0}, {"fault": "no_answer"}):
        emulator.faults([{"operation": "post-now", **fault}])
        ended: list[str] = []

        def send(ended: list[str] = ended) -> None:
            try:
                caller.post_now(post_id, x)
            except httpx.TransportError as error:
                ended.append(type(error).__name__)

        sending = threading.Thread(target=send)
        sending.start()
        assert eventually(lambda: bool(emulator.requests()))
        begin = time.monotonic()
        emulator.reset()
        sending.join()
        assert time.monotonic() - begin < 60
        assert ended in (["RemoteProtocolError"], ["ReadError"])
        assert emulator.requests() == []
        assert emulator.submissions() == []


def test_what_a_client_left_behind_is_counted(emulator: Emulator, post_id: str, x: str) -> None:
    """A client that is gone as soon as its bytes have left is still counted in the end."""
    body = json.dumps({"socialAccountId": x}).encode()
    head = (
        f"POST /v1/teams/{emulator.team_id}/posts/{post_id}/post-now HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {emulator.token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    port = int(emulator.base_url.rsplit(":", 1)[1])
    for number in range(1, 51):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head.encode() + body)
        emulator.advance_until_idle()
        assert len(emulator.publications()) == number
