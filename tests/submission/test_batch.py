"""Reading a list of announcements, and telling what became of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_octospark.api.ids import require_id
from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.submission.batch import PART, Batch, ManifestParts, manifest, parts
from airflow_provider_octospark.submission.rules import Run

A, B = "a96533d2-f364-5f41-a9e2-1e9edea1ab34", "774737c3-b0a6-52a5-868f-7f1d54b89178"
AT = "2030-05-17T09:00:00+02:00"
RUN = Run("campaigns", "monday", "batch", 3, 1, 1, datetime(2030, 5, 17, tzinfo=UTC))


def item(post: str = "p", **fields: Any) -> dict[str, Any]:
    return {"post_id": post, "social_account_ids": [A], "scheduled_at": AT, **fields}


def team_of(given: object) -> str:
    return "default" if given is None else require_id(given, "team_id")


def read(given: object, **options: Any) -> Batch:
    return Batch.read(given, team_of, **options)


@pytest.mark.parametrize("written", [list, tuple, json.dumps, str, iter])
def test_a_list_is_taken_however_it_arrives(written: Any) -> None:
    batch = read(written([item("p1"), item("p2", social_account_ids=f"{A}, {B}", team_id="other")]))
    one, other = batch.announcements
    assert (one.team_id, one.post_id, one.social_account_ids) == ("default", "p1", (A,))
    assert (other.team_id, other.post_id, other.social_account_ids) == ("other", "p2", (A, B))
    assert not batch.bad
    assert not batch.recurs


def test_a_byte_order_mark_is_no_part_of_the_list() -> None:
    assert len(read("\ufeff" + json.dumps([item()])).announcements) == 1


def test_broken_json_is_refused_with_its_line() -> None:
    with pytest.raises(OctosparkArgumentError, match=r"which is no JSON: line 2, column 18: Expecting"):
        read('[\n{"post_id": "p", ]')


def test_the_team_of_the_task_is_that_of_items_without_one() -> None:
    batch = read([item(), item("q", team_id="its_own")], team_id="of_the_task")
    assert [each.team_id for each in batch.announcements] == ["of_the_task", "its_own"]


def test_every_bad_item_is_named_at_once() -> None:
    bad = [
        item(),
        "no object",
        item("", team_id="t"),
        item("p2", scheduled_at="next week"),
        item("p3", social_account_ids=[]),
        item("p4", sheduled_at=AT),
        item("p5", recurrence_interval_days=0),
        item("P"),
    ]
    with pytest.raises(OctosparkArgumentError, match="7 of 8 items cannot be used; none is sent") as raised:
        read(bad)
    message = str(raised.value)
    for index in range(1, 8):
        assert f"announcements[{index}]: " in message
    for field in ("post_id", "scheduled_at", "social_account_ids", "sheduled_at", "recurrence_interval_days"):
        assert field in message
    assert f"post P to account {A} is in announcements[0] already" in message


def test_the_good_ones_can_be_sent_without_the_bad() -> None:
    batch = read([item("", team_id="t"), item("p2", recurrence_interval_days=7)], if_bad_items="skip")
    assert [each.post_id for each in batch.announcements] == ["p2"]
    assert [each.index for each in batch.bad] == [0]
    assert batch.recurs
    with pytest.raises(OctosparkArgumentError, match="1 of 1 items"):
        read([item("")], if_bad_items="skip")


def test_a_team_that_is_nowhere_is_told_of_once() -> None:
    def nowhere(_: object) -> str:
        raise OctosparkArgumentError("team_id is not set.")

    with pytest.raises(OctosparkArgumentError, match=r"^team_id is not set\.$"):
        Batch.read([item(f"p{number}") for number in range(20)], nowhere)


@pytest.mark.parametrize("empty", [[], "[]", None, "", ()])
def test_an_empty_list_fails_or_skips(empty: object) -> None:
    with pytest.raises(OctosparkArgumentError, match="announcements is empty"):
        read(empty)
    with pytest.raises(AirflowSkipException):
        read(empty, if_empty="skip")


@pytest.mark.parametrize("wrong", [7, "[", item(), b"[]", "campaign.csv"])
def test_what_is_no_list_is_refused(wrong: object) -> None:
    with pytest.raises(OctosparkArgumentError, match=r"must be a list of objects|is no JSON"):
        read(wrong)


@pytest.mark.parametrize("option", [{"if_bad_items": "ignore"}, {"if_empty": "no"}, {"accounts_per_call": 0}])
def test_options_are_checked(option: dict[str, Any]) -> None:
    [name] = option
    with pytest.raises(OctosparkArgumentError, match=name):
        read([item()], **option)


def test_ten_thousand_outcomes_do_not_blow_up_any_xcom() -> None:
    ends: list[Any] = ["pending"] * 9000 + ["failed"] * 900 + ["unknown"] * 100
    outcomes = [
        Outcome(team_id=A, post_id=B, social_account_id=A, scheduled_post_id=B, state=end, error_message="x" * 500)
        for end in ends
    ]
    told = manifest(outcomes, read([item(""), *[item(f"p{n}") for n in range(3)]], if_bad_items="skip").bad, RUN)
    assert len(json.dumps(told)) < 150_000
    assert {name: told[name] for name in ("totalCount", "successCount", "failureCount", "unknownCount")} == {
        "totalCount": 10_000,
        "successCount": 9000,
        "failureCount": 900,
        "unknownCount": 100,
    }
    assert [each["state"] for each in told["failures"]] == ["unknown"] * 100
    assert told["badItemCount"] == 1
    assert ManifestParts.read(told) == ManifestParts("campaigns", "monday", "batch", 3, tuple(told["outcomeKeys"]))
    pushed = parts(outcomes)
    assert list(pushed) == told["outcomeKeys"]
    assert max(len(each) for each in pushed.values()) == PART
    assert [entry for each in pushed.values() for entry in each] == [outcome.as_json() for outcome in outcomes]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dagId", None),
        ("runId", ""),
        ("taskId", 7),
        ("mapIndex", "3"),
        ("mapIndex", True),
        ("outcomeKeys", "outcomes_0"),
    ],
)
def test_a_manifest_without_an_address_is_refused_by_name(field: str, value: object) -> None:
    told = manifest([], (), RUN)
    assert ManifestParts.read(told).keys == ()
    with pytest.raises(OctosparkArgumentError, match=rf"manifest without a usable {field}\."):
        ManifestParts.read({**told, field: value})
