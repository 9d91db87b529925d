"""Defer a wait to the triggerer and read its event, for the operators and the sensor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from airflow_provider_octospark.airflow_compat import TaskName, until
from airflow_provider_octospark.api.text import Log
from airflow_provider_octospark.exceptions import OctosparkProtocolError
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.polling.wait import Wait, same_targets
from airflow_provider_octospark.xcom_parts import XComParts, fitting, whole

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

FRAMEWORK_MARGIN = timedelta(hours=1)
"""How long after the wait's deadline Airflow's time-out comes, in case no triggerer runs."""

WAIT_XCOMS = "octospark_wait"
"""The XComs of a wait that is too long for a deferral."""

CANCEL_XCOMS = "octospark_cancel_on_kill"
"""The XComs of the submissions to take off the schedule, if there are too many for a deferral."""

SHORTEST_DEFERRAL = timedelta(seconds=5)
"""The shortest wait that is deferred; the task sleeps for a shorter one. Airflow fails a task whose trigger fires before
the scheduler has seen the deferral."""


class Deferral(TypedDict):
    """Arguments of an operator's ``defer``."""

    trigger: BaseTrigger
    method_name: str
    kwargs: dict[str, Any]
    timeout: timedelta


def until_published(
    octospark_conn_id: str,
    wait: Wait,
    task: TaskName,
    cancel_on_kill: list[dict[str, Any]] | None = None,
    **carried: Any,
) -> Deferral:
    """Return the deferral until a wait is done; the task continues in ``execute_complete``.

    What is too long for the deferral goes to XComs of the task.

    :param task: the task instance that defers.
    :param cancel_on_kill: what the trigger takes off the schedule if a user marks the task as failed; None for nothing.
    :param carried: arguments of ``execute_complete`` besides the event and the wait; JSON primitives.
    """
    # Imported here, because parsing a DAG file should not import triggers.
    from airflow_provider_octospark.triggers.octospark import OctosparkPostTrigger

    handed_back = fitting(wait.as_json(with_details=True), WAIT_XCOMS, task)
    awaited = wait.as_json() if XComParts.of(handed_back) is None else handed_back
    return Deferral(
        trigger=OctosparkPostTrigger(octospark_conn_id, awaited, fitting(cancel_on_kill, CANCEL_XCOMS, task)),
        method_name="execute_complete",
        kwargs={"wait": handed_back, **carried},
        timeout=wait.deadline - datetime.now(UTC) + FRAMEWORK_MARGIN,
    )


def until_in_doubt_resolved(instant: datetime, **carried: Any) -> Deferral:
    """Return the deferral until the next poll of a request in doubt; the task continues in ``resume_submission``.

    :param carried: arguments of ``resume_submission`` besides the event; JSON primitives.
    """
    return Deferral(
        trigger=until(instant),
        method_name="resume_submission",
        kwargs=carried,
        timeout=instant - datetime.now(UTC) + FRAMEWORK_MARGIN,
    )


def whole_event(event: Any) -> Any:
    """Return a trigger's event, also if it is in XComs of the task.

    :raises OctosparkProtocolError: if it is and cannot be read.
    """
    try:
        return whole(event)
    except ValueError as error:
        problem = str(error)
    raise OctosparkProtocolError(
        f"The trigger's event cannot be read ({problem:.200}). A retry waits again and submits nothing."
    )


def responses_of_event(event: Any) -> list[Any] | None:
    """Return the excerpts of responses that an event carries, or None if it carries none."""
    responses = event.get("responses") if isinstance(event, dict) else None
    return responses if isinstance(responses, list) else None


@dataclass(frozen=True)
class Ends:
    """The result of a deferral.

    :param outcomes: the outcomes of the wait, in order.
    :param during: those that became final during the deferral.
    """

    outcomes: list[Outcome]
    during: list[Outcome]


def ends_or_wait(event: Any, wait: Any, log: Log) -> Ends | Wait:
    """Return the result of a deferral, or the wait to continue if the event belongs to another one.

    After a clear, Airflow may pass the event of an earlier try's trigger to the task.

    :param event: the trigger's event.
    :param wait: the wait as the task deferred it; None where Airflow drops it (``dag.test``).
    :raises OctosparkProtocolError: if either is invalid.
    """
    from airflow_provider_octospark.triggers.octospark import outcomes_of_event

    outcomes = outcomes_of_event(event)
    if wait is None:
        return Ends(outcomes, outcomes)
    try:
        awaited = Wait.from_json(whole(wait))
    except ValueError as error:
        problem = str(error)
    else:
        if same_targets(outcomes, awaited.outcomes):
            pairs = list(zip(outcomes, awaited.outcomes, strict=True))
            # The trigger does not read again what was final before.
            whole_outcomes = [seen.with_details_of(known) for seen, known in pairs]
            return Ends(whole_outcomes, [seen for seen, known in pairs if not known.is_final])
        log.warning("The trigger's event is about other publications than this task waits for; waiting on.")
        return awaited
    raise OctosparkProtocolError(
        f"What the task handed to the triggerer cannot be read ({problem:.200}); was the provider changed while the task was "
        "deferred? A retry waits again and submits nothing."
    )
