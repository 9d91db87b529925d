"""A campaign: one prepared post for each platform, all at the same time, and a summary of how it went.

This is the pattern to prefer. Octospark's API shows the latest submission of a post and no other, so a post
that goes to one account only can be watched to its end. Trigger it with a time that has an offset, and with
one target for each platform:

    {
      "scheduled_at": "2027-03-01T09:00:00+01:00",
      "targets": [
        {"post_id": "...", "social_account_id": "...", "platform_settings": {"privacyStatus": "public"}},
        {"post_id": "...", "social_account_id": "..."}
      ]
    }
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

# The same import on Airflow 2.11 and on Airflow 3; on Airflow 3 alone, `airflow.sdk` has all of them.
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, Param, TriggerRule, get_current_context, task

from airflow_provider_octospark.operators.octospark import OctosparkScheduleMultiOperator
from airflow_provider_octospark.sensors.octospark import OctosparkPostSensor

log = logging.getLogger(__name__)

UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
TARGET = {
    "type": "object",
    "required": ["post_id", "social_account_id"],
    "properties": {
        "post_id": {"type": "string", "pattern": UUID},
        "social_account_id": {"type": "string", "pattern": UUID},
        "platform_settings": {"type": "object"},
    },
}

with DAG(
    dag_id="octospark_campaign",
    description="Schedule one prepared post for each platform, await them all, and sum up",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    # Two runs at once about the same posts would hide each other's publications: the API shows the latest only.
    max_active_runs=1,
    # A retry does not schedule again: it finds what the try before it has submitted, and goes on from there.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={
        "scheduled_at": Param(
            type="string",
            format="date-time",
            title="When",
            description="When to publish: a time with an offset, such as 2027-03-01T09:00:00+01:00.",
        ),
        "targets": Param(
            type="array",
            items=TARGET,
            minItems=1,
            title="Targets",
            description="A post, an account, and what is special to the platform, for each publication.",
        ),
    },
    tags=["octospark", "example"],
) as dag:

    @task
    def plan() -> list[dict[str, Any]]:
        """Turn the targets of this run into arguments of the operator, one set for each mapped task."""
        targets = get_current_context()["params"]["targets"]
        return [
            {
                "post_id": target["post_id"],
                "social_account_ids": [target["social_account_id"]],
                "platform_settings": target.get("platform_settings"),
            }
            for target in targets
        ]

    schedule = OctosparkScheduleMultiOperator.partial(
        task_id="schedule",
        scheduled_at="{{ params.scheduled_at }}",
    ).expand_kwargs(plan())

    # A sensor for each submission, so that the grid shows in red which platform failed. Where there are many,
    # one sensor for them all is cheaper: see octospark_everywhere.
    wait = OctosparkPostSensor.partial(
        task_id="wait",
        # A wait may take days: deferred it occupies no worker, and it is looked after by one process for all.
        deferrable=True,
        publish_timeout=timedelta(hours=6),
        # What is on the schedule is waited for, also if another target could not be put there.
        trigger_rule=TriggerRule.ALL_DONE,
    ).expand(publication=schedule.output)

    # The last task decides the state of the run. It has to run after failures, and then to fail itself: a run
    # whose last task succeeds is green, whatever happened before.
    @task(trigger_rule=TriggerRule.ALL_DONE)
    def summary() -> None:
        """Tell how each target ended, and fail if any of them is not known to be published."""
        context = get_current_context()
        pull = context["ti"].xcom_pull
        ended: dict[tuple[str, str], dict[str, Any]] = {}
        # Each mapped task pushes a list of outcomes, also if it fails. What the sensors saw in the end replaces
        # what was known at scheduling; what never got on the schedule is in `accounts` alone.
        for outcomes in (*pull(task_ids=["schedule"], key="accounts"), *pull(task_ids=["wait"])):
            for outcome in outcomes or []:
                ended[outcome["post_id"], outcome["social_account_id"]] = outcome
        missing = 0
        for target in context["params"]["targets"]:
            outcome = ended.get((target["post_id"], target["social_account_id"]), {})
            where = outcome.get("url") or outcome.get("error_message") or outcome.get("reason") or ""
            log.info(
                "%s: %s %s %s", target["post_id"], outcome.get("provider"), outcome.get("state", "not sent"), where
            )
            missing += outcome.get("state") != "published"
        if missing:
            # Another try would find the same: this error is not retried.
            raise AirflowFailException(f"{missing} targets are not known to be published; see the log of this task")

    wait >> summary()
