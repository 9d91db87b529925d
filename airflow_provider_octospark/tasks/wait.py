"""The task of the sensor, in all modes and after a deferral."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, Self, get_args

from airflow.providers.common.compat.sdk import AirflowException, TaskDeferred

from airflow_provider_octospark.airflow_compat import first_started, run_of, task_state_store
from airflow_provider_octospark.api.text import Log
from airflow_provider_octospark.cancellation import Cancellable, cancel, cancellable_of
from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.links.octospark import published_url_of
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.parameters.defaults import (
    HIDDEN_TIMEOUT,
    POLL_BACKOFF,
    POLL_INTERVAL,
    PUBLISH_TIMEOUT,
    PartialFailure,
)
from airflow_provider_octospark.parameters.times import require_duration
from airflow_provider_octospark.polling.kept_responses import keep_responses, kept_responses
from airflow_provider_octospark.polling.wait import Wait, same_targets
from airflow_provider_octospark.submission.batch import is_manifest, manifest, parts
from airflow_provider_octospark.tasks.asset_events import add_to_outlet_events
from airflow_provider_octospark.tasks.deferral import (
    FRAMEWORK_MARGIN,
    ends_or_wait,
    responses_of_event,
    until_published,
    whole_event,
)
from airflow_provider_octospark.tasks.given_publications import entries_of, outcomes_of_entries
from airflow_provider_octospark.tasks.metrics import count_ended, ended_since
from airflow_provider_octospark.tasks.result import raise_for_outcomes, report_published, report_unknown
from airflow_provider_octospark.tasks.stopping import Stopping
from airflow_provider_octospark.tasks.xcoms import XComs

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

WAIT_KEY = "octospark.wait"
"""The state store key of the wait in mode ``reschedule`` (Airflow 3.3 and newer)."""


@dataclass(frozen=True, kw_only=True)
class WaitDescription:
    """The description of a task that waits; fields as the sensor's parameters.

    :param reschedule: whether each poll runs in a process of its own.
    :param skips_failures: whether a failure skips the task.
    :param outlets: the task's outlets.
    :param do_xcom_push: whether the task pushes XComs.
    :param push_response: whether they include the submissions as they were read last.
    """

    octospark_conn_id: str
    publication: Any = None
    post_id: Any = None
    scheduled_post_id: Any = None
    social_account_id: Any = None
    team_id: Any = None
    since: Any = None
    partial_failure: PartialFailure = "fail"
    publish_timeout: timedelta | float = PUBLISH_TIMEOUT
    hidden_timeout: timedelta | float = HIDDEN_TIMEOUT
    poll_interval: float = POLL_INTERVAL
    poll_backoff: float = POLL_BACKOFF
    timeout: timedelta | float | None = None
    reschedule: bool = False
    skips_failures: bool = False
    cancel_on_kill: bool = False
    outlets: Sequence[Any] = ()
    do_xcom_push: bool = True
    push_response: bool = False


class WaitTask:
    """One process of a task that waits.

    :param description: the task's description, with rendered templates.
    :param log: the task's log.
    """

    published_url: str | None = None

    def __init__(self, description: WaitDescription, context: Context, log: Log) -> None:
        self.description = description
        self.context = context
        self.log = log
        self.run = run_of(context)
        self._xcoms = XComs(description, context, log)
        self._hook = OctosparkHook(description.octospark_conn_id)
        # Of a mapped task, the value is not checked yet. It may be an array, which is neither true nor false.
        self.stopping = Stopping(self.cancel if description.cancel_on_kill is True else None)
        self._hook.is_stopped = lambda: self.stopping.is_requested

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.close()

    @cached_property
    def wait(self) -> Wait:
        """The wait.

        :raises OctosparkArgumentError: naming the parameter that is unusable.
        """
        description = self.description
        arguments.one_of(description.partial_failure, get_args(PartialFailure), "partial_failure")
        since = self.run.run_after
        if not arguments.is_absent(description.since):
            since = arguments.required_instant(description.since, None, "since")
        started_at = first_started(self.context, reschedule=description.reschedule)
        at_most = arguments.optional_duration(description.timeout, "timeout")
        wait = Wait.start(
            self._awaited,
            started_at=started_at,
            publish_timeout=require_duration(description.publish_timeout, field="publish_timeout"),
            since=since,
            hidden_timeout=require_duration(description.hidden_timeout, field="hidden_timeout"),
            interval=description.poll_interval,
            backoff=description.poll_backoff,
            latest=None if at_most is None else started_at + at_most,
        )
        wait = self._kept(wait) if description.reschedule else wait
        if description.push_response:
            keep_responses(wait)
        return wait

    @property
    def longest_poking(self) -> float:
        """Airflow's time-out in seconds after the first start: later than the wait's deadline."""
        first = first_started(self.context, reschedule=self.description.reschedule)
        return (self.wait.deadline - first + FRAMEWORK_MARGIN).total_seconds()

    def poll(self) -> bool:
        """Read the posts that are due; return whether all publications are final."""
        with self.stopping.observed():
            for line in self._hook.poll(self.wait):
                self.log.info("%s", line)
            self.stopping.check()
            return self.wait.done

    def pause(self, now: datetime) -> float:
        """Return the seconds until the next poll."""
        return max(0.0, (self.wait.next_poll(now) - now).total_seconds())

    def finish(self) -> Any:
        """End the task with the outcomes."""
        self._xcoms.push_responses(lambda: kept_responses(self.wait, self._hook.settings.token))
        count_ended(ended_since(self.wait.outcomes, self._awaited))
        return self._finish(self.wait.outcomes)

    def finish_without_triggerer(self, why: str) -> Any:
        """End the task; pending outcomes are unknown."""
        self.wait.end_unknown("deadline", why)
        return self.finish()

    def defer(self, wait: Wait | None = None) -> NoReturn:
        """Defer the wait to the triggerer."""
        description = self.description
        if wait is None:
            wait = self.wait
            count_ended(ended_since(wait.outcomes, self._awaited))
        on_kill = [each.as_json() for each in self._cancellable(wait)] if description.cancel_on_kill else None
        raise TaskDeferred(**until_published(description.octospark_conn_id, wait, self.run, on_kill))

    def complete(self, event: Any, wait: Any) -> Any:
        """Take the trigger's event and end the task. Makes no request."""
        event = whole_event(event)
        seen = ends_or_wait(event, wait, self.log)
        if isinstance(seen, Wait):
            self.defer(seen)
        self._xcoms.push_responses(lambda: responses_of_event(event))
        count_ended(seen.during)
        return self._finish(seen.outcomes)

    def cancel(self) -> None:
        """Take submissions off the schedule if a user marked the task as failed; log what it does."""
        if any(map(is_manifest, self._entries)) and "_awaited" not in vars(self):
            # Airflow calls this in a signal handler, where no XCom may be read.
            self.log.info(
                "cancel_on_kill: nothing is taken back: the task was stopped before it read what to wait for."
            )
            return
        cancel(self.description.octospark_conn_id, self._cancellable(self.wait), self.run, self.log)

    def _cancellable(self, wait: Wait) -> list[Cancellable]:
        # A post that is given by id may be submitted by somebody else.
        if arguments.is_absent(self.description.publication):
            return []
        # What was waited for says whose submission it is; a later read does not.
        pending = {outcome.scheduled_post_id for outcome in wait.outcomes if outcome.state == "pending"}
        return [each for each in cancellable_of(self._awaited) if each.scheduled_post_id in pending]

    @cached_property
    def _entries(self) -> list[object]:
        """Outcomes and manifests of ``publication``, in order."""
        return entries_of(self.description.publication)

    @cached_property
    def _awaited(self) -> list[Outcome]:
        """What is waited for, as it was when the task began; reads the XComs that manifests name."""
        description = self.description
        if arguments.is_absent(description.publication):
            if arguments.is_absent(description.post_id):
                raise OctosparkArgumentError("Neither publication nor post_id is set; there is nothing to wait for.")
            return [
                Outcome(
                    team_id=self._hook.team(description.team_id),
                    post_id=arguments.required_id(description.post_id, "post_id"),
                    social_account_id=arguments.optional_account(description.social_account_id, "social_account_id"),
                    scheduled_post_id=arguments.optional_id(description.scheduled_post_id, "scheduled_post_id"),
                    state="pending",
                )
            ]
        for field in ("post_id", "scheduled_post_id", "social_account_id"):
            if not arguments.is_absent(getattr(description, field)):
                raise OctosparkArgumentError(f"Both publication and {field} are set; publication says it all.")
        outcomes = outcomes_of_entries(self._entries)
        if not outcomes:
            raise OctosparkArgumentError("publication is an empty list; there is nothing to wait for.")
        return outcomes

    def _finish(self, outcomes: Sequence[Outcome]) -> Any:
        description = self.description
        report_unknown(outcomes, self.log)
        report_published(outcomes, self.log)
        result, extra = self._result(outcomes)
        self.published_url = published_url_of(result)
        try:
            raise_for_outcomes(
                outcomes, partial_failure=description.partial_failure, soft_fail=description.skips_failures
            )
        except AirflowException:
            self._xcoms.push_before_raising(lambda: (extra, result))
            raise
        self._xcoms.push(extra)
        add_to_outlet_events(description.outlets, self.context, outcomes)
        return result

    def _result(self, outcomes: Sequence[Outcome]) -> tuple[Any, dict[str, Any]]:
        """Return the task's XCom ``return_value``, and its other XComs by key."""
        if any(map(is_manifest, self._entries)):
            return manifest(outcomes, (), self.run), parts(outcomes)
        found = [outcome.as_json() for outcome in outcomes]
        publication = self.description.publication
        is_single = arguments.is_absent(publication) or isinstance(arguments.structure(publication), Mapping)
        return found[0] if is_single else found, {}

    def keep(self) -> None:
        """Store the wait for the next poke, which is a new process in mode ``reschedule``."""
        store = task_state_store(self.context)
        if store is not None:
            store.set(WAIT_KEY, {"try": self.run.try_number, "wait": self.wait.as_json(with_details=True)})

    def _kept(self, fresh: Wait) -> Wait:
        """Return the stored wait of this try's earlier pokes."""
        store = task_state_store(self.context)
        kept = store.get(WAIT_KEY) if store is not None else None
        if not isinstance(kept, dict) or kept.get("try") != self.run.try_number:
            return fresh
        try:
            wait = Wait.from_json(kept["wait"])
        except (KeyError, ValueError):
            return fresh
        return wait if same_targets(wait.outcomes, fresh.outcomes) else fresh
