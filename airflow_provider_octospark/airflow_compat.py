"""Everything that differs between versions of Airflow."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import conf
from asgiref.sync import sync_to_async

from airflow_provider_octospark.exceptions import OctosparkVersionError
from airflow_provider_octospark.parameters.times import parse_instant
from airflow_provider_octospark.submission.rules import Run

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_octospark.submission.journal import Store


def require_airflow(what: str, major: int, minor: int) -> None:
    """Refuse a feature that this version of Airflow does not support.

    :raises OctosparkVersionError: naming the version that is needed and the one that is present.
    """
    if tuple(int(part) for part in airflow_version.split(".")[:2]) < (major, minor):
        raise OctosparkVersionError(f"{what} needs Airflow {major}.{minor} or newer; this is {airflow_version}.")


def _plain_utc(moment: datetime) -> datetime:
    """Return a moment as a plain aware UTC datetime.

    Airflow 2 passes pendulum's own type, which loses its zone in arithmetic if that zone is datetime's UTC.
    """
    utc = moment.astimezone(UTC)
    return datetime.combine(utc.date(), utc.time(), UTC)


def dag_run_of(context: Context) -> Any:
    """Return the run from the context; None if the context does not have it, as in some callbacks of a DAG.

    A deadline's callback gets a JSON object of Airflow's REST API, with times as texts.
    """
    values: Any = context
    dag_run = values.get("dag_run")
    if not isinstance(dag_run, Mapping):
        return dag_run
    times = ("run_after", "logical_date", "start_date", "data_interval_end")
    return SimpleNamespace(**{**dag_run, **{name: parse_instant(dag_run.get(name)) for name in times}})


def run_of(context: Context) -> Run:
    """Return the facts about a task instance and its run from the context."""
    values: Any = context
    ti, dag_run = values["ti"], dag_run_of(context)
    map_index = ti.map_index
    return Run(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=-1 if map_index is None else map_index,
        try_number=ti.try_number,
        max_tries=ti.max_tries,
        run_after=_due(values, dag_run),
        is_backfill=is_backfill(dag_run),
        earliest_begin=_earliest_begin(dag_run),
        state_store=None if values.get("task_state_store") is None else _state_store_address(ti),
    )


def _earliest_begin(dag_run: Any) -> datetime | None:
    """Return an instant that precedes the first try although ``run_after`` may not.

    A manual run's ``run_after`` may lie after its first try: before Airflow 3 it is the end of a data interval. A clear
    resets a run's start, so it counts only while the run was never cleared.
    """
    candidates = [getattr(dag_run, "logical_date", None)] if _run_type(dag_run) == "manual" else []
    if getattr(dag_run, "clear_number", None) == 0:
        candidates.append(getattr(dag_run, "start_date", None))
    return min((_plain_utc(each) for each in candidates if isinstance(each, datetime)), default=None)


def began_at_of(context: Context) -> datetime | None:
    """Return the begin of a run, or None if the context does not have it."""
    due = due_of(context)
    earliest = None if due is None else _earliest_begin(dag_run_of(context))
    return due if due is None or earliest is None else min(due, earliest)


def due_of(context: Context) -> datetime | None:
    """Return when a run was due, or None if the context does not have it, as in some callbacks of a DAG."""
    dag_run = dag_run_of(context)
    return None if dag_run is None else _due(context, dag_run)


def _due(values: Any, dag_run: Any) -> datetime:
    # Airflow 2 has no run_after. A run is due there when its data interval ends.
    return _plain_utc(getattr(dag_run, "run_after", None) or values.get("data_interval_end") or dag_run.start_date)


def is_backfill(dag_run: Any) -> bool:
    """Whether a run was made by a backfill."""
    return _run_type(dag_run).startswith("backfill")


def _run_type(dag_run: Any) -> str:
    run_type = getattr(dag_run, "run_type", None)
    return str(getattr(run_type, "value", run_type))


def until(moment: datetime) -> Any:
    """Return Airflow's own trigger that fires at a moment."""
    try:
        from airflow.providers.standard.triggers.temporal import DateTimeTrigger
    except ImportError:
        from airflow.triggers.temporal import DateTimeTrigger  # type: ignore[no-redef,import-not-found]
    return DateTimeTrigger(moment=moment)


TRIGGER_FAILED = "__fail__"
"""The method with which Airflow resumes a task whose trigger failed, or was not run in time."""


def is_trigger_timeout(error: BaseException) -> bool:
    """Whether no triggerer ran a trigger in time; otherwise it failed. Airflow 2 has no class of its own for it."""
    return "timeout" in str(error).lower()


_PROBE_KEY = "octospark.probe"


class _NeverExpiring:
    """Airflow's task state store, with values that stay as long as the run."""

    def __init__(self, accessor: Any) -> None:
        self._accessor = accessor
        self._has_backend = bool(conf.get("workers", "state_store_backend", fallback=""))

    def get(self, key: str) -> Any:
        return self._accessor.get(key)

    def set(self, key: str, value: Any) -> None:
        from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]

        if self._has_backend:
            # Airflow refuses a write of a process that was replaced, but only after it has passed the value to the
            # backend. So this writes a key first that nobody reads.
            self._accessor.set(_PROBE_KEY, True, retention=NEVER_EXPIRE)
        self._accessor.set(key, value, retention=NEVER_EXPIRE)


def _state_store_address(ti: Any) -> str:
    """Return the path of a task instance's state store in Airflow's REST API.

    Source: ``airflow/api_fastapi/core_api/routes/public/task_state_store.py`` of Airflow 3.3; without the query parameter
    ``map_index`` the path is that of a task that is not mapped.
    """
    dag_id, run_id, task_id = (quote(part, safe="") for part in (ti.dag_id, ti.run_id, ti.task_id))
    mapped = "" if ti.map_index in {None, -1} else f"?map_index={ti.map_index}"
    return f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/state-store/{{key}}{mapped}"


def task_state_store(context: Context) -> Store | None:
    """Return the task instance's state store, or None before Airflow 3.3."""
    values: Any = context
    accessor = values.get("task_state_store")
    return None if accessor is None else _NeverExpiring(accessor)


def starts_try(context: Context) -> bool:
    """Whether this process runs a task from its start; false after a deferral, and in ``airflow tasks render``.

    False before Airflow 3.3, and where Airflow's internals do not tell.
    """
    values: Any = context
    if values.get("task_state_store") is None:
        return False
    from airflow.sdk.execution_time import task_runner

    # Only a process that runs a task has a supervisor.
    has_supervisor = getattr(task_runner, "SUPERVISOR_COMMS", None) is not None
    server_context = getattr(values["ti"], "_ti_context_from_server", None)
    return has_supervisor and server_context is not None and not getattr(server_context, "next_method", True)


def asset_state_stores(trigger: Any) -> list[Any]:
    """Return the state stores of the assets that a watcher's trigger serves; none before Airflow 3.3.

    Watchers with equal triggers share one trigger. Airflow gives it one store for each asset by name, but no list of
    names.
    """
    accessors = getattr(trigger, "asset_state_store", None)
    if accessors is None:
        return []
    by_name: dict[str, Any] = getattr(accessors, "_by_name", {})
    return [by_name[name] for name in sorted(by_name)] or [accessors]


def first_started(context: Context, *, reschedule: bool) -> datetime:
    """Return when this try of a sensor first ran. In mode ``reschedule`` that is before this process."""
    values: Any = context
    ti = values["ti"]
    first: Any = None
    if reschedule:
        if hasattr(ti, "get_first_reschedule_date"):
            first = ti.get_first_reschedule_date(context)
            if isinstance(first, str):  # Airflow 3.0 returns the text of the response.
                first = parse_instant(first)
        else:
            first = _first_reschedule_in_database(ti)
    return _plain_utc(first or datetime.now(UTC))


def _first_reschedule_in_database(ti: Any) -> datetime | None:
    """Read the database, as Airflow 2's own sensors do."""
    from airflow.models.taskreschedule import TaskReschedule
    from airflow.utils.session import create_session

    with create_session() as session:
        first = session.scalar(TaskReschedule.stmt_for_task_instance(ti, descending=False).limit(1))
        return first.start_date if first else None


def other_runs_of(context: Context, limit: int) -> list[str]:
    """Return the ids of other runs of the DAG that have the same task, the latest first.

    Airflow 3 gives no order. There it follows from the time in the ids that Airflow makes.
    """
    values: Any = context
    ti = values["ti"]
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:
        return _other_runs_in_database(ti, limit)
    found = RuntimeTaskInstance.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id])
    return sorted(set(found) - {ti.run_id}, key=lambda run_id: run_id.partition("__")[2], reverse=True)[:limit]


def _other_runs_in_database(ti: Any, limit: int) -> list[str]:
    """Read the database, which tasks of Airflow 2 may do."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(DagRun.run_id).where(DagRun.dag_id == ti.dag_id, DagRun.run_id != ti.run_id)
        return list(session.scalars(query.order_by(DagRun.id.desc()).limit(limit)))


def xcoms_of_run(context: Context, run_id: str, key: str) -> list[Any]:
    """Return the same task's XComs of another run, of all map indexes."""
    values: Any = context
    ti = values["ti"]
    try:
        from airflow.sdk.execution_time.xcom import XCom
    except ImportError:
        from airflow.models.xcom import XCom  # type: ignore[no-redef]
        from airflow.utils.session import create_session

        with create_session() as session:
            query = XCom.get_many(run_id=run_id, key=key, dag_ids=ti.dag_id, task_ids=ti.task_id, session=session)
            return [XCom.deserialize_value(row) for row in query.with_entities(XCom.value)]
    return list(XCom.get_all(key=key, dag_id=ti.dag_id, task_id=ti.task_id, run_id=run_id) or [])


class TaskName(Protocol):
    """The identifiers of a task instance."""

    @property
    def dag_id(self) -> str:
        """Id of the DAG."""

    @property
    def run_id(self) -> str:
        """Id of the run."""

    @property
    def task_id(self) -> str:
        """Id of the task."""

    @property
    def map_index(self) -> int | None:
        """-1 or None for a task that is not mapped."""


def read_xcom(task: TaskName, key: str) -> Any:
    """Return an XCom of a task instance, or None if there is none.

    Blocks until Airflow has answered. Works in a worker, and in a thread of a triggerer.
    """
    return _xcom_class().get_one(key=key, **_xcom_owner(task))


def write_xcom(task: TaskName, key: str, value: Any) -> None:
    """Write an XCom of a task instance. Blocks as :func:`read_xcom` does, and works where that works."""
    _xcom_class().set(key=key, value=value, **_xcom_owner(task))


def triggers_have_xcoms() -> bool:
    """Whether the trigger of the task that runs can read and write XComs: not in ``dag.test()`` of Airflow 3.0."""
    if not airflow_version.startswith("3.0."):
        return True
    from airflow.sdk.execution_time import task_runner

    return type(getattr(task_runner, "SUPERVISOR_COMMS", None)).__name__ != "InProcessSupervisorComms"


def _xcom_class() -> Any:
    try:
        from airflow.sdk.execution_time.xcom import XCom
    except ImportError:
        from airflow.models.xcom import XCom  # type: ignore[no-redef]
    return XCom


def _xcom_owner(task: TaskName) -> dict[str, Any]:
    map_index = -1 if task.map_index is None else task.map_index
    return {"dag_id": task.dag_id, "run_id": task.run_id, "task_id": task.task_id, "map_index": map_index}


async def state_of(task: TaskName) -> str | None:
    """Return the current state of a task instance, or None if it has none or Airflow does not return it.

    Works in a worker and, from Airflow 3.3 on, in a triggerer. Blocks a thread, not the event loop.
    """
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:
        return await asyncio.to_thread(_state_in_database, task)
    map_index = None if task.map_index in {None, -1} else task.map_index
    found: dict[str, dict[str, Any]] = await sync_to_async(RuntimeTaskInstance.get_task_states)(
        dag_id=task.dag_id, task_ids=[task.task_id], run_ids=[task.run_id], map_index=map_index
    )
    states = found.get(task.run_id) or {}
    name = task.task_id if map_index is None else f"{task.task_id}_{map_index}"
    state = states.get(name)
    return None if state is None else str(getattr(state, "value", state))


def _state_in_database(task: TaskName) -> str | None:
    """Read the database, which tasks of Airflow 2 may do."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        key = {name: getattr(task, name) for name in ("dag_id", "task_id", "run_id", "map_index")}
        found = session.get(TaskInstance, key)
        return None if found is None else str(found.state)
