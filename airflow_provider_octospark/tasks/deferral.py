"""Handing a wait to the triggerer and taking its event back: the same for the operators and the sensor."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from airflow_provider_octospark.airflow_compat import until
from airflow_provider_octospark.api.text import Log
from airflow_provider_octospark.exceptions import OctosparkProtocolError
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.polling.wait import Wait, same_targets

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

FRAMEWORK_MARGIN = timedelta(hours=1)
"""How long after our own deadline Airflow's time-out strikes, should no triggerer be running."""

SHORTEST_DEFERRAL = timedelta(seconds=5)
"""Airflow fails a task whose trigger fires before the scheduler has seen it defer; shorter waits are slept."""


class Deferral(TypedDict):
    """Arguments of an operator's ``defer``."""

    trigger: BaseTrigger
    method_name: str
    kwargs: dict[str, Any]
    timeout: timedelta


def until_published(
    octospark_conn_id: str, wait: Wait, cancel_on_kill: list[dict[str, Any]] | None = None, **carried: Any
) -> Deferral:
    """Return the deferral until all of a wait has ended; the task goes on in ``execute_complete``.

    :param cancel_on_kill: what the trigger is to take off the schedule if a user marks the task as failed; None to
        leave all as it is.
    :param carried: what ``execute_complete`` is to be given besides the event and the wait; JSON primitives.
    """
    # Triggers are imported where one is needed: whoever only parses a DAG file does not pay for them.
    from airflow_provider_octospark.triggers.octospark import OctosparkPostTrigger

    arguments = wait.as_json()
    return Deferral(
        trigger=OctosparkPostTrigger(octospark_conn_id, arguments, cancel_on_kill),
        method_name="execute_complete",
        kwargs={"wait": arguments, **carried},
        timeout=wait.deadline - datetime.now(UTC) + FRAMEWORK_MARGIN,
    )


def until_in_doubt_resolved(instant: datetime, **carried: Any) -> Deferral:
    """Return the deferral until a request in doubt is worth a poll; the task goes on in ``resume_submission``.

    :param carried: what ``resume_submission`` is to be given besides the event; JSON primitives.
    """
    return Deferral(
        trigger=until(instant),
        method_name="resume_submission",
        kwargs=carried,
        timeout=instant - datetime.now(UTC) + FRAMEWORK_MARGIN,
    )


def outcomes_or_wait(event: Any, wait: Any, log: Log) -> list[Outcome] | Wait:
    """Return the outcomes that an event carries, or, if it is about something else, the wait to go on with.

    After a clear Airflow may hand the event of an earlier try's trigger to the task.

    :param event: what the trigger fired.
    :param wait: what the task had handed over, as it came back; None where Airflow lost it (``dag.test``).
    :raises OctosparkProtocolError: if either cannot be read.
    """
    from airflow_provider_octospark.triggers.octospark import outcomes_of_event

    outcomes = outcomes_of_event(event)
    if wait is None:
        return outcomes
    try:
        awaited = Wait.from_json(wait)
    except ValueError as error:
        problem = str(error)
    else:
        if same_targets(outcomes, awaited.outcomes):
            return outcomes
        log.warning("The trigger's event is about other publications than this task waits for; waiting on.")
        return awaited
    raise OctosparkProtocolError(
        f"What the task handed to the triggerer cannot be read ({problem:.200}); was the provider changed while the task was "
        "deferred? A retry waits again and submits nothing."
    )
