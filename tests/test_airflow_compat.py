"""The facts about a run, from the contexts of Airflow 2 and 3."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from types import SimpleNamespace
from typing import Any

import pytest
from airflow import __version__ as airflow_version

from airflow_provider_octospark import airflow_compat as versions
from airflow_provider_octospark.airflow_compat import run_of, task_state_store, until
from airflow_provider_octospark.exceptions import OctosparkVersionError

DUE = datetime(2030, 5, 17, 9, 0, tzinfo=UTC)


class RunType(StrEnum):
    MANUAL = "manual"
    BACKFILL_JOB = "backfill"


def context(dag_run: dict[str, Any], ti: dict[str, Any] | None = None, **more: Any) -> Any:
    task_instance = {
        "dag_id": "d", "run_id": "manual__2030-05-17T09:00:00+00:00", "task_id": "group.t", "map_index": -1,
        "try_number": 1, "max_tries": 2,
    } | (ti or {})  # fmt: skip
    return {
        "ti": SimpleNamespace(**task_instance),
        "dag_run": SimpleNamespace(**{"run_type": RunType.MANUAL, "start_date": DUE + timedelta(hours=9)} | dag_run),
        **more,
    }


def test_airflow_3_says_when_a_run_was_due() -> None:
    run = run_of(context({"run_after": DUE.astimezone(timezone(timedelta(hours=2)))}, data_interval_end=DUE.max))
    assert run.run_after == DUE
    assert run.run_after.tzinfo is UTC
    assert (run.dag_id, run.task_id, run.map_index, run.max_tries) == ("d", "group.t", -1, 2)
    assert run.is_first_try
    assert not run.is_backfill


def test_airflow_2_has_the_end_of_the_data_interval() -> None:
    assert run_of(context({}, data_interval_end=DUE)).run_after == DUE


def test_a_run_without_either_is_due_when_it_started() -> None:
    assert run_of(context({}, data_interval_end=None)).run_after == DUE + timedelta(hours=9)


@pytest.mark.parametrize(
    ("run_type", "is_backfill"),
    [(RunType.BACKFILL_JOB, True), ("backfill", True), (RunType.MANUAL, False), ("scheduled", False)],
)
def test_backfills(run_type: object, is_backfill: bool) -> None:
    assert run_of(context({"run_after": DUE, "run_type": run_type})).is_backfill is is_backfill


def test_a_later_try_of_a_mapped_task() -> None:
    run = run_of(context({"run_after": DUE}, {"map_index": 3, "try_number": 2}))
    assert (run.map_index, run.try_number, run.is_first_try) == (3, 2, False)
    assert run_of(context({"run_after": DUE}, {"map_index": None})).map_index == -1


def test_before_airflow_3_3_there_is_no_store() -> None:
    assert task_state_store(context({"run_after": DUE})) is None
    assert run_of(context({"run_after": DUE})).state_store is None


@pytest.mark.parametrize(("map_index", "query"), [(-1, ""), (None, ""), (0, "?map_index=0"), (3, "?map_index=3")])
def test_the_address_of_the_store(map_index: int | None, query: str) -> None:
    """It stands in messages to people, so it must be usable as it is, whatever the run is called."""
    ti = {"map_index": map_index, "run_id": "manual__2030-05-17T09:00:00+00:00 / again?"}
    run = run_of(context({"run_after": DUE}, ti, task_state_store=SimpleNamespace()))
    assert run.state_store == (
        "/api/v2/dags/d/dagRuns/manual__2030-05-17T09%3A00%3A00%2B00%3A00%20%2F%20again%3F/taskInstances/group.t"
        "/state-store/{key}" + query
    )


def test_what_is_stored_never_expires() -> None:
    sdk = pytest.importorskip("airflow.sdk")
    if not hasattr(sdk, "NEVER_EXPIRE"):
        pytest.skip("Airflow has no state store before 3.3")
    kept: dict[str, Any] = {}

    def keep(key: str, value: Any, *, retention: Any) -> None:
        kept[key] = (value, retention)

    store = task_state_store(context({}, task_state_store=SimpleNamespace(set=keep, get=lambda key: kept[key][0])))
    assert store is not None
    store.set("octospark", {"format": 1})
    assert kept == {"octospark": ({"format": 1}, sdk.NEVER_EXPIRE)}
    assert store.get("octospark") == {"format": 1}


def test_a_moment_is_waited_for_by_airflow_s_own_trigger() -> None:
    path, arguments = until(DUE).serialize()
    assert path.endswith(".temporal.DateTimeTrigger")
    assert arguments["moment"] == DUE


@pytest.mark.parametrize("present", ["3.3.0", "3.3.2", "3.10.1", "4.0.0", "3.3.0rc1", "3.4.0.dev0+abc"])
def test_a_version_that_is_new_enough(present: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "airflow_version", present)
    versions.require_airflow("It", 3, 3)


@pytest.mark.parametrize("present", ["2.11.2", "3.0.6", "3.2.9"])
def test_a_version_that_is_too_old_is_named_with_the_one_that_is_needed(
    present: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "airflow_version", present)
    with pytest.raises(OctosparkVersionError, match=rf"It needs Airflow 3\.3 or newer; this is {present}"):
        versions.require_airflow("It", 3, 3)


def test_a_callback_of_a_dag_may_not_know_its_run() -> None:
    bare: Any = {"run_id": "r"}
    assert versions.due_of(bare) is None
    assert versions.due_of(context({"run_after": DUE})) == DUE


def test_what_this_version_is_too_old_for_can_be_imported_and_says_so() -> None:
    from airflow_provider_octospark.retry_policy import OctosparkRetryPolicy
    from airflow_provider_octospark.triggers.published import OctosparkPublishedTrigger

    made: dict[tuple[int, int], Callable[[], object]] = {
        (3, 0): lambda: OctosparkPublishedTrigger("team"),
        (3, 3): OctosparkRetryPolicy,
    }
    for needed, make in made.items():
        if tuple(map(int, airflow_version.split(".")[:2])) >= needed:
            make()
        else:
            with pytest.raises(OctosparkVersionError):
                make()
