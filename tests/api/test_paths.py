"""Ids, and what else a caller gives: refused by name, or arriving unchanged where it belongs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_octospark.api import operations
from airflow_provider_octospark.api.models import PostNowRequest, ScheduleMultiRequest
from airflow_provider_octospark.api.operations import Operation
from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.api.sync_client import OctosparkClient
from airflow_provider_octospark.exceptions import OctosparkArgumentError, OctosparkError
from airflow_provider_octospark.submission.rules import proves_nothing_sent
from tests.api.calls import ACCOUNT, KEY, POST, TEAM
from tests.api.cells import soon
from tests.api.hostile import answering, response
from tests.api.own_server import ServerThread

NOW = PostNowRequest(social_account_id=ACCOUNT)
LATER = ScheduleMultiRequest(social_account_ids=[ACCOUNT], scheduled_at="2026-11-20T09:00:00Z")
HOLE = "\0the id\0"

Make = Callable[[str], Operation[Any]]

# Parameter, how to call with it, and where it must arrive.
PARAMETERS: dict[str, tuple[str, Make, str]] = {
    "get_post team": ("team_id", lambda x: operations.get_post(x, POST), f"/v1/teams/{HOLE}/posts/{POST}"),
    "get_post post": ("post_id", lambda x: operations.get_post(TEAM, x), f"/v1/teams/{TEAM}/posts/{HOLE}"),
    "list_posts": ("team_id", lambda x: operations.list_posts(x, 5), f"/v1/teams/{HOLE}/posts"),
    "post_now team": (
        "team_id",
        lambda x: operations.post_now(x, POST, NOW),
        f"/v1/teams/{HOLE}/posts/{POST}/post-now",
    ),
    "post_now post": (
        "post_id",
        lambda x: operations.post_now(TEAM, x, NOW),
        f"/v1/teams/{TEAM}/posts/{HOLE}/post-now",
    ),
    "schedule_multi team": (
        "team_id",
        lambda x: operations.schedule_multi(x, POST, LATER),
        f"/v1/teams/{HOLE}/posts/{POST}/schedule-multi",
    ),
    "schedule_multi post": (
        "post_id",
        lambda x: operations.schedule_multi(TEAM, x, LATER),
        f"/v1/teams/{TEAM}/posts/{HOLE}/schedule-multi",
    ),
    "move_to_draft": (
        "post_id",
        lambda x: operations.move_to_draft(TEAM, x),
        f"/v1/teams/{TEAM}/posts/{HOLE}/move-to-draft",
    ),
    "get_post_performance": (
        "post_id",
        lambda x: operations.get_post_performance(TEAM, x),
        f"/v1/teams/{TEAM}/posts/{HOLE}/performance",
    ),
    "list_social_accounts": ("team_id", operations.list_social_accounts, f"/v1/teams/{HOLE}/social-accounts"),
    "get_social_account": (
        "social_account_id",
        lambda x: operations.get_social_account(TEAM, x),
        f"/v1/teams/{TEAM}/social-accounts/{HOLE}",
    ),
}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerThread]:
    with ServerThread(answering(response(404, b"{}"), keeps=True)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: ServerThread) -> Iterator[OctosparkClient]:
    with OctosparkClient(ConnectionSettings(base_url=server.base_url, token=KEY)) as made:
        yield made


def send(client: OctosparkClient, operation: Operation[Any]) -> OctosparkError:
    with pytest.raises(OctosparkError) as caught:
        client.submit(operation, soon()) if operation.submits else client.request(operation)
    return caught.value


def made_or_refused(make: Make, text: str, field: str) -> Operation[Any] | None:
    """The operation, or None if the text was refused as it should be."""
    refusal = None
    try:
        return make(text)
    except OctosparkArgumentError as error:
        refusal = error
    assert str(refusal).startswith(f"{field} is ")
    assert str(refusal).isprintable()
    assert proves_nothing_sent(refusal)
    return None


ids = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40),
    st.from_regex(r"[A-Za-z0-9_.:~;,=+@!$'()*-]{1,60}", fullmatch=True),
)


@pytest.mark.parametrize("name", PARAMETERS)
@given(text=ids)
@example("..")
@example(".")
@example("a/../../organizations")
@example("a%2F..%2Fb")
@example("a?limit=1")
@example("a#b")
@example("a\\b")
@example("a;b")
@example(" 1f2e \n")
@example("a\r\nX-Injected: 1")
@example("http://elsewhere.test/")
@example("//elsewhere.test")
@example("@elsewhere.test")
@example("None")
@example("\u2024\u2024")
@example("x" * 201)
def test_any_text_is_refused_by_name_or_arrives_unchanged(
    server: ServerThread, client: OctosparkClient, name: str, text: str
) -> None:
    field, make, expected = PARAMETERS[name]
    before = len(server.requests)
    operation = made_or_refused(make, text, field)
    if operation is None:
        return
    assert send(client, operation).status == 404
    [request] = server.requests[before:]
    target = urlsplit(request.target)
    pending = [text.strip() if segment == HOLE else segment for segment in expected.split("/")]
    assert [unquote(segment) for segment in target.path.split("/")] == pending
    assert request.headers["host"] == server.base_url.removeprefix("http://")
    assert "x-injected" not in request.headers


@given(text=ids)
def test_an_organization_arrives_unchanged_in_the_query(
    server: ServerThread, client: OctosparkClient, text: str
) -> None:
    before = len(server.requests)
    operation = made_or_refused(lambda x: operations.list_teams(x, 7), text, "organization_id")
    if operation is None:
        return
    send(client, operation)
    target = urlsplit(server.requests[before].target)
    assert target.path == "/v1/teams"
    assert parse_qsl(target.query) == [("organizationId", text.strip()), ("limit", "7")]


@pytest.mark.parametrize("value", [None, 7, True, ["a"], {"id": "a"}, b"a", 1.5, object()])
def test_what_is_no_text_is_refused(value: Any) -> None:
    for _, make, _ in PARAMETERS.values():
        with pytest.raises(OctosparkArgumentError, match="must be the id as a text"):
            make(value)


@given(
    settings=st.dictionaries(st.text(), st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=5)),
    comment=st.dictionaries(st.text(), st.text() | st.floats() | st.booleans(), max_size=3),
)
@example({"a": "\ud800"}, {})
@example({}, {"a": float("nan")})
def test_a_body_arrives_unchanged_or_is_refused(
    server: ServerThread, client: OctosparkClient, settings: dict[str, Any], comment: dict[str, Any]
) -> None:
    request = PostNowRequest(social_account_id=ACCOUNT, platform_settings=settings, first_comment=comment)
    before = len(server.requests)
    error = send(client, operations.post_now(TEAM, POST, request))
    if isinstance(error, OctosparkArgumentError):
        assert proves_nothing_sent(error)
        assert len(server.requests) == before
        return
    [came] = server.requests[before:]
    assert came.headers["content-type"] == "application/json"
    sent = json.loads(came.body)
    assert sent == {"socialAccountId": ACCOUNT, "platformSettings": settings, "firstComment": comment}


def test_what_a_request_says_of_us(server: ServerThread, client: OctosparkClient) -> None:
    before = len(server.requests)
    send(client, operations.list_organizations(5))
    headers = server.requests[before].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["accept"] == "application/json"
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("airflow-provider-octospark/")
    assert "apache-airflow/" in headers["user-agent"]
    assert "cookie" not in headers


def test_many_accounts_make_no_endless_message() -> None:
    many = [f"{number:08d}-0d44-4b50-8888-8dd25736052a" for number in range(50)]
    request = ScheduleMultiRequest(social_account_ids=many, scheduled_at="2026-11-20T09:00:00Z")
    about = operations.schedule_multi(TEAM, POST, request).about
    assert about.endswith(f"accounts {', '.join(many[:3])} and 47 more")
