"""The sensor: waits until publications are out, or until it is known that they are not, or cannot be known.

What its task does is in ``tasks/wait.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSensorTimeout, BaseSensorOperator, PokeReturnValue, conf

from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.links.octospark import OctosparkPublishedPostLink
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
    """Wait until posts are published, without ever submitting anything.

    Give either ``publication`` (what an operator of this provider returned) or ``post_id``. Returns the final outcome, or
    the list of them if ``publication`` is a list. The same in modes ``poke`` and ``reschedule`` and deferred.

    .. code-block:: python

        OctosparkPostSensor(task_id="wait", publication=schedule.output, deferrable=True)

    :param publication: an outcome, or a list of outcomes, of an operator; all of a list are waited for in one task.
        (templated)
    :param post_id: id of a post, to wait for a submission that was made elsewhere. (templated)
    :param scheduled_post_id: with ``post_id``: the submission to wait for. (templated)
    :param social_account_id: with ``post_id``: only a submission to this account counts. (templated)
    :param team_id: id of the post's team; default: ``team_id`` in the connection's extra. (templated)
    :param since: with ``post_id`` and no ``scheduled_post_id``: only a submission created at or after this time counts,
        an aware datetime or ISO 8601 (default: when this run was due). (templated)
    :param partial_failure: with a list: ``fail`` (default) fails the task if any of it failed or is unknown, ``succeed``
        only if all did.
    :param publish_timeout: how long after the start, or after a later scheduled time, a publication is given up as
        unknown; a timedelta or seconds (default 24 hours).
    :param hidden_timeout: how long after its time a publication may be hidden by a newer one of the same post before it
        is given up as unknown; a timedelta or seconds (default 15 minutes).
    :param poll_interval: shortest pause between two polls, in seconds (default 4.0). Mode ``reschedule`` starts a process
        for each poll; give it a minute.
    :param poll_backoff: growth of the pause with the square root of the seconds since it was due (default 0.8).
    :param poke_interval: Airflow's name for ``poll_interval``. Give one of the two.
    :param timeout: if given, the wait ends, as unknown, at the latest so long after its start.
    :param soft_fail: skip instead of failing when publishing is proven to have failed; never when it is unknown, and never
        for an unusable parameter. ``never_fail`` means the same here.
    :param deferrable: whether waiting is done by the triggerer, without a worker slot (default: Airflow's
        ``[operators] default_deferrable``).
    :param cancel_on_kill: whether to take what is still scheduled off the schedule when a user marks the task as failed
        (default False). Only with ``publication``, and only a post of which it names one submission; see the
        documentation, 'Stopping'.
    :param octospark_conn_id: id of the Airflow connection (default ``octospark_default``). (templated)

    :raises OctosparkPublishFailedError: if publishing failed. Not retried.
    :raises OctosparkCancelledError: if a user took the post off the schedule. Not retried.
    :raises OctosparkUnknownError: if it cannot be known. Not retried.
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
        octospark_conn_id: str = CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs if poke_interval is None else {"poke_interval": poke_interval, **kwargs})
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
                f"poll_interval is {poll_interval!r:.80} and poke_interval is {poke_interval!r:.80}; they are the same "
                "setting. Give one of them."
            )
        self.poll_interval = POLL_INTERVAL if poll_interval is None else poll_interval
        if poke_interval is not None:
            self.poll_interval = self.poke_interval
        self.poll_backoff = poll_backoff
        self.wait_at_most = timeout
        self.deferrable = deferrable
        self.cancel_on_kill = cancel_on_kill
        self.octospark_conn_id = octospark_conn_id
        self.skips_failures = self.soft_fail or self.never_fail
        self._task: WaitTask | None = None

    @property
    def published_url(self) -> str | None:
        """Address of the first published post, once the task has ended; the link reads it."""
        return None if self._task is None else self._task.published_url

    def execute(self, context: Context) -> Any:
        """Wait; see the class."""
        with self._own_skips(), self._begin(context) as task:
            # What the first poll shows of a scheduled time that was not known still counts for the deadline.
            if task.poll() and self.deferrable:
                return task.finish()
            if self.deferrable:
                task.defer()
            # Our own deadline decides; Airflow's must not come before it, whatever its default is.
            self.timeout = task.longest_poking
            return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; ends the task if all publications have ended."""
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
        """As the base's; but if Airflow's own time-out struck, because no triggerer ran, the ends are unknown."""
        with self._own_skips():
            try:
                return super().resume_execution(next_method, next_kwargs, context)
            except AirflowSensorTimeout:
                pass
            with self._begin(context) as task:
                return task.give_up("no triggerer took over the wait")

    def on_kill(self) -> None:
        """With ``cancel_on_kill``, and if a user marked the task as failed, take back what is still scheduled."""
        if self._task is not None and self.cancel_on_kill:
            self._task.cancel()

    def _begin(self, context: Context) -> WaitTask:
        # Imported where a task runs: whoever only parses a DAG file does not pay for it.
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
        )
        self._task = WaitTask(description, context, self.log)
        return self._task

    @contextmanager
    def _own_skips(self) -> Iterator[None]:
        """Keep Airflow from skipping the task.

        Its sensors turn *any* error into a skip where ``soft_fail`` or ``never_fail`` is set, also one that leaves open
        whether a post is live. Within, only ``tasks/result.py`` decides.
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
        """Airflow asks here how long to sleep or to be rescheduled; ``polling/schedule.py`` decides."""
        return 0.0 if self._task is None else self._task.pause(datetime.now(UTC))
