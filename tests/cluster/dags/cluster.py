"""What the kills of a cluster befall: single posts, a batch, and waits in the triggerers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, get_current_context, task

from airflow_provider_octospark.operators.octospark import (
    OctosparkPostNowOperator,
    OctosparkScheduleBatchOperator,
    OctosparkScheduleMultiOperator,
)
from tests.cluster.shapes import (
    BATCH,
    CANCELLED_BATCH,
    DEFAULT_RETRIES,
    POST_NOW,
    PUBLISH,
    SETTLE_TIME,
    SWITCHED_BATCH,
    SWITCHED_CONN_ID,
    WAITS,
)

COMMON: dict[str, Any] = {
    "task_id": PUBLISH,
    "settle_time": SETTLE_TIME,
    "retries": DEFAULT_RETRIES,
    "retry_delay": timedelta(seconds=1),
}

with DAG(POST_NOW, schedule=None):
    OctosparkPostNowOperator(
        post_id="{{ dag_run.conf['post_id'] }}", social_account_id="{{ dag_run.conf['social_account_id'] }}", **COMMON
    )

for dag_id in (BATCH, CANCELLED_BATCH, SWITCHED_BATCH):
    with DAG(dag_id, schedule=None):
        OctosparkScheduleBatchOperator(
            announcements="{{ dag_run.conf['announcements'] | tojson }}",
            cancel_on_kill=dag_id == CANCELLED_BATCH,
            octospark_conn_id=SWITCHED_CONN_ID if dag_id == SWITCHED_BATCH else "octospark_default",
            **COMMON,
        )

with DAG(WAITS, schedule=None):

    @task
    def post_ids() -> list[str]:
        """Return the posts; each is awaited by a task of its own."""
        conf = get_current_context()["dag_run"].conf or {}
        posts: list[str] = conf["post_ids"]
        return posts

    OctosparkScheduleMultiOperator.partial(
        social_account_ids=["{{ dag_run.conf['social_account_id'] }}"],
        scheduled_at="{{ dag_run.conf['scheduled_at'] }}",
        wait_for_completion=True,
        deferrable=True,
        cancel_on_kill=True,
        **COMMON,
    ).expand(post_id=post_ids())
