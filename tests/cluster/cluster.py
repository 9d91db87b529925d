"""An Airflow with CeleryExecutor, and two of all that there may be two of, under a supervisor."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.cluster.servers import Programs, Servers
from tests.system.processes import session_members
from tests.system.stack import AirflowStack, StackError, free_port
from tests.system.supervisor import START_LINE, Supervisor

WORKERS: Final = ("worker-1", "worker-2")
SCHEDULERS: Final = ("scheduler-1", "scheduler-2")
TRIGGERERS: Final = ("triggerer-1", "triggerer-2")
SLOTS: Final = 4
"""How many tasks one worker runs at once."""

HEARTBEAT_TIMEOUT: Final = 40
"""Seconds without a heartbeat after which Airflow takes a task for dead; by default it is 300."""
TRIGGERER_TIMEOUT: Final = 15
"""Seconds without a heartbeat after which another triggerer takes over; by default it is 30."""

# With serve-logs, each would listen on all addresses; here they share a folder, as they would share a bucket.
COMPONENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "api-server": ("api-server", "--workers", "1"),
    **dict.fromkeys(SCHEDULERS, ("scheduler", "--skip-serve-logs")),
    "dag-processor": ("dag-processor",),
    **dict.fromkeys(TRIGGERERS, ("triggerer", "--skip-serve-logs")),
    **{
        name: ("celery", "worker", "--skip-serve-logs", "--celery-hostname", f"{name}@%h", "--pid", f"{name}.pid")
        for name in WORKERS
    },
}
_WORKERS_TIMEOUT: Final = 120.0
_WORKER_IS_READY: Final = " ready."


class Cluster(AirflowStack):
    """A running Airflow as in production; use it as a context manager."""

    def __init__(
        self,
        dags_folder: Path,
        programs: Programs,
        *,
        env: Mapping[str, str] | None = None,
        progress: Callable[[str], None] = lambda _step: None,
    ) -> None:
        """
        :param dags_folder: where the DAG files are.
        :param programs: the servers' programs.
        :param env: more variables for all components; they win.
        :param progress: is called with a line of text as each step of the start is taken.
        """
        super().__init__(dags_folder, components=COMPONENTS, progress=progress)
        taken = {int(self.base_url.rpartition(":")[2])}
        self.servers = Servers(programs, _another_port(taken), _another_port(taken))
        self.env |= {**self._cluster_settings(), **(env or {})}

    def close(self) -> None:
        """End every process; remove what the servers stored, and the home unless its logs are to be kept."""
        if self._family is not None and self.supervisor.is_member("postgresql"):
            # An orderly stop gives back the shared memory that a killed server would leave behind.
            self._end_components()
            self.servers.stop_postgres(self.supervisor)
        super().close()
        self.servers.remove()

    @property
    def supervisor(self) -> Supervisor:
        """What the processes belong to."""
        if not isinstance(self.processes, Supervisor):
            raise TypeError("a cluster is kept by a supervisor")
        return self.processes

    def start(self) -> None:
        """Bring everything up and return when all of it works."""
        super().start()
        self.wait_until_all_run()

    def start_component(self, name: str, env: Mapping[str, str] | None = None) -> None:
        """Start a component that is not running, with more variables if need be."""
        self.supervisor.keep(name, self._command(name), {**self.env, **(env or {})}, self.home)

    def check_components(self) -> None:
        """Raise if a component exits all the time: others are started again."""
        for name in self.supervisor.given_up():
            tail = self.processes.log_tail(name)
            raise StackError(f"{name} exits again and again; the end of its log:\n{tail}")

    def wait_until_all_run(self) -> None:
        """Wait until every component is healthy and the workers that run now take tasks."""
        for name in self._components:
            if not self.processes.is_member(name):
                self.start_component(name)
        self.wait_until_healthy()
        deadline = time.monotonic() + _WORKERS_TIMEOUT
        for name in WORKERS:
            while not self._is_ready(name):
                self.check_components()
                if time.monotonic() > deadline:
                    raise StackError(f"{name} takes no tasks\n{self.processes.log_tail(name)}")
                time.sleep(0.3)

    def _is_ready(self, name: str) -> bool:
        """Whether a worker has said so since it was started last."""
        log = self.processes.log_file(name).read_text(errors="replace")
        return _WORKER_IS_READY in log.rpartition(START_LINE)[2]

    def task_pids(self) -> list[int]:
        """All living processes of the workers: their own, and those of their tasks."""
        return session_members(self._task_sessions())

    def members(self, name: str) -> list[int]:
        """All living processes of a component: of a worker, with its tasks."""
        return session_members([self.processes.pid(name)])

    def kill_tree(self, *names: str) -> None:
        """Kill all processes of some components at once with SIGKILL; return when the supervisor has started them again."""
        restarts = {name: self.supervisor.restart_count(name) for name in names}
        self.send_tree(signal.SIGKILL, *names)
        for name in names:
            self.wait_for_restart(name, restarts[name] + 1)

    def send_tree(self, number: signal.Signals, *names: str) -> None:
        """Send a signal to all processes of some components."""
        for pid in [pid for name in names for pid in self.members(name)]:
            _send(pid, number)

    def wait_for_restart(self, name: str, restart_count: int, timeout: float = _WORKERS_TIMEOUT) -> None:
        """Wait until the supervisor has started a component so many times again."""
        deadline = time.monotonic() + timeout
        while self.supervisor.restart_count(name) < restart_count:
            if time.monotonic() > deadline:
                raise StackError(f"{name} is not started again\n{self.processes.log_tail(name)}")
            time.sleep(0.1)

    def _new_family(self, log_folder: Path) -> Supervisor:
        return Supervisor(log_folder)

    def _before_migrating(self) -> None:
        self._progress("starting PostgreSQL and Redis")
        self.servers.start(self.supervisor)

    def _task_sessions(self) -> list[int]:
        return [self.processes.pid(name) for name in WORKERS]

    def _end_components(self) -> None:
        for name in self._components:
            if self.processes.is_member(name):
                self.processes.end(name)

    def _cluster_settings(self) -> dict[str, str]:
        return {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__PARALLELISM": "32",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.servers.database_url,
            "AIRFLOW__CELERY__BROKER_URL": self.servers.broker_url,
            "AIRFLOW__CELERY__RESULT_BACKEND": self.servers.result_backend,
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(SLOTS),
            # A task that runs longer than this is delivered to another worker, which Airflow refuses.
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(TRIGGERER_TIMEOUT),
        }


def _another_port(taken: set[int]) -> int:
    """Return a free port that is not about to be taken by another server of this cluster."""
    while (port := free_port()) in taken:
        pass
    taken.add(port)
    return port


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
