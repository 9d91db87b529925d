"""An Airflow of the tests' own: its home is chosen here, before anything imports Airflow.

Each process of pytest-xdist imports this file and so gets a home, and a database, of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from tests.system.dag_runs import RunDag


def _own_airflow_home() -> Path:
    """Take the user's Airflow, and that of the process which started this one, out of the environment."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="octospark-tests-"))
    (home / "dags").mkdir()
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    return home


_HOME = _own_airflow_home()

# A shell ignores SIGINT in what it starts in the background, and a child inherits that: tests of Ctrl-C would hang.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing on a busy machine; and what passes today must pass tomorrow.
hypothesis.settings.register_profile("octospark", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("octospark")


# It makes a database of its own; tests/docs runs a copy of it.
collect_ignore = ["test_your_dag.py"]

LONGEST = ("system", "submission", "packaging", "docs")
"""Folders whose files take longest. They begin first, so that no process is left alone with one of them in the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those files begin first."""
    names = [Path(__file__).parent / name for name in LONGEST]
    items.sort(key=lambda item: next((n for n, name in enumerate(names) if name in item.path.parents), len(names)))


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    shutil.rmtree(_HOME, ignore_errors=True)


def _airflow_version() -> str:
    try:
        return version("apache-airflow-core")
    except PackageNotFoundError:  # Airflow 2
        return version("apache-airflow")


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """The AIRFLOW_HOME of this test process."""
    return _HOME


@pytest.fixture(scope="session")
def airflow_db(airflow_home: Path) -> Path:
    """The same home with a database: a copy of one that Airflow's own command has made once in this environment."""
    template = Path(sys.prefix) / f"octospark-tests-airflow-{_airflow_version()}.db"
    database = airflow_home / "airflow.db"
    if template.exists():
        shutil.copyfile(template, database)
        return airflow_home
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # In one step: another test process may look for it now.
    copy = Path(shutil.copyfile(database, template.with_suffix(f".{os.getpid()}")))
    copy.replace(template)
    return airflow_home


@pytest.fixture(scope="session")
def run_dag(airflow_db: Path) -> RunDag:
    """A function that runs a DAG object whole with `dag.test()`."""
    from tests.system.dag_runs import run_dag

    return run_dag
