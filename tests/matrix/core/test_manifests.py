"""A sensor waits for batches by their manifests: it finds the outcomes in their XComs and returns a manifest of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.operators.octospark import OctosparkScheduleBatchOperator
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.sensors.octospark import OctosparkPostSensor
from airflow_provider_octospark.submission import batch as batch_module
from tests.system.dag_runs import FinishedRun, RunDag

MODES: dict[str, dict[str, Any]] = {
    "poke": {"deferrable": False},
    "reschedule": {"deferrable": False, "mode": "reschedule"},
    "deferrable": {"deferrable": True},
}


@pytest.fixture
def emulator(octospark_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The emulator behind the default connection; two outcomes fill an XCom."""
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", octospark_emulator.connection)
    monkeypatch.setattr(batch_module, "PART", 2)
    return octospark_emulator


def items(emulator: Emulator, count: int) -> list[dict[str, Any]]:
    """Items of a batch, each with one target that is due at once, by the emulator's clock."""
    return [
        {
            "post_id": emulator.add_post(f"Post {number}"),
            "social_account_ids": [emulator.account_id("x")],
            "scheduled_at": (emulator.now() + timedelta(hours=1)).isoformat(),
        }
        for number in range(count)
    ]


class Advance(BaseOperator):
    """Moves the emulator's clock; the emulator itself cannot be copied, as Airflow does with what an operator is given."""

    def __init__(self, *, advance: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._advance = advance

    def execute(self, context: Any) -> None:
        self._advance(7200)


def all_outcomes(run: FinishedRun, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """What the XComs that a manifest names hold."""
    assert manifest["runId"] == run.dag_run.run_id
    assert manifest["dagId"] == run.dag_run.dag_id
    return [
        outcome
        for key in manifest["outcomeKeys"]
        for outcome in run.xcom(manifest["taskId"], key=key, map_index=manifest["mapIndex"])
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_sensor_takes_the_manifest_of_a_batch(emulator: Emulator, run_dag: RunDag, mode: str) -> None:
    if mode == "reschedule" and airflow_version.startswith("3.0."):
        pytest.skip("dag.test() of Airflow 3.0 passes a sensor in mode reschedule a text in place of a date")
    announcements = items(emulator, 5)
    emulator.script("fail", post_id=announcements[3]["post_id"])
    with DAG(f"manifest_{mode}", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
        batch = OctosparkScheduleBatchOperator(task_id="batch", announcements=announcements)
        advance = Advance(task_id="advance", advance=emulator.advance)
        wait = OctosparkPostSensor(
            task_id="wait", publication=batch.output, partial_failure="succeed", poll_interval=2, **MODES[mode]
        )
        batch >> advance >> wait
        # What a sensor returns, another takes.
        OctosparkPostSensor(task_id="again", publication=wait.output, partial_failure="succeed", **MODES[mode])
    run = run_dag(dag)
    assert run.state == "success"
    scheduled = run.xcom("batch")
    assert scheduled["outcomeKeys"] == ["outcomes_0", "outcomes_1", "outcomes_2"]
    assert [each["state"] for each in all_outcomes(run, scheduled)] == ["pending"] * 5
    for task_id in ("wait", "again"):
        manifest = run.xcom(task_id)
        assert (manifest["taskId"], manifest["mapIndex"]) == (task_id, -1)
        assert (manifest["successCount"], manifest["failureCount"], manifest["badItems"]) == (4, 1, [])
        found = all_outcomes(run, manifest)
        assert [each["post_id"] for each in found] == [each["post_id"] for each in announcements]
        assert [each["state"] for each in found] == ["published"] * 3 + ["failed", "published"]
        assert all(set(each) == set(Outcome.model_fields) for each in found)
    assert len(emulator.submissions()) == 5


def test_a_sensor_takes_the_manifests_of_a_mapped_batch(emulator: Emulator, run_dag: RunDag) -> None:
    first, second = items(emulator, 3), items(emulator, 1)
    with DAG("manifests", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
        batch = OctosparkScheduleBatchOperator.partial(task_id="batch").expand(announcements=[first, second])
        advance = Advance(task_id="advance", advance=emulator.advance)
        wait = OctosparkPostSensor(task_id="wait", publication=batch.output, deferrable=True)
        batch >> advance >> wait
    run = run_dag(dag)
    assert run.state == "success"
    assert [run.xcom("batch", map_index=index)["mapIndex"] for index in (0, 1)] == [0, 1]
    found = all_outcomes(run, run.xcom("wait"))
    assert [each["post_id"] for each in found] == [each["post_id"] for each in (*first, *second)]
    assert {each["state"] for each in found} == {"published"}


def test_outcomes_that_are_gone_are_named(emulator: Emulator, run_dag: RunDag) -> None:
    errors: list[str] = []
    gone = {"dagId": "gone", "runId": "r", "taskId": "batch", "mapIndex": -1, "outcomeKeys": ["outcomes_0"]}
    with DAG("gone", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
        OctosparkPostSensor(
            task_id="wait",
            publication=gone,
            deferrable=True,
            retries=1,
            on_failure_callback=lambda context: errors.append(str(context["exception"])),
        )
    assert run_dag(dag).state == "failed"
    assert "outcomes_0 of task batch (run r, DAG gone, map index -1)" in errors[0]
    assert emulator.requests() == []
