"""Announce a release when the DAG that makes it has succeeded: a prepared post, published by a callback.

A callback has no retries and no memory. If the announcement must go out, or must on no account go out twice, make it a task
instead: octospark_announce. Trigger it with the ids of a post that was prepared in Octospark and of one of your accounts:

    {"version": "2.4", "post_id": "...", "social_account_id": "..."}
"""

from __future__ import annotations

from datetime import timedelta

# The same import on Airflow 2.11 and on Airflow 3; on Airflow 3 alone, `airflow.sdk` has all of them.
from airflow.providers.common.compat.sdk import DAG, Param, get_current_context, task

from airflow_provider_octospark.notifications.octospark import OctosparkPostNowNotifier

UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

with DAG(
    dag_id="octospark_release_notice",
    description="Make a release, and announce it when all of it has succeeded",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    # Two runs at once about the same post would hide each other's publication: the API shows the latest only.
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={
        "version": Param(type="string", title="Version", description="What is released, such as 2.4."),
        "post_id": Param(type="string", pattern=UUID, title="Post", description="Id of the prepared post."),
        "social_account_id": Param(
            type="string", pattern=UUID, title="Social account", description="Id of the account to publish it on."
        ),
    },
    # Called once the whole run has succeeded. If nothing can be published, the run has succeeded all the same: why not is in
    # the log of the DAG processor.
    on_success_callback=OctosparkPostNowNotifier(
        post_id="{{ params.post_id }}", social_account_id="{{ params.social_account_id }}"
    ),
    tags=["octospark", "example"],
) as dag:

    @task
    def build() -> str:
        """Where your release would be built."""
        return f"northwind-{get_current_context()['params']['version']}.tar.gz"

    @task
    def upload(file: str) -> str:
        """Where it would be uploaded."""
        return f"https://downloads.example.com/{file}"

    upload(build())  # type: ignore[arg-type]
