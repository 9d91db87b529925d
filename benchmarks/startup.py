"""Rows of start-up: what a task pays from ``airflow.sdk`` to its first response, with the import of all that runs in it."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.environments import ROOT
from benchmarks.plan import Case, Figures, Plan, clean_environment, least_of_some
from benchmarks.table import Row, Target, Value

_BEGIN = """
import json, os, sys, time
import airflow.sdk
from airflow.sdk import DAG, BaseOperator, task
from airflow.sdk.execution_time import task_runner
port = sys.argv[1]
cpu, wall = time.process_time(), time.monotonic()
"""

_END = """
imported = time.process_time() - cpu
send()
print(json.dumps({"imported": imported, "cpu": time.process_time() - cpu, "wall": time.monotonic() - wall}))
"""

SCRIPTS = {
    "ours": """
import airflow_provider_octospark.operators.octospark, airflow_provider_octospark.tasks.submit
from airflow_provider_octospark.hooks.octospark import OctosparkHook
os.environ["AIRFLOW_CONN_X"] = json.dumps({"conn_type": "octospark", "host": f"http://127.0.0.1:{port}", "password": "octo_x"})
def send():
    with OctosparkHook("x") as hook:
        hook.get_post("7c1d0a3e-4f0b-4a7e-9d55-0e6c4d2b1a90", "1f2e3d4c-5b6a-4978-8899-aabbccddeeff")
""",
    "dbt cloud": """
import airflow.providers.dbt.cloud.operators.dbt
from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook
os.environ["AIRFLOW_CONN_X"] = json.dumps({"conn_type": "dbt_cloud", "login": "1", "password": "x", "host": "x"})
real = DbtCloudHook.get_conn
def get_conn(self, *arguments, **options):
    session = real(self, *arguments, **options)
    self.base_url = f"http://127.0.0.1:{port}"
    return session
DbtCloudHook.get_conn = get_conn
def send():
    DbtCloudHook("x").get_job_run(run_id=1, account_id=1)
""",
    "http": """
import airflow.providers.http.operators.http
from airflow.providers.http.hooks.http import HttpHook
os.environ["AIRFLOW_CONN_X"] = json.dumps({"conn_type": "http", "host": f"http://127.0.0.1:{port}"})
def send():
    HttpHook("GET", "x").run("posts/1")
""",
}

_BODY = json.dumps({"id": "1f2e3d4c-5b6a-4978-8899-aabbccddeeff", "data": {"id": 1, "status": 10}}).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(_BODY)))
        self.end_headers()
        self.wfile.write(_BODY)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _served() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def _measure(plan: Plan, name: str) -> Figures:
    with tempfile.TemporaryDirectory(prefix="octospark-benchmark-") as home, _served() as port:
        done = subprocess.run(  # noqa: S603
            [plan.python, "-c", _BEGIN + SCRIPTS[name] + _END, str(port)],
            cwd=ROOT,
            env=clean_environment(AIRFLOW_HOME=home),
            capture_output=True,
            text=True,
            check=True,
        )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def cases(plan: Plan) -> list[Case]:
    """Each package."""
    return [Case(f"start-up {name}", partial(least_of_some, plan, partial(_measure, plan, name))) for name in SCRIPTS]


def rows(plan: Plan) -> list[Row]:
    """CPU of the imports, and CPU and time until the first response."""

    def row(what: str, figure: str, has_target: bool) -> Row:
        values = {}
        for name in SCRIPTS:
            found = plan.median(f"start-up {name}", figure)
            values[name] = Value(None if found is None else found * 1000.0, "ms")
        ours = values.pop("ours")
        known = [name for name, value in values.items() if value.number is not None]
        cheapest = min(known, key=lambda name: values[name].number or 0.0, default="http")
        return Row(what, ours, tuple(values.items()), Target(at_most=0.5, of=cheapest) if has_target else None)

    return [
        row("a task's process: CPU to import what runs in it", "imported", True),
        row("a task's process: CPU until the first response", "cpu", True),
        row("a task's process: time until the first response", "wall", False),
    ]
