"""What befalls workers while requests are under way: nothing is submitted twice, and all of it succeeds."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter

from tests.cluster.cluster import WORKERS
from tests.cluster.wave import Bench, Wave

VISIBILITY_TIMEOUT = 30
STOPPED_SECONDS = 120.0
"""Kombu looks about every 100 seconds for messages that are beyond it."""


def test_sigkill_of_both_workers(bench: Bench) -> None:
    wave = Wave(bench)
    bench.cluster.kill_tree(*WORKERS)
    ended = wave.end()
    # All were running, so each needed another try.
    assert [view.try_number for view in ended] == [2] * len(ended)


def test_sigterm_of_both_workers(bench: Bench) -> None:
    wave = Wave(bench)
    before = {name: bench.cluster.supervisor.restart_count(name) for name in WORKERS}
    for name in WORKERS:
        # To the main process alone: it lets its tasks finish.
        os.kill(bench.cluster.processes.pid(name), signal.SIGTERM)
    wave.end()
    for name in WORKERS:
        bench.cluster.wait_for_restart(name, before[name] + 1)


def test_sigkill_of_the_supervisors_of_tasks(bench: Bench) -> None:
    wave = Wave(bench)
    supervisors = {bench.cluster.task_processes(task)[1] for task in wave.tasks}
    for pid in supervisors:
        os.kill(pid, signal.SIGKILL)
    ended = wave.end()
    # The orphaned tasks did not end their tries.
    assert [view.try_number for view in ended] == [2] * len(ended)


def received(bench: Bench) -> Counter[str]:
    """How often each message was delivered to a worker."""
    logs = "".join(bench.cluster.processes.log_file(name).read_text(errors="replace") for name in WORKERS)
    return Counter(re.findall(r"execute_workload\[([0-9a-f-]+)\] received", logs))


def restart_workers(bench: Bench, env: dict[str, str]) -> None:
    for name in WORKERS:
        bench.cluster.supervisor.end(name)
        bench.cluster.start_component(name, env)
    bench.cluster.wait_until_all_run()


def test_a_stop_beyond_the_visibility_timeout(bench: Bench) -> None:
    restart_workers(bench, {"AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": str(VISIBILITY_TIMEOUT)})
    wave = Wave(bench)
    # Its tasks go on, and it acknowledges none of them.
    main = bench.cluster.processes.pid(WORKERS[0])
    os.kill(main, signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    os.kill(main, signal.SIGCONT)
    wave.end()
    assert max(received(bench).values()) > 1, "no message was delivered again"
    restart_workers(bench, {})
