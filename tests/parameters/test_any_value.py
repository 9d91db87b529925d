# ruff: noqa: DTZ001, DTZ901 - naive times are what is tried
"""Whatever value a parameter gets, it is taken as meant or refused by an error of our own that names the parameter.

Values are those that people pass: literals, what templates render, what comes from XComs and files. Each parameter of the
operators and the sensor is found by its signature, so a new one is covered as well. A value is tried in the constructor,
and where rendering puts it: on the operator, before the task checks everything and sends nothing.
"""

from __future__ import annotations

import inspect
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pendulum
import pytest
from airflow.providers.common.compat.sdk import BaseOperator
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.exceptions import AirflowSkipException, OctosparkError, OctosparkVersionError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.notifications.octospark import OctosparkPostNowNotifier
from airflow_provider_octospark.operators.octospark import (
    OctosparkPostNowOperator,
    OctosparkScheduleBatchOperator,
    OctosparkScheduleMultiOperator,
)
from airflow_provider_octospark.sensors.octospark import OctosparkPostSensor
from airflow_provider_octospark.triggers.published import OctosparkPublishedTrigger

A = "a96533d2-f364-5f41-a9e2-1e9edea1ab34"
POST = "6aaea75f-cf34-52bb-9e09-734f8e27c606"
NEXT_YEAR = f"{datetime.now(UTC).year + 1}-05-17T09:00:00Z"
PUBLICATION = {"team_id": "t", "post_id": POST, "social_account_id": A, "scheduled_post_id": "s", "state": "pending"}

GOOD: dict[type[Any], dict[str, Any]] = {
    OctosparkPostNowOperator: {"post_id": POST, "social_account_id": A},
    OctosparkScheduleMultiOperator: {"post_id": POST, "social_account_ids": [A], "scheduled_at": NEXT_YEAR},
    OctosparkScheduleBatchOperator: {
        "announcements": [{"post_id": POST, "social_account_ids": [A], "scheduled_at": NEXT_YEAR}]
    },
    OctosparkPostSensor: {"publication": PUBLICATION},
    OctosparkPostNowNotifier: {"post_id": POST, "social_account_id": A},
}
with suppress(OctosparkVersionError):  # Airflow 2 has no triggers of events.
    GOOD[type(OctosparkPublishedTrigger("t"))] = {"team_id": "t"}

NOT_OURS = {"self", "kwargs", "outlets", "do_xcom_push", "soft_fail", "never_fail", "mode"}
"""Of Airflow's own base classes, which check them."""


def parameters_of(operator: type[Any]) -> list[str]:
    """The names of our own parameters of an operator."""
    names: set[str] = set()
    for kind in operator.__mro__:
        if kind.__module__.startswith("airflow_provider_octospark") and "__init__" in vars(kind):
            names |= set(inspect.signature(inspect.unwrap(vars(kind)["__init__"])).parameters)
    return sorted(names - NOT_OURS)


PLACES = [(operator, name) for operator in GOOD for name in parameters_of(operator)]


def nested(depth: int, value: Any = "x") -> Any:
    for _ in range(depth):
        value = [value]
    return value


LONGEST_MESSAGE = 20_000
"""In characters; a batch names up to a hundred items."""


class Hostile:
    """An object whose text cannot be made."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value is ambiguous")

    __hash__ = object.__hash__


class Lazy:
    """A sequence whose items come from elsewhere, like Airflow's lazy XComs."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Any:
        return self._items[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)


class Array:
    """Like numpy's: compared item by item, and neither true nor false."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[int]:
        return iter((1, 2))

    def __getitem__(self, index: int) -> int:
        return (1, 2)[index]

    def __eq__(self, other: object) -> Any:
        return Array()

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = None  # type: ignore[assignment]


class NotATime(datetime):
    """Like pandas' NaT: a datetime whose parts are no numbers."""

    year = property(lambda _: float("nan"))


VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 7, 366, 10**30, -(10**400), 1.5, -0.0, 1e400, float("nan"), float("-inf")),
    *(Decimal("1.5"), Decimal("NaN"), Fraction(1, 3), 1j),
    *("", " ", "None", "null", "nan", "x", "\0", "\ud800", "é" * 50, "x" * 100_000, "١٢", "a/b", "..", "{", "[", "[]"),
    *("{}", '{"a": 1}', "[1, 2]", "{'a': {1, 2}}", "True", "yes", "1", "0", "-1", "1e999", "9" * 5_000, "[" * 5_000),
    *("2030-05-17", "2030-05-17T09:00:00", "2030-05-17T09:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"),
    *(
        "0001-01-01T00:00:00+23:59",
        "09:00",
        "now",
        "2030",
        "2030-W20-5T09:00Z",
        "P1D",
        "UTC",
        "Europe/Berlin",
        "../etc",
    ),
    *(A, A.upper(), POST, f"{A},{A}", json.dumps(PUBLICATION), json.dumps([PUBLICATION]), json.dumps({A: {}})),
    *("fail", "skip", "now", "refuse", "allow", "succeed", "reattach"),
    *(b"x", bytearray(b"\xff"), memoryview(b"x")),
    *(date(2030, 5, 17), time(9), datetime(2030, 5, 17, 9), datetime(2030, 5, 17, 9, tzinfo=UTC)),
    *(datetime.min, datetime.max, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
    NotATime(2030, 5, 17, tzinfo=UTC),
    *(timedelta(0), timedelta(minutes=20), timedelta(days=-1), timedelta.max, timedelta.min, timedelta(days=10**7)),
    *(pendulum.datetime(2030, 5, 17), pendulum.duration(hours=1), pendulum.timezone("Europe/Berlin")),
    *(uuid.UUID(A), Path("x.json"), object(), Hostile(), int, len),
    *([], (), {}, set(), {A}, [A], (A, A), [None], [Hostile()], {"a": 1}, {1: 2}, {A: {}}, {A: 1}, {None: None}),
    *({"post_id": POST}, [{"post_id": POST}], [PUBLICATION], [[PUBLICATION], []], PUBLICATION | {"state": "x"}),
    *(nested(900), nested(3, PUBLICATION), {"a": nested(900)}, {A: {"a": {1, 2}}}, f"{'[' * 900}{']' * 900}"),
    *(Array(), Lazy([]), Lazy([A]), Lazy([PUBLICATION]), range(3), range(10**6)),
]


@dataclass(frozen=True)
class Trial:
    """An operator with a value for one of its parameters; the value is described, because its own text may fail.

    :param numbers: of entries of ``VALUES``.
    """

    operator: type[Any]
    name: str
    form: Literal["value", "list", "dict", "plain"]
    numbers: tuple[int, ...] = ()
    plain: Any = None

    @property
    def value(self) -> Any:
        values = [VALUES[number] for number in self.numbers]
        match self.form:
            case "value":
                return values[0]
            case "list":
                return values
            case "dict":
                return dict(zip(("post_id", A), values, strict=False))
            case "plain":
                return self.plain

    @property
    def arguments(self) -> dict[str, Any]:
        """Good arguments."""
        task_id = {"task_id": "t"} if issubclass(self.operator, BaseOperator) else {}
        return GOOD[self.operator] | task_id

    def in_constructor(self) -> Any:
        return self.operator(**self.arguments | {self.name: self.value})

    def rendered(self) -> Any:
        made = self.operator(**self.arguments)
        # As in a worker, where Airflow does not look for XComs in what is set.
        made._lock_for_execution = True
        attribute = "wait_at_most" if (self.operator, self.name) == (OctosparkPostSensor, "timeout") else self.name
        setattr(made, attribute, self.value)
        return made


numbers = st.integers(0, len(VALUES) - 1)
forms = (
    st.tuples(st.just("value"), st.tuples(numbers), st.none())
    | st.tuples(st.just("list"), st.tuples(numbers) | st.tuples(numbers, numbers), st.none())
    | st.tuples(st.just("dict"), st.tuples(numbers) | st.tuples(numbers, numbers), st.none())
    | st.tuples(
        st.just("plain"),
        st.just(()),
        st.text(max_size=20)
        | st.datetimes(timezones=st.none() | st.timezones())
        | st.timedeltas()
        | st.floats()
        | st.integers(),
    )
)
trials = st.builds(lambda place, form: Trial(*place, *form), st.sampled_from(PLACES), forms)


@pytest.fixture(scope="module")
def connection() -> Iterator[Emulator]:
    """An emulator behind the default connection."""
    with Emulator() as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", emulator.connection)
        yield emulator


def context_of() -> dict[str, Any]:
    ti = SimpleNamespace(
        dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1, max_tries=0, xcom_push=lambda **_: None
    )
    return {"ti": ti, "dag_run": SimpleNamespace(run_after=datetime.now(UTC), run_type="manual")}


def check_in_the_task(operator: Any) -> None:
    """Do what a task does before its first request."""
    context: Any = context_of()
    if isinstance(operator, OctosparkPostNowNotifier):
        with OctosparkHook(operator.octospark_conn_id) as hook:
            operator._announcement(hook)
        return
    if isinstance(operator, OctosparkPostSensor):
        operator.check_parameters()
        with operator._begin(context) as wait_task:
            assert wait_task.wait.watches
        return
    submit_task = operator._begin(context)
    with OctosparkHook(operator.octospark_conn_id) as hook:
        announcements, rules, _ = submit_task._checked(hook)
        for announcement in announcements:
            announcement.operation(announcement.social_account_ids).content()
        if rules.max_lateness is not None:
            assert datetime.now(UTC) + rules.max_lateness > datetime.now(UTC)


def problem_of(trial: Trial, check: Callable[[], object]) -> str | None:
    """What is wrong with the way in which a value is refused; None if nothing is."""
    try:
        check()
    except AirflowSkipException:
        return None
    except OctosparkError as error:
        message = str(error)
    except Exception as error:  # noqa: BLE001 - what the test is about
        return f"raises {type(error).__name__}"
    else:
        return None
    words = {"octospark_conn_id": "connection", "poke_interval": "poll_interval"}
    if words.get(trial.name, trial.name) not in message:
        return f"is not named by: {message:.200}"
    return f"has a message of {len(message)} characters" if len(message) > LONGEST_MESSAGE else None


def problems_of(trial: Trial) -> list[str]:
    found = {
        "constructor": problem_of(trial, trial.in_constructor),
    }
    if trial.operator.__name__ != "OctosparkPublishedTrigger":  # which is not rendered
        found["task"] = problem_of(trial, lambda: check_in_the_task(trial.rendered()))
    return [
        f"{trial.operator.__name__}, {trial.name}, {where}: {problem}" for where, problem in found.items() if problem
    ]


@settings(max_examples=500)
@given(trials)
def test_any_value_is_taken_or_refused_by_name(connection: Emulator, trial: Trial) -> None:
    assert problems_of(trial) == []
    assert connection.requests() == []


@pytest.mark.slow
def test_each_value_in_each_place(connection: Emulator) -> None:
    trials = (Trial(*place, "value", (number,)) for place in PLACES for number in range(len(VALUES)))
    assert [problem for trial in trials for problem in problems_of(trial)] == []
    assert connection.requests() == []


def test_a_publication_that_is_nested_too_deeply(connection: Emulator) -> None:
    """Deeper than Airflow itself takes in a DAG file; an XCom may be so."""
    trial = Trial(OctosparkPostSensor, "publication", "plain", plain=nested(100_000))
    assert problem_of(trial, lambda: check_in_the_task(trial.rendered())) is None


@pytest.mark.parametrize("operator", [each for each in GOOD if issubclass(each, BaseOperator)])
def test_an_array_as_a_flag_of_a_mapped_task(connection: Emulator, operator: type[Any]) -> None:
    """Airflow makes it in the worker, where its flags are checked only when it runs."""
    made = Trial(operator, "cancel_on_kill", "plain", plain=Array()).rendered()
    with pytest.raises(OctosparkError, match=r"cancel_on_kill is .*; write True or False"):
        made.execute(context_of())
    assert connection.requests() == []
