"""A test of a DAG that publishes; copy it, and put your DAG in place of this one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_octospark.emulator import Emulator

# It migrates a database and starts processes: a minute.
pytestmark = pytest.mark.slow

YOUR_DAG = """
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator

with DAG("your_dag", schedule=None):
    OctosparkPostNowOperator(
        task_id="publish",
        post_id="6aaea75f-cf34-52bb-9e09-734f8e27c606",
        social_account_id="a96533d2-f364-5f41-a9e2-1e9edea1ab34",
        wait_for_completion=True,
    )
"""


@pytest.fixture
def airflow(tmp_path: Path, octospark_emulator: Emulator) -> dict[str, str]:
    """The environment of an Airflow of this test's own, with your DAG, connected to the emulator."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "your_dag.py").write_text(YOUR_DAG)  # or copy your file
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_OCTOSPARK_DEFAULT": octospark_emulator.connection,
    }
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=environment, check=True)
    return environment


def test_your_dag_publishes_once(airflow: dict[str, str], octospark_emulator: Emulator) -> None:
    octospark_emulator.fault("post-now", "reset", when="after")  # the response gets lost: nothing goes out twice

    subprocess.run([sys.executable, "-m", "airflow", "dags", "test", "your_dag"], env=airflow, check=True)

    [publication] = octospark_emulator.publications()
    assert publication["post_id"] == "6aaea75f-cf34-52bb-9e09-734f8e27c606"
    assert len(octospark_emulator.submissions()) == 1
