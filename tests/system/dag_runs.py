"""Run a DAG whole in this process with `dag.test()`, and look at what came of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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


RunDag = Callable[[DAG, Mapping[str, Any] | None], FinishedRun]


def run_dag(dag: DAG, conf: Mapping[str, Any] | None = None) -> FinishedRun:
    """Run a DAG, from a file or made in a test, with this configuration of the run."""
    _register(dag)
    return FinishedRun(dag.test(run_conf=dict(conf or {})))


def _register(dag: DAG) -> None:
    """Tell the database of a DAG that is not in the folder of DAGs: Airflow 3 runs no other."""
    try:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    except ImportError:
        return  # Airflow 2 runs any DAG.
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    bag = DagBag(dag_folder=os.devnull)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
