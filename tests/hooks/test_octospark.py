"""Each method of the hook, in both colours, against the emulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_octospark.api.models import PostNowRequest, ScheduleMultiRequest
from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.exceptions import (
    OctosparkArgumentError,
    OctosparkAuthError,
    OctosparkConnectError,
    OctosparkNotFoundError,
    OctosparkServerError,
    OctosparkSettingsError,
)
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters.times import format_instant
from airflow_provider_octospark.polling.wait import Wait

NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def emulator(octospark_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The emulator behind the default connection."""
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", octospark_emulator.connection)
    return octospark_emulator


@pytest.fixture
def hook(emulator: Emulator) -> Iterator[OctosparkHook]:
    """A hook for it."""
    with OctosparkHook() as opened:
        yield opened


def use(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    """Change fields of the connection."""
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", json.dumps(json.loads(emulator.connection) | fields))


Call = Callable[[OctosparkHook, Emulator], Any]

READS: dict[str, Call] = {
    "get_post": lambda hook, em: hook.get_post(em.team_id, em.posts[0]["id"]),
    "aget_post": lambda hook, em: hook.aget_post(em.team_id, em.posts[0]["id"]),
    "list_posts": lambda hook, em: hook.list_posts(em.team_id),
    "alist_posts": lambda hook, em: hook.alist_posts(em.team_id),
    "list_social_accounts": lambda hook, em: hook.list_social_accounts(em.team_id),
    "get_social_account": lambda hook, em: hook.get_social_account(em.team_id, em.account_id("x")),
    "get_post_performance": lambda hook, em: hook.get_post_performance(em.team_id, em.posts[0]["id"]),
}
OTHERS: dict[str, Call] = {
    "move_to_draft": lambda hook, em: hook.move_to_draft(em.team_id, em.posts[0]["id"]),
    "amove_to_draft": lambda hook, em: hook.amove_to_draft(em.team_id, em.posts[0]["id"]),
    "post_now": lambda hook, em: hook.post_now(
        em.team_id, em.posts[0]["id"], PostNowRequest(social_account_id=em.account_id("x"))
    ),
    "schedule_multi": lambda hook, em: hook.schedule_multi(
        em.team_id,
        em.posts[0]["id"],
        ScheduleMultiRequest(
            social_account_ids=[em.account_id("x")], scheduled_at=format_instant(em.now() + timedelta(days=1))
        ),
    ),
}


def result(call: Call, hook: OctosparkHook, emulator: Emulator) -> Any:
    """What a method returns, or its coroutine."""
    made = call(hook, emulator)
    return asyncio.run(_awaited(made)) if isinstance(made, Awaitable) else made


async def _awaited(made: Awaitable[Any]) -> Any:
    return await made


@pytest.mark.parametrize("value", [None, "", " ", "None"])
def test_a_connection_id_that_renders_to_nothing_is_the_default(value: Any) -> None:
    assert OctosparkHook(value).octospark_conn_id == "octospark_default"


def test_get_post(hook: OctosparkHook, emulator: Emulator) -> None:
    for call in (READS["get_post"], READS["aget_post"]):
        post = result(call, hook, emulator)
        assert post.id == emulator.posts[0]["id"]
        assert post.title == emulator.posts[0]["title"]
        assert post.latest_scheduled_post is None


def test_list_posts(hook: OctosparkHook, emulator: Emulator) -> None:
    for call in (READS["list_posts"], READS["alist_posts"]):
        posts = result(call, hook, emulator).data
        assert {post.id for post in posts} == {post["id"] for post in emulator.posts}
    assert len(hook.list_posts(emulator.team_id, limit=2).data) == 2


@pytest.mark.parametrize("envelope", ["data", "list"])
def test_social_accounts(envelope: str, hook: OctosparkHook, emulator: Emulator) -> None:
    emulator.configure(accounts_envelope=envelope)
    accounts = hook.list_social_accounts(emulator.team_id)
    assert [account.id for account in accounts] == [account["id"] for account in emulator.social_accounts]
    account = hook.get_social_account(emulator.team_id, emulator.account_id("tiktok"))
    assert (account.provider, account.status) == ("tiktok", "connected")


def test_post_now_is_sent_once(hook: OctosparkHook, emulator: Emulator) -> None:
    scheduled = result(OTHERS["post_now"], hook, emulator)
    [submission] = emulator.submissions()
    assert submission["operation"] == "post-now"
    assert submission["scheduled_post_id"] == scheduled.id
    assert scheduled.social_account_id == emulator.account_id("x")


def test_schedule_multi_is_sent_once_and_can_be_taken_off(hook: OctosparkHook, emulator: Emulator) -> None:
    for take_off in (OTHERS["move_to_draft"], OTHERS["amove_to_draft"]):
        [row] = result(OTHERS["schedule_multi"], hook, emulator).data
        assert row.scheduled_post.status == "scheduled"
        assert result(take_off, hook, emulator) is None
        assert hook.get_post(emulator.team_id, emulator.posts[0]["id"]).latest_scheduled_post.status == "draft"  # type: ignore[union-attr]
    assert [each["operation"] for each in emulator.submissions()] == ["schedule-multi"] * 2
    assert emulator.publications() == []


@pytest.mark.parametrize("name", ["post_now", "schedule_multi"])
@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "status", "status": 500, "when": "after"},
        {"fault": "status", "status": 503, "when": "before"},
        {"fault": "status", "status": 429, "when": "before"},
        {"fault": "reset", "when": "after"},
        {"fault": "truncate"},
    ],
)
def test_a_submission_is_never_repeated(
    name: str, fault: dict[str, Any], hook: OctosparkHook, emulator: Emulator
) -> None:
    emulator.fault("*", **fault)
    with pytest.raises(Exception, match=name.replace("_", "-")):
        OTHERS[name](hook, emulator)
    emulator.settle()
    assert len(emulator.requests()) == 1
    assert len(emulator.submissions()) == (fault.get("when", "after") == "after")


def test_performance(hook: OctosparkHook, emulator: Emulator) -> None:
    OTHERS["post_now"](hook, emulator)
    emulator.advance(5)
    performance = READS["get_post_performance"](hook, emulator)
    assert performance.scheduled_post_id == emulator.submissions()[0]["scheduled_post_id"]
    assert performance.platform == "x"


@pytest.mark.parametrize("name", READS)
def test_a_read_is_repeated_after_what_passes_by_itself(name: str, hook: OctosparkHook, emulator: Emulator) -> None:
    OTHERS["post_now"](hook, emulator)
    emulator.advance(5)
    before = len(emulator.requests())
    emulator.fault("*", "status", status=503)
    result(READS[name], hook, emulator)
    assert [request["status"] for request in emulator.requests()[before:]] == [503, 200]


@pytest.mark.parametrize("name", [*READS, *OTHERS])
def test_every_method_says_what_was_refused(name: str, hook: OctosparkHook, emulator: Emulator) -> None:
    call = {**READS, **OTHERS}[name]
    emulator.rotate_token()
    with pytest.raises(OctosparkAuthError) as refusal:
        result(call, hook, emulator)
    assert refusal.value.status == 401
    assert "Check the API key" in str(refusal.value)
    assert "octo_test" not in str(refusal.value)
    assert emulator.submissions() == []


def test_what_is_not_there(hook: OctosparkHook, emulator: Emulator) -> None:
    with pytest.raises(OctosparkNotFoundError):
        hook.get_post(emulator.team_id, NOWHERE)
    with pytest.raises(OctosparkNotFoundError):
        asyncio.run(hook.aget_post(emulator.team_id, NOWHERE))


@pytest.mark.parametrize("bad", ["", "a/b", "..", "a?b", None, 7])
def test_no_id_reaches_a_path_that_cannot_stand_in_one(bad: Any, hook: OctosparkHook, emulator: Emulator) -> None:
    for call in (hook.get_post, hook.move_to_draft, hook.get_post_performance):
        with pytest.raises(OctosparkArgumentError, match=r"^post_id is"):
            call(emulator.team_id, bad)
        with pytest.raises(OctosparkArgumentError, match=r"^team_id is"):
            call(bad, emulator.posts[0]["id"])
    with pytest.raises(OctosparkArgumentError, match=r"^social_account_id is"):
        hook.get_social_account(emulator.team_id, bad)
    assert emulator.requests() == []


def test_nothing_is_read_or_sent_before_the_first_use(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT")
    hook = OctosparkHook()
    hook.close()
    assert emulator.requests() == []
    with pytest.raises(OctosparkSettingsError, match="no connection 'octospark_default'"):
        hook.get_post("t", "p")
    with pytest.raises(OctosparkSettingsError, match="no connection 'octospark_default'"):
        asyncio.run(hook.aget_post("t", "p"))


def test_the_client_is_made_once_and_anew_after_close(hook: OctosparkHook) -> None:
    first = hook.get_conn()
    assert hook.get_conn() is first
    hook.close()
    assert hook.get_conn() is not first


def test_the_default_team(hook: OctosparkHook, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for absent in (None, "", "None"):
        assert hook.team(absent) == emulator.team_id
    assert hook.team("another") == "another"
    use(emulator, monkeypatch, extra={})
    with pytest.raises(OctosparkArgumentError, match=r"^team_id is not set"):
        OctosparkHook().team(None)
    use(emulator, monkeypatch, extra={"team_id": "a/b"})
    with pytest.raises(OctosparkArgumentError, match=r"^team_id is 'a/b'"):
        OctosparkHook().team(None)


def waiting_for(*post_ids: str, team_id: str) -> Wait:
    pending = [
        Outcome(team_id=team_id, post_id=post_id, social_account_id=None, scheduled_post_id=None, state="pending")
        for post_id in post_ids
    ]
    return Wait.start(pending, started_at=datetime.now(UTC), interval=0.1)


def test_one_look_reads_each_post_once(hook: OctosparkHook, emulator: Emulator) -> None:
    first, second = (post["id"] for post in emulator.posts[:2])
    wait = waiting_for(first, second, first, team_id=emulator.team_id)
    assert len(hook.poll(wait)) == 3
    assert sorted(request["path"].rpartition("/")[2] for request in emulator.requests()) == sorted([first, second])
    assert hook.poll(wait) == []  # nothing is due again so soon
    assert len(emulator.requests()) == 2


def test_a_rotated_key_is_read_anew(hook: OctosparkHook, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    posts = [post["id"] for post in emulator.posts[:2]]
    assert hook.get_post(emulator.team_id, posts[0]).id == posts[0]
    emulator.rotate_token()
    use(emulator, monkeypatch)
    wait = waiting_for(*posts, team_id=emulator.team_id)
    hook.poll(wait)
    assert [request["status"] for request in emulator.requests()] == [200, 401, 401, 200, 200]
    assert not wait.done


def test_a_key_that_is_refused_again_ends_the_wait_as_unknown(hook: OctosparkHook, emulator: Emulator) -> None:
    emulator.rotate_token()
    wait = waiting_for(emulator.posts[0]["id"], team_id=emulator.team_id)
    hook.poll(wait)
    assert [request["status"] for request in emulator.requests()] == [401, 401]
    assert [(outcome.state, outcome.reason) for outcome in wait.outcomes] == [("unknown", "access_lost")]


def test_a_connection_that_is_gone_ends_the_wait_as_unknown(
    hook: OctosparkHook, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT")
    wait = waiting_for(emulator.posts[0]["id"], team_id=emulator.team_id)
    hook.poll(wait)
    assert [(outcome.state, outcome.reason) for outcome in wait.outcomes] == [("unknown", "access_lost")]
    assert emulator.requests() == []


def test_a_look_that_fails_for_now_ends_nothing(hook: OctosparkHook, emulator: Emulator) -> None:
    emulator.fault("get-post", "status", status=500)
    wait = waiting_for(emulator.posts[0]["id"], team_id=emulator.team_id)
    [line] = hook.poll(wait)
    assert "a poll failed" in line
    assert not wait.done


def test_connection_test_says_what_the_key_sees(emulator: Emulator) -> None:
    ok, message = OctosparkHook().test_connection()
    assert ok
    assert message == f"The key sees Northwind Data; team {emulator.team_id} has 10 social accounts."
    assert {request["method"] for request in emulator.requests()} == {"GET"}


def test_connection_test_without_a_team(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    use(emulator, monkeypatch, extra={})
    assert OctosparkHook().test_connection() == (True, "The key sees Northwind Data.")


def test_connection_test_with_another_team(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    use(emulator, monkeypatch, extra={"team_id": NOWHERE})
    ok, message = OctosparkHook().test_connection()
    assert not ok
    assert "404" in message
    assert NOWHERE in message


def test_connection_test_with_a_wrong_key(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    use(emulator, monkeypatch, password="octo_test_wrong_key_1234")
    ok, message = OctosparkHook().test_connection()
    assert not ok
    assert "401" in message
    assert "octo_test_wrong_key_1234" not in message


def test_connection_test_without_a_service(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    use(emulator, monkeypatch, extra={"timeout": 0.3})
    emulator.stop()
    ok, message = OctosparkHook().test_connection()
    assert not ok
    assert "no connection could be made" in message


def test_connection_test_without_a_connection() -> None:
    ok, message = OctosparkHook("never_made").test_connection()
    assert not ok
    assert "no connection 'never_made'" in message


def test_errors_of_the_server_are_told_apart_from_errors_of_the_way(
    hook: OctosparkHook, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.fault("get-post", "status", status=500)
    with pytest.raises(OctosparkServerError):
        hook.get_post(emulator.team_id, emulator.posts[0]["id"])
    use(emulator, monkeypatch, extra={"timeout": 0.3})
    emulator.stop()
    with OctosparkHook() as other, pytest.raises(OctosparkConnectError):
        other.get_post(emulator.team_id, emulator.posts[0]["id"])
