"""`make cluster`: PostgreSQL, Redis, an Airflow with two workers and the emulator, left up until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from tests.cluster.cluster import COMPONENTS, Cluster
from tests.cluster.servers import MissingServersError, Programs, ServerError, find_programs
from tests.system.console import Console, end_in_order, how_to_stop
from tests.system.emulated import EmulatorProcess
from tests.system.stack import StackError

EXAMPLE_DAGS = Path(__file__).parents[2] / "example_dags"


@contextmanager
def open_cluster(
    programs: Programs,
    dags: Path,
    say: Callable[[str], None],
    connection: Callable[[str], str] = str,
    env: Mapping[str, str] | None = None,
) -> Iterator[tuple[EmulatorProcess, Cluster]]:
    """Start the emulator and an Airflow that is connected to it; end both in any case.

    :param dags: the folder of its DAGs.
    :param say: is called with a line of text as each step of the start is taken.
    :param connection: changes the value of the connection.
    :param env: more variables for all components.
    """
    with EmulatorProcess() as emulator:
        say(f"the emulator listens on {emulator.base_url}")
        settings = {"AIRFLOW_CONN_OCTOSPARK_DEFAULT": connection(emulator.connection), **(env or {})}
        with Cluster(dags, programs, env=settings, progress=say) as cluster:
            say(f"the cluster is up: {cluster.base_url}")
            yield emulator, cluster


def _print_addresses(emulator: EmulatorProcess, cluster: Cluster) -> None:
    print(
        f"\nAirflow:    {cluster.base_url}  (user {cluster.username}, password {cluster.password})"
        f"\nEmulator:   {emulator.base_url}  (posts, accounts, requests)"
        f"\nLogs:       {cluster.home / 'logs'}, of the processes in components/"
        f"\nProcesses:  {', '.join(f'{name} {cluster.processes.pid(name)}' for name in COMPONENTS)}"
        f"\nKill any of them: it is started again. {how_to_stop()}\n",
        flush=True,
    )


def _report_restarts(cluster: Cluster, say: Callable[[str], None]) -> NoReturn:
    """Stay, and say when a component was started again."""
    seen = dict.fromkeys(COMPONENTS, 0)
    while True:
        time.sleep(1)
        cluster.check_components()
        for name in COMPONENTS:
            if (count := cluster.supervisor.restart_count(name)) > seen[name]:
                seen[name] = count
                say(f"{name} had exited; started again as process {cluster.processes.pid(name)}")


def main() -> int:
    """Bring everything up and stay."""
    signal.signal(signal.SIGTERM, end_in_order)
    say = Console()
    try:
        with open_cluster(find_programs(), EXAMPLE_DAGS, say) as (emulator, cluster):
            _print_addresses(emulator, cluster)
            _report_restarts(cluster, say)
    except KeyboardInterrupt:
        print("\nall processes have been ended")
        return 0
    except (MissingServersError, ServerError, StackError) as error:
        print("\n".join([f"make cluster: {error}", *getattr(error, "__notes__", [])]), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
