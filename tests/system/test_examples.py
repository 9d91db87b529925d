"""The example DAGs, whole, as a user who copied them would run them, against the emulator."""

from __future__ import annotations

import json
import runpy
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, MappedOperator, task

from airflow_provider_octospark.emulator import Emulator
from tests.system.dag_runs import RunDag
from tests.system.emulated import EmulatorControl
from tests.system.scenario import ANNOUNCE, CAMPAIGN, EVERYWHERE, EXAMPLES, RUN_STATES, SCRIPTED_ERROR, Scenario, Target

EXAMPLE_DAGS = Path(__file__).parents[2] / "example_dags"
Confs = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def seconds_for_a_task(run_dag: RunDag) -> float:
    """How long one takes here: below a second, or many, by the version of Airflow and the load of the machine."""
    with DAG("warm_up", schedule=None) as dag:

        @task
        def nothing() -> None:
            """Be a task."""

        nothing()
    # The first `dag.test()` of a process takes far longer than all others.
    run_dag(dag)
    begin = time.monotonic()
    run_dag(dag)
    return time.monotonic() - begin


@pytest.fixture
def scenario(octospark_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", octospark_emulator.connection)
    scenario = Scenario(octospark_emulator)
    control = EmulatorControl(octospark_emulator.base_url)
    scenario.script(control)
    control.close()
    return scenario


def example(dag_id: str) -> DAG:
    dag = runpy.run_path(str(EXAMPLE_DAGS / f"{dag_id}.py"))["dag"]
    assert isinstance(dag, DAG)
    assert dag.dag_id == dag_id
    return dag


@pytest.fixture
def confs(scenario: Scenario, seconds_for_a_task: float) -> Confs:
    """The configurations of the runs; `dag.test()` runs one task after the other, and all must have submitted by then."""
    after = timedelta(seconds=15 + 12 * seconds_for_a_task)
    return scenario.confs(everywhere_after=after, campaign_after=after)


def ends(outcomes: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    return {(each["post_id"], each["social_account_id"]): each["state"] for each in outcomes}


def assert_ledger(emulator: Emulator, scenario: Scenario, dag_id: str) -> None:
    """Whatever goes out went out once, and nothing was submitted twice."""
    going_out = [target.key for target in scenario.of(dag_id) if target.goes_out]
    published = Counter((each["post_id"], each["social_account_id"]) for each in emulator.publications())
    submitted = Counter((each["post_id"], each["social_account_id"]) for each in emulator.submissions())
    assert published == Counter(going_out)
    assert set(submitted.values()) == {1}


def scripted(scenario: Scenario, dag_id: str) -> Mapping[tuple[str, str], str]:
    return {target.key: target.state for target in scenario.of(dag_id)}


def test_announce(run_dag: RunDag, octospark_emulator: Emulator, scenario: Scenario, confs: Confs) -> None:
    run = run_dag(example(ANNOUNCE), confs[ANNOUNCE])
    assert run.state == RUN_STATES[ANNOUNCE]
    outcome = run.xcom("publish")
    assert ends([outcome]) == scripted(scenario, ANNOUNCE)
    assert run.xcom("spread_the_word") == f"Our x post is out: {outcome['url']}"
    assert_ledger(octospark_emulator, scenario, ANNOUNCE)


@pytest.mark.slow
def test_campaign(run_dag: RunDag, octospark_emulator: Emulator, scenario: Scenario, confs: Confs) -> None:
    run = run_dag(example(CAMPAIGN), confs[CAMPAIGN])
    assert run.state == RUN_STATES[CAMPAIGN]
    targets = scenario.of(CAMPAIGN)
    waited = [outcome for index in range(len(targets)) for outcome in run.xcom("wait", map_index=index) or []]
    refused = run.xcom("schedule", key="accounts", map_index=len(targets) - 1)
    assert ends([*waited, *refused]) == scripted(scenario, CAMPAIGN)
    assert {each["error_message"] for each in waited if each["state"] == "failed"} == {SCRIPTED_ERROR["errorMessage"]}
    assert [each["error_category"] for each in refused] == ["auth"]
    states = run.states()
    for index, target in enumerate(targets):
        was_refused = index == len(targets) - 1
        assert states["schedule", index] == ("failed" if was_refused else "success")
        assert states["wait", index] == ("failed" if target.state == "failed" else "success")
    assert states["summary", -1] == "failed"
    assert_ledger(octospark_emulator, scenario, CAMPAIGN)


@pytest.mark.slow
def test_campaign_awaits_what_was_scheduled_though_a_target_was_not(
    run_dag: RunDag, octospark_emulator: Emulator, scenario: Scenario, confs: Confs
) -> None:
    dag = example(CAMPAIGN)
    # A lapsed account may be connected again until the next try: here it is not worth the wait.
    schedule = dag.get_task("schedule")
    assert isinstance(schedule, MappedOperator)
    schedule.partial_kwargs["retries"] = 0
    conf = confs[CAMPAIGN]
    lapsed = next(each["id"] for each in octospark_emulator.social_accounts if each["status"] == "refresh_needed")
    first, second, *_ = conf["targets"]
    conf["targets"] = [{**first, "social_account_id": lapsed}, second]
    run = run_dag(dag, conf)
    states = run.states()
    assert states["schedule", 0] == "failed"
    assert states["schedule", 1] == "success"
    assert [states["wait", 0], states["wait", 1]] == ["failed", "success"]
    assert [each["state"] for each in run.xcom("wait", map_index=1)] == ["published"]
    assert states["summary", -1] == "failed"
    assert len(octospark_emulator.publications()) == 1


@pytest.mark.slow
def test_everywhere(run_dag: RunDag, octospark_emulator: Emulator, scenario: Scenario, confs: Confs) -> None:
    conf = confs[EVERYWHERE]
    lapsed = next(each["id"] for each in octospark_emulator.social_accounts if each["status"] == "refresh_needed")
    conf["social_account_ids"] = [lapsed, *conf["social_account_ids"]]
    run = run_dag(example(EVERYWHERE), conf)
    assert run.state == RUN_STATES[EVERYWHERE]
    refused = Target(EVERYWHERE, conf["post_id"], lapsed, "linkedin", "failed", goes_out=False)
    targets = [refused, *scenario.of(EVERYWHERE)]
    known = ends(run.xcom("schedule", key="accounts")) | ends(run.xcom("wait"))
    assert known == {target.key: target.state for target in targets}
    assert {each["reason"] for each in run.xcom("wait") if each["state"] == "unknown"} == {"not_observable"}
    assert run.xcom("schedule", key="outcome") == {
        "totalCount": len(targets),
        "successCount": len(targets) - 1,
        "failureCount": 1,
        "unknownCount": 0,
    }
    report = run.xcom("report", key="by_end")
    for end, account_ids in report.items():
        assert set(account_ids) == {target.social_account_id for target in targets if target.state == end}
    assert_ledger(octospark_emulator, scenario, EVERYWHERE)


def test_csv_batch(run_dag: RunDag, octospark_emulator: Emulator, scenario: Scenario, tmp_path: Path) -> None:
    at = (octospark_emulator.now() + timedelta(days=7)).isoformat()
    account = octospark_emulator.account_id("x")
    lapsed = next(each["id"] for each in octospark_emulator.social_accounts if each["status"] == "refresh_needed")
    posts = [octospark_emulator.add_post(f"Line {number}") for number in range(30)]
    lines = [f"{post},{account},{at}" for post in posts[:29]] + [f"{posts[29]},{lapsed},{at}"]
    file = tmp_path / "campaign.csv"
    file.write_text("\n".join(["post_id,social_account_id,scheduled_at", *lines]))
    dag = example("octospark_csv_batch")
    dag.get_task("schedule").retries = 0
    run = run_dag(dag, {"path": str(file)})
    assert run.states()["schedule", -1] == "failed"
    manifest = run.xcom("schedule")
    assert [manifest["totalCount"], manifest["successCount"], manifest["failureCount"]] == [30, 29, 1]
    assert [each["post_id"] for each in run.xcom("schedule", key="outcomes_0")] == posts
    # A run in which something did not happen is red.
    assert run.states()["report", -1] == "failed"
    assert run.state == "failed"
    octospark_emulator.advance_until_idle()
    assert Counter(each["post_id"] for each in octospark_emulator.publications()) == Counter(posts[:29])
    assert Counter(each["post_id"] for each in octospark_emulator.submissions()) == Counter(posts[:29])


@pytest.mark.slow
def test_measure(run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("airflow.providers.sqlite.hooks.sqlite")
    database = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(database)}))
    # Published two days ago, so that the day after is over.
    with Emulator(start=datetime.now(UTC) - timedelta(days=2), seed=1) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", emulator.connection)
        dag = example("octospark_measure")
        monkeypatch.setattr(dag.get_task("measure"), "_pre_execute_hook", lambda _: emulator.advance(25 * 3600))
        post_id = emulator.posts[0]["id"]
        run = run_dag(dag, {"post_id": post_id, "social_account_id": emulator.account_id("x")})
        assert run.state == "success"
        assert run.xcom("load") == 3
        # Cleared and run again, it loads nothing twice.
        load: Any = dag.get_task("load")
        load.python_callable(run.xcom("measure"))
        assert len(emulator.submissions()) == 1
        assert [each["method"] for each in emulator.requests() if each["path"].endswith("performance")] == ["GET"]
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT post_id, hours_since_post, impression_count FROM post_performance ORDER BY collected_at"
        ).fetchall()
    assert [row[:2] for row in rows] == [(post_id, hours) for hours in (1, 6, 24)]
    counts = [row[2] for row in rows]
    assert 0 < counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("dag_id", sorted([*EXAMPLES, "octospark_csv_batch", "octospark_measure"]))
def test_a_copy_can_be_read_without_connection_or_network(
    run_dag: RunDag, dag_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a DAG file must not use the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    dag = example(dag_id)
    assert not dag.catchup
    assert dag.max_active_runs == 1
    assert all((task.retries or 0) >= 1 for task in dag.tasks)


def test_a_run_without_ids_is_refused(run_dag: RunDag) -> None:
    # Airflow before 3.1 raises an error of its own, later ones a ValueError.
    with pytest.raises((ValueError, AirflowException), match="post_id"):
        run_dag(example(ANNOUNCE), {})
