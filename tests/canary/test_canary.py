"""The examples are run with a marked key and trouble at every stage; then the key is looked for in all that is left."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.fernet import Fernet

from tests.canary.marked import CARELESS, KEY
from tests.canary.search import places_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FERNET_KEY = Fernet.generate_key().decode()


@pytest.fixture(scope="module")
def played(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with all that the play left behind."""
    folder = tmp_path_factory.mktemp("canary")
    home = folder / "airflow"
    (home / "dags").mkdir(parents=True)
    shutil.copy(airflow_db / "airflow.db", home)
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": FERNET_KEY,
        # Airflow hides secrets in some places; here nobody hides what the provider lets out.
        "AIRFLOW__CORE__HIDE_SENSITIVE_VAR_CONN_FIELDS": "False",
        "COLUMNS": "400",
    }
    with (folder / "console.log").open("wb") as console:
        done = subprocess.run(
            [sys.executable, "-m", "tests.canary.stage", str(folder)],
            cwd=ROOT,
            env={**os.environ, **settings},
            stdout=console,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=900,
        )
    assert done.returncode == 0, (folder / "console.log").read_text()[-5000:]
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def left(played: Path, name: str) -> Any:
    return json.loads((played / name).read_text())


def test_the_play_was_played(played: Path) -> None:
    """Each scene came to where it was meant to."""
    ends = left(played, "ends.json")
    assert ends["all goes well"] == ends["the response is lost"] == ends["the wait is disturbed"] == "success"
    assert ends["the key is refused"] == ends["the service is down"] == ends["careless"] == "failed"
    lists = left(played, "emulator.json")
    struck = {entry["fault"] for entry in lists["requests"]}
    assert struck >= {"status", "reset", "truncate", "omit_account", None}
    assert {entry["status"] for entry in lists["requests"]} >= {200, 307, 400, 401, 404, 422, 429, 500, 502, 503}
    assert len(left(played, "triggers.json")) >= 5
    raised = " ".join(path.read_text() for path in (played / "tracebacks").iterdir())
    for name in ("Auth", "NotFound", "Network", "Request", "Unknown", "PublishFailed", "Server"):
        assert f"Octospark{name}Error" in raised, name
    # The service did quote the key, and what people read says so.
    assert "refused: Authorization: Bearer ***" in raised
    assert "invalid token ***" in (played / "console.log").read_text()


def test_the_key_shows_nowhere(played: Path) -> None:
    assert places_of(KEY, played, FERNET_KEY) == set()


def test_what_is_let_out_is_found_everywhere(played: Path) -> None:
    """The search works: it finds what a careless DAG let out, through each opening."""
    found = places_of(CARELESS, played, FERNET_KEY)
    expected = {
        "console.log",
        "airflow/airflow.db: rendered_task_instance_fields.rendered_fields",
        "airflow/airflow.db: serialized_dag.data",
        "airflow/airflow.db: trigger.kwargs",
        "airflow/airflow.db: xcom.value",
    }
    assert {place.replace("encrypted_kwargs", "kwargs") for place in found} >= expected
    assert any(place.startswith("tracebacks/") for place in found)


@pytest.mark.parametrize("form", ["plain", "quoted", "base64", "escaped"])
@pytest.mark.parametrize("where", ["test_connection.json", "emulator.json", "triggers.json", "airflow/logs/task.log"])
def test_a_planted_key_is_found(played: Path, tmp_path: Path, where: str, form: str) -> None:
    shown = {
        "plain": KEY,
        "quoted": quote(KEY, safe=""),
        "base64": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
        "escaped": json.dumps(KEY).replace("/", "\\/"),
    }[form]
    planted = tmp_path / where
    planted.parent.mkdir(parents=True, exist_ok=True)
    before = (played / where).read_text() if (played / where).exists() else ""
    planted.write_text(f"{before} {shown}")
    assert places_of(KEY, tmp_path, FERNET_KEY) == {where}


def test_what_people_read_holds_no_key() -> None:
    """Documentation, examples and the package itself: nothing in them looks like a real key."""
    looks_real = re.compile(r"octo_live_[A-Za-z0-9]{12,}")
    for folder in ("docs", "example_dags", "airflow_provider_octospark"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in {".md", ".py", ".html", ".js"}:
                assert looks_real.findall(path.read_text()) == [], path
