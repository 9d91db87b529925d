"""The demo once more, through a real Airflow, with the marked key and with trouble: minutes, so only if asked for.

`OCTOSPARK_CANARY_STACK=1 python -m pytest tests/canary/test_real_airflow.py`
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from airflow_provider_octospark.emulator.http.server import Emulator
from tests.api.leaks import found_in
from tests.canary.marked import CARELESS, KEY
from tests.canary.search import places_of
from tests.canary.stage import EXAMPLE_DAGS, QUOTED
from tests.system.console import Console
from tests.system.demo import DEMO_DAGS, play
from tests.system.emulated import EmulatorControl
from tests.system.rest import RUN_ENDS
from tests.system.scenario import CAMPAIGN, Scenario
from tests.system.stack import AirflowStack

pytestmark = pytest.mark.slow

CARELESS_DAG = f'''
from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, task
from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator

with DAG("careless", schedule=None, params={{"secret": "{CARELESS}"}}):

    @task
    def blab(params=None, ti=None):
        print("the secret is", params["secret"])
        ti.xcom_push(key="secret", value=params["secret"])

    blab()
'''


@dataclass
class _Emulated:
    """What the demo asks of an emulator, by one in this process, which can be told the key to take."""

    emulator: Emulator
    control: EmulatorControl

    @property
    def base_url(self) -> str:
        return self.emulator.base_url

    @property
    def posts(self) -> list[dict[str, str]]:
        return self.emulator.posts

    @property
    def social_accounts(self) -> list[dict[str, str]]:
        return self.emulator.social_accounts


@dataclass
class _TriggerWatch:
    """The arguments of all triggers, decrypted, while they are in the database: their rows are gone afterwards."""

    database: Path
    fernet: Fernet
    seen: set[str] = field(default_factory=set)
    ended: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        while not self.ended.wait(0.2):
            with suppress(sqlite3.Error), sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as database:
                for path, kwargs in database.execute("SELECT classpath, kwargs FROM trigger"):
                    # Those of watchers are not encrypted.
                    is_plain = kwargs.startswith("{")
                    decrypted = kwargs if is_plain else self.fernet.decrypt(kwargs.encode()).decode()
                    self.seen.add(f"{path} {decrypted}")
                for (kwargs,) in database.execute(
                    "SELECT next_kwargs FROM task_instance WHERE next_kwargs IS NOT NULL"
                ):
                    self.seen.add(str(kwargs))


@contextmanager
def _watched(stack: AirflowStack) -> Iterator[_TriggerWatch]:
    watch = _TriggerWatch(stack.home / "airflow.db", Fernet(stack.env["AIRFLOW__CORE__FERNET_KEY"]))
    thread = threading.Thread(target=watch.watch)
    thread.start()
    try:
        yield watch
    finally:
        watch.ended.set()
        thread.join()


# One retry after `retry_delay` of the examples, on a busy machine.
RETRIES_TAKE = timedelta(seconds=90)


def _make_trouble(emulator: Emulator, campaign_post: str) -> None:
    """What is transient, at each stage; the demo must come out as it does without.

    The answer that is cut off is that of a post with one target. For a post with several, it leaves those in
    doubt that a later submission hides, and that takes a quarter of an hour.
    """
    quoted: Any = QUOTED
    emulator.fault("get-post", "status", status=503, times=3, **quoted)
    emulator.fault("post-now", "reset", when="after")
    emulator.fault("schedule-multi", "truncate", post_id=campaign_post)
    emulator.fault("get-post", "status", status=500, skip=12, times=4, **quoted)
    emulator.fault("list-posts", "status", status=500, times=2, **quoted)
    emulator.fault("get-post", "not_json", skip=10, times=2)


def test_the_key_shows_nowhere_in_a_real_airflow(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    dags = tmp_path / "dags"
    for folder in (EXAMPLE_DAGS, DEMO_DAGS):
        shutil.copytree(folder, dags, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    (dags / "careless.py").write_text(CARELESS_DAG)
    home = tmp_path / "home"
    with Emulator() as emulator, Console() as say:
        emulator.token = KEY
        control = EmulatorControl(emulator.base_url)
        env = {
            "AIRFLOW_CONN_OCTOSPARK_DEFAULT": emulator.connection,
            "AIRFLOW__CORE__HIDE_SENSITIVE_VAR_CONN_FIELDS": "False",
        }
        with AirflowStack(dags, home=home, env=env) as stack, _watched(stack) as watch:
            emulated: Any = _Emulated(emulator, control)
            _make_trouble(emulator, Scenario(emulated).of(CAMPAIGN)[0].post_id)
            stack.wait_for_dags(["careless"])
            run = stack.rest.trigger("careless", {})
            right = play(emulated, stack, say, RETRIES_TAKE)
            while stack.rest.run_state("careless", run) not in RUN_ENDS:
                time.sleep(0.5)
            key = stack.env["AIRFLOW__CORE__FERNET_KEY"]
        struck = [entry["fault"] for entry in emulator.requests()]
        control.close()
    printed = "".join(capfd.readouterr())
    (tmp_path / "console.log").write_text(printed)
    assert right, printed
    assert {"status", "reset", "truncate", "not_json"} <= set(struck)
    assert any("OctosparkPostTrigger" in each for each in watch.seen), "no trigger was ever seen"
    (tmp_path / "triggers.txt").write_text("\n".join(sorted(watch.seen)))

    assert places_of(KEY, tmp_path, key) == set()

    careless = places_of(CARELESS, tmp_path, key) - {"dags/careless.py"}
    assert "home/airflow.db: xcom.value" in careless
    assert "home/airflow.db: serialized_dag.data" in careless
    assert any(place.startswith("home/logs/dag_id=careless") for place in careless), "no task log was searched"
    assert found_in(KEY, emulator.connection) != []
