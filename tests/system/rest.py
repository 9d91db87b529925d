"""The few calls of Airflow's REST API that the demo and the tests of a whole Airflow need."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import httpx

RUN_ENDS = frozenset({"success", "failed"})
TASK_ENDS = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class Task(NamedTuple):
    """The address of a task instance."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


class TaskView(NamedTuple):
    """What Airflow says of a task instance. `pid` is the process of the task; its parent supervises it."""

    task: Task
    state: str | None
    try_number: int
    pid: int | None


class AirflowRest:
    """A client of one Airflow, logged in on first use."""

    def __init__(self, base_url: str, username: str, password: str) -> None:
        self._credentials = {"username": username, "password": password}
        # A proxy of the user's environment has no business with a server on this machine.
        self._client = httpx.Client(base_url=base_url, timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Send one request to a path below `/api/v2` and return the JSON of its response, or None."""
        if "Authorization" not in self._client.headers:
            self._log_in()
        response = self._client.request(method, f"/api/v2{path}", **arguments)
        if response.is_error:
            raise RuntimeError(f"{method} {path}: {response.status_code} {response.text[:2000]}")
        return response.json() if response.content else None

    def health(self) -> dict[str, str | None]:
        """The status of each component, by name; empty while nobody answers."""
        try:
            response = self._client.get("/api/v2/monitor/health")
        except httpx.TransportError:
            return {}
        if response.is_error:
            return {}
        return {name: (part or {}).get("status") for name, part in response.json().items()}

    def warm_up(self) -> None:
        """Have the API server build what it serves tasks with, or the first task waits 5 s for it."""
        self._client.get("/execution/health").raise_for_status()

    def import_errors(self) -> list[dict[str, Any]]:
        """The DAG files that could not be read."""
        errors: list[dict[str, Any]] = self.call("GET", "/importErrors")["import_errors"]
        return errors

    def dag_ids(self) -> set[str]:
        """The DAGs that can be triggered."""
        return {dag["dag_id"] for dag in self.call("GET", "/dags", params={"limit": 100})["dags"]}

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run and return its id."""
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        response = self.call("POST", f"/dags/{quote(dag_id)}/dagRuns", json=body)
        return str(response["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """The state of a run."""
        return str(self.call("GET", _run_path(dag_id, run_id))["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[TaskView]:
        """All task instances of a run, a row for each map index."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances"
        rows: list[TaskView] = []
        while True:
            response = self.call("GET", path, params={"limit": 100, "offset": len(rows)})
            rows += [_task_view(row) for row in response["task_instances"]]
            if len(rows) >= response["total_entries"] or not response["task_instances"]:
                return sorted(rows, key=lambda view: view.task)

    def tasks_of_runs(self, run_ids: Collection[str]) -> list[TaskView]:
        """The task instances of several runs, at most 100, in one request."""
        body = {"dag_run_ids": list(run_ids), "page_limit": 100}
        response = self.call("POST", "/dags/~/dagRuns/~/taskInstances/list", json=body)
        return [_task_view(row) for row in response["task_instances"]]

    def task(self, task: Task) -> TaskView:
        """One task instance as it is now."""
        return _task_view(self.call("GET", f"{_task_path(task)}{_index_path(task)}"))

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        timeout: float,
        on_look: Callable[[Sequence[TaskView]], None] | None = None,
    ) -> str:
        """Wait until a run has ended and return its state; `on_look` sees its tasks at every poll."""
        deadline = time.monotonic() + timeout
        while True:
            state = self.run_state(dag_id, run_id)
            views = self.tasks(dag_id, run_id)
            if on_look is not None:
                on_look(views)
            if state in RUN_ENDS:
                return state
            if time.monotonic() > deadline:
                raise TimeoutError(f"{dag_id} {run_id} is {state} after {timeout:.0f} s: {views}")
            time.sleep(0.5)

    def wait_for_task(
        self, task: Task, timeout: float, states: Collection[str | None] = TASK_ENDS, try_number: int = 0
    ) -> TaskView:
        """Wait until a task is in one of these states, in this try or a later one."""
        deadline = time.monotonic() + timeout
        while True:
            view = self.task(task)
            if view.state in states and view.try_number >= try_number:
                return view
            if time.monotonic() > deadline:
                raise TimeoutError(f"still {view} after {timeout:.0f} s")
            time.sleep(0.1)

    def xcom(self, task: Task, key: str = "return_value") -> Any:
        """The value of an XCom; None if there is none."""
        path = f"{_task_path(task)}/xcomEntries"
        entries = self.call("GET", path, params={"map_index": task.map_index, "limit": 100})["xcom_entries"]
        if not any(entry["key"] == key and entry["map_index"] == task.map_index for entry in entries):
            return None
        return self.call("GET", f"{path}/{quote(key)}", params={"map_index": task.map_index})["value"]

    def log(self, task: Task, try_number: int) -> str:
        """The log of one try, as plain lines."""
        response = self.call(
            "GET",
            f"{_task_path(task)}/logs/{try_number}",
            params={"map_index": task.map_index, "full_content": True},
            headers={"Accept": "application/json"},
        )
        return "\n".join(_log_line(entry) for entry in response["content"])

    def clear(self, dag_id: str, run_id: str, *tasks: str | tuple[str, int], only_failed: bool = False) -> None:
        """Clear tasks of a run (a mapped one as a pair with its index; none given: all), as a user does."""
        body: dict[str, Any] = {"dry_run": False, "dag_run_id": run_id, "only_failed": only_failed}
        if tasks:
            body["task_ids"] = tasks
        self.call("POST", f"/dags/{quote(dag_id)}/clearTaskInstances", json=body)

    def set_task_state(self, task: Task, state: str) -> None:
        """Mark a task as `success`, `failed` or `skipped`, as a user does."""
        self.call("PATCH", f"{_task_path(task)}{_index_path(task)}", json={"new_state": state})

    def state_store(self, task: Task) -> dict[str, Any]:
        """All that a task has written into its state store."""
        response = self.call("GET", f"{_task_path(task)}/state-store", params={"map_index": task.map_index})
        return {entry["key"]: entry["value"] for entry in response["task_state_store"]}

    def _log_in(self) -> None:
        response = self._client.post("/auth/token", json=self._credentials)
        response.raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {response.json()['access_token']}"


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}"


def _task_path(task: Task) -> str:
    return f"{_run_path(task.dag_id, task.run_id)}/taskInstances/{quote(task.task_id)}"


def _index_path(task: Task) -> str:
    """An unmapped task has no index in its address, a mapped one must have it."""
    return "" if task.map_index < 0 else f"/{task.map_index}"


def _task_view(row: dict[str, Any]) -> TaskView:
    task = Task(row["dag_id"], row["dag_run_id"], row["task_id"], row["map_index"])
    return TaskView(task, row["state"], row["try_number"], row["pid"])


def _log_line(entry: dict[str, Any] | str) -> str:
    if isinstance(entry, str):
        return entry
    extra = {key: value for key, value in entry.items() if key not in {"timestamp", "event", "level"}}
    return f"{entry.get('timestamp') or ''} {entry.get('level') or ''} {entry.get('event')} {extra or ''}".strip()
