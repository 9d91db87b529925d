"""Tries in processes of their own, which end by `os._exit` where a test says so: no `finally` runs.

One process, the nursery, imports all that a try needs and stays single-threaded; each try is a fork of it, which talks to
the emulator of the test process over HTTP and keeps its task state store in a file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.api.transport import ssl_context, user_agent
from airflow_provider_octospark.parameters.times import format_instant, parse_instant
from airflow_provider_octospark.submission.rules import Rules
from tests.submission.harness import Bench, Job, Moment, StateTable, Task

KILLED = 77


class FileTable(StateTable):
    """A state store in a file, so that several processes can use it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def read(self, key: str) -> Any:
        """What is stored."""
        self.rows = json.loads(self.path.read_text()) if self.path.exists() else {}
        return super().read(key)

    def write(self, key: str, value: Any) -> None:
        """Store a value, durably before returning."""
        self.read(key)
        super().write(key, value)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.rows))
        new.replace(self.path)


class RemoteTime:
    """The virtual time of an emulator in another process; it stands still but for what is asked here."""

    def __init__(self, base_url: str) -> None:
        self._connection = HTTPConnection(urlsplit(base_url).netloc)
        self._now = self._ask("GET", None)

    def _ask(self, method: str, order: dict[str, Any] | None) -> datetime:
        body = None if order is None else json.dumps(order)
        self._connection.request(method, "/_emulator/clock", body, {"Content-Type": "application/json"})
        moment = parse_instant(json.loads(self._connection.getresponse().read())["now"])
        assert moment is not None
        return moment

    def now(self) -> datetime:
        """Return aware UTC."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on."""
        self._now = self._ask("POST", {"advance_seconds": seconds})


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a try."""

    killed: bool
    points: int
    ends: tuple[str, ...] = ()


class Nursery:
    """The process that forks a process for each try."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._born = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.submission.processes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.__exit__(None, None, None)

    def task(self, bench: Bench, job: Job) -> Task:
        """A task instance whose store is a file."""
        self._born += 1
        return Task(bench, job, table=FileTable(self._folder / f"{self._born}.json"))

    def run_try(self, task: Task, kill_at: int | None) -> Result:
        """Run the next try of such a task instance in a process of its own, and kill that at a point."""
        assert isinstance(task.table, FileTable)
        task.try_number += 1
        job, settings = task.job, task.bench.settings
        order = {
            "base_url": settings.base_url,
            "token": settings.token,
            "job": {
                "kind": job.kind,
                "team_id": job.team_id,
                "post_id": job.post_id,
                "accounts": job.accounts,
                "scheduled_at": format_instant(job.scheduled_at) if job.scheduled_at else None,
                "accounts_per_call": job.accounts_per_call,
            },
            "run_after": format_instant(task.run_after),
            "try_number": task.try_number,
            "kill_at": kill_at,
            "store": str(task.table.path),
        }
        status, said = self._ask(order)
        task.bench.service.settle()
        if status == KILLED:
            task.state = "up_for_retry"
            return Result(True, kill_at or 0)
        assert status == 0, f"the process of the try ended with {status}"
        task.state = said["state"]
        return Result(False, said["points"], tuple(said["ends"]))

    def _ask(self, order: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the nursery has died"
        response = json.loads(line)
        return response["status"], response["said"]


def world(task: Task) -> tuple[str, int]:
    """What a try has left behind: the store, without what is new each time, and the ledger."""
    assert isinstance(task.table, FileTable)
    page = task.table.path.read_text() if task.table.path.exists() else ""
    page = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{8}\b|\d{4}-\d\d-\d\dT[0-9:.]+Z", "", page)
    return page, len(task.bench.service.submissions())


@contextlib.contextmanager
def nursery_of_this_session() -> Iterator[Nursery]:
    """A nursery, ended at the end."""
    with tempfile.TemporaryDirectory(prefix="octospark-tries-") as folder, Nursery(Path(folder)) as nursery:
        yield nursery


def _live(order: dict[str, Any]) -> dict[str, Any]:
    """Run one try, in the process that is made for it."""
    settings = ConnectionSettings(order["base_url"], order["token"], trust_env=False)
    bench = Bench(None, settings, time=RemoteTime(order["base_url"]))
    told = order["job"]
    job = Job(
        told["kind"],
        told["team_id"],
        told["post_id"],
        tuple(told["accounts"]),
        parse_instant(told["scheduled_at"]),
        told["accounts_per_call"],
        Rules(),
    )
    task = Task(bench, job, run_after=parse_instant(order["run_after"]), table=FileTable(Path(order["store"])))
    task.try_number = order["try_number"] - 1

    def die(moment: Moment) -> None:
        if moment.index == order["kill_at"]:
            os._exit(KILLED)

    attempt = task.run(die)
    return {"points": len(attempt.points.names), "state": task.state, "ends": task.ends}


def _nurse() -> None:
    # What costs each process time and is the same for all is done once.
    ssl_context(True, trust_env=False)
    user_agent()
    for late in ("anyio._backends._asyncio", "encodings.idna"):
        importlib.import_module(late)
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        receiving, sending = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(receiving)
            said = json.dumps(_live(order))
            os.write(sending, said.encode())
            os._exit(0)
        os.close(sending)
        with os.fdopen(receiving) as reader:
            said = reader.read()
        _, status = os.waitpid(child, 0)
        response = {"status": os.waitstatus_to_exitcode(status), "said": json.loads(said or "{}")}
        print(json.dumps(response), flush=True)


if __name__ == "__main__":
    _nurse()
