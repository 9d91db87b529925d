"""A real Airflow, in processes of its own, that is there when it is asked for and gone afterwards.

API server, scheduler with LocalExecutor, DAG processor and triggerer run as they would in production, on
SQLite, in an AIRFLOW_HOME of their own. Nothing listens beyond 127.0.0.1, and nothing of the user's own
Airflow is read: all settings come through the environment.
"""

from __future__ import annotations

import base64
import json
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.system.processes import LOOPBACK, ProcessFamily, calm_environment, parent_of, session_members
from tests.system.rest import AirflowRest, Task

USERNAME = "admin"

# `airflow standalone` would also serve the logs of scheduler and triggerer to the whole network.
COMPONENTS: dict[str, tuple[str, ...]] = {
    "api-server": ("api-server", "--workers", "1"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
# What /monitor/health must call healthy: the components, but for the one that answers, and the database.
_HEALTH_NAMES = {"metadatabase", "scheduler", "dag_processor", "triggerer"}

# Below those that Linux and macOS give to connections.
_PORTS = range(20_000, 30_000)

_START_TIMEOUT = 180.0


class StackError(Exception):
    """Airflow did not come up, or a component of it went down."""


class AirflowStack:
    """A running Airflow; use it as a context manager, or call `start` and `close`."""

    def __init__(
        self,
        dags_folder: Path,
        *,
        home: Path | None = None,
        env: Mapping[str, str] | None = None,
        components: Mapping[str, Sequence[str]] = COMPONENTS,
        progress: Callable[[str], None] = lambda _step: None,
    ) -> None:
        """
        :param dags_folder: where the DAG files are.
        :param home: the AIRFLOW_HOME; by default a temporary folder, removed at the end unless the start
            fails or somebody sets `keep_home`.
        :param env: more variables for all components, such as connections and settings; they win.
        :param components: the `airflow` command of each component, by name.
        :param progress: is called with a line of text as each step of the start is taken.
        """
        self._dags_folder = dags_folder.resolve()
        self.keep_home = home is not None
        self.home = Path(tempfile.mkdtemp(prefix="octospark-airflow-")) if home is None else home.resolve()
        self.home.mkdir(parents=True, exist_ok=True)
        self._progress = progress
        self._components = components
        self.base_url = f"http://{LOOPBACK}:{free_port()}"
        self.username = USERNAME
        self.password = secrets.token_urlsafe(12)
        self.env = {**calm_environment(), **self._settings(), **(env or {})}
        # How long the last start took: what this machine can do at present.
        self.start_seconds = 0.0
        self._family: ProcessFamily | None = None
        self.rest = AirflowRest(self.base_url, self.username, self.password)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException as error:
            if isinstance(error, StackError):
                self.keep_home = True
                error.add_note(f"all logs: {self.home / 'logs'}")
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def processes(self) -> ProcessFamily:
        """The components' processes."""
        if self._family is None:
            raise StackError("Airflow has not been started")
        return self._family

    def start(self) -> None:
        """Bring everything up and return when all components are healthy."""
        begin = time.monotonic()
        self._write_password()
        self._family = self._new_family(self.home / "logs" / "components")
        self._before_migrating()
        self._progress("creating Airflow's database")
        self._migrate()
        for name in self._components:
            self.start_component(name)
        self._progress(f"started {', '.join(self._components)}")
        self.wait_until_healthy()
        self.start_seconds = time.monotonic() - begin

    def close(self) -> None:
        """End every process; remove the home if it was a temporary one and its logs are not to be kept."""
        self.rest.close()
        if self._family is not None:
            self._family.close()
        if not self.keep_home:
            shutil.rmtree(self.home, ignore_errors=True)

    def start_component(self, name: str) -> None:
        """Start a component that is not running."""
        self.processes.start(name, self._command(name), self.env, self.home)

    def kill_component(self, name: str) -> None:
        """Kill a component and all its processes with SIGKILL: with the scheduler go the running tasks."""
        self.processes.end(name)

    def wait_until_healthy(self, timeout: float = _START_TIMEOUT) -> None:
        """Wait for all components, telling of each as it appears."""
        deadline = time.monotonic() + timeout
        missing = set(_HEALTH_NAMES)
        warm = False
        while missing:
            self.check_components()
            healthy = {name for name, status in self.rest.health().items() if status == "healthy"}
            for name in sorted(missing & healthy):
                self._progress(f"{name.replace('_', ' ')} is healthy")
            missing -= healthy
            if healthy and not warm:
                self.rest.warm_up()
                warm = True
            if missing and time.monotonic() > deadline:
                raise StackError(f"{sorted(missing)} not healthy after {timeout:.0f} s\n{self._all_tails()}")
            time.sleep(0.2)

    def wait_for_dags(self, dag_ids: Collection[str], timeout: float = _START_TIMEOUT) -> None:
        """Wait until these DAGs can be triggered; a file that cannot be read ends the wait at once."""
        deadline = time.monotonic() + timeout
        while missing := set(dag_ids) - self.rest.dag_ids():
            self.check_components()
            if errors := self.rest.import_errors():
                texts = "\n".join(f"{error['filename']}:\n{error['stack_trace']}" for error in errors)
                raise StackError(f"DAG files that cannot be read:\n{texts}")
            if time.monotonic() > deadline:
                tail = self.processes.log_tail("dag-processor")
                raise StackError(f"no DAGs {sorted(missing)} after {timeout:.0f} s\n{tail}")
            time.sleep(0.3)

    def check_components(self) -> None:
        """Raise if a component that was started has gone down by itself."""
        for name in self._components:
            if self.processes.is_member(name) and (code := self.processes.exit_code(name)) is not None:
                tail = self.processes.log_tail(name)
                raise StackError(f"{name} ended with exit code {code}; the end of its log:\n{tail}")

    def task_processes(self, task: Task) -> tuple[int, int]:
        """The process ids of a running task and of its supervisor."""
        pid = self.rest.task(task).pid
        if pid is None or pid not in session_members(self._task_sessions()):
            raise ProcessLookupError(f"{task} has no process (pid {pid})")
        return pid, parent_of(pid)

    def airflow(self, *arguments: str) -> str:
        """Run an `airflow` command in this home and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.env,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StackError(f"airflow {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def _new_family(self, log_folder: Path) -> ProcessFamily:
        """Make what the components' processes belong to."""
        return ProcessFamily(log_folder)

    def _before_migrating(self) -> None:
        """Start what the database needs: SQLite needs nothing."""

    def _task_sessions(self) -> list[int]:
        """The sessions in which tasks run."""
        return [self.processes.pid("scheduler")]

    def _command(self, name: str) -> list[str]:
        """The command line of a component."""
        return [sys.executable, "-m", "airflow", *self._components[name]]

    def _migrate(self) -> None:
        """Create the tables. As a member of the family, so that an interrupt ends this step as well."""
        self.processes.start("db-migrate", [sys.executable, "-m", "airflow", "db", "migrate"], self.env, self.home)
        code = self.processes.wait("db-migrate")
        if code != 0:
            tail = self.processes.log_tail("db-migrate")
            raise StackError(f"airflow db migrate ended with exit code {code}; the end of its log:\n{tail}")
        self.processes.end("db-migrate")

    def _all_tails(self) -> str:
        return "\n".join(f"--- {name}\n{self.processes.log_tail(name, 15)}" for name in self._components)

    def _write_password(self) -> None:
        """Give the one user a password before Airflow makes one up: nobody has to fish it from a log."""
        path = self.home / "passwords.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({self.username: self.password}))

    def _settings(self) -> dict[str, str]:
        """Airflow's settings. The secrets are made here, so that the processes agree on them."""
        return {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self._dags_folder),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.home / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            # With the default of 32, SQLite locks and takes the scheduler down.
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.base_url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{self.username}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home / 'airflow.db'}",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "AIRFLOW__API__BASE_URL": self.base_url,
            "AIRFLOW__API__HOST": LOOPBACK,
            "AIRFLOW__API__PORT": self.base_url.rpartition(":")[2],
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        }


def free_port() -> int:
    """A port on which nobody listens now, and which the system gives to nobody until the API server takes it.

    A port of the system's own choice would be free as well, but until then any connection of any process on
    this machine might be given it.
    """
    candidates = list(_PORTS)
    random.shuffle(candidates)
    for port in candidates:
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    raise StackError("no port is free")
