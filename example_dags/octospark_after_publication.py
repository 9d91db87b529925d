"""Start when a post gets published, whoever published it: a task of another DAG, or a user in Octospark.

Needs Airflow 3.0 or newer; from 3.3 on, what is published while the triggerer is down is told of afterwards. Put the id of
your team in the place of TEAM_ID. To see it work, publish something, with octospark_announce for example.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, get_current_context, task
from airflow.sdk import AssetWatcher

from airflow_provider_octospark.triggers.published import OctosparkPublishedTrigger

log = logging.getLogger(__name__)

TEAM_ID = "299c6510-a6b0-5ac2-902c-0d167abe326d"

published = Asset(
    "octospark_published",
    # One list of the team's posts each interval, however many DAGs and assets watch it with the same arguments.
    watchers=[AssetWatcher(name="octospark", trigger=OctosparkPublishedTrigger(team_id=TEAM_ID, interval=15))],
)

with DAG(
    dag_id="octospark_after_publication",
    description="Follow up on each publication of a team",
    doc_md=__doc__,
    schedule=[published],
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    tags=["octospark", "example"],
) as dag:

    @task
    def follow_up() -> list[dict[str, Any]]:
        """Where you would tell colleagues, or begin to measure: once for each publication."""
        events = get_current_context()["triggering_asset_events"][published]
        # An event tells of all that one look found, and several events may start one run. If Airflow's triggerer is killed, a
        # later run may be told of the same publication again: the id of the submission is the key to know it by.
        outcomes: list[dict[str, Any]] = [outcome for event in events for outcome in event.extra["payload"]]
        for outcome in outcomes:
            log.info("Out on %s: %s", outcome["provider"], outcome["url"] or outcome["platform_post_id"])
        return outcomes

    follow_up()
