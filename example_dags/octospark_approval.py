"""A post that goes out only after a user has seen it and said yes. Needs Airflow 3.2 or newer.

The request shows the post as it is in Octospark at that moment. It appears under 'Required Actions' in Airflow's UI. If
the post is changed afterwards, it does not go out: nobody has approved what it says now.

    {"post_id": "...", "social_account_id": "..."}
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task
from airflow.providers.standard.operators.hitl import ApprovalOperator

from airflow_provider_octospark.api.content import content_hash
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator

UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

with DAG(
    dag_id="octospark_approval",
    description="Publish a prepared post after a user has approved it",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    # Two runs at once about the same post would hide each other's publication: the API shows the latest only.
    max_active_runs=1,
    # A retry does not publish again: it finds what the try before it has submitted, and goes on from there.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={
        "post_id": Param(type="string", pattern=UUID, title="Post", description="Id of the prepared post."),
        "social_account_id": Param(
            type="string", pattern=UUID, title="Social account", description="Id of the account to publish it on."
        ),
    },
    tags=["octospark", "example"],
) as dag:

    @task
    def preview(post_id: str) -> dict[str, Any]:
        """Read what there is to approve, and its hash."""
        with OctosparkHook() as hook:
            post = hook.get_post(hook.team(None), post_id)
        return {
            "title": post.title,
            "text": (post.model_extra or {}).get("text"),
            "content_hash": content_hash(post),
        }

    approve = ApprovalOperator(
        task_id="approve",
        subject="Publish '{{ ti.xcom_pull(task_ids='preview')['title'] }}'?",
        body="{{ ti.xcom_pull(task_ids='preview')['text'] }}",
        # Without a response the task fails in the end, and nothing goes out. A 'no' skips what follows.
        response_timeout=timedelta(days=2),
    )

    publish = OctosparkPostNowOperator(
        task_id="publish",
        post_id="{{ params.post_id }}",
        social_account_id="{{ params.social_account_id }}",
        # A post whose text or assets were changed after the approval is not sent.
        content_hash="{{ ti.xcom_pull(task_ids='preview')['content_hash'] }}",
        wait_for_completion=True,
        deferrable=True,
        # An approval that was given late is none for yesterday's news: counted from the time the run was due.
        max_lateness=timedelta(days=3),
    )

    shown = preview("{{ params.post_id }}")
    shown >> approve >> publish
