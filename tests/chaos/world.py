"""The Airflow and the emulator that histories happen in, and what can be done to their processes."""

from __future__ import annotations

import json
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from tests.chaos.database import make_database
from tests.chaos.plans import Victims
from tests.chaos.shapes import HEARTBEAT_TIMEOUT, PATIENT_CONN_ID, PATIENT_SUBMIT_TIMEOUT, SHAPES, SUBMIT_TIMEOUT
from tests.chaos.watch import Watch
from tests.system.emulated import EmulatorControl, EmulatorProcess
from tests.system.processes import session_members
from tests.system.rest import AirflowRest, Task
from tests.system.stack import AirflowStack

ROOT = Path(__file__).parents[2]
DAGS = Path(__file__).parent / "dags"

WORKER_TITLE = "airflow worker -- LocalExecutor"
"""Begins the title of a process of the LocalExecutor, which supervises one task after the other."""
TASK_TITLE = "airflow worker -- "
"""Begins the title of a process that runs a task."""

TRIGGERER_PAUSE = 1.0
START_PAUSE = 0.5
USUAL_START_SECONDS = 30.0
SLOWEST_PACE = 2.5
CHANGE_ATTEMPTS = 5
ORPHANS_PATIENCE = 120.0


@contextmanager
def open_world(say: Callable[[str], None]) -> Iterator[World]:
    """Start the emulator and Airflow; end both, and all that came of them, in any case."""
    with EmulatorProcess() as emulator:
        say(f"the emulator listens on {emulator.base_url}")
        home = Path(tempfile.mkdtemp(prefix="octospark-chaos-"))
        make_database(home / "airflow.db")
        env = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS": "tests.chaos.database.CONNECT_ARGS",
            "PYTHONPATH": str(ROOT),
            "AIRFLOW_CONN_OCTOSPARK_DEFAULT": _connection(emulator, SUBMIT_TIMEOUT),
            f"AIRFLOW_CONN_{PATIENT_CONN_ID.upper()}": _connection(emulator, PATIENT_SUBMIT_TIMEOUT),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            # A task that a killed executor had taken stays queued for ten minutes by default.
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
        }
        stack = AirflowStack(DAGS, home=home, env=env, progress=say)
        stack.keep_home = False
        with stack:
            stack.wait_for_dags([shape.dag_id for shape in SHAPES])
            say(f"Airflow is up: {stack.base_url}")
            with Watch(stack.rest, emulator.control) as watch:
                yield World(emulator, stack, watch)


def _connection(emulator: EmulatorProcess, submit_timeout: float) -> str:
    connection = json.loads(emulator.connection)
    connection["extra"]["submit_timeout"] = submit_timeout
    return json.dumps(connection)


class World:
    """One running Airflow and one running emulator, shared by all histories."""

    def __init__(self, emulator: EmulatorProcess, stack: AirflowStack, watch: Watch) -> None:
        self.watch = watch
        self.stack = stack
        self._emulator = emulator
        self._triggerer = threading.Lock()
        self._changing = threading.Lock()

    @property
    def concurrency(self) -> float:
        """How much slower than usual this machine is at present, up to a limit."""
        return min(max(1.0, self.stack.start_seconds / USUAL_START_SECONDS), SLOWEST_PACE)

    @property
    def rest(self) -> AirflowRest:
        """Airflow's REST API."""
        return self.stack.rest

    @property
    def control(self) -> EmulatorControl:
        """The emulator's control."""
        return self._emulator.control

    @property
    def accounts(self) -> list[str]:
        """Accounts on platforms that publish within seconds, and one that no history submits to."""
        quick = ("x", "threads", "linkedin", "facebook")
        connected = {a["provider"]: a["id"] for a in self._emulator.social_accounts if a["status"] == "connected"}
        return [connected[provider] for provider in quick]

    def victims(self, task: Task, which: Victims) -> list[psutil.Process]:
        """The processes of a running task, and no others: those of this scheduler's session whose titles say what they are.

        :raises ProcessLookupError: if there are none.
        """
        pid, supervisor = self.stack.task_processes(task)
        chosen = {"task": [pid], "supervisor": [supervisor], "both": [supervisor, pid]}[which]
        found = [psutil.Process(each) for each in chosen if each in self._session()]
        # An orphan's parent is a stranger.
        found = [process for process in found if process.pid == pid or _title(process).startswith(WORKER_TITLE)]
        if len(found) < len(chosen):
            raise ProcessLookupError(f"{task} has no {which} any more")
        return found

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> None:
        """Start a run, a while after the last one: what begins together stands in its own way."""

        def trigger() -> None:
            # An attempt without a response may have made it.
            if not self._has_run(dag_id, run_id):
                self.rest.trigger(dag_id, conf, run_id=run_id)
            time.sleep(START_PAUSE)

        self._insist(trigger)

    def _has_run(self, dag_id: str, run_id: str) -> bool:
        try:
            self.rest.run_state(dag_id, run_id)
        except RuntimeError as error:
            if ": 404 " in str(error):
                return False
            raise
        return True

    def clear(self, task: Task) -> None:
        """Clear a task, as a user does."""
        self._insist(lambda: self.rest.clear(task.dag_id, task.run_id, task.task_id))

    def put(self, path: str, body: Any) -> None:
        """Send a PUT to a path of Airflow's REST API, as a user does."""
        self._insist(lambda: self.rest.call("PUT", path, json=body))

    def _insist(self, change: Callable[[], None]) -> None:
        """Make a change through Airflow's REST API, one at a time, and again if the database was locked."""
        for attempts_left in range(CHANGE_ATTEMPTS - 1, -1, -1):
            try:
                with self._changing:
                    change()
            except (RuntimeError, httpx.TransportError):
                if not attempts_left:
                    raise
                time.sleep(1)
            else:
                return

    def kill_triggerer(self) -> None:
        """Kill the triggerer, and start another a little later."""
        with self._triggerer:
            self.stack.kill_component("triggerer")
            time.sleep(TRIGGERER_PAUSE)
            self.stack.start_component("triggerer")

    def check(self) -> None:
        """Raise if a part of Airflow has gone down by itself."""
        with self._triggerer:
            self.stack.check_components()

    def running_tasks(self) -> list[str]:
        """The titles of all processes that still run a task."""
        found = []
        for pid in self._session():
            with suppress(psutil.Error):
                title = _title(psutil.Process(pid))
                if title.startswith(TASK_TITLE) and not title.startswith(WORKER_TITLE):
                    found.append(f"{pid} {title}")
        return found

    def wait_until_nothing_runs(self) -> list[str]:
        """Wait until no process runs a task any more; return what still does when patience ends."""
        deadline = time.monotonic() + ORPHANS_PATIENCE
        while (running := self.running_tasks()) and time.monotonic() < deadline:
            time.sleep(0.5)
        return running

    def _session(self) -> list[int]:
        return session_members([self.stack.processes.pid("scheduler")])


def send_signal(number: signal.Signals, processes: Sequence[psutil.Process]) -> int:
    """Send a signal to those that still live, and return how many that were; never to another of the same number."""
    reached = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
            reached += 1
    return reached


def _title(process: psutil.Process) -> str:
    return " ".join(process.cmdline())
