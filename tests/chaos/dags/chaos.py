"""A DAG with one task for each shape; what the task publishes, the run's configuration says."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_octospark.api.sync_client import OctosparkClient
from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator, OctosparkScheduleMultiOperator
from tests.chaos.shapes import (
    EXECUTION_TIMEOUT,
    HIDDEN_TIMEOUT,
    PATIENT_CONN_ID,
    RETRIES,
    SHAPES,
    TASK_ID,
    Shape,
)


def hold_up(context: Any) -> None:
    """Hold a first try up between its fence and its request, as a machine does that swaps."""
    seconds = context["dag_run"].conf["held_up"]
    if context["ti"].try_number > 1 or not seconds:
        return
    submit_all = OctosparkClient.submit_all

    def submit_all_later(client: OctosparkClient, *arguments: Any) -> Any:
        time.sleep(seconds)
        return submit_all(client, *arguments)

    OctosparkClient.submit_all = submit_all_later  # type: ignore[assignment,method-assign]


def make_dag(shape: Shape) -> DAG:
    """Return the DAG of a shape."""
    arguments: dict[str, Any] = {
        "task_id": TASK_ID,
        "post_id": "{{ dag_run.conf['post_id'] }}",
        "settle_time": shape.settle_time,
        "wait_for_completion": shape.waits != "no",
        # Who does not wait for publication may still have to wait for a request in doubt.
        "deferrable": shape.waits != "staying",
        "publish_timeout": timedelta(minutes=10),
        "hidden_timeout": HIDDEN_TIMEOUT,
        "poll_interval": 2.0,
        "retries": RETRIES,
        "retry_delay": timedelta(seconds=1),
        "pre_execute": hold_up,
    }
    if shape.hurried:
        arguments["execution_timeout"] = timedelta(seconds=EXECUTION_TIMEOUT)
        arguments["octospark_conn_id"] = PATIENT_CONN_ID
    with DAG(shape.dag_id, schedule=None) as dag:
        if shape.call == "post now":
            OctosparkPostNowOperator(social_account_id="{{ dag_run.conf['social_account_ids'][0] }}", **arguments)
        else:
            OctosparkScheduleMultiOperator(
                social_account_ids="{{ dag_run.conf['social_account_ids'] | tojson }}",
                scheduled_at="{{ dag_run.conf['scheduled_at'] }}",
                accounts_per_call=1 if shape.call == "one by one" else None,
                **arguments,
            )
    return dag


for each in SHAPES:
    globals()[each.dag_id] = make_dag(each)
