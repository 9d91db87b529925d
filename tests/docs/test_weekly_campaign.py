"""The weekly example: what is due is published, what is late is not, whatever Airflow catches up with."""

from __future__ import annotations

import json
import runpy
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_octospark.emulator import Emulator
from tests.docs.pages import ROOT
from tests.system.dag_runs import FinishedRun, RunDag, register

ZONE = ZoneInfo("Europe/Vienna")


@pytest.fixture
def emulator(octospark_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", octospark_emulator.connection)
    return octospark_emulator


def week_of(moment: datetime) -> str:
    year, week, _ = moment.astimezone(ZONE).isocalendar()
    return f"{year}-W{week:02}"


def run_due(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, due: datetime, planned: bool = True) -> FinishedRun:
    """Run the DAG as if it had been due at this moment."""
    post = emulator.posts[0]["id"]
    plan = {"account": emulator.account_id("x"), "posts": {week_of(due): post} if planned else {}}
    monkeypatch.setenv("AIRFLOW_VAR_OCTOSPARK_WEEKLY_PLAN", json.dumps(plan))
    dag = runpy.run_path(str(ROOT / "example_dags" / "octospark_weekly_campaign.py"))["publish"].dag
    assert isinstance(dag, DAG)
    register(dag)
    return FinishedRun(dag.test(run_after=due))


def test_what_is_due_is_published(emulator: Emulator, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = run_due(emulator, monkeypatch, datetime.now(UTC) - timedelta(minutes=1))
    assert finished.state == "success"
    assert finished.xcom("publish")["state"] == "published"
    assert len(emulator.publications()) == 1


def test_what_is_late_is_skipped_and_never_sent(
    emulator: Emulator, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = run_due(emulator, monkeypatch, datetime.now(UTC) - timedelta(days=8))
    assert finished.states() == {("planned", -1): "success", ("publish", -1): "skipped"}
    assert emulator.submissions() == []


def test_a_week_without_a_plan_is_skipped(emulator: Emulator, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = run_due(emulator, monkeypatch, datetime.now(UTC) - timedelta(minutes=1), planned=False)
    assert finished.states() == {("planned", -1): "skipped", ("publish", -1): "skipped"}
    assert emulator.requests() == []
