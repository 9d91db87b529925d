"""Two posts whose submission is interrupted: one by the network, one by a SIGKILL of the task's process."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator

for dag_id in ("demo_lost_response", "demo_killed_task"):
    with DAG(
        dag_id=dag_id,
        schedule=None,
        # A retry does not publish again: it finds what the try before it has submitted, and goes on from there.
        default_args={"retries": 2, "retry_delay": timedelta(seconds=3)},
        params={"post_id": Param(type="string"), "social_account_id": Param(type="string")},
    ):
        OctosparkPostNowOperator(
            task_id="publish",
            post_id="{{ params.post_id }}",
            social_account_id="{{ params.social_account_id }}",
            wait_for_completion=True,
            deferrable=True,
        )
