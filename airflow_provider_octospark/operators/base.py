"""Common parameters of the operators that submit. Their tasks are in ``tasks/submit.py``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

from airflow.providers.common.compat.sdk import AirflowException, BaseOperator, conf

from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.links.octospark import OctosparkPublishedPostLink
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.parameters.checks import check_fixed, check_literals, check_wait
from airflow_provider_octospark.parameters.defaults import (
    CONN_ID,
    HIDDEN_TIMEOUT,
    POLL_BACKOFF,
    POLL_INTERVAL,
    PUBLISH_TIMEOUT,
    SETTLE_TIME,
    IfLate,
    IfSubmitted,
    PartialFailure,
    Repeats,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_octospark.hooks.octospark import OctosparkHook
    from airflow_provider_octospark.outcomes import Outcome
    from airflow_provider_octospark.submission.announcements import Announcement
    from airflow_provider_octospark.submission.rules import Rules
    from airflow_provider_octospark.tasks.submit import SubmitTask


class OctosparkSubmitOperator(BaseOperator):
    """Base of the operators that submit; not used by itself.

    :param team_id: id of the posts' team; default: ``team_id`` in the connection's extra. (templated)
    :param wait_for_completion: whether the task waits until every target is published or failed (default False).
        (templated)
    :param deferrable: whether the task waits in the triggerer, without a worker slot (default: Airflow's ``[operators]
        default_deferrable``).
    :param publish_timeout: with ``wait_for_completion``, how long after its time to wait for a publication; then its
        outcome is unknown. A timedelta or seconds (default 24 hours).
    :param hidden_timeout: with ``wait_for_completion``, how long after its time a publication may be hidden by a newer one
        of the same post; then its outcome is unknown. A timedelta or seconds (default 15 minutes).
    :param poll_interval: shortest pause between two polls, in seconds (default 4.0).
    :param poll_backoff: growth of the pause with the square root of the seconds since it was due (default 0.8).
    :param settle_time: after a request without a response: how long the post must show nothing new until the request is
        sent again. Must exceed the connection's ``submit_timeout`` by more than a minute. None never sends it again
        (default 15 minutes).
    :param resubmit_failed: whether a retry submits again what the service reports as failed for a transient reason
        (default True).
    :param if_already_submitted: what a later try does with the submissions of an earlier one: ``reattach`` (default)
        continues from them, ``fail`` fails, and ``resubmit`` submits again after a user's clear, if they have ended.
    :param repeats: what the task does if the post has another submission to the same account since this run began:
        ``refuse`` (default) fails; ``other_runs`` submits if the same task reports that submission in another run of the DAG,
        of which the latest 20 are asked; ``allow`` submits in any case.
    :param max_lateness: how long after the run was due the task may submit, or with ``if_late="now"`` how long after
        ``scheduled_at``; a timedelta, seconds or None for any time (default None).
    :param if_late: what the task does if it is too late to submit: ``fail`` (default) or ``skip``; or ``now``: schedule
        a post with a ``scheduled_at`` in the past for a minute later, up to ``max_lateness``.
    :param cancel_on_kill: whether to take scheduled submissions off the schedule when the task is stopped and its state is
        failed or skipped (default False). Applies only to a post that only this task instance submitted, to one account; see the
        documentation, 'Stopping'.
    :param push_response: whether XCom ``response`` holds what the service answered in this try, with all fields, also unknown
        ones (default False). Several responses are in XComs ``response_0``, ``response_1`` and so on, at most 100; a try that
        continues from an earlier submission holds the submission as it was read last; else it is null. The key is removed,
        and a response of more than 50,000 characters is cut, with a note in place of what is cut.
    :param dry_run: do everything up to the request, and log the request instead of sending it (default False).
        (templated)
    :param octospark_conn_id: id of the Airflow connection (default ``octospark_default``). (templated)
    """

    template_fields: Sequence[str] = ("team_id", "wait_for_completion", "dry_run", "octospark_conn_id")
    operator_extra_links = (OctosparkPublishedPostLink(),)
    ui_color = "#ede7fb"
    partial_failure: PartialFailure = "fail"
    page_size: int | None = None

    def __init__(
        self,
        *,
        team_id: Any = None,
        wait_for_completion: Any = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        publish_timeout: timedelta | float = PUBLISH_TIMEOUT,
        hidden_timeout: timedelta | float = HIDDEN_TIMEOUT,
        poll_interval: float = POLL_INTERVAL,
        poll_backoff: float = POLL_BACKOFF,
        settle_time: timedelta | float | None = SETTLE_TIME,
        resubmit_failed: bool = True,
        if_already_submitted: IfSubmitted = "reattach",
        repeats: Repeats = "refuse",
        max_lateness: timedelta | float | None = None,
        if_late: IfLate = "fail",
        cancel_on_kill: bool = False,
        push_response: bool = False,
        dry_run: Any = False,
        octospark_conn_id: str = CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.team_id = team_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.publish_timeout = publish_timeout
        self.hidden_timeout = hidden_timeout
        self.poll_interval = poll_interval
        self.poll_backoff = poll_backoff
        self.settle_time = settle_time
        self.resubmit_failed = resubmit_failed
        self.if_already_submitted = if_already_submitted
        self.repeats = repeats
        self.max_lateness = max_lateness
        self.if_late = if_late
        self.cancel_on_kill = cancel_on_kill
        self.push_response = push_response
        # Hides a method of every operator. A template field must be called as its parameter: Airflow finds the upstream
        # tasks of a mapped operator by the names of its parameters.
        self.dry_run = dry_run  # type: ignore[method-assign]
        self.octospark_conn_id = octospark_conn_id
        self._task: SubmitTask | None = None

    def check_parameters(self) -> None:
        """Check what no template can change; subclasses add their own.

        :raises OctosparkArgumentError: naming the parameter, its value, and what to write.
        """
        check_wait(self)
        check_fixed(
            self,
            resubmit_failed=arguments.fixed_flag,
            settle_time=arguments.optional_duration,
            max_lateness=arguments.optional_duration,
            if_already_submitted=lambda value, name: arguments.one_of(value, get_args(IfSubmitted), name),
            if_late=lambda value, name: arguments.one_of(value, get_args(IfLate), name),
            repeats=lambda value, name: arguments.one_of(value, get_args(Repeats), name),
        )
        check_literals(self, wait_for_completion=arguments.flag, dry_run=arguments.flag, team_id=arguments.optional_id)
        if self.multiple_outputs:
            raise OctosparkArgumentError("multiple_outputs is True; leave it out. The XComs have keys of their own.")

    @abstractmethod
    def to_submit(self, hook: OctosparkHook) -> Sequence[Announcement]:
        """Return the announcements of the task's parameters.

        :raises OctosparkArgumentError: naming the parameter that is unusable.
        """

    @abstractmethod
    def result(self, outcomes: Sequence[Outcome]) -> Any:
        """Return the task's XCom ``return_value``."""

    def extra_xcoms(self, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:  # noqa: ARG002 - for subclasses
        """Return the task's XComs beside ``return_value``, by key."""
        return {}

    @property
    def published_url(self) -> str | None:
        """URL of the first published post, once the task has ended; the link reads it."""
        return None if self._task is None else self._task.published_url

    @property
    def recurs(self) -> bool:
        """Whether what is submitted comes again by itself."""
        return False

    def rules(self) -> Rules:
        """Return the rules of the task's parameters.

        :raises OctosparkArgumentError: naming the parameter that is unusable.
        """
        from airflow_provider_octospark.submission.rules import Rules

        return Rules(
            settle_time=arguments.optional_duration(self.settle_time, "settle_time"),
            resubmit_failed=self.resubmit_failed,
            if_already_submitted=arguments.one_of(
                self.if_already_submitted, get_args(IfSubmitted), "if_already_submitted"
            ),
            repeats=arguments.one_of(self.repeats, get_args(Repeats), "repeats"),
            max_lateness=arguments.optional_duration(self.max_lateness, "max_lateness"),
            if_late=arguments.one_of(self.if_late, get_args(IfLate), "if_late"),
            dry_run=arguments.flag(self.dry_run, "dry_run"),
            recurs=self.recurs,
        )

    def _do_render_template_fields(
        self, parent: Any, template_fields: Any, context: Context, *args: Any, **kwargs: Any
    ) -> None:
        """Open the record first: a try that fails while its templates are rendered has then shown that it sent nothing.

        Airflow calls this for mapped tasks as well, but ``render_template_fields`` only for tasks that are not mapped.
        """
        if parent is self:
            from airflow_provider_octospark.tasks.first_try import open_record

            open_record(context)
        super()._do_render_template_fields(parent, template_fields, context, *args, **kwargs)

    def execute(self, context: Context) -> Any:
        """Submit what is not submitted yet, and wait if ``wait_for_completion`` is set."""
        from airflow_provider_octospark.tasks.first_try import require_only_operator

        require_only_operator(context, self)
        return self._begin(context).start()

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral; if no triggerer ran, read the posts once, and report what is not known as unknown."""
        from airflow_provider_octospark.airflow_compat import TRIGGER_FAILED, is_trigger_timeout

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowException as error:
            if next_method != TRIGGER_FAILED:
                raise
            ti: Any = context["ti"]
            is_timeout = is_trigger_timeout(error)
            if not is_timeout and ti.try_number <= ti.max_tries:
                # A retry waits again.
                raise
            why = "no triggerer took over the wait" if is_timeout else f"the trigger failed ({error})"
        self.log.warning("The deferral ended without an event: %s. Reading the posts once.", why)
        return self._begin(context, resumed=True).start(cannot_defer=why)

    def resume_submission(self, context: Context, event: Any = None, page: Any = None) -> Any:  # noqa: ARG002
        """Continue after a deferral for a request in doubt."""
        return self._begin(context, resumed=True, page=page).start()

    def execute_complete(
        self, context: Context, event: Any, wait: Any = None, page: Any = None, notes: Mapping[str, str] | None = None
    ) -> Any:
        """Take the trigger's event and end the task; see :meth:`SubmitTask.complete`."""
        return self._begin(context, resumed=True, page=page).complete(event, wait, notes)

    def on_kill(self) -> None:
        """Send nothing more. With ``cancel_on_kill``, take submissions off the schedule if the task has failed or was
        skipped."""
        if self._task is not None:
            self._task.stopping.on_kill()

    def _checked(self, hook: OctosparkHook) -> Sequence[Announcement]:
        self.check_parameters()
        return self.to_submit(hook)

    def _begin(self, context: Context, *, resumed: bool = False, page: Any = None) -> SubmitTask:
        # Imported here, because parsing a DAG file should not import it.
        from airflow_provider_octospark.tasks.submit import SubmitDescription, SubmitTask

        description = SubmitDescription(
            octospark_conn_id=self.octospark_conn_id,
            to_submit=self._checked,
            rules=self.rules,
            result=self.result,
            extra_xcoms=self.extra_xcoms,
            page_size=self.page_size,
            partial_failure=self.partial_failure,
            wait_for_completion=self.wait_for_completion,
            deferrable=self.deferrable,
            publish_timeout=self.publish_timeout,
            hidden_timeout=self.hidden_timeout,
            poll_interval=self.poll_interval,
            poll_backoff=self.poll_backoff,
            cancel_on_kill=self.cancel_on_kill,
            outlets=self.outlets or (),
            do_xcom_push=self.do_xcom_push,
            push_response=self.push_response,
        )
        self._task = SubmitTask(description, context, self.log, resumed=resumed, page=page)
        return self._task
