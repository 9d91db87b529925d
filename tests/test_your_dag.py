"""A test of a DAG that publishes, in one process. Copy it, and replace the DAG with yours."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

# Before the first import of Airflow: a home of this test run's own, and nothing of yours.
HOME = Path(tempfile.mkdtemp(prefix="airflow-tests-"))
DAGS = HOME / "dags"
for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[name]
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
}

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.utils.db import initdb

from airflow_provider_octospark.emulator import Emulator

YOUR_DAG = """
from airflow.sdk import DAG

from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator

with DAG("your_dag", schedule=None):
    OctosparkPostNowOperator(
        task_id="publish",
        post_id="6aaea75f-cf34-52bb-9e09-734f8e27c606",
        social_account_id="a96533d2-f364-5f41-a9e2-1e9edea1ab34",
        wait_for_completion=True,
    )
"""


@pytest.fixture(scope="session")
def dags() -> DagBag:
    """Your DAGs, registered in a database that is made once for all tests."""
    DAGS.mkdir()
    (DAGS / "your_dag.py").write_text(YOUR_DAG)  # or copy your files
    initdb()
    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(dag_folder=DAGS)
    sync_bag_to_db(bag, "dags-folder", None)
    return bag


def test_your_dag_publishes_once(dags: DagBag, octospark_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", octospark_emulator.connection)
    octospark_emulator.fault("post-now", "reset", when="after")  # the response is lost

    run = dags.dags["your_dag"].test()

    assert run.state == "success"
    [publication] = octospark_emulator.publications()
    assert publication["post_id"] == "6aaea75f-cf34-52bb-9e09-734f8e27c606"
    assert len(octospark_emulator.submissions()) == 1
