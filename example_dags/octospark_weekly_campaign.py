"""A post every Monday at nine, from a plan, made so that catching up can do no harm.

Airflow makes up for runs that it missed: after an outage the last one starts late, and with `catchup=True` all of them do.
Here a run that is more than a day late publishes nothing and is skipped, and a run of a backfill likewise. So it is safe to
turn `catchup` on for the sake of the other tasks of the DAG.

The plan maps the ISO week of a run to the post that was prepared for it: the Airflow Variable `octospark_weekly_plan`,

    {"account": "...", "posts": {"2027-W09": "...", "2027-W10": "..."}}
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pendulum

# The same import on Airflow 2.11 and on Airflow 3; on Airflow 3 alone, `airflow.sdk` has all of them.
from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, Variable, get_current_context, task

from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator

ZONE = "Europe/Vienna"

with DAG(
    dag_id="octospark_weekly_campaign",
    description="Publish the post that was planned for this week, never one of an earlier week",
    doc_md=__doc__,
    schedule="0 9 * * 1",
    start_date=pendulum.datetime(2026, 1, 5, tz=ZONE),
    catchup=False,
    # One week after the other: two runs at once could publish in the wrong order.
    max_active_runs=1,
    # A retry does not publish again: it finds what the try before it has submitted, and goes on from there.
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["octospark", "example"],
) as dag:

    @task
    def planned() -> dict[str, str]:
        """Look up this week's post. A week without one is skipped."""
        context: dict[str, Any] = dict(get_current_context())
        # When the run was due. Airflow 2 has no `run_after`: there a run is due when its data interval ends.
        due: datetime = getattr(context["dag_run"], "run_after", None) or context["data_interval_end"]
        year, week, _ = due.astimezone(pendulum.timezone(ZONE)).isocalendar()
        plan = Variable.get("octospark_weekly_plan", deserialize_json=True)
        post_id = plan["posts"].get(f"{year}-W{week:02}")
        if post_id is None:
            raise AirflowSkipException(f"Nothing is planned for week {week} of {year}.")
        return {"post_id": post_id, "social_account_id": plan["account"]}

    plan: Any = planned()
    publish = OctosparkPostNowOperator(
        task_id="publish",
        post_id=plan["post_id"],
        social_account_id=plan["social_account_id"],
        wait_for_completion=True,
        deferrable=True,
        # This is what makes catching up safe. What was submitted in time and only took long is never refused for it.
        max_lateness=timedelta(days=1),
        if_late="skip",
    )
