"""Every field of the reference pages for ``post-now`` and ``schedule-multi``, in the models and in the emulator's responses.

``reference_fields.json`` lists the fields of the pages: type, values, constraints, and whether the page requires them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from airflow_provider_octospark.api import ids, models
from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.exceptions import OctosparkArgumentError
from tests.emulator.calling import Caller

TABLE: dict[str, dict[str, dict[str, Any]]] = json.loads(Path(__file__).with_name("reference_fields.json").read_text())

FIELDS = [(model, name) for model, fields in TABLE.items() for name in fields]

KNOWN = {
    "provider": models.KnownProvider,
    "status": models.KnownStatus,
    "errorCategory": models.KnownErrorCategory,
}

UUID = "3C90c3cc-0d44-4b50-8888-8dd25736052a"

NUMBERS = {"integer": 7, "number": 7.5, "boolean": True}


def model_of(name: str) -> type[BaseModel]:
    model: type[BaseModel] = getattr(models, name)
    return model


def python_name(model: str, field: str) -> str:
    """The attribute of a field. A field that is only kept as an extra has none."""
    [name] = [name for name, info in model_of(model).model_fields.items() if info.alias == field]
    return name


def sample(field: dict[str, Any]) -> Any:
    """A value that the page allows."""
    if "enum" in field:
        return field["enum"][-1]
    if "fields" in field:
        one = {name: sample(each) for name, each in TABLE[field["fields"]].items()}
        return [one] if field["type"] == "array" else one
    if field["type"] == "array":
        return [sample(field["items"])]
    if field["type"] == "object":
        return {"any": {"thing": [1, None]}}
    if field["type"] == "string":
        return UUID if field.get("format") == "uuid" else "2030-05-17T09:00:00.000Z"
    return NUMBERS[field["type"]]


def complete(model: str) -> dict[str, Any]:
    """An object with all fields of the page."""
    return {name: sample(field) for name, field in TABLE[model].items()}


@pytest.mark.parametrize(("model", "name"), FIELDS)
def test_each_field_is_a_documented_attribute_that_keeps_its_value(model: str, name: str) -> None:
    given = complete(model)
    parsed = model_of(model).model_validate(given)
    attribute = python_name(model, name)
    described = "".join(kind.__doc__ or "" for kind in model_of(model).__mro__ if kind is not BaseModel)
    assert f":param {attribute}:" in described
    assert parsed.model_dump(by_alias=True, mode="json")[name] == given[name]


@pytest.mark.parametrize("model", TABLE)
def test_a_model_has_no_field_that_the_page_has_not(model: str) -> None:
    assert {info.alias for info in model_of(model).model_fields.values()} == TABLE[model].keys()


@pytest.mark.parametrize(("model", "name"), [each for each in FIELDS if TABLE[each[0]][each[1]].get("nullable")])
def test_what_may_be_null_is_none(model: str, name: str) -> None:
    parsed = model_of(model).model_validate({**complete(model), name: None})
    assert getattr(parsed, python_name(model, name)) is None


@pytest.mark.parametrize("name", KNOWN)
def test_values_of_an_enumeration_are_those_of_the_page_and_new_ones_are_tolerated(name: str) -> None:
    assert list(get_args(KNOWN[name])) == TABLE["ScheduledPost"][name]["enum"]
    parsed = models.ScheduledPost.model_validate({**complete("ScheduledPost"), name: "a_new_one"})
    assert getattr(parsed, python_name("ScheduledPost", name)) == "a_new_one"


REQUESTS = [each for each in FIELDS if each[0] in {"PostNowRequest", "ScheduleMultiRequest"}]


@pytest.mark.parametrize(("model", "name"), REQUESTS)
def test_a_request_keeps_the_constraints_of_the_page(model: str, name: str) -> None:
    field, given = TABLE[model][name], complete(model)
    refused: list[Any] = []
    if "minimum" in field:
        refused += [field["minimum"] - 1, field["maximum"] + 1]
        for limit in (field["minimum"], field["maximum"]):
            assert model_of(model).model_validate({**given, name: limit}).model_dump(by_alias=True)[name] == limit
    if "minItems" in field:
        refused.append([])
    if field["type"] in {"object", "integer"}:
        refused.append("neither")
    for value in refused:
        with pytest.raises(ValidationError, match=name):
            model_of(model).model_validate({**given, name: value})
    rest = {key: value for key, value in given.items() if key != name}
    if field["required"]:
        with pytest.raises(ValidationError, match=name):
            model_of(model).model_validate(rest)
    else:
        body = models.PublishOptions.body(model_of(model).model_validate(rest))  # type: ignore[arg-type]
        assert name not in body


@pytest.mark.parametrize(
    "text", [UUID[:-1], UUID + "0", UUID.replace("-", ""), UUID.replace("3", "g"), "{" + UUID + "}"]
)
def test_an_account_is_a_uuid_in_either_case(text: str) -> None:
    assert [ids.require_uuid(each, "account") for each in (UUID.lower(), UUID.upper())]
    with pytest.raises(OctosparkArgumentError, match="account"):
        ids.require_uuid(text, "account")


UNDECIDED = ["platformSettings", "publishResults", "workflowId", "workflowRunId"]


@pytest.mark.parametrize("value", [7, True, "text", [], ["text"], {"a": 1}, None])
@pytest.mark.parametrize("name", UNDECIDED)
def test_what_decides_nothing_never_makes_a_response_unreadable(name: str, value: Any) -> None:
    parsed = models.ScheduledPost.model_validate({**complete("ScheduledPost"), name: value})
    kind = dict if TABLE["ScheduledPost"][name]["type"] == "object" else str
    expected = value if isinstance(value, kind) else ({} if kind is dict else None)
    assert getattr(parsed, python_name("ScheduledPost", name)) == expected


@pytest.mark.parametrize("outcome", [None, [], "text", {"totalCount": "many", "failureCount": True}])
def test_counts_never_make_a_response_unreadable(outcome: Any) -> None:
    parsed = models.ScheduleMultiResponse.model_validate({**complete("ScheduleMultiResponse"), "outcome": outcome})
    assert parsed.outcome == models.OutcomeCounts(**({} if not isinstance(outcome, dict) else outcome))
    assert (parsed.outcome.total_count, parsed.outcome.failure_count) == (None, None)
    assert len(parsed.data) == 1


PYTHON: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "object": (dict,),
    "array": (list,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def check(model: str, value: dict[str, Any], seen: set[tuple[str, str]]) -> None:
    """Compare an object of a response with the page."""
    assert value.keys() <= TABLE[model].keys()
    for name, field in TABLE[model].items():
        if name not in value:
            assert not field["required"], (model, name)
            continue
        entry = value[name]
        if entry is None:
            assert field.get("nullable"), (model, name)
            continue
        seen.add((model, name))
        assert isinstance(entry, PYTHON[field["type"]]), (model, name)
        assert "enum" not in field or entry in field["enum"]
        if field.get("format") == "uuid":
            assert ids.require_uuid(entry, name) == entry
        for each in (entry if isinstance(entry, list) else [entry]) if "fields" in field else ():
            check(field["fields"], each, seen)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(start=datetime(2026, 3, 2, 9, tzinfo=UTC), factor=0, seed=1) as running:
        yield running


def test_the_emulator_s_responses_have_the_fields_of_the_page(emulator: Emulator) -> None:
    seen: set[tuple[str, str]] = set()
    broken = emulator.add_account("linkedin", "disabled")
    youtube = emulator.account_id("youtube")
    post_id, other = emulator.posts[0]["id"], emulator.add_post("Another", "text")
    with Caller(emulator) as caller:
        settings = {"platformSettings": {"title": "x"}}
        check("ScheduledPost", caller.post_now(post_id, youtube, **settings).json(), seen)
        for _ in range(12):
            emulator.advance(5)
            check("ScheduledPost", caller.latest(post_id), seen)
        emulator.script("fail", post_id=other)
        response = caller.schedule_multi(other, [youtube, broken], "2026-03-02T10:00:00Z", timezone="Europe/Berlin")
        check("ScheduleMultiResponse", response.json(), seen)
        emulator.advance_until_idle()
        check("ScheduledPost", caller.latest(other), seen)
    assert set(FIELDS) - set(REQUESTS) == seen
