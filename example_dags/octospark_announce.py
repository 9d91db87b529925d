"""Announce something now: publish a prepared post on one account, wait until it is out, use its address.

Trigger it with the ids of a post that was prepared in Octospark and of one of your social accounts:

    {"post_id": "...", "social_account_id": "..."}
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

# The same import on Airflow 2.11 and on Airflow 3; on Airflow 3 alone, `airflow.sdk` has all three.
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator

UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

with DAG(
    dag_id="octospark_announce",
    description="Publish a prepared post at once and use its address downstream",
    doc_md=__doc__,
    # A user, or another DAG that has something to announce, triggers it.
    schedule=None,
    catchup=False,
    # Two runs at once about the same post would hide each other's publication: the API shows the latest only.
    max_active_runs=1,
    # A retry does not publish again: it finds what the try before it has submitted, and goes on from there.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    # Params without a default: a run cannot be triggered without them, nor with anything but an id.
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
        # An accepted submission is not yet a published post: a video can take minutes. Deferred, the wait
        # occupies no worker; without `wait_for_completion` the task would end with the outcome `pending`.
        wait_for_completion=True,
        deferrable=True,
        publish_timeout=timedelta(hours=2),
    )

    @task
    def spread_the_word(outcome: Any) -> str:
        """Where a message to your team would be sent. It runs only if the post is out."""
        return f"Our {outcome['provider']} post is out: {outcome['url'] or outcome['platform_post_id']}"

    spread_the_word(publish.output)
