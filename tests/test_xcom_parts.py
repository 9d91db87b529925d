"""What a deferral carries fits into Airflow's columns, however many targets it waits for."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models import crypto
from airflow.models.trigger import Trigger
from cryptography.fernet import Fernet, MultiFernet

from airflow_provider_octospark import xcom_parts
from airflow_provider_octospark.exceptions import OctosparkProtocolError
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.polling.wait import Wait
from airflow_provider_octospark.submission.rules import Run
from airflow_provider_octospark.tasks.deferral import Deferral, Ends, ends_or_wait, until_published, whole_event
from airflow_provider_octospark.triggers import octospark as trigger_module
from airflow_provider_octospark.triggers.octospark import OctosparkPostTrigger
from airflow_provider_octospark.xcom_parts import MOST_INLINE, PART, XComParts, fitting, whole

MYSQL_TEXT = 65_535
NOW = datetime(2026, 11, 27, 13, tzinfo=UTC)
RUN = Run("campaigns", "manual__2026-11-27T13:00:00+00:00", "wait", -1, 1, 1, NOW)
XComs = dict[tuple[str, str, str, int, str], Any]
LOG = logging.getLogger(__name__)


@pytest.fixture
def xcoms(monkeypatch: pytest.MonkeyPatch) -> XComs:
    """Airflow's XComs, by task instance and key."""
    found: XComs = {}

    def name(task: Any, key: str) -> tuple[str, str, str, int, str]:
        return task.dag_id, task.run_id, task.task_id, -1 if task.map_index is None else task.map_index, key

    monkeypatch.setattr(xcom_parts, "read_xcom", lambda task, key: found.get(name(task, key)))
    monkeypatch.setattr(xcom_parts, "write_xcom", lambda task, key, value: found.update({name(task, key): value}))
    return found


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> Callable[[OctosparkPostTrigger], str]:
    """A function that returns a trigger's arguments as Airflow stores them, encrypted."""
    module: Any = crypto
    key = MultiFernet([Fernet(Fernet.generate_key())])
    monkeypatch.setattr("airflow.models.trigger.get_fernet", lambda: key, raising=False)
    monkeypatch.setattr(module, "get_fernet", lambda: key)

    def arguments(trigger: OctosparkPostTrigger) -> str:
        text: str = Trigger.from_object(trigger).encrypted_kwargs
        assert text.startswith("gAAAA")
        return text

    return arguments


def targets(count: int, **fields: Any) -> list[Outcome]:
    """Outcomes whose texts are as long as they usually are."""
    team, account = str(uuid.uuid4()), str(uuid.uuid4())
    return [
        Outcome(
            team_id=team,
            post_id=str(uuid.uuid4()),
            social_account_id=account,
            scheduled_post_id=str(uuid.uuid4()),
            **{"state": "pending", "provider": "linkedin", "status": "scheduled", "scheduled_at": NOW.isoformat()}
            | fields,
        )
        for _ in range(count)
    ]


def deferral_of(outcomes: list[Outcome]) -> Deferral:
    wait = Wait.start(outcomes, started_at=NOW)
    wait.hold(NOW + timedelta(hours=1))
    cancellable = [
        {"team_id": each.team_id, "post_id": each.post_id, "scheduled_post_id": str(each.scheduled_post_id)}
        for each in outcomes
    ]
    return until_published("octospark_default", wait, RUN, cancellable)


def longest_that_fits_inline() -> int:
    """How many targets a deferral carries itself."""
    return next(n for n in range(1, 1000) if deferral_of(targets(n + 1))["kwargs"]["wait"].keys() == {"xcom_parts"})


@pytest.mark.parametrize("count", [1, None, 104, 5000])
def test_the_arguments_of_a_trigger_fit_on_mysql(
    count: int | None, xcoms: XComs, stored: Callable[[OctosparkPostTrigger], str]
) -> None:
    outcomes = targets(count or longest_that_fits_inline())
    xcoms.clear()
    deferral = deferral_of(outcomes)
    trigger: Any = deferral["trigger"]
    assert len(stored(trigger)) < MYSQL_TEXT
    assert len(json.dumps(deferral["kwargs"])) < MYSQL_TEXT
    assert max(map(len, xcoms.values()), default=0) <= PART
    restored = OctosparkPostTrigger(**trigger.serialize()[1])
    assert Wait.from_json(whole(restored.wait)).outcomes == outcomes
    assert [each["post_id"] for each in whole(restored.cancel_on_kill)] == [each.post_id for each in outcomes]
    # A short wait makes no request to Airflow.
    assert bool(xcoms) is (count in {104, 5000})


@pytest.mark.parametrize("count", [1, 5000])
def test_the_event_fits_and_brings_all_outcomes(count: int, xcoms: XComs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger_module, "FIRST_POLL_AFTER", timedelta(0))
    ended = targets(count, state="failed", error_message="x" * 200, workflow_id="w" * 60, timezone="Europe/Zurich")
    deferral = deferral_of(ended)
    event = _event_of(deferral["trigger"])
    assert len(json.dumps({**deferral["kwargs"], "event": event})) < MYSQL_TEXT
    assert ends_or_wait(whole_event(event), deferral["kwargs"]["wait"], LOG) == Ends(ended, [])
    assert bool(xcoms) is (count == 5000)


def test_an_event_that_cannot_be_written_is_fired_whole(xcoms: XComs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger_module, "FIRST_POLL_AFTER", timedelta(0))
    ended = targets(100, state="published")
    deferral = deferral_of(ended)

    def refuse(*_: object) -> None:
        raise RuntimeError("no XComs today")

    monkeypatch.setattr(xcom_parts, "write_xcom", refuse)
    event = _event_of(deferral["trigger"])
    assert ends_or_wait(whole_event(event), deferral["kwargs"]["wait"], LOG) == Ends(ended, [])


@pytest.mark.parametrize("damage", ["gone", "another"])
def test_xcoms_that_do_not_hold_the_value_are_not_taken_for_it(
    damage: str, xcoms: XComs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trigger_module, "FIRST_POLL_AFTER", timedelta(0))
    deferral = deferral_of(targets(100, state="published"))
    event = _event_of(deferral["trigger"])
    if damage == "gone":
        xcoms.clear()
    else:
        other = deferral_of(targets(100, state="published"))
        _event_of(other["trigger"])
    with pytest.raises(OctosparkProtocolError, match="A retry waits again"):
        whole_event(event)
    with pytest.raises(OctosparkProtocolError, match="A retry waits again"):
        ends_or_wait({"format": 1, "outcomes": []}, deferral["kwargs"]["wait"], LOG)
    # The trigger fires an event that says so.
    assert "error" in _event_of(deferral["trigger"])


def test_each_map_index_has_its_own(xcoms: XComs) -> None:
    long = "x" * (MOST_INLINE + PART)
    first, second = (SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=index) for index in (0, None))
    one, other = fitting(long, "key", first), fitting(long.upper(), "key", second)
    assert (whole(one), whole(other)) == (long, long.upper())
    assert {parts.map_index for parts in map(XComParts.of, (one, other)) if parts} == {0, -1}


@pytest.mark.parametrize("value", [None, [], {}, "x" * (MOST_INLINE - 2)])
def test_a_short_value_stays_itself(value: Any, xcoms: XComs) -> None:
    assert fitting(value, "key", RUN) == value == whole(value)
    assert xcoms == {}


@pytest.mark.parametrize("named", [7, {}, {"key": "k"}])
def test_parts_that_are_named_incompletely(named: Any) -> None:
    with pytest.raises(ValueError, match="xcom_parts is unusable"):
        whole({"xcom_parts": named})


def _event_of(trigger: Any) -> Any:
    async def run() -> Any:
        restored = OctosparkPostTrigger(**trigger.serialize()[1])
        return [event.payload async for event in restored.run()]

    [event] = asyncio.run(run())
    return event
