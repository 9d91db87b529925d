"""The operator that measures what was published. Its task is in ``tasks/measure.py``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.parameters.checks import check_at_parsing, check_fixed, check_literals
from airflow_provider_octospark.parameters.defaults import (
    COLLECT_INTERVAL,
    COLLECT_TIMEOUT,
    COLLECTED_AFTER,
    CONN_ID,
    HIDDEN_TIMEOUT,
    IfNotPublished,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_octospark.tasks.measure import MeasureTask


class OctosparkPostPerformanceOperator(BaseOperator):
    """Measure publications: read what Octospark collected of them, as rows for a table. The operator submits nothing.

    Give either ``publication`` (what an operator or the sensor of this provider returned) or ``post_id``. Returns a row for a
    publication, and a list of rows for a list or with ``snapshots=True``. For the manifest of a batch it returns an object whose
    ``rowKeys`` names the task's XComs ``rows_0``, ``rows_1`` and so on, which hold the rows.

    .. code-block:: python

        OctosparkPostPerformanceOperator(task_id="measure", publication=publish.output, deferrable=True)

    :param publication: what an operator or the sensor returned: an outcome, a list of outcomes, or the manifest of a batch, or a
        list of manifests. (templated)
    :param post_id: id of a post, to measure a submission that was made elsewhere. (templated)
    :param scheduled_post_id: with ``post_id``: the submission to measure (default: the post's latest one). (templated)
    :param team_id: id of the post's team; default: ``team_id`` in the connection's extra. (templated)
    :param collected_after: how long after its ``scheduled_at`` the counts of a publication must be collected; of a ``post_id``, how
        long after the task's start. Nothing is read before. A timedelta or seconds (default 24 hours).
    :param collect_timeout: how long to wait from then on until Octospark has collected; then the task fails. A timedelta or
        seconds (default 24 hours).
    :param max_age: the largest age of the counts when they are read; older ones are waited for. A timedelta, seconds or None for
        any age (default None).
    :param snapshots: whether the result has a row for each snapshot in place of the latest counts (default False).
    :param if_not_published: what the task does if a publication failed: ``fail`` (default), or ``skip``: leave it out, and skip the
        task if none is left. An unknown outcome fails the task.
    :param hidden_timeout: how long the performance of a post may name another submission; then the task fails. A timedelta or
        seconds (default 15 minutes).
    :param poll_interval: pause between two reads, in seconds (default 300.0).
    :param deferrable: whether the task waits in the triggerer, without a worker slot (default: Airflow's ``[operators]
        default_deferrable``).
    :param octospark_conn_id: id of the Airflow connection (default ``octospark_default``). (templated)

    :raises OctosparkNotMeasuredError: if there are no numbers of a publication. The rows of the others are pushed before. Not
        retried.
    """

    template_fields: Sequence[str] = ("publication", "post_id", "scheduled_post_id", "team_id", "octospark_conn_id")
    ui_color = "#ede7fb"

    def __init__(
        self,
        *,
        publication: Any = None,
        post_id: Any = None,
        scheduled_post_id: Any = None,
        team_id: Any = None,
        collected_after: timedelta | float = COLLECTED_AFTER,
        collect_timeout: timedelta | float = COLLECT_TIMEOUT,
        max_age: timedelta | float | None = None,
        snapshots: bool = False,
        if_not_published: IfNotPublished = "fail",
        hidden_timeout: timedelta | float = HIDDEN_TIMEOUT,
        poll_interval: float = COLLECT_INTERVAL,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        octospark_conn_id: str = CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.publication = publication
        self.post_id = post_id
        self.scheduled_post_id = scheduled_post_id
        self.team_id = team_id
        self.collected_after = collected_after
        self.collect_timeout = collect_timeout
        self.max_age = max_age
        self.snapshots = snapshots
        self.if_not_published = if_not_published
        self.hidden_timeout = hidden_timeout
        self.poll_interval = poll_interval
        self.deferrable = deferrable
        self.octospark_conn_id = octospark_conn_id
        self._task: MeasureTask | None = None
        check_at_parsing(self)

    def check_parameters(self) -> None:
        """Check what no template can change.

        :raises OctosparkArgumentError: naming the parameter, its value, and what to write.
        """
        check_fixed(
            self,
            collected_after=arguments.required_duration,
            collect_timeout=arguments.required_duration,
            max_age=arguments.optional_duration,
            snapshots=arguments.fixed_flag,
            if_not_published=lambda value, name: arguments.one_of(value, get_args(IfNotPublished), name),
            hidden_timeout=arguments.required_duration,
            poll_interval=lambda value, _: arguments.poll_interval(value),
            deferrable=arguments.fixed_flag,
        )
        check_literals(
            self,
            post_id=arguments.optional_id,
            scheduled_post_id=arguments.optional_id,
            team_id=arguments.optional_id,
        )
        if self.publication is None and self.post_id is None:
            raise OctosparkArgumentError("Neither publication nor post_id is set; there is nothing to measure.")

    def execute(self, context: Context) -> Any:
        """Measure what can be measured now, and wait for the rest."""
        self.check_parameters()
        with self._begin(context) as task:
            return task.start()

    def execute_complete(self, context: Context, event: Any, measurement: Any = None) -> Any:
        """Take the trigger's event and end the task. Makes no request."""
        with self._begin(context) as task:
            return task.complete(event, measurement)

    def on_kill(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.stopping.on_kill()

    def _begin(self, context: Context) -> MeasureTask:
        # Imported here, because parsing a DAG file should not import it.
        from airflow_provider_octospark.tasks.measure import MeasureDescription, MeasureTask

        description = MeasureDescription(
            octospark_conn_id=self.octospark_conn_id,
            publication=self.publication,
            post_id=self.post_id,
            scheduled_post_id=self.scheduled_post_id,
            team_id=self.team_id,
            collected_after=self.collected_after,
            collect_timeout=self.collect_timeout,
            max_age=self.max_age,
            snapshots=self.snapshots,
            if_not_published=self.if_not_published,
            hidden_timeout=self.hidden_timeout,
            poll_interval=self.poll_interval,
            deferrable=self.deferrable,
            do_xcom_push=self.do_xcom_push,
        )
        self._task = MeasureTask(description, context, self.log)
        return self._task
