"""Whatever JSON, whatever bytes and whatever headers come: a value of the right kind, or our error for what cannot be read."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_octospark.api.models import Post, ScheduledPost
from airflow_provider_octospark.api.operations import list_entries, post_of
from airflow_provider_octospark.api.responses import (
    MAX_RESPONSE_VALUES,
    MAX_RETRY_AFTER,
    RawResponse,
    error_message,
    parse_http_date,
    parse_retry_after,
    read_response,
)
from airflow_provider_octospark.api.slices import SLICE, parse_in_slices
from airflow_provider_octospark.api.text import Redaction
from airflow_provider_octospark.exceptions import OctosparkAnswerError, OctosparkError
from airflow_provider_octospark.outcomes import outcome_of
from tests.api.calls import ACCOUNT, CALLS, KEY, POST, SCHEDULED_POST, TEAM, Call
from tests.api.leaks import found_in

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOTHING = Redaction("")
READABLE = [call for call in CALLS if call.make().response is not None]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([10**400, -1, "9" * 5000, 1e308, "published", "\0", "\u202e", "\u2028"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def read(call: Call, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Any:
    return asyncio.run(read_response(call.make(), RawResponse(status, headers or {}, body), NOW, NOTHING)).value


def check(call: Call, body: bytes) -> None:
    error, value = None, None
    try:
        value = read(call, body)
    except OctosparkAnswerError as caught:
        error = caught
    if error is None:
        adapter = call.make().response
        assert adapter is not None
        adapter.validate_python(value, strict=True)
        return
    assert error.operation == call.name
    assert error.status == 200
    assert str(error).isprintable()
    assert len(str(error)) < 1000
    assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.parametrize("call", READABLE, ids=lambda call: call.name)
@given(response=json_values)
def test_any_json_is_a_value_or_our_error(call: Call, response: object) -> None:
    check(call, json.dumps(response).encode())


@pytest.mark.parametrize("call", READABLE, ids=lambda call: call.name)
@given(body=st.binary())
def test_any_bytes_are_a_value_or_our_error(call: Call, body: bytes) -> None:
    check(call, body)


def places(node: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a JSON value, itself included."""
    yield path
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, entry in entries:
        yield from places(entry, (*path, key))


def replaced(node: Any, path: tuple[str | int, ...], value: object) -> Any:
    """The JSON value with another one at a place."""
    if not path:
        return value
    node[path[0]] = replaced(node[path[0]], path[1:], value)
    return node


@pytest.mark.parametrize("call", READABLE, ids=lambda call: call.name)
@given(data=st.data())
def test_the_right_answer_with_one_thing_wrong_is_a_value_or_our_error(call: Call, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(list(places(call.good))))
    check(call, json.dumps(replaced(call.good_copy(), place, data.draw(json_values))).encode())


@pytest.mark.parametrize(
    "wrong", [None, 7, -1.5, True, "x", "", [], [1], {}, {"a": 1}, 10**30, "a\0\n\u202e"], ids=repr
)
@pytest.mark.parametrize("call", READABLE, ids=lambda call: call.name)
def test_every_place_of_every_answer_with_every_wrong_type(call: Call, wrong: object) -> None:
    for place in places(call.good):
        check(call, json.dumps(replaced(call.good_copy(), place, wrong)).encode())


@given(change=st.dictionaries(st.sampled_from(sorted(SCHEDULED_POST)), json_values, max_size=5))
def test_whatever_is_read_makes_an_outcome_of_harmless_text(change: dict[str, object]) -> None:
    try:
        scheduled = read(CALLS[8], json.dumps(SCHEDULED_POST | change).encode())
    except OctosparkAnswerError:
        return
    assert isinstance(scheduled, ScheduledPost)
    outcome = outcome_of(scheduled, TEAM, POST)
    assert outcome.state in {"pending", "published", "failed", "unknown"}
    progress = outcome.upload_progress
    assert progress is None or 0.0 <= progress <= 1.0
    for text in (outcome.as_json() | {"upload_progress": None}).values():
        assert text is None or text is False or (text.isprintable() and len(text) <= 300)


@given(
    status=st.integers(300, 999),
    body=st.binary() | json_values.map(lambda value: json.dumps(value).encode()),
    headers=st.dictionaries(
        st.sampled_from(["retry-after", "date", "x-request-id", "content-encoding", "content-type", "location"]),
        st.text(),
    ),
)
def test_any_error_answer_is_our_error_in_one_harmless_line(status: int, body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(OctosparkError) as caught:
        read(CALLS[0], body, status, headers)
    error = caught.value
    assert error.status == status
    assert str(error).isprintable()
    assert len(str(error)) < 1000
    assert error.retry_after is None or 0 <= error.retry_after <= MAX_RETRY_AFTER


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"message": "no such post"}', "no such post"),
        (b'{"error": "no such post"}', "no such post"),
        (b'{"error": {"message": "no such post", "code": 7}}', "no such post"),
        (b'{"detail": "no such post"}', "no such post"),
        (b'{"detail": [{"msg": "too long"}, {"msg": "too wide"}]}', "too long; too wide"),
        (b'{"errors": [{"message": "first"}, {"message": "second"}]}', "first; second"),
        (b'{"error": "invalid_grant", "error_description": "the key is old"}', "invalid_grant"),
        (b'["one", "two"]', "one; two"),
        (b'{"code": 17}', '{"code": 17}'),
        (b"upstream timed out\n", "upstream timed out"),
        (b"<html><head><title>502 Bad &amp; Gateway</title></head><body>secret</body>", "502 Bad & Gateway"),
        (b"<html><body>no title</body></html>", ""),
        (b"\xef\xbb\xbf<!doctype html><title>Sign in</title>", "Sign in"),
        (b"", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a\r\n2026-01-01 ERROR forged\x1b[31m\xe2\x80\xae", "a 2026-01-01 ERROR forged [31m"),
        (b'{"message": "' + b"a" * 1000 + b'"}', "a" * 299 + "…"),
    ],
)
def test_what_an_error_body_says(body: bytes, said: str) -> None:
    assert error_message(RawResponse(400, {}, body), NOTHING) == said


def test_what_an_error_tells_a_person() -> None:
    headers = {"x-request-id": "req-9", "retry-after": "7"}
    with pytest.raises(OctosparkError) as caught:
        read(CALLS[0], b'{"message": "slow down"}', 429, headers)
    assert str(caught.value) == (
        f"get-post (team {TEAM} post {POST}): the service answered 429 Too Many Requests: slow down. It asks to wait 7 s. "
        "Try again later, or let fewer tasks run at once. Request id req-9."
    )
    assert (caught.value.request_id, caught.value.retry_after) == ("req-9", 7.0)


@pytest.mark.parametrize("value", ["a b", "a\r\nb", "x" * 81, KEY, f"req-{KEY}", ""])
def test_a_request_id_that_may_be_something_else_is_left_out(value: str) -> None:
    with pytest.raises(OctosparkError) as caught:
        asyncio.run(read_response(CALLS[0].make(), RawResponse(400, {"x-request-id": value}, b""), NOW, Redaction(KEY)))
    assert caught.value.request_id is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("1.5", 1.5),
        (" 7 ", 7.0),
        ("9" * 300, MAX_RETRY_AFTER),
        ("Fri, 20 Nov 2026 12:00:30 GMT", 30.0),
        ("Friday, 20-Nov-26 12:01:00 GMT", 60.0),
        ("Fri Nov 20 12:00:05 2026", 5.0),
        ("Fri, 20 Nov 2026 14:00:30 +0200", 30.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("Fri, 20 Nov 2099 11:00:00 GMT", MAX_RETRY_AFTER),
        ("-5", None),
        ("1e3", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("\u0665", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW) == seconds


def test_a_date_to_wait_for_is_read_by_the_clock_of_the_service() -> None:
    """Ours may be minutes off."""
    headers = {"date": "Tue, 01 Jan 2030 00:00:00 GMT", "retry-after": "Tue, 01 Jan 2030 00:00:40 GMT"}
    with pytest.raises(OctosparkError) as caught:
        read(CALLS[0], b"", 503, headers)
    assert caught.value.retry_after == 40.0


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,4} [A-Z][a-z]{2} \d{1,6} \d+:\d+:\d+ [-+A-Z0-9]+"))
def test_any_text_is_a_time_to_wait_or_none(text: str) -> None:
    seconds = parse_retry_after(text, NOW)
    assert seconds is None or 0.0 <= seconds <= MAX_RETRY_AFTER
    date = parse_http_date(text)
    assert date is None or date.utcoffset() == timedelta(0)


def test_what_the_service_quotes_of_the_key_is_taken_out() -> None:
    """In an error, and in what goes on to XCom."""
    for quoting in (
        {"message": f"bad header Authorization: Bearer {KEY}"},
        {"error": {"message": json.dumps({"authorization": KEY})}},
        f"<title>Bearer {KEY}</title>",
        KEY,
    ):
        body = quoting if isinstance(quoting, str) else json.dumps(quoting)
        with pytest.raises(OctosparkError) as caught:
            asyncio.run(read_response(CALLS[0].make(), RawResponse(400, {}, body.encode()), NOW, Redaction(KEY)))
        assert found_in(KEY, str(caught.value)) == []
        assert "***" in str(caught.value)
    post = {**CALLS[0].good_copy(), "title": f"Bearer {KEY}"}
    raw = RawResponse(200, {}, json.dumps(post).encode())
    value = asyncio.run(read_response(CALLS[0].make(), raw, NOW, Redaction(KEY))).value
    assert isinstance(value, Post)
    assert value.title == "Bearer ***"


def test_the_cost_of_an_answer_is_bounded() -> None:
    """Eight megabytes of empty objects would take a minute and several gigabytes to be found wrong."""
    for body in (b'{"data":[' + b"{}," * 2_700_000 + b"{}]}", b"[" + b"0," * 4_000_000 + b"0]"):
        for call in READABLE:
            with pytest.raises(OctosparkAnswerError, match=f"more than {MAX_RESPONSE_VALUES} values"):
                read(call, body)
    # Just below the bound: only the first of so many problems is told, and only it is looked for.
    many = b'{"data":[' + b"{}," * (MAX_RESPONSE_VALUES - 1000) + b"{}]}"
    with pytest.raises(OctosparkAnswerError, match=r"data\.0\.id: Field required"):
        read(CALLS[1], many)


def test_ids_of_the_wrong_form_are_not_believed() -> None:
    for name in ("a b", "a\nb", "a/b", "", "x" * 129, "../x"):
        with pytest.raises(OctosparkAnswerError):
            read(CALLS[3], json.dumps({"id": name, "socialAccountId": ACCOUNT}).encode())


def test_the_state_of_another_post_is_not_taken_for_that_of_the_post() -> None:
    [call] = [each for each in CALLS if each.make().name == "get-post"]
    assert read(call, json.dumps({"id": POST.upper()}).encode()).id == POST.upper()
    with pytest.raises(OctosparkAnswerError, match=f"id is 'another', not the requested '{POST}'"):
        read(call, b'{"id": "another"}')


@given(json_values, st.sampled_from([None, 2, "\t"]), st.text(max_size=3))
def test_what_is_read_in_slices_is_what_is_parsed_at_once(value: Any, indent: Any, more: str) -> None:
    for content in (value, {"data": [value, {"id": "a", "x": value}], "more": value, "none": []}):
        text = json.dumps(content, indent=indent) + more
        expected: Any = ValueError
        with contextlib.suppress(ValueError):
            expected = json.loads(text)
        found: Any = ValueError
        with contextlib.suppress(ValueError):
            found = asyncio.run(parse_in_slices(text))
        if isinstance(found, dict):
            assert content is value or [each[0] for each in found["data"]][1:] == ["a"]
            found = {
                key: [json.loads(text) for _, text in each] if isinstance(each, list) else each
                for key, each in found.items()
            }
        assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[",
        '{"a"',
        '{"a":',
        '{"a":1',
        '{"a":1,',
        '{"a":1,}',
        "{1:1}",
        '{"a":[',
        '{"a":[1',
        '{"a":[1,',
        '{"a":[1,]}',
        "{}{}",
        '{"a":[1 2]}',
    ],
)
def test_broken_json_is_broken_in_slices_too(text: str) -> None:
    with pytest.raises(ValueError):
        asyncio.run(parse_in_slices(text))


def test_others_run_while_a_long_list_is_parsed() -> None:
    body = json.dumps({"data": CALLS[1].good["data"] * 2000}).encode()
    assert len(body) > 10 * SLICE

    async def scenario() -> tuple[int, int]:
        turns, done = 0, False

        async def others() -> None:
            nonlocal turns
            while not done:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        response = await read_response(list_entries(TEAM, 2000), RawResponse(200, {}, body), NOW, NOTHING)
        done = True
        await task
        return turns, len(response.value.data)

    turns, count = asyncio.run(scenario())
    assert count == 2000
    assert turns >= len(body) // SLICE - 1


def test_an_entry_that_cannot_be_read_does_not_hide_the_others() -> None:
    good, operation = CALLS[1].good["data"][0], list_entries(TEAM, 5)
    body = json.dumps({"data": [{**good, "title": "\ud800"}, good, {"id": 3}, None]}).encode()
    page = asyncio.run(read_response(operation, RawResponse(200, {}, body), NOW, NOTHING)).value
    assert [None if post is None else post.id for post in map(post_of, page.data)] == [None, POST, None, None]
