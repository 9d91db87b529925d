"""The sensor that waits until posts are published or failed.

Its task is in ``tasks/wait.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args

from airflow.providers.common.compat.sdk import AirflowSensorTimeout, BaseSensorOperator, PokeReturnValue, conf

from airflow_provider_octospark.api.text import shown
from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.links.octospark import OctosparkPublishedPostLink
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.parameters.arguments import is_poll_interval
from airflow_provider_octospark.parameters.checks import check_at_parsing, check_fixed, check_literals, check_wait
from airflow_provider_octospark.parameters.defaults import (
    CONN_ID,
    HIDDEN_TIMEOUT,
    POLL_BACKOFF,
    POLL_INTERVAL,
    PUBLISH_TIMEOUT,
    PartialFailure,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_octospark.tasks.wait import WaitTask


class OctosparkPostSensor(BaseSensorOperator):
    """Wait until posts are published. The sensor submits nothing.

    Give either ``publication`` (what an operator of this provider returned) or ``post_id``. Returns the final outcome, or
    a list of them if ``publication`` is a list. For the manifest of a batch it returns such a manifest, with the final outcomes
    in its own XComs ``outcomes_0``, ``outcomes_1`` and so on. Modes ``poke`` and ``reschedule`` and a deferred sensor behave the
    same.

    .. code-block:: python

        OctosparkPostSensor(task_id="wait", publication=schedule.output, deferrable=True)

    :param publication: what an operator returned: an outcome, a list of outcomes, or the manifest of a batch, whose outcomes
        the sensor reads from that task's XComs; or a list of manifests, as a mapped batch returns it. (templated)
    :param post_id: id of a post, to wait for a submission that was made elsewhere. (templated)
    :param scheduled_post_id: with ``post_id``: the submission to wait for. (templated)
    :param social_account_id: with ``post_id``: only a submission to this account counts. (templated)
    :param team_id: id of the post's team; default: ``team_id`` in the connection's extra. (templated)
    :param since: with ``post_id`` and no ``scheduled_post_id``: only a submission created at or after this time counts,
        an aware datetime or ISO 8601 (default: when this run was due). (templated)
    :param partial_failure: with a list: ``fail`` (default) fails the task if any publication failed or is unknown;
        ``succeed`` only if all did.
    :param publish_timeout: how long after the start, or after a later scheduled time, to wait for a publication; then its
        outcome is unknown. A timedelta or seconds (default 24 hours).
    :param hidden_timeout: how long after its time a publication may be hidden by a newer one of the same post; then its
        outcome is unknown. A timedelta or seconds (default 15 minutes).
    :param poll_interval: shortest pause between two polls, in seconds (default 4.0). Mode ``reschedule`` starts a process
        for each poll; give it a minute.
    :param poll_backoff: growth of the pause with the square root of the seconds since it was due (default 0.8).
    :param poke_interval: Airflow's name for ``poll_interval``. Give one of the two.
    :param timeout: the maximum time of the whole wait, if given; then the outcome is unknown.
    :param soft_fail: whether to skip the task instead of failing it when publishing failed. An unknown outcome or an
        unusable parameter still fails the task. ``never_fail`` has the same effect here.
    :param deferrable: whether the task waits in the triggerer, without a worker slot (default: Airflow's ``[operators]
        default_deferrable``).
    :param cancel_on_kill: whether to take scheduled submissions off the schedule when the task is stopped and its state is
        failed or skipped (default False). Applies only with ``publication``, and only to outcomes that are ``cancellable``;
        see the documentation, 'Stopping'.
    :param push_response: whether XCom ``response`` holds the submission as it was read last, with all fields, also unknown ones
        (default False); of several publications, ``response_0``, ``response_1`` and so on, in their order, at most 100. It is
        null if the task has not read the submission, and in mode ``reschedule`` unless the last poll has. The key is removed,
        and a response of more than 50,000 characters is cut, with a note in place of what is cut.
    :param octospark_conn_id: id of the Airflow connection (default ``octospark_default``). (templated)

    :raises OctosparkPublishFailedError: if publishing failed. Not retried.
    :raises OctosparkCancelledError: if a user took the post off the schedule. Not retried.
    :raises OctosparkUnknownError: if the outcome is unknown. Not retried.
    """

    template_fields: Sequence[str] = (
        "publication",
        "post_id",
        "scheduled_post_id",
        "social_account_id",
        "team_id",
        "since",
        "octospark_conn_id",
    )
    operator_extra_links = (OctosparkPublishedPostLink(),)
    ui_color = "#ede7fb"

    def __init__(
        self,
        *,
        publication: Any = None,
        post_id: Any = None,
        scheduled_post_id: Any = None,
        social_account_id: Any = None,
        team_id: Any = None,
        since: Any = None,
        partial_failure: PartialFailure = "fail",
        publish_timeout: timedelta | float = PUBLISH_TIMEOUT,
        hidden_timeout: timedelta | float = HIDDEN_TIMEOUT,
        poll_interval: float | None = None,
        poll_backoff: float = POLL_BACKOFF,
        poke_interval: timedelta | float | None = None,
        timeout: timedelta | float | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        cancel_on_kill: bool = False,
        push_response: bool = False,
        octospark_conn_id: str = CONN_ID,
        **kwargs: Any,
    ) -> None:
        if isinstance(poke_interval, timedelta):
            poke_interval = poke_interval.total_seconds()
        # Airflow would refuse an unusable value without naming the task.
        super().__init__(**{"poke_interval": poke_interval, **kwargs} if is_poll_interval(poke_interval) else kwargs)
        self.publication = publication
        self.post_id = post_id
        self.scheduled_post_id = scheduled_post_id
        self.social_account_id = social_account_id
        self.team_id = team_id
        self.since = since
        self.partial_failure = partial_failure
        self.publish_timeout = publish_timeout
        self.hidden_timeout = hidden_timeout
        if poll_interval is not None and poke_interval is not None:
            raise OctosparkArgumentError(
                f"poll_interval is {shown(poll_interval)} and poke_interval is {shown(poke_interval)}; they are the same "
                "setting. Give one of them."
            )
        self.poll_interval = POLL_INTERVAL if poll_interval is None else poll_interval
        if poke_interval is not None:
            self.poll_interval = poke_interval
        self.poll_backoff = poll_backoff
        self.wait_at_most = timeout
        self.deferrable = deferrable
        self.cancel_on_kill = cancel_on_kill
        self.push_response = push_response
        self.octospark_conn_id = octospark_conn_id
        self.skips_failures = self.soft_fail or self.never_fail
        self._task: WaitTask | None = None
        check_at_parsing(self)

    def check_parameters(self) -> None:
        """Check what no template can change.

        :raises OctosparkArgumentError: naming the parameter, its value, and what to write.
        """
        check_wait(self)
        check_fixed(self, partial_failure=lambda value, name: arguments.one_of(value, get_args(PartialFailure), name))
        arguments.optional_duration(self.wait_at_most, "timeout")
        check_literals(
            self,
            post_id=arguments.optional_id,
            scheduled_post_id=arguments.optional_id,
            social_account_id=arguments.optional_account,
            team_id=arguments.optional_id,
            since=lambda value, name: arguments.optional_instant(value, None, name),
        )
        if self.publication is None and self.post_id is None:
            raise OctosparkArgumentError("Neither publication nor post_id is set; there is nothing to wait for.")

    @property
    def published_url(self) -> str | None:
        """URL of the first published post, once the task has ended; the link reads it."""
        return None if self._task is None else self._task.published_url

    def execute(self, context: Context) -> Any:
        """Wait until all publications are final."""
        with self._own_skips(), self._begin(context) as task:
            self.check_parameters()
            # A scheduled time that the first poll shows counts for the deadline.
            if task.poll() and self.deferrable:
                return task.finish()
            if self.deferrable:
                task.defer()
            # The wait has a deadline of its own; Airflow's time-out must be later.
            self.timeout = task.longest_poking
            return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once; end the task if all publications are final."""
        task = self._task if self._task is not None else self._begin(context)
        if task.poll():
            return PokeReturnValue(is_done=True, xcom_value=task.finish())
        if self.reschedule:
            task.keep()
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: Any, wait: Any = None) -> Any:
        """Take the trigger's event and end the task. Makes no request."""
        return self._begin(context).complete(event, wait)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral; if Airflow's time-out was reached, because no triggerer ran, the outcomes are
        unknown."""
        with self._own_skips():
            try:
                return super().resume_execution(next_method, next_kwargs, context)
            except AirflowSensorTimeout:
                pass
            with self._begin(context) as task:
                return task.finish_without_triggerer("no triggerer took over the wait")

    def on_kill(self) -> None:
        """With ``cancel_on_kill``, take submissions off the schedule if the task has failed or was skipped."""
        if self._task is not None:
            self._task.stopping.on_kill()

    def _begin(self, context: Context) -> WaitTask:
        # Imported here, because parsing a DAG file should not import it.
        from airflow_provider_octospark.tasks.wait import WaitDescription, WaitTask

        description = WaitDescription(
            octospark_conn_id=self.octospark_conn_id,
            publication=self.publication,
            post_id=self.post_id,
            scheduled_post_id=self.scheduled_post_id,
            social_account_id=self.social_account_id,
            team_id=self.team_id,
            since=self.since,
            partial_failure=self.partial_failure,
            publish_timeout=self.publish_timeout,
            hidden_timeout=self.hidden_timeout,
            poll_interval=self.poll_interval,
            poll_backoff=self.poll_backoff,
            timeout=self.wait_at_most,
            reschedule=self.reschedule,
            skips_failures=self.skips_failures,
            cancel_on_kill=self.cancel_on_kill,
            outlets=self.outlets or (),
            do_xcom_push=self.do_xcom_push,
            push_response=self.push_response,
        )
        self._task = WaitTask(description, context, self.log)
        return self._task

    @contextmanager
    def _own_skips(self) -> Iterator[None]:
        """Keep Airflow from skipping the task.

        Airflow's sensors turn *every* error into a skip if ``soft_fail`` or ``never_fail`` is set, also an unknown
        outcome. In this context, ``tasks/result.py`` decides instead.
        """
        asked = self.soft_fail, self.never_fail
        self.soft_fail = self.never_fail = False
        try:
            yield
        finally:
            self.soft_fail, self.never_fail = asked

    def _get_next_poke_interval(
        self,
        started_at: datetime | float,  # noqa: ARG002 - Airflow's signature
        run_duration: Callable[[], float],  # noqa: ARG002
        poke_count: int,  # noqa: ARG002
    ) -> float:
        """Return the seconds until the next poke; ``polling/schedule.py`` decides."""
        return 0.0 if self._task is None else self._task.pause(datetime.now(UTC))
