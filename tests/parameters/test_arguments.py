"""What authors, templates and upstream tasks pass, as the values that a request takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest

from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.parameters import arguments

A = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
B = "77a1b2c3-0d44-4b50-9999-8dd25736052b"

ABSENT = [None, "", "  ", "None", "null"]


class LazySequence(Sequence[str]):
    """As Airflow's XCom of a mapped task: neither list nor tuple."""

    def __init__(self, *values: str) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]


@pytest.mark.parametrize(
    "value",
    [
        [A, B],
        (A, B),
        LazySequence(A, B),
        iter([A, B]),
        f'["{A}", "{B}"]',
        f"['{A}', '{B}']",
        f"('{A}', '{B}')",
        f"{A},{B}",
        f" {A} , {B} ,",
        [f" {A}", f"{B} "],
    ],
)
def test_two_accounts_in_every_form(value: object) -> None:
    assert arguments.required_accounts(value, "social_account_ids") == (A, B)


@pytest.mark.parametrize("value", [A, [A], f'"{A}"', f"['{A}']", A.upper()])
def test_a_single_account(value: object) -> None:
    [account] = arguments.required_accounts(value, "social_account_ids")
    assert account.lower() == A


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "it must be a list"),
        ("None", "it must be a list"),
        ("", "must name at least one"),
        ([], "must name at least one"),
        ("[]", "must name at least one"),
        ("[", "social_account_ids[0] is '['"),
        ("{}", "it must be a list"),
        ({"a": A}, "it must be a list"),
        (f'{{"a": "{A}"}}', "it must be a list"),
        (7, "it must be a list"),
        ("7", "it must be a list"),
        (b"x", "it must be a list"),
        ([A, A], "twice"),
        ([A, A.upper()], "twice"),
        (f"{A},{A}", "twice"),
        ([A, None], "social_account_ids[1] is None"),
        ([A, ""], "social_account_ids[1] is ''"),
        ([A, "None"], "social_account_ids[1] is 'None'"),
        ([[A]], "social_account_ids[0] is"),
        ([A, 7], "social_account_ids[1] is 7"),
        ("not-a-uuid", "must be a UUID"),
        ([A[:-1]], "must be a UUID"),
        ([A + "/../x"], "is no id"),
        ("[" * 100_000, "social_account_ids[0]"),
    ],
)
def test_what_is_no_list_of_accounts_is_refused_by_name(value: object, says: str) -> None:
    with pytest.raises(OctosparkArgumentError, match=r"^social_account_ids") as refusal:
        arguments.required_accounts(value, "social_account_ids")
    assert says in str(refusal.value)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("value", [A, f" {A} ", A.upper()])
def test_ids(value: str) -> None:
    assert arguments.required_id(value, "post_id") == value.strip()
    assert arguments.required_account(value, "social_account_id") == value.strip()
    assert arguments.optional_id(value, "scheduled_post_id") == value.strip()
    assert arguments.optional_account(value, "social_account_id") == value.strip()


def test_a_post_s_id_need_not_be_a_uuid() -> None:
    assert arguments.required_id("post_77.a:1~-", "post_id") == "post_77.a:1~-"


NO_TEXT = [None, 7, 7.0, [A], {"id": A}]
NO_ID = [
    "",
    " ",
    "None",
    "null",
    "a/b",
    "a\\b",
    "a?b",
    "a#b",
    "..",
    "a..b",
    ".",
    "a b",
    "ä",
    "a\nb",
    "%2e%2e",
    "x" * 201,
]


@pytest.mark.parametrize("value", [*NO_TEXT, *NO_ID])
def test_what_is_no_id_is_refused_by_name(value: object) -> None:
    with pytest.raises(OctosparkArgumentError, match=r"^post_id is "):
        arguments.required_id(value, "post_id")
    with pytest.raises(OctosparkArgumentError, match=r"^social_account_id is "):
        arguments.required_account(value, "social_account_id")


@pytest.mark.parametrize("value", ["post_77", A[:-1], A + "0", A.replace("-", ""), "{" + A + "}"])
def test_an_account_is_a_uuid(value: str) -> None:
    with pytest.raises(OctosparkArgumentError, match=r"^social_account_id is "):
        arguments.required_account(value, "social_account_id")


OPTIONAL: list[Callable[[Any, str], Any]] = [
    arguments.optional_object,
    arguments.optional_interval_days,
    lambda value, field: arguments.optional_instant(value, None, field),
    lambda value, field: arguments.optional_objects_by_account(value, (A,), field),
    arguments.optional_timezone,
    arguments.optional_id,
    arguments.optional_account,
]


@pytest.mark.parametrize("read", OPTIONAL)
@pytest.mark.parametrize("value", ABSENT)
def test_an_optional_one_that_renders_to_nothing_is_absent(read: Callable[[Any, str], Any], value: object) -> None:
    assert read(value, "field") is None


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ({"title": "Hi", "tags": ["a"]}, {"title": "Hi", "tags": ["a"]}),
        ('{"title": "Hi", "draft": false}', {"title": "Hi", "draft": False}),
        ("{'title': 'It''s', 'n': None}", {"title": "Its", "n": None}),
        (MappingProxyType({"title": "Hi"}), {"title": "Hi"}),
        ({"sizes": (1, 2)}, {"sizes": [1, 2]}),
        ({}, {}),
        ("{}", {}),
    ],
)
def test_objects(value: object, meaning: object) -> None:
    assert arguments.optional_object(value, "platform_settings") == meaning


@pytest.mark.parametrize(
    "value",
    ["{", "[", "[]", [], "text", 7, True, {"when": datetime.now(UTC)}, {"x": float("nan")}, '{"x": NaN}', {"x": {1}}, {"x": b""}],
)  # fmt: skip
def test_what_is_no_object_is_refused_by_name(value: object) -> None:
    with pytest.raises(OctosparkArgumentError, match=r"^platform_settings "):
        arguments.optional_object(value, "platform_settings")


def test_an_object_that_holds_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    with pytest.raises(OctosparkArgumentError, match=r"^platform_settings "):
        arguments.optional_object(loop, "platform_settings")


def test_settings_by_account_take_the_task_s_spelling_of_the_account() -> None:
    read = arguments.optional_objects_by_account
    assert read({A.upper(): {"a": 1}}, (A, B), "settings") == {A: {"a": 1}}
    assert read(f'{{"{B}": {{}}, "{A}": {{"a": 1}}}}', (A, B), "settings") == {B: {}, A: {"a": 1}}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"x": {}}, "it must be a UUID"),
        ({B: {}}, f"{B}, which is not among"),
        ({A: "text"}, "it must be an object"),
        ({A: None}, "it must be an object"),
        ({A: {}, A.upper(): {}}, "twice"),
        ([A], "it must be an object"),
    ],
)
def test_settings_by_account_that_make_no_sense_are_refused_by_name(value: object, says: str) -> None:
    with pytest.raises(OctosparkArgumentError, match=r"^settings") as refusal:
        arguments.optional_objects_by_account(value, (A,), "settings")
    assert says in str(refusal.value)


@pytest.mark.parametrize("value", [7, "7", " 7 ", 7.0, "7.0"])
def test_an_interval(value: object) -> None:
    found = arguments.optional_interval_days(value, "recurrence_interval_days")
    assert found == 7
    assert type(found) is int


@pytest.mark.parametrize("value", [1, 365])
def test_the_ends_of_the_range_of_intervals(value: int) -> None:
    assert arguments.optional_interval_days(value, "recurrence_interval_days") == value


@pytest.mark.parametrize(
    "value", [0, 366, -1, 1.5, "1.5", "x", "0", "366", True, "true", [7], {"days": 7}, float("inf"), 10**400]
)
def test_what_is_no_interval_is_refused_by_name(value: object) -> None:
    with pytest.raises(OctosparkArgumentError, match=r"^recurrence_interval_days is "):
        arguments.optional_interval_days(value, "recurrence_interval_days")


def test_an_optional_instant_is_in_utc() -> None:
    found = arguments.optional_instant("2030-05-17T11:00", "Europe/Berlin", "recurrence_ends_at")
    assert found == datetime(2030, 5, 17, 9, tzinfo=UTC)


@pytest.mark.parametrize("value", ABSENT)
def test_a_required_instant_is_required(value: object) -> None:
    with pytest.raises(OctosparkArgumentError, match=r"^scheduled_at is .* required"):
        arguments.required_instant(value, None, "scheduled_at")


def test_one_of_some_words() -> None:
    assert arguments.one_of("skip", ("fail", "skip"), "if_late") == "skip"
    with pytest.raises(OctosparkArgumentError, match=r"^if_late is 'never'; write 'fail' or 'skip'"):
        arguments.one_of("never", ("fail", "skip"), "if_late")


def test_optional_durations_and_counts() -> None:
    assert arguments.optional_duration(None, "settle_time") is None
    assert arguments.optional_duration(60, "settle_time") == timedelta(minutes=1)
    assert arguments.optional_count(None, "accounts_per_call") is None
    assert arguments.optional_count(1, "accounts_per_call") == 1


@pytest.mark.parametrize("value", [0, -1, 1.0, "1", True])
def test_what_is_no_count_is_refused_by_name(value: object) -> None:
    with pytest.raises(OctosparkArgumentError, match=r"^accounts_per_call is "):
        arguments.optional_count(value, "accounts_per_call")


def test_a_list_that_contains_itself_twice_is_walked_once() -> None:
    """Each level would double the work of a plain recursion."""
    twice: list[object] = ["x"]
    twice.extend((twice, twice))
    assert arguments.is_literal(twice)
    twice.append("{{ ds }}")
    assert not arguments.is_literal(twice)
