"""One post everywhere: a single request puts it on the schedule of many accounts, each with its own settings.

Octospark's API shows the latest submission of a post and no other. After one request for seven accounts, the
seven share one post, and only one of them can be watched; the others will be published all the same, but no
one can see it from here. This DAG says so, and calls them unknown (`not_observable`) rather than guess. If you
need to know about each of them, prepare a post for each platform: see octospark_campaign.

    {
      "post_id": "...",
      "social_account_ids": ["...", "..."],
      "scheduled_at": "2027-03-01T09:00:00",
      "timezone": "Europe/Vienna",
      "platform_settings_by_social_account_id": {"...": {"privacyStatus": "public"}}
    }
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

# The same import on Airflow 2.11 and on Airflow 3; on Airflow 3 alone, `airflow.sdk` has all of them.
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, Param, get_current_context, task

from airflow_provider_octospark.operators.octospark import OctosparkScheduleMultiOperator
from airflow_provider_octospark.sensors.octospark import OctosparkPostSensor

log = logging.getLogger(__name__)

UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

with DAG(
    dag_id="octospark_everywhere",
    description="Schedule one post on many accounts, and report what can be seen of it",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    # Two runs at once about the same post would hide each other's publications: the API shows the latest only.
    max_active_runs=1,
    # A retry does not schedule again: it finds what the try before it has submitted, and goes on from there.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={
        "post_id": Param(type="string", pattern=UUID, title="Post", description="Id of the prepared post."),
        "social_account_ids": Param(
            type="array",
            items={"type": "string", "pattern": UUID},
            minItems=1,
            uniqueItems=True,
            title="Social accounts",
            description="Ids of the accounts to publish it on. What happens on the last one can be watched.",
        ),
        "scheduled_at": Param(
            type="string",
            title="When",
            description="When to publish: local time of the time zone below, or with an offset of its own.",
        ),
        "timezone": Param(None, type=["string", "null"], title="Time zone", description="Such as Europe/Vienna."),
        "platform_settings_by_social_account_id": Param(
            {},
            type="object",
            additionalProperties={"type": "object"},
            title="Settings",
            description="Settings of the post for an account, by the id of the account.",
        ),
    },
    tags=["octospark", "example"],
) as dag:
    schedule = OctosparkScheduleMultiOperator(
        task_id="schedule",
        post_id="{{ params.post_id }}",
        # A template is text: written as JSON, lists and objects survive it, whatever is in them.
        social_account_ids="{{ params.social_account_ids | tojson }}",
        scheduled_at="{{ params.scheduled_at }}",
        # An empty text means that there is none.
        timezone="{{ params.timezone or '' }}",
        platform_settings_by_social_account_id="{{ params.platform_settings_by_social_account_id | tojson }}",
        # An account that has to be connected anew must not keep us from waiting for the others.
        partial_failure="succeed",
    )

    # One sensor for the whole list: one task and one trigger, however many accounts there are.
    wait = OctosparkPostSensor(
        task_id="wait",
        publication=schedule.output,
        deferrable=True,
        # What cannot be watched is no failure here; the report names it.
        partial_failure="succeed",
        # How long after its time a publication may stay hidden behind another one before it is given up on (15
        # minutes by default). These hide each other from the first moment, so there is no use in waiting long.
        hidden_timeout=timedelta(seconds=30),
        publish_timeout=timedelta(hours=6),
    )

    @task
    def report(final: Any) -> dict[str, list[str]]:
        """Sort the accounts by what is known of them; fail, and so make the run fail, if any is not published."""
        ti = get_current_context()["ti"]
        # `accounts` also holds those that never got on the schedule; the sensor was not asked about them.
        ended = {each["social_account_id"]: each for each in ti.xcom_pull(task_ids="schedule", key="accounts")}
        ended |= {each["social_account_id"]: each for each in final}
        sorted_by_end: dict[str, list[str]] = {}
        for account_id, outcome in ended.items():
            why = outcome["url"] or outcome["error_message"] or outcome["reason"] or ""
            log.info("%-9s %-9s %s", outcome["provider"] or account_id, outcome["state"], why)
            sorted_by_end.setdefault(outcome["state"], []).append(account_id)
        ti.xcom_push(key="by_end", value=sorted_by_end)
        counts = ", ".join(f"{len(ids)} {end}" for end, ids in sorted_by_end.items())
        if sorted_by_end.keys() != {"published"}:
            raise AirflowFailException(f"Not all are out: {counts}.")
        return sorted_by_end

    report(wait.output)
