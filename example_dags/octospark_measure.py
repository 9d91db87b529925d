"""Publish something, and load its counts into a table a day later.

Trigger it with the ids of a post that was prepared in Octospark and of one of your social accounts:

    {"post_id": "...", "social_account_id": "..."}

The connection `warehouse` may be of any database that Airflow has a provider of, as the common.sql provider finds its hook. The
table is made by the first run.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

# The same import on Airflow 2.11 and on Airflow 3; on Airflow 3 alone, `airflow.sdk` has all of them.
from airflow.providers.common.compat.sdk import DAG, BaseHook, Param, task
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator
from airflow_provider_octospark.operators.performance import OctosparkPostPerformanceOperator

UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

WAREHOUSE = "warehouse"
TABLE = "post_performance"

# Types that every database knows. The columns are some of a row's keys; a row has more.
COLUMNS = {
    "scheduled_post_id": "VARCHAR(36) NOT NULL",
    "collected_at": "VARCHAR(30) NOT NULL",
    "post_id": "VARCHAR(36)",
    "platform": "VARCHAR(40)",
    "scheduled_at": "VARCHAR(30)",
    "hours_since_post": "DECIMAL(10, 2)",
    "collection_status": "VARCHAR(40)",
    "like_count": "BIGINT",
    "comment_count": "BIGINT",
    "share_count": "BIGINT",
    "save_count": "BIGINT",
    "impression_count": "BIGINT",
    "reach_count": "BIGINT",
    "engagement_rate": "DECIMAL(10, 4)",
}

with DAG(
    dag_id="octospark_measure",
    description="Publish a prepared post, and load its counts a day later",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    # A newer publication of the same post would be measured in place of this one: the API shows one of a post.
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={
        "post_id": Param(type="string", pattern=UUID, title="Post", description="Id of the prepared post."),
        "social_account_id": Param(
            type="string", pattern=UUID, title="Social account", description="Id of the account to publish it on."
        ),
    },
    tags=["octospark", "example"],
) as dag:
    publish = OctosparkPostNowOperator(
        task_id="publish",
        post_id="{{ params.post_id }}",
        social_account_id="{{ params.social_account_id }}",
        wait_for_completion=True,
        deferrable=True,
    )

    # Deferred for a day: no worker, and no request before the time.
    measure = OctosparkPostPerformanceOperator(
        task_id="measure",
        publication=publish.output,
        collected_after=timedelta(hours=24),
        snapshots=True,
        deferrable=True,
    )

    create_table = SQLExecuteQueryOperator(
        task_id="create_table",
        conn_id=WAREHOUSE,
        sql=f"CREATE TABLE IF NOT EXISTS {TABLE} ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})",
    )

    @task
    def load(rows: list[dict[str, Any]]) -> int:
        """Replace what an earlier run has loaded of the same publication, so that a cleared task loads no row twice."""
        connection: Any = BaseHook.get_connection(WAREHOUSE)
        hook = connection.get_hook()
        for scheduled_post_id in {row["scheduled_post_id"] for row in rows}:
            # The name is a constant, and the id goes as a parameter.
            delete = f"DELETE FROM {TABLE} WHERE scheduled_post_id = {hook.placeholder}"  # noqa: S608
            hook.run(delete, parameters=(scheduled_post_id,))
        values = [tuple(row[name] for name in COLUMNS) for row in rows]
        hook.insert_rows(TABLE, values, target_fields=list(COLUMNS))
        return len(rows)

    create_table >> load(measure.output)  # type: ignore[arg-type]
