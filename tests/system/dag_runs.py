"""Run a DAG whole in this process with `dag.test()`, and look at what came of it."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from airflow.models.dagrun import DagRun
from airflow.providers.common.compat.sdk import DAG


@dataclass(frozen=True)
class FinishedRun:
    """A run that `dag.test()` has brought to its end."""

    dag_run: DagRun

    @property
    def state(self) -> str:
        """How the run ended: `success` or `failed`."""
        return str(self.dag_run.state)

    def states(self) -> dict[tuple[str, int], str]:
        """How each task ended, by task id and map index (-1: not mapped)."""
        return {(ti.task_id, ti.map_index): str(ti.state) for ti in self.dag_run.get_task_instances()}

    def xcom(self, task_id: str, *, key: str = "return_value", map_index: int = -1) -> Any:
        """The value of an XCom; None if there is none."""
        task_instance = self.dag_run.get_task_instance(task_id, map_index=map_index)
        if task_instance is None:
            raise LookupError(f"there is no {task_id} [{map_index}] in {sorted(self.states())}")
        return task_instance.xcom_pull(task_ids=task_id, key=key, map_indexes=map_index)


# From Airflow 3.2 on, and before.
_DAGBAG_MODULES = ("airflow.dag_processing.dagbag", "airflow.models.dagbag")


class RunDag(Protocol):
    """The type of `run_dag`, for tests that get it as a fixture."""

    def __call__(
        self, dag: DAG, conf: Mapping[str, Any] | None = None, *, logical_date: datetime | None = None
    ) -> FinishedRun: ...


def run_dag(dag: DAG, conf: Mapping[str, Any] | None = None, *, logical_date: datetime | None = None) -> FinishedRun:
    """Run a DAG, from a file or made in a test, with this configuration of the run; default of the date: now."""
    register(dag)
    # Airflow 2 has another name for it.
    name = "logical_date" if "logical_date" in inspect.signature(dag.test).parameters else "execution_date"
    date: dict[str, Any] = {} if logical_date is None else {name: logical_date}
    return FinishedRun(dag.test(run_conf=dict(conf or {}), **date))


def register(dag: DAG) -> None:
    """Tell the database of a DAG that is in no folder of DAGs: from Airflow 3.1 on, no other is run."""
    dagbag = next(filter(lambda module: hasattr(module, "sync_bag_to_db"), map(_imported, _DAGBAG_MODULES)), None)
    if dagbag is None:
        return
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    bag = dagbag.DagBag(dag_folder=os.devnull)
    bag.bag_dag(dag)
    dagbag.sync_bag_to_db(bag, "dags-folder", None)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
