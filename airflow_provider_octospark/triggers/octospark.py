"""The trigger that waits for publications without a worker slot."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_octospark.airflow_compat import TaskName
from airflow_provider_octospark.api.text import sanitize
from airflow_provider_octospark.cancellation import acancel, read_cancellable
from airflow_provider_octospark.exceptions import OctosparkProtocolError
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.polling.kept_responses import kept_responses
from airflow_provider_octospark.polling.wait import Wait
from airflow_provider_octospark.triggers.observer import cause_of, for_each_post, observe
from airflow_provider_octospark.triggers.reader import Reader
from airflow_provider_octospark.xcom_parts import XComParts, afitting, awhole

EVENT_FORMAT = 1

EVENT_XCOMS = "octospark_event"
"""The XComs of an event, if it and the trigger's wait are too long for a deferral."""

FIRST_POLL_AFTER = timedelta(seconds=5)
"""The earliest time after its start at which a trigger fires, in seconds. Airflow fails a task whose trigger fires before
the scheduler has seen the deferral."""

FIRST_POLLS_WITHIN = timedelta(seconds=1)
"""Time over which the first polls of triggers that start together are spread, in seconds."""

_CANCELLING: set[asyncio.Task[None]] = set()
"""Running cancellations. The event loop keeps only weak references to tasks."""


class OctosparkPostTrigger(BaseTrigger):
    """Wait until every publication is final, then fire one event with their outcomes.

    The trigger never submits and never raises. Its deadlines are absolute times, so a triggerer that restarts continues
    the wait. All triggers of a triggerer share one client for each connection.

    :param octospark_conn_id: id of the Airflow connection. The triggerer reads the key and does not store it.
    :param wait: the wait as :meth:`~airflow_provider_octospark.polling.wait.Wait.as_json` returns it: JSON primitives
        without secrets, or the XComs that hold it, see :mod:`~airflow_provider_octospark.xcom_parts`.
    :param cancel_on_kill: submissions to take off the schedule if a user marks the task as failed (Airflow 3.3 and newer),
        as :meth:`~airflow_provider_octospark.cancellation.Cancellable.as_json` returns them, or the XComs that hold them; None
        (default) for none.
    """

    def __init__(
        self,
        octospark_conn_id: str,
        wait: dict[str, Any],
        cancel_on_kill: list[dict[str, Any]] | dict[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.octospark_conn_id = octospark_conn_id
        self.wait = wait
        self.cancel_on_kill = cancel_on_kill

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, JSON primitives only."""
        return (
            "airflow_provider_octospark.triggers.octospark.OctosparkPostTrigger",
            {
                "octospark_conn_id": self.octospark_conn_id,
                "wait": self.wait,
                "cancel_on_kill": self.cancel_on_kill,
            },
        )

    async def on_kill(self) -> None:
        """Take submissions off the schedule if a user marked the task as failed. After a clear, the next try continues
        with them."""
        if self.cancel_on_kill is None or self.task_instance is None:
            return
        work = asyncio.create_task(self._take_back(self.task_instance))
        _CANCELLING.add(work)
        work.add_done_callback(_CANCELLING.discard)
        # Airflow 3.3 cancels a trigger, and this method, every second until it ends; the work goes on.
        await asyncio.shield(work)

    async def _take_back(self, task: TaskName) -> None:
        try:
            pending = read_cancellable(await awhole(self.cancel_on_kill))
        except Exception as error:  # noqa: BLE001 - best effort, as `acancel` is
            self.log.warning("cancel_on_kill: given up: %s: %s", type(error).__name__, sanitize(error, 300))
            return
        await acancel(self.octospark_conn_id, pending, task, self.log)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event: ``{"format": 1, "outcomes": [...]}`` or ``{"format": 1, "error": "..."}``.

        If the wait keeps what it reads, ``responses`` has an excerpt of each submission. If the wait is in XComs, a long event is
        in XComs of the same task.
        """
        loop = asyncio.get_running_loop()
        not_before = loop.time() + FIRST_POLL_AFTER.total_seconds()
        try:
            wait = Wait.from_json(await awhole(self.wait))
            spread = random.random() * FIRST_POLLS_WITHIN  # noqa: S311
            wait.hold(datetime.now(UTC) + FIRST_POLL_AFTER + spread)
            responses = await self._observe(wait)
            event: dict[str, Any] = {
                "format": EVENT_FORMAT,
                "outcomes": [outcome.as_json() for outcome in wait.outcomes],
                **({} if responses is None else {"responses": responses}),
            }
        except Exception as error:
            # A trigger that raises loses the wait.
            self.log.exception("The wait broke down.")
            cause = cause_of(error)
            event = {"format": EVENT_FORMAT, "error": f"{type(cause).__name__}: {sanitize(cause, 500)}"}
        await asyncio.sleep(max(0.0, not_before - loop.time()))
        event = await self._fitting(event)
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _fitting(self, event: dict[str, Any]) -> dict[str, Any]:
        try:
            task = XComParts.of(self.wait)
            return event if task is None else await afitting(event, EVENT_XCOMS, task)
        except Exception:
            # A long event is stored on most databases; a trigger that raises loses the wait on all.
            self.log.exception("The event could not be written to XComs.")
            return event

    async def _observe(self, wait: Wait) -> list[Any] | None:
        async with Reader(self.octospark_conn_id) as reader:
            await for_each_post(wait.posts(), lambda post: observe(post, wait, reader, self._report))
            return kept_responses(wait, reader.token)

    def _report(self, lines: list[str]) -> None:
        for line in lines:
            self.log.info("%s", line)


def outcomes_of_event(event: Any) -> list[Outcome]:
    """Return the outcomes that a trigger's event carries.

    :raises OctosparkProtocolError: if it is not an event of this trigger, has another format, or reports an error.
    """
    if not isinstance(event, dict) or event.get("format") != EVENT_FORMAT:
        raise OctosparkProtocolError(
            f"The trigger's event cannot be read ({sanitize(event, 200)}); was the provider changed while the task was deferred? "
            "A retry waits again and submits nothing."
        )
    if "error" in event:
        raise OctosparkProtocolError(
            f"The wait broke down in the triggerer ({sanitize(event['error'], 500)}). A retry waits again and submits nothing."
        )
    try:
        return [Outcome.model_validate(entry) for entry in event["outcomes"]]
    except (KeyError, TypeError, ValueError) as error:
        problem = sanitize(error, 200)
    raise OctosparkProtocolError(f"The trigger's event cannot be read ({problem}). A retry waits again.")
