"""What must hold before a task's first try submits: a record that shows that it began, and one operator for one task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_octospark.airflow_compat import run_of, starts_try, task_state_store
from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.submission.journal import Journal

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


def open_record(context: Context) -> None:
    """Write the empty record of a first try, so that a later try knows that this one sent nothing.

    Does nothing after a deferral and where Airflow has no state store.

    :raises OctosparkStateStoreError: if the record cannot be read or written.
    """
    if not starts_try(context):
        return
    store = task_state_store(context)
    if store is not None and run_of(context).is_first_try:
        Journal(store, is_first_try=True)


_executed: tuple[Any, object] | None = None
"""The task instance and the operator that this process executed last."""


def require_only_operator(context: Context, operator: object) -> None:
    """Refuse a second operator that is executed in the same task, as in a ``@task`` function.

    They would share one record, and each would take the other's requests for its own.

    :raises OctosparkArgumentError: if another operator was executed in this task.
    """
    global _executed
    task_instance = context["ti"]
    if _executed is not None and _executed[0] is task_instance and _executed[1] is not operator:
        raise OctosparkArgumentError(
            f"{type(operator).__name__} is executed in task {run_of(context).task_id}, which executed another operator "
            "before; nothing was sent. Use one task for each, or OctosparkScheduleBatchOperator for many posts."
        )
    _executed = task_instance, operator
