"""What Airflow does with our objects beside running tasks: storing, testing and linking."""

from __future__ import annotations

import importlib
import json
import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.models.connection import Connection
from airflow.models.trigger import Trigger
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.polling.wait import Wait
from airflow_provider_octospark.triggers.octospark import OctosparkPostTrigger
from tests.system.dag_runs import RunDag

EXAMPLES = sorted((Path(__file__).parents[3] / "example_dags").glob("*.py"))


def serialization() -> Any:
    """The class that turns DAGs into JSON and back; its name has changed."""
    module: Any = importlib.import_module("airflow.serialization.serialized_objects")
    return getattr(module, "DagSerialization", None) or module.SerializedDAG


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_dags_survive_being_stored(path: Path) -> None:
    if path.stem == "octospark_approval":
        # In 3.1, a user who approves is asked for the parameters of the whole DAG too, and these need defaults.
        param = pytest.importorskip("airflow.sdk.definitions.param", reason="approvals came with Airflow 3.1")
        if not hasattr(param.ParamsDict, "filter_params_by_source"):
            pytest.skip("the example needs Airflow 3.2")
    if path.stem == "octospark_after_publication":
        pytest.importorskip("airflow.sdk", reason="watchers of assets came with Airflow 3.0")
    dag = runpy.run_path(str(path))["dag"]
    stored = json.loads(json.dumps(serialization().to_dict(dag)))
    restored = serialization().from_dict(stored)
    assert sorted(restored.task_dict) == sorted(dag.task_dict)


@pytest.mark.parametrize("form", ["fields", "uri"])
def test_a_connection_can_be_tested(
    octospark_emulator: Emulator, airflow_db: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    host, key, team = octospark_emulator.base_url, octospark_emulator.token, octospark_emulator.team_id
    forms: dict[str, dict[str, Any]] = {
        "fields": {"conn_type": "octospark", "host": host, "password": key, "extra": json.dumps({"team_id": team})},
        "uri": {"uri": f"octospark://:{key}@{host.removeprefix('http://')}/http?team_id={team}"},
    }
    connection: Any = Connection(conn_id="octospark_matrix", **forms[form])
    # As Airflow does: the hook reads the connection that is being tested under its id.
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_MATRIX", connection.get_uri())
    ok, message = connection.test_connection()
    assert ok, message
    assert "Northwind Data" in message
    assert octospark_emulator.submissions() == []


def test_the_trigger_survives_being_stored() -> None:
    outcome = Outcome(team_id="t", post_id="p", social_account_id=None, state="pending")
    now = datetime.now(UTC)
    wait = Wait.start([outcome], started_at=now, publish_timeout=timedelta(hours=1), since=now)
    trigger = OctosparkPostTrigger("octospark_default", wait.as_json())
    stored = Trigger.from_object(trigger)
    restored = OctosparkPostTrigger(**stored.kwargs)
    assert restored.serialize() == trigger.serialize()
    assert stored.classpath == trigger.serialize()[0]


def test_the_link_leads_to_the_publication(
    octospark_emulator: Emulator, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", octospark_emulator.connection)
    with DAG("link", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
        OctosparkPostNowOperator(
            task_id="publish",
            post_id=octospark_emulator.posts[0]["id"],
            social_account_id=octospark_emulator.account_id("x"),
            wait_for_completion=True,
        )
    finished = run_dag(dag)
    [publication] = octospark_emulator.publications()
    ti = finished.dag_run.get_task_instance("publish")
    # As the server has it: it does not load the DAG's file.
    task = serialization().from_dict(serialization().to_dict(dag)).get_task("publish")
    link = task.get_extra_links(ti, "Published post")
    assert link == f"https://x.com/i/web/status/{publication['platform_post_id']}"


def test_the_hook_reads_its_connection_where_airflow_keeps_it(
    octospark_emulator: Emulator, airflow_db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", octospark_emulator.connection)
    with OctosparkHook("mine") as hook:
        post = hook.get_post(hook.team(None), octospark_emulator.posts[0]["id"])
    assert post.title == octospark_emulator.posts[0]["title"]
