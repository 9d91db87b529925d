"""A wait that is too long for a deferral goes through XComs, from task to trigger and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_octospark import xcom_parts
from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator
from airflow_provider_octospark.sensors.octospark import OctosparkPostSensor
from tests.system.dag_runs import RunDag


@pytest.mark.parametrize("mapped", [False, True])
def test_task_and_trigger_hand_each_other_a_long_wait(
    octospark_emulator: Emulator, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    emulator = octospark_emulator
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", emulator.connection)
    monkeypatch.setattr(xcom_parts, "MOST_INLINE", 100)
    monkeypatch.setattr(xcom_parts, "PART", 300)
    posts = [emulator.add_post(f"Post {number}") for number in range(3)]
    for post in posts:
        emulator.script("slow", post_id=post, seconds=8)
    quick: dict[str, Any] = {"deferrable": True, "poll_interval": 1}
    with DAG(f"long_waits_{mapped}", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
        publish = OctosparkPostNowOperator.partial(
            task_id="publish", social_account_id=emulator.account_id("x"), wait_for_completion=mapped, **quick
        ).expand(post_id=posts)
        OctosparkPostSensor(task_id="wait", publication=publish.output, **quick)
    run = run_dag(dag)
    assert run.state == "success"
    assert [outcome["state"] for outcome in run.xcom("wait")] == ["published"] * 3
    assert len(emulator.submissions()) == 3
    if airflow_version.startswith("3.0."):
        # In its dag.test(), triggers have no XComs, so everything stays inline.
        return
    for task_id, map_index in [("publish", 0), ("publish", 2)] if mapped else [("wait", -1)]:
        for key in ("octospark_wait", "octospark_event"):
            text = run.xcom(task_id, key=f"{key}_0", map_index=map_index)
            assert len(text) == 300, (task_id, map_index, key)
            assert run.xcom(task_id, key=f"{key}_1", map_index=map_index)
