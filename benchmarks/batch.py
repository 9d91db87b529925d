"""Rows of batches: many posts in one task of a real Airflow, beside a bare loop, and beside a mapped task for each."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from benchmarks.plan import Case, Figures, Plan
from benchmarks.table import Row, Target, Value
from tests.system.emulated import EmulatorProcess
from tests.system.rest import Task
from tests.system.stack import AirflowStack

WORKERS = 12
"""The default of the connection's ``max_in_flight``, and as many in the bare loop."""

LATENCY = 0.3
"""What each response of the service takes, in seconds."""

POSTS, POSTS_IF_QUICK, FEW = 1000, 100, 20
PATIENCE = 1800.0

DAGS = """
from airflow.sdk import DAG

from airflow_provider_octospark.operators.octospark import OctosparkScheduleBatchOperator, OctosparkScheduleMultiOperator

with DAG("batch", schedule=None, params={"announcements": []}, render_template_as_native_obj=True) as batch:
    OctosparkScheduleBatchOperator(task_id="schedule", announcements="{{ params.announcements }}")

with DAG("mapped", schedule=None, params={"announcements": []}) as mapped:
    @mapped.task
    def given(params=None):
        return params["announcements"]

    OctosparkScheduleMultiOperator.partial(task_id="schedule").expand_kwargs(given())
"""


@dataclass
class _World:
    """An Airflow and a service, started for the first case that needs them."""

    emulator: EmulatorProcess
    stack: AirflowStack

    @classmethod
    def open(cls, stack: ExitStack) -> _World:
        """Start both."""
        emulator = stack.enter_context(EmulatorProcess())
        dags = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="octospark-benchmark-")))
        (dags / "dags.py").write_text(DAGS)
        airflow = stack.enter_context(AirflowStack(dags, env={"AIRFLOW_CONN_OCTOSPARK_DEFAULT": emulator.connection}))
        airflow.wait_for_dags(["batch", "mapped"])
        for operation in ("get-post", "schedule-multi"):
            emulator.control.fault({"operation": operation, "fault": "delay", "seconds": LATENCY, "times": 1_000_000})
        world = cls(emulator, airflow)
        # The first task of an Airflow takes seconds longer than all others.
        for dag_id in ("batch", "mapped"):
            world.run(dag_id, 1)
        return world

    def announcements(self, count: int) -> list[dict[str, Any]]:
        """Posts that nobody has submitted yet."""
        account = next(each["id"] for each in self.emulator.social_accounts if each["status"] == "connected")
        at = (datetime.now(UTC) + timedelta(days=7)).isoformat()
        control = self.emulator.control
        posts = [control.add_post(f"Benchmark {number}") for number in range(count)]
        return [{"post_id": post, "social_account_ids": [account], "scheduled_at": at} for post in posts]

    def run(self, dag_id: str, count: int) -> Figures:
        """Run a DAG about so many posts."""
        given, before = self.announcements(count), self._cpu()
        submitted = len(self.emulator.control.submissions())
        began = time.monotonic()
        run_id = self.stack.rest.trigger(dag_id, {"announcements": given})
        state = self.stack.rest.wait_for_run(dag_id, run_id, PATIENCE)
        wall = time.monotonic() - began
        if state != "success" or len(self.emulator.control.submissions()) != submitted + count:
            raise RuntimeError(f"{dag_id} of {count} posts ended as {state}")
        task = Task(dag_id, run_id, "schedule", -1 if dag_id == "batch" else 0)
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task.task_id}{'' if task.map_index < 0 else '/0'}"
        took = float(self.stack.rest.call("GET", path)["duration"])
        return {"wall": wall, "took": took, "cpu": self._cpu() - before}

    def _cpu(self) -> float:
        """CPU seconds of all processes of this Airflow so far, also of those that have ended."""
        processes = self.stack.processes
        spent = 0.0
        for name in ("scheduler", "api-server", "dag-processor", "triggerer"):
            root = psutil.Process(processes.pid(name))
            for process in (root, *root.children(recursive=True)):
                try:
                    spent += sum(process.cpu_times()[:4])
                except psutil.NoSuchProcess:
                    continue
        return spent

    def bare_loop(self, count: int) -> Figures:
        """Read and submit with httpx and nothing else: the same requests, by as many workers."""
        given = self.announcements(count)
        connection = json.loads(self.emulator.connection)
        team = connection["extra"]["team_id"]

        async def send() -> None:
            queue = iter(given)
            async with httpx.AsyncClient(
                base_url=self.emulator.base_url,
                headers={"Authorization": f"Bearer {connection['password']}"},
                limits=httpx.Limits(max_connections=WORKERS, max_keepalive_connections=WORKERS),
                timeout=60,
                trust_env=False,
            ) as client:

                async def work() -> None:
                    for each in queue:
                        path = f"/v1/teams/{team}/posts/{each['post_id']}"
                        (await client.get(path)).raise_for_status()
                        body = {"socialAccountIds": each["social_account_ids"], "scheduledAt": each["scheduled_at"]}
                        (await client.post(f"{path}/schedule-multi", json=body)).raise_for_status()

                await asyncio.gather(*(work() for _ in range(WORKERS)))

        began = time.monotonic()
        asyncio.run(send())
        return {"took": time.monotonic() - began}


def _many(plan: Plan) -> int:
    return POSTS_IF_QUICK if plan.is_quick else POSTS


def cases(plan: Plan) -> list[Case]:
    """A large batch and the bare loop; a small batch and as many mapped tasks."""
    many = _many(plan)
    world = cache(partial(_World.open, plan.stack))

    def run(dag_id: str, count: int) -> Figures:
        return world().run(dag_id, count)

    return [
        Case(f"batch of {many}", partial(run, "batch", many)),
        Case(f"bare loop of {many}", lambda: world().bare_loop(many)),
        Case(f"batch of {FEW}", partial(run, "batch", FEW)),
        Case(f"mapped tasks, {FEW}", partial(run, "mapped", FEW)),
    ]


def rows(plan: Plan) -> list[Row]:
    """Time beside the bare loop; time and CPU beside mapped tasks."""
    many = _many(plan)

    def value(key: str, figure: str) -> Value:
        return Value(plan.median(key, figure), "s")

    few = (f"batch of {FEW}", f"mapped tasks, {FEW}")
    return [
        Row(
            f"{many} posts of one account, {LATENCY * 1000:.0f} ms a response: time of the task",
            value(f"batch of {many}", "took"),
            (("bare loop", value(f"bare loop of {many}", "took")),),
            Target(at_most=2.0, of="bare loop"),
        ),
        Row(f"{FEW} posts: CPU of Airflow", value(few[0], "cpu"), (("mapped tasks", value(few[1], "cpu")),)),
        Row(f"{FEW} posts: from trigger to success", value(few[0], "wall"), (("mapped tasks", value(few[1], "wall")),)),
    ]
