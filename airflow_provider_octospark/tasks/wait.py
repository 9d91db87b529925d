"""What a task of the sensor does when it runs: the same in all modes, and after a deferral."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, Self, get_args

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_octospark.airflow_compat import first_started, run_of, task_state_store
from airflow_provider_octospark.api.models import Outcome
from airflow_provider_octospark.cancellation import Cancellable, cancel, cancellable_of
from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.links.octospark import published_url_of
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.parameters.defaults import RETURN_KEY, PartialFailure
from airflow_provider_octospark.parameters.times import require_duration
from airflow_provider_octospark.polling.wait import Wait, same_targets
from airflow_provider_octospark.tasks.asset_events import tell_outlets
from airflow_provider_octospark.tasks.deferral import FRAMEWORK_MARGIN, outcomes_or_wait, until_published
from airflow_provider_octospark.tasks.result import judge, report_published, report_unknown

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_octospark.sensors.octospark import OctosparkPostSensor

WAIT_KEY = "octospark.wait"
"""Where mode ``reschedule`` keeps, from Airflow 3.3 on, what it has seen and told."""


class WaitTask:
    """One process's part of a wait.

    :param operator: the sensor, its templates rendered.
    """

    def __init__(self, operator: OctosparkPostSensor, context: Context) -> None:
        self.operator = operator
        self.context = context
        self.log = operator.log
        self.run = run_of(context)
        self._hook = OctosparkHook(operator.octospark_conn_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.close()

    @cached_property
    def wait(self) -> Wait:
        """What is waited for, and until when.

        :raises OctosparkArgumentError: naming the parameter that is unusable.
        """
        operator = self.operator
        arguments.one_of(operator.partial_failure, get_args(PartialFailure), "partial_failure")
        since = self.run.run_after
        if not arguments.is_absent(operator.since):
            since = arguments.required_instant(operator.since, None, "since")
        started_at = first_started(operator, self.context)
        at_most = arguments.optional_duration(operator.wait_at_most, "timeout")
        wait = Wait.start(
            self._awaited(),
            started_at=started_at,
            publish_timeout=require_duration(operator.publish_timeout, field="publish_timeout"),
            since=since,
            hidden_timeout=require_duration(operator.hidden_timeout, field="hidden_timeout"),
            interval=operator.poll_interval,
            backoff=operator.poll_backoff,
            latest=None if at_most is None else started_at + at_most,
        )
        return self._kept(wait) if operator.reschedule else wait

    @property
    def longest_poking(self) -> float:
        """When Airflow's own time-out is to strike, in seconds after the first start: after our deadline."""
        return (self.wait.deadline - first_started(self.operator, self.context) + FRAMEWORK_MARGIN).total_seconds()

    def look(self) -> bool:
        """Look once at what is due for it; return whether all has ended."""
        for line in self._hook.look(self.wait):
            self.log.info("%s", line)
        return self.wait.done

    def pause(self, now: datetime) -> float:
        """Return the seconds until the next look."""
        return max(0.0, (self.wait.next_poll(now) - now).total_seconds())

    def finish(self) -> Any:
        """End the task with what is known."""
        return self._finish(self.wait.outcomes)

    def give_up(self, why: str) -> Any:
        """End the task; what is still open is unknown."""
        for watch in self.wait.watches:
            if not watch.outcome.is_final:
                watch.end_unknown("deadline", why)
        return self.finish()

    def defer(self, wait: Wait | None = None) -> NoReturn:
        """Hand the wait to the triggerer."""
        operator = self.operator
        wait = self.wait if wait is None else wait
        on_kill = [each.as_json() for each in self._cancellable(wait)] if operator.cancel_on_kill else None
        operator.defer(**until_published(operator.octospark_conn_id, wait, on_kill))
        raise AssertionError("defer() does not return")

    def complete(self, event: Any, wait: Any) -> Any:
        """Take the trigger's event and end the task. Makes no request."""
        seen = outcomes_or_wait(event, wait, self.log)
        if isinstance(seen, Wait):
            self.defer(seen)
        return self._finish(seen)

    def cancel(self) -> None:
        """Take back what is still scheduled, if a person marked the task as failed; says in the log what it did."""
        cancel(self.operator.octospark_conn_id, self._cancellable(self.wait), self.run, self.log)

    def _cancellable(self, wait: Wait) -> list[Cancellable]:
        # Of a post that was only named nobody has said that this DAG submitted it.
        return [] if arguments.is_absent(self.operator.publication) else cancellable_of(wait.outcomes)

    def _awaited(self) -> list[Outcome]:
        operator = self.operator
        if arguments.is_absent(operator.publication):
            if arguments.is_absent(operator.post_id):
                raise OctosparkArgumentError("Neither publication nor post_id is set; there is nothing to wait for.")
            return [
                Outcome(
                    team_id=self._hook.team(operator.team_id),
                    post_id=arguments.required_id(operator.post_id, "post_id"),
                    social_account_id=arguments.optional_account(operator.social_account_id, "social_account_id"),
                    scheduled_post_id=arguments.optional_id(operator.scheduled_post_id, "scheduled_post_id"),
                    end="pending",
                )
            ]
        for field in ("post_id", "scheduled_post_id", "social_account_id"):
            if not arguments.is_absent(getattr(operator, field)):
                raise OctosparkArgumentError(f"Both publication and {field} are set; publication says it all.")
        outcomes = [_outcome(entry) for entry in _flattened(arguments.structure(operator.publication))]
        if not outcomes:
            raise OctosparkArgumentError("publication is an empty list; there is nothing to wait for.")
        return outcomes

    def _finish(self, outcomes: Sequence[Outcome]) -> Any:
        operator = self.operator
        report_unknown(outcomes, self.log)
        report_published(outcomes, self.log)
        found = [outcome.as_json() for outcome in outcomes]
        publication = operator.publication
        single = arguments.is_absent(publication) or isinstance(arguments.structure(publication), Mapping)
        result: Any = found[0] if single else found
        operator.published_url = published_url_of(result)
        try:
            judge(outcomes, partial_failure=operator.partial_failure, soft_fail=operator.skips_failures)
        except AirflowException:
            self._push(result)
            raise
        tell_outlets(operator, self.context, outcomes)
        return result

    def _push(self, result: Any) -> None:
        """Push the result of a task that is about to raise, so that tasks which run all the same can read it."""
        if not self.operator.do_xcom_push:
            return
        try:
            self.context["ti"].xcom_push(key=RETURN_KEY, value=result)
        except Exception:
            # What the task raises says whether it may be retried; an error of XCom must not take its place.
            self.log.exception("The outcomes could not be pushed to XCom.")

    def keep(self) -> None:
        """Keep what was seen for the next poke: mode ``reschedule`` is a new process each time."""
        store = task_state_store(self.context)
        if store is not None:
            store.set(WAIT_KEY, {"try": self.run.try_number, "wait": self.wait.as_json()})

    def _kept(self, fresh: Wait) -> Wait:
        """Return the wait of this try's earlier pokes."""
        store = task_state_store(self.context)
        kept = store.get(WAIT_KEY) if store is not None else None
        if not isinstance(kept, dict) or kept.get("try") != self.run.try_number:
            return fresh
        try:
            wait = Wait.from_json(kept["wait"])
        except (KeyError, ValueError):
            return fresh
        return wait if same_targets(wait.outcomes, fresh.outcomes) else fresh


def _outcome(entry: object) -> Outcome:
    try:
        outcome = Outcome.model_validate(entry)
    except ValueError:
        outcome = None
    if outcome is None:
        raise OctosparkArgumentError(
            f"publication holds {entry!r:.120}, which is no outcome. Give what OctosparkPostNowOperator or "
            "OctosparkScheduleMultiOperator returned, for example publication=schedule.output, or what "
            'OctosparkScheduleBatchOperator pushed, for example publication=batch.output["outcomes_0"].'
        )
    arguments.required_id(outcome.team_id, "publication.team_id")
    arguments.required_id(outcome.post_id, "publication.post_id")
    return outcome


def _flattened(value: object) -> Iterator[object]:
    """Yield each outcome to wait for: a task mapped over posts gives a list of lists."""
    if isinstance(value, Mapping) or not isinstance(value, Iterable) or isinstance(value, str):
        yield value
        return
    for entry in value:
        yield from _flattened(entry)
