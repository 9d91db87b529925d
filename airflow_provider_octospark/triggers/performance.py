"""The trigger that measures publications without a worker slot."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_octospark.api.text import sanitize
from airflow_provider_octospark.exceptions import OctosparkError, OctosparkProtocolError
from airflow_provider_octospark.polling.measurement import Measurement
from airflow_provider_octospark.polling.poller import LONGEST_SLEEP
from airflow_provider_octospark.triggers import octospark as post_trigger
from airflow_provider_octospark.triggers.observer import cause_of, for_each_post, observe
from airflow_provider_octospark.triggers.reader import Reader
from airflow_provider_octospark.xcom_parts import afitting, awhole

EVENT_FORMAT = 1

EVENT_XCOMS = "octospark_measured"
"""The XComs of an event that is too long for a deferral."""


class OctosparkPerformanceTrigger(BaseTrigger):
    """Wait until every publication is measured, then fire one event with the measurement.

    The trigger only reads, and never raises. Its times are absolute, so a triggerer that restarts continues.

    :param octospark_conn_id: id of the Airflow connection. The triggerer reads the key and does not store it.
    :param measurement: as :meth:`~airflow_provider_octospark.polling.measurement.Measurement.as_json` returns it, or the XComs that
        hold it.
    :param owner: names of the task instance whose XComs take a long event: ``dag_id``, ``run_id``, ``task_id``, ``map_index``.
    """

    def __init__(self, octospark_conn_id: str, measurement: dict[str, Any], owner: dict[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.octospark_conn_id = octospark_conn_id
        self.measurement = measurement
        self.owner = owner

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, JSON primitives only."""
        return (
            "airflow_provider_octospark.triggers.performance.OctosparkPerformanceTrigger",
            {
                "octospark_conn_id": self.octospark_conn_id,
                "measurement": self.measurement,
                "owner": self.owner,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event: ``{"format": 1, "measurement": {...}}`` or ``{"format": 1, "error": "..."}``, or the XComs of the
        task that hold it."""
        loop = asyncio.get_running_loop()
        not_before = loop.time() + post_trigger.FIRST_POLL_AFTER.total_seconds()
        try:
            measurement = Measurement.from_json(await awhole(self.measurement))
            spread = random.random() * post_trigger.FIRST_POLLS_WITHIN  # noqa: S311
            measurement.hold(datetime.now(UTC) + post_trigger.FIRST_POLL_AFTER + spread)
            async with Reader(self.octospark_conn_id) as reader:
                await for_each_post(measurement.posts(), lambda post: self._measure(post, measurement, reader))
            event: dict[str, Any] = {"format": EVENT_FORMAT, "measurement": measurement.as_json()}
        except Exception as error:
            # A trigger that raises loses what it has read.
            self.log.exception("The measurement broke down.")
            cause = cause_of(error)
            event = {"format": EVENT_FORMAT, "error": f"{type(cause).__name__}: {sanitize(cause, 500)}"}
        await asyncio.sleep(max(0.0, not_before - loop.time()))
        yield TriggerEvent(await self._fitting(event))  # type: ignore[no-untyped-call]

    async def _fitting(self, event: dict[str, Any]) -> dict[str, Any]:
        try:
            fitted: dict[str, Any] = await afitting(event, EVENT_XCOMS, _Owner(**self.owner))
        except Exception:
            # A long event is stored on most databases; a trigger that raises loses it on all.
            self.log.exception("The event could not be written to XComs.")
            return event
        return fitted

    async def _measure(self, post: tuple[str, str], measurement: Measurement, reader: Reader) -> None:
        """Read the performance of one post until its publications are measured."""
        while (at := measurement.read_at(post, datetime.now(UTC))) is not None:
            pause = (at - datetime.now(UTC)).total_seconds()
            if pause > 0:
                await asyncio.sleep(min(pause, LONGEST_SLEEP))
                continue
            if measurement.wait.is_open(post):
                await observe(post, measurement.wait, reader, self._report)
                continue
            if lines := measurement.expire(post, datetime.now(UTC)):
                self._report(lines)
                continue
            try:
                response = await reader.performance(post)
            except OctosparkError as error:
                self._report(measurement.record_error(post, error, datetime.now(UTC)))
            else:
                self._report(measurement.record_response(post, response, datetime.now(UTC)))

    def _report(self, lines: list[str]) -> None:
        for line in lines:
            self.log.info("%s", line)


class _Owner(NamedTuple):
    dag_id: str
    run_id: str
    task_id: str
    map_index: int


def measurement_of_event(event: Any) -> Measurement:
    """Return the measurement that a trigger's event carries.

    :raises OctosparkProtocolError: if it is not an event of this trigger, has another format, or reports an error.
    """
    problem = sanitize(event, 200)
    if isinstance(event, dict) and event.get("format") == EVENT_FORMAT:
        if "error" in event:
            raise OctosparkProtocolError(
                f"The measurement broke down in the triggerer ({sanitize(event['error'], 500)}). A retry measures again."
            )
        try:
            return Measurement.from_json(event.get("measurement"))
        except ValueError as error:
            problem = sanitize(error, 200)
    raise OctosparkProtocolError(
        f"The trigger's event cannot be read ({problem}); was the provider changed while the task was deferred? A retry measures "
        "again."
    )
