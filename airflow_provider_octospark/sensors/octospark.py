"""The sensor: waits until publications are out, or until it is known that they are not, or cannot be known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    XCom,
    conf,
)

from airflow_provider_octospark import arguments
from airflow_provider_octospark.deferral import FRAMEWORK_MARGIN, outcomes_or_wait, until_published
from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.links import OctosparkPublishedPostLink, published_url_of
from airflow_provider_octospark.models import Outcome
from airflow_provider_octospark.times import require_duration
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
    :param poll_floor: shortest pause between two looks, in seconds (default 4.0). Mode ``reschedule`` costs a new process
        for each look; give it a minute.
    :param poll_factor: growth of the pause with the square root of the seconds since it was due (default 0.8).
    :param poke_interval: Airflow's name for ``poll_floor``; if given, it takes its place.
    :param timeout: if given, the wait ends, as unknown, at the latest so long after its start.
    :param soft_fail: skip instead of failing when publishing is proven to have failed; never when it is unknown, and never
        for an unusable parameter. ``never_fail`` means the same here.
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
        poke_interval: timedelta | float | None = None,
        timeout: timedelta | float | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        octospark_conn_id: str = OctosparkHook.default_conn_name,
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
        self.observe_timeout = observe_timeout
        self.poll_floor = poll_floor if poke_interval is None else self.poke_interval
        self.poll_factor = poll_factor
        self.wait_at_most = timeout
        self.deferrable = deferrable
        self.octospark_conn_id = octospark_conn_id
        self.published_url: str | None = None
        self._skips_failures = self.soft_fail or self.never_fail
        self._hook: OctosparkHook | None = None
        self._wait: Wait | None = None

    def execute(self, context: Context) -> Any:
        """Wait; see the class."""
        with self._own_skips(), OctosparkHook(self.octospark_conn_id) as self._hook:
            wait = self._wait = self._begin(context, self._hook)
            # What the first look shows of a scheduled time that was not known still counts for the deadline.
            self._look(self._hook, wait)
            if self.deferrable:
                if wait.done:
                    return self._finish(context, wait.outcomes)
                self._defer(wait)
            # Our own deadline decides; Airflow's must not come before it, whatever its default is.
            self.timeout = (wait.deadline - first_started(self, context) + FRAMEWORK_MARGIN).total_seconds()
            return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; ends the task if all publications have ended."""
        if self._hook is None:
            self._hook = OctosparkHook(self.octospark_conn_id)
        if self._wait is None:
            self._wait = self._begin(context, self._hook)
        self._look(self._hook, self._wait)
        if self._wait.done:
            return PokeReturnValue(is_done=True, xcom_value=self._finish(context, self._wait.outcomes))
        if self.reschedule:
            self._keep(context, self._wait)
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: Any, wait: Any = None) -> Any:
        """Take the trigger's event and end the task. Makes no request."""
        seen = outcomes_or_wait(event, wait, self.log)
        if isinstance(seen, Wait):
            self._defer(seen)
        return self._finish(context, seen)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """As the base's; but if Airflow's own time-out struck, because no triggerer ran, the ends are unknown."""
        with self._own_skips():
            try:
                return super().resume_execution(next_method, next_kwargs, context)
            except AirflowSensorTimeout:
                pass
            with OctosparkHook(self.octospark_conn_id) as hook:
                wait = self._begin(context, hook)
            for watch in wait.watches:
                if not watch.outcome.is_final:
                    watch.end_unknown("deadline", "no triggerer took over the wait")
            return self._finish(context, wait.outcomes)

    @contextmanager
    def _own_skips(self) -> Iterator[None]:
        """Keep Airflow from skipping the task.

        Its sensors turn *any* error into a skip where ``soft_fail`` or ``never_fail`` is set, also one that leaves open
        whether a post is live. Within, only ``verdict.py`` decides.
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
        """Airflow asks here how long to sleep or to be rescheduled; ``waiting.py`` knows."""
        now = datetime.now(UTC)
        return 0.0 if self._wait is None else max(0.0, (self._wait.next_look(now) - now).total_seconds())

    def _look(self, hook: OctosparkHook, wait: Wait) -> None:
        for line in hook.look(wait):
            self.log.info("%s", line)

    def _defer(self, wait: Wait) -> NoReturn:
        self.defer(**until_published(self.octospark_conn_id, wait))
        raise AssertionError("defer() does not return")

    def _begin(self, context: Context, hook: OctosparkHook) -> Wait:
        arguments.one_of(self.partial_failure, get_args(PartialFailure), "partial_failure")
        since = run_of(context).run_after
        if not arguments.is_absent(self.since):
            since = arguments.required_instant(self.since, None, "since")
        started_at = first_started(self, context)
        at_most = arguments.optional_duration(self.wait_at_most, "timeout")
        wait = Wait.start(
            self._awaited(hook),
            started_at=started_at,
            publish_timeout=require_duration(self.publish_timeout, field="publish_timeout"),
            since=since,
            observe_timeout=require_duration(self.observe_timeout, field="observe_timeout"),
            floor=self.poll_floor,
            factor=self.poll_factor,
            latest=None if at_most is None else started_at + at_most,
        )
        return self._kept(context, wait) if self.reschedule else wait

    def _awaited(self, hook: OctosparkHook) -> list[Outcome]:
        if arguments.is_absent(self.publication):
            if arguments.is_absent(self.post_id):
                raise OctosparkArgumentError("Neither publication nor post_id is set; there is nothing to wait for.")
            return [
                Outcome(
                    team_id=hook.team(self.team_id),
                    post_id=arguments.required_id(self.post_id, "post_id"),
                    social_account_id=arguments.optional_account(self.social_account_id, "social_account_id"),
                    scheduled_post_id=arguments.optional_id(self.scheduled_post_id, "scheduled_post_id"),
                    end="pending",
                )
            ]
        for field in ("post_id", "scheduled_post_id", "social_account_id"):
            if not arguments.is_absent(getattr(self, field)):
                raise OctosparkArgumentError(f"Both publication and {field} are set; publication says it all.")
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
        report_unknown(outcomes, self.log)
        found = [outcome.as_json() for outcome in outcomes]
        single = arguments.is_absent(self.publication) or isinstance(arguments.structure(self.publication), Mapping)
        result: Any = found[0] if single else found
        self.published_url = published_url_of(result)
        try:
            judge(outcomes, partial_failure=self.partial_failure, soft_fail=self._skips_failures)
        except AirflowException:
            self._push(context, result)
            raise
        return result

    def _push(self, context: Context, result: Any) -> None:
        """Push the result of a task that is about to raise, so that tasks which run all the same can read it."""
        if not self.do_xcom_push:
            return
        try:
            context["ti"].xcom_push(key=XCom.XCOM_RETURN_KEY, value=result)
        except Exception:
            # What the task raises says whether it may be retried; an error of XCom must not take its place.
            self.log.exception("The outcomes could not be pushed to XCom.")

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
