"""The task that measures publications, before and after a deferral. It only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, Self

from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException, TaskDeferred

from airflow_provider_octospark.airflow_compat import run_of
from airflow_provider_octospark.api.text import Log
from airflow_provider_octospark.exceptions import (
    OctosparkArgumentError,
    OctosparkNotMeasuredError,
    OctosparkProtocolError,
)
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.parameters.defaults import IfNotPublished
from airflow_provider_octospark.polling.measurement import Measurement, Reading, Terms
from airflow_provider_octospark.polling.performance_rows import PerformanceRow
from airflow_provider_octospark.polling.wait import same_targets
from airflow_provider_octospark.submission.batch import PART, is_manifest
from airflow_provider_octospark.tasks.clock import SystemClock
from airflow_provider_octospark.tasks.deferral import FRAMEWORK_MARGIN, whole_event
from airflow_provider_octospark.tasks.given_publications import entries_of, outcomes_of_entries
from airflow_provider_octospark.tasks.result import SHOWN
from airflow_provider_octospark.tasks.stopping import Stopping
from airflow_provider_octospark.tasks.xcoms import XComs
from airflow_provider_octospark.xcom_parts import fitting, whole

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

MEASUREMENT_XCOMS = "octospark_measurement"
"""The XComs of a measurement that is too long for a deferral."""


@dataclass(frozen=True, kw_only=True)
class MeasureDescription:
    """The description of a task that measures; fields as the operator's parameters.

    :param do_xcom_push: whether the task pushes XComs.
    :param push_response: False always: the rows hold what the service answered.
    """

    octospark_conn_id: str
    publication: Any
    post_id: Any
    scheduled_post_id: Any
    team_id: Any
    collected_after: timedelta | float
    collect_timeout: timedelta | float
    max_age: timedelta | float | None
    snapshots: bool
    if_not_published: IfNotPublished
    hidden_timeout: timedelta | float
    poll_interval: float
    deferrable: bool
    do_xcom_push: bool = True
    push_response: bool = False


class MeasureTask:
    """One process of a task that measures.

    :param description: the task's description, with rendered templates.
    :param log: the task's log.
    """

    def __init__(self, description: MeasureDescription, context: Context, log: Log) -> None:
        self.description = description
        self.log = log
        self.run = run_of(context)
        self.stopping = Stopping()
        self._xcoms = XComs(description, context, log)
        self._hook = OctosparkHook(description.octospark_conn_id)
        self._hook.is_stopped = lambda: self.stopping.is_requested

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.close()

    def start(self) -> Any:
        """Measure what can be measured now; wait for the rest.

        :raises OctosparkArgumentError: naming the parameter that is unusable.
        """
        measurement = Measurement.start(self._publications, self._terms(), started_at=datetime.now(UTC))
        clock = SystemClock(self.stopping)
        with self.stopping.observed():
            while True:
                for line in self._hook.measure(measurement):
                    self.log.info("%s", line)
                self.stopping.check()
                now = clock.now()
                if measurement.done:
                    return self._finish(measurement)
                if self.description.deferrable:
                    self._defer(measurement)
                clock.sleep(max(0.0, (measurement.next_step(now) - now).total_seconds()))

    def complete(self, event: Any, handed_over: Any) -> Any:
        """Take the trigger's event and end the task. Makes no request.

        :param event: the trigger's event.
        :param handed_over: the measurement as the task deferred it; None where Airflow drops it (``dag.test``).
        :raises OctosparkProtocolError: if either is invalid.
        """
        from airflow_provider_octospark.triggers.performance import measurement_of_event

        measured = measurement_of_event(whole_event(event))
        if handed_over is None:
            return self._finish(measured)
        try:
            asked = Measurement.from_json(whole(handed_over))
        except ValueError as error:
            problem = str(error)
        else:
            if same_targets(measured.outcomes, asked.outcomes):
                return self._finish(measured)
            self.log.warning("The trigger's event is about other publications than this task measures; waiting on.")
            self._defer(asked)
        raise OctosparkProtocolError(
            f"What the task handed to the triggerer cannot be read ({problem:.200}); was the provider changed while the task was "
            "deferred? A retry measures again."
        )

    def _defer(self, measurement: Measurement) -> NoReturn:
        from airflow_provider_octospark.triggers.performance import OctosparkPerformanceTrigger

        run = self.run
        owner = {"dag_id": run.dag_id, "run_id": run.run_id, "task_id": run.task_id, "map_index": run.map_index}
        handed_over = fitting(measurement.as_json(), MEASUREMENT_XCOMS, run)
        raise TaskDeferred(
            trigger=OctosparkPerformanceTrigger(self.description.octospark_conn_id, handed_over, owner),
            method_name="execute_complete",
            kwargs={"measurement": handed_over},
            timeout=measurement.deadline - datetime.now(UTC) + FRAMEWORK_MARGIN,
        )

    def _terms(self) -> Terms:
        description = self.description
        return Terms(
            collected_after=arguments.required_duration(description.collected_after, "collected_after"),
            collect_timeout=arguments.required_duration(description.collect_timeout, "collect_timeout"),
            max_age=arguments.optional_duration(description.max_age, "max_age"),
            snapshots=description.snapshots,
            hidden_timeout=arguments.required_duration(description.hidden_timeout, "hidden_timeout"),
            interval=arguments.poll_interval(description.poll_interval),
        )

    @cached_property
    def _entries(self) -> list[object]:
        return entries_of(self.description.publication)

    @cached_property
    def _publications(self) -> list[Outcome]:
        """What to measure; reads the XComs that manifests name."""
        description = self.description
        if arguments.is_absent(description.publication):
            if arguments.is_absent(description.post_id):
                raise OctosparkArgumentError("Neither publication nor post_id is set; there is nothing to measure.")
            return [
                Outcome(
                    team_id=self._hook.team(description.team_id),
                    post_id=arguments.required_id(description.post_id, "post_id"),
                    social_account_id=None,
                    scheduled_post_id=arguments.optional_id(description.scheduled_post_id, "scheduled_post_id"),
                    state="pending",
                )
            ]
        for field in ("post_id", "scheduled_post_id"):
            if not arguments.is_absent(getattr(description, field)):
                raise OctosparkArgumentError(f"Both publication and {field} are set; publication says it all.")
        outcomes = outcomes_of_entries(self._entries)
        if not outcomes:
            raise OctosparkArgumentError("publication is an empty list; there is nothing to measure.")
        for outcome in outcomes:
            if outcome.state == "published" and outcome.scheduled_post_id is None:
                raise OctosparkArgumentError(
                    f"publication holds the outcome of post {outcome.post_id} without a scheduled_post_id, so nothing shows that "
                    "numbers are its own. Give post_id in place of publication, to measure the post's latest submission."
                )
        return outcomes

    def _finish(self, measurement: Measurement) -> Any:
        """Return the rows, or raise what the readings without numbers mean."""
        rows = [row for reading in measurement.readings for row in reading.rows]
        for row in rows:
            if row["problem"]:
                self.log.warning("Post %s: %s.", row["post_id"], row["problem"])
        result, extra = self._result(rows, measurement.readings)
        try:
            self._raise_for(measurement.readings)
        except AirflowException:
            if rows:
                self._xcoms.push_before_raising(lambda: (extra, result))
            raise
        self._xcoms.push(extra)
        return result

    def _raise_for(self, readings: Sequence[Reading]) -> None:
        missing = [reading for reading in readings if reading.state != "measured"]
        skips = self.description.if_not_published == "skip"
        tolerated = [reading for reading in missing if skips and reading.state == "not_published"]
        bad = [reading for reading in missing if reading not in tolerated]
        for reading in tolerated:
            self.log.warning("%s", reading.message)
        if bad:
            shown = " ".join(str(reading.message) for reading in bad[:SHOWN])
            more = f" And {len(bad) - SHOWN} more; the log names them." if len(bad) > SHOWN else ""
            counts = f"{len(bad)} of {len(readings)} publications are not measured. " if len(readings) > 1 else ""
            for reading in bad[SHOWN:]:
                self.log.error("%s", reading.message)
            raise OctosparkNotMeasuredError(f"{counts}{shown}{more}")
        if tolerated and len(tolerated) == len(readings):
            raise AirflowSkipException(str(tolerated[0].message))

    def _result(self, rows: Sequence[PerformanceRow], readings: Sequence[Reading]) -> tuple[Any, dict[str, Any]]:
        """Return the task's XCom ``return_value``, and its other XComs by key."""
        publication = self.description.publication
        if any(map(is_manifest, self._entries)):
            starts = range(0, len(rows), PART)
            extra = {f"rows_{number}": list(rows[start : start + PART]) for number, start in enumerate(starts)}
            run = self.run
            counts = {
                "totalCount": len(readings),
                "measuredCount": sum(each.state == "measured" for each in readings),
                "rowCount": len(rows),
            }
            ids = {"dagId": run.dag_id, "runId": run.run_id, "taskId": run.task_id, "mapIndex": run.map_index}
            return {**counts, **ids, "rowKeys": list(extra)}, extra
        is_single = arguments.is_absent(publication) or isinstance(arguments.structure(publication), Mapping)
        if is_single and not self.description.snapshots:
            return (rows[0] if rows else None), {}
        return list(rows), {}
