"""The sensor: waits until publications are out, or until it is known that they are not, or cannot be known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    XCOM_RETURN_KEY,
    AirflowException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_octospark import arguments
from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.links import OctosparkPublishedPostLink, published_url_of
from airflow_provider_octospark.models import Outcome
from airflow_provider_octospark.times import require_duration
from airflow_provider_octospark.triggers.octospark import OctosparkPostTrigger, outcomes_of_event
from airflow_provider_octospark.verdict import PartialFailure, judge, report_unknown
from airflow_provider_octospark.versions import first_started, run_of, task_state_store
from airflow_provider_octospark.waiting import (
    OBSERVE_TIMEOUT,
    POLL_FACTOR,
    POLL_FLOOR,
    PUBLISH_TIMEOUT,
    Wait,
    same_targets,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

FRAMEWORK_MARGIN = timedelta(hours=1)
"""How long after our own deadline Airflow's time-out strikes, should no triggerer be running."""

WAIT_KEY = "octospark.wait"
"""Where mode ``reschedule`` keeps, from Airflow 3.3 on, what it has seen and told."""


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
    :param observe_timeout: how long after its time a publication may be hidden by a newer one of the same post before it
        is given up as unknown; a timedelta or seconds (default 15 minutes).
    :param poll_floor: shortest pause between two looks, in seconds (default 4.0). ``poke_interval`` is not used.
    :param poll_factor: growth of the pause with the square root of the seconds since it was due (default 0.8).
    :param timeout: if given, the wait ends, as unknown, at the latest so long after its start.
    :param soft_fail: skip instead of failing when publishing failed; never when it is unknown.
    :param deferrable: whether waiting is done by the triggerer, without a worker slot (default: Airflow's
        ``[operators] default_deferrable``).
    :param octospark_conn_id: id of the Airflow connection (default ``octospark_default``). (templated)

    :raises OctosparkPublishFailedError: if publishing failed. Not retried.
    :raises OctosparkCancelledError: if a person took the post off the schedule. Not retried.
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
        observe_timeout: timedelta | float = OBSERVE_TIMEOUT,
        poll_floor: float = POLL_FLOOR,
        poll_factor: float = POLL_FACTOR,
        timeout: timedelta | float | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        octospark_conn_id: str = OctosparkHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.publication = publication
        self.post_id = post_id
        self.scheduled_post_id = scheduled_post_id
        self.social_account_id = social_account_id
        self.team_id = team_id
        self.since = since
        self.partial_failure = partial_failure
        self.publish_timeout = publish_timeout
        self.observe_timeout = observe_timeout
        self.poll_floor = poll_floor
        self.poll_factor = poll_factor
        self.wait_at_most = timeout
        self.deferrable = deferrable
        self.octospark_conn_id = octospark_conn_id
        self.published_url: str | None = None
        self._wait: Wait | None = None

    def execute(self, context: Context) -> Any:
        """Wait; see the class."""
        with OctosparkHook(self.octospark_conn_id) as hook:
            wait = self._wait = self._begin(context, hook)
            if self.deferrable:
                self._look(hook, wait)
                if wait.done:
                    return self._finish(context, wait.outcomes)
                self._defer(wait)
        # Our own deadline decides; Airflow's must not come before it, whatever its default is.
        self.timeout = (wait.deadline - wait.started_at + FRAMEWORK_MARGIN).total_seconds()
        return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; ends the task if all publications have ended."""
        with OctosparkHook(self.octospark_conn_id) as hook:
            if self._wait is None:
                self._wait = self._begin(context, hook)
            self._look(hook, self._wait)
        if self.reschedule:
            self._keep(context, self._wait)
        if not self._wait.done:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._finish(context, self._wait.outcomes))

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Take the trigger's event and end the task. Makes no request."""
        outcomes = outcomes_of_event(event)
        with OctosparkHook(self.octospark_conn_id) as hook:
            wait = self._begin(context, hook)
        if not same_targets(outcomes, wait.outcomes):
            self.log.warning("The trigger's event is about other publications than this task waits for; waiting on.")
            self._defer(wait)
        return self._finish(context, outcomes)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """As the base's, but an end that is not known is never turned into a skip."""
        soft_fail, never_fail = self.soft_fail, self.never_fail
        if next_method == "__fail__":
            # The triggerer was away until after Airflow's own time-out: nothing is known.
            self.soft_fail = self.never_fail = False
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        finally:
            self.soft_fail, self.never_fail = soft_fail, never_fail

    def _get_next_poke_interval(
        self,
        started_at: datetime | float,  # noqa: ARG002 - Airflow's signature
        run_duration: Callable[[], float],  # noqa: ARG002
        poke_count: int,  # noqa: ARG002
    ) -> float:
        """Airflow asks here how long to sleep or to be rescheduled; ``waiting.py`` knows."""
        now = datetime.now(UTC)
        return 0.0 if self._wait is None else max(0.0, (self._wait.next_look(now) - now).total_seconds())

    def _look(self, hook: OctosparkHook, wait: Wait) -> None:
        for line in hook.look(wait):
            self.log.info("%s", line)

    def _defer(self, wait: Wait) -> None:
        self.defer(
            trigger=OctosparkPostTrigger(self.octospark_conn_id, wait.as_json()),
            method_name="execute_complete",
            timeout=wait.deadline - datetime.now(UTC) + FRAMEWORK_MARGIN,
        )

    def _begin(self, context: Context, hook: OctosparkHook) -> Wait:
        if self.partial_failure not in {"fail", "succeed"}:
            raise OctosparkArgumentError(f'partial_failure is {self.partial_failure!r}; write "fail" or "succeed".')
        since = run_of(context).run_after
        if not arguments.is_absent(self.since):
            since = arguments.required_instant(self.since, None, "since")
        wait = Wait.start(
            self._awaited(hook),
            started_at=first_started(self, context),
            publish_timeout=require_duration(self.publish_timeout, field="publish_timeout"),
            since=since,
            observe_timeout=require_duration(self.observe_timeout, field="observe_timeout"),
            floor=self.poll_floor,
            factor=self.poll_factor,
        )
        if self.wait_at_most is not None:
            latest = wait.started_at + require_duration(self.wait_at_most, field="timeout")
            for watch in wait.watches:
                watch.deadline = min(watch.deadline, latest)
        return self._kept(context, wait) if self.reschedule else wait

    def _awaited(self, hook: OctosparkHook) -> list[Outcome]:
        if arguments.is_absent(self.publication):
            if arguments.is_absent(self.post_id):
                raise OctosparkArgumentError("Neither publication nor post_id is set; there is nothing to wait for.")
            return [
                Outcome(
                    team_id=hook.team(self.team_id),
                    post_id=arguments.required_id(self.post_id, "post_id"),
                    social_account_id=(
                        None
                        if arguments.is_absent(self.social_account_id)
                        else arguments.required_account(self.social_account_id, "social_account_id")
                    ),
                    scheduled_post_id=(
                        None
                        if arguments.is_absent(self.scheduled_post_id)
                        else arguments.required_id(self.scheduled_post_id, "scheduled_post_id")
                    ),
                    end="pending",
                )
            ]
        if not arguments.is_absent(self.post_id):
            raise OctosparkArgumentError("Both publication and post_id are set; give one of them.")
        outcomes = [self._outcome(entry) for entry in _flattened(arguments.structure(self.publication))]
        if not outcomes:
            raise OctosparkArgumentError("publication is an empty list; there is nothing to wait for.")
        return outcomes

    def _outcome(self, entry: object) -> Outcome:
        try:
            outcome = Outcome.model_validate(entry)
        except ValueError:
            outcome = None
        if outcome is None:
            raise OctosparkArgumentError(
                f"publication holds {entry!r:.120}, which is no outcome. Give what OctosparkPostNowOperator or "
                "OctosparkScheduleMultiOperator returned, for example publication=schedule.output."
            )
        arguments.required_id(outcome.team_id, "publication.team_id")
        arguments.required_id(outcome.post_id, "publication.post_id")
        return outcome

    def _finish(self, context: Context, outcomes: Sequence[Outcome]) -> Any:
        report_unknown(outcomes, (), self.log)
        found = [outcome.as_json() for outcome in outcomes]
        single = arguments.is_absent(self.publication) or isinstance(arguments.structure(self.publication), Mapping)
        result: Any = found[0] if single else found
        self.published_url = published_url_of(result)
        skips = self.soft_fail or self.never_fail
        if any(outcome.end == "unknown" for outcome in outcomes):
            # Airflow turns even an AirflowFailException of a sensor into a skip.
            self.soft_fail = self.never_fail = False
        try:
            judge(outcomes, partial_failure=self.partial_failure, retry_submits=False, soft_fail=skips)
        except AirflowException:
            if self.do_xcom_push:
                context["ti"].xcom_push(key=XCOM_RETURN_KEY, value=result)
            raise
        return result

    def _keep(self, context: Context, wait: Wait) -> None:
        store = task_state_store(context)
        if store is not None:
            store.set(WAIT_KEY, {"try": run_of(context).try_number, "wait": wait.as_json()})

    def _kept(self, context: Context, fresh: Wait) -> Wait:
        """Return the wait of this try's earlier pokes: mode ``reschedule`` is a new process each time."""
        store = task_state_store(context)
        kept = store.get(WAIT_KEY) if store is not None else None
        if not isinstance(kept, dict) or kept.get("try") != run_of(context).try_number:
            return fresh
        try:
            wait = Wait.from_json(kept["wait"])
        except (KeyError, ValueError):
            return fresh
        return wait if same_targets(wait.outcomes, fresh.outcomes) else fresh


def _flattened(value: object) -> Iterable[object]:
    """A task mapped over posts gives a list of lists; each outcome in it is one to wait for."""
    if isinstance(value, Mapping) or not isinstance(value, Iterable) or isinstance(value, str):
        yield value
        return
    for entry in value:
        yield from _flattened(entry)
