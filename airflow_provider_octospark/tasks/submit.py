"""What a task that submits does when it runs: the same for all operators, and for a first run, a retry and a resumption."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from airflow.providers.common.compat.sdk import AirflowSkipException, TaskDeferred

from airflow_provider_octospark.airflow_compat import run_of, task_state_store
from airflow_provider_octospark.api.text import Log
from airflow_provider_octospark.cancellation import Cancellable, cancel, cancellable
from airflow_provider_octospark.exceptions import OctosparkArgumentError, OctosparkError, OctosparkUnknownError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.links.octospark import published_url_of
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.parameters.defaults import (
    HIDDEN_TIMEOUT,
    POLL_BACKOFF,
    POLL_INTERVAL,
    PUBLISH_TIMEOUT,
    RETURN_KEY,
    PartialFailure,
)
from airflow_provider_octospark.parameters.times import require_duration
from airflow_provider_octospark.polling.wait import Wait
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.driver import Submission, WaitUntil
from airflow_provider_octospark.submission.journal import Journal, MemoryStore
from airflow_provider_octospark.submission.records import Target
from airflow_provider_octospark.submission.transitions import outcome_about, record_final_outcomes
from airflow_provider_octospark.tasks.asset_events import add_to_outlet_events
from airflow_provider_octospark.tasks.deferral import (
    SHORTEST_DEFERRAL,
    outcomes_or_wait,
    until_in_doubt_resolved,
    until_published,
)
from airflow_provider_octospark.tasks.result import (
    Notes,
    note_key,
    note_on,
    raise_for_outcomes,
    report_published,
    report_unknown,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_octospark.submission.rules import Rules

PAGE_SIZE = 50
"""How many targets of a batch share a page of the record: a page is written whole."""


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True, kw_only=True)
class SubmitDescription:
    """What a task that submits is to do.

    :param octospark_conn_id: id of the Airflow connection.
    :param to_submit: returns what the parameters ask for; raises `OctosparkArgumentError` for an unusable one.
    :param rules: returns how submissions are treated; raises `OctosparkArgumentError` for an unusable parameter.
    :param result: returns the task's XCom ``return_value`` for its outcomes.
    :param extra_xcoms: returns the task's other XComs for its outcomes, by key.
    :param is_batch: whether there may be thousands of targets.
    :param partial_failure: ``fail``, ``succeed`` or what else `PartialFailure` names.
    :param wait_for_completion: whether the task waits until all submissions are published or failed.
    :param deferrable: whether the triggerer waits in the task's place.
    :param publish_timeout: how long after its time a publication is given up as unknown; a timedelta or seconds.
    :param hidden_timeout: how long a publication may be hidden by a newer one of its post; a timedelta or seconds.
    :param poll_interval: shortest pause between two polls, in seconds.
    :param poll_backoff: growth of that pause.
    :param cancel_on_kill: whether the trigger cancels what is still scheduled if a user marks the task as failed.
    :param outlets: the task's outlets.
    :param do_xcom_push: whether the task pushes XComs.
    """

    octospark_conn_id: str
    to_submit: Callable[[OctosparkHook], Sequence[Announcement]]
    rules: Callable[[], Rules]
    result: Callable[[Sequence[Outcome]], Any]
    extra_xcoms: Callable[[Sequence[Outcome]], Mapping[str, Any]]
    is_batch: bool = False
    partial_failure: PartialFailure = "fail"
    wait_for_completion: bool = False
    deferrable: bool = False
    publish_timeout: timedelta | float = PUBLISH_TIMEOUT
    hidden_timeout: timedelta | float = HIDDEN_TIMEOUT
    poll_interval: float = POLL_INTERVAL
    poll_backoff: float = POLL_BACKOFF
    cancel_on_kill: bool = False
    outlets: Sequence[Any] = ()
    do_xcom_push: bool = True


class SubmitTask:
    """One try of a task, or its continuation after a deferral.

    :param description: what to do, all templates rendered.
    :param log: the task's log.
    :param resumed: whether the task continues after a deferral.
    :param page: the record that was carried through the deferral, where Airflow has no store.
    :raises OctosparkStateStoreError: if the record cannot be read or begun.
    """

    published_url: str | None = None

    def __init__(
        self, description: SubmitDescription, context: Context, log: Log, *, resumed: bool = False, page: Any = None
    ) -> None:
        self.description = description
        self.context = context
        self.log = log
        self.run = run_of(context)
        self._store = task_state_store(context)
        # Opening the journal is the first act: a try that fails on a parameter has then proven that it sent nothing.
        self.journal = Journal(
            MemoryStore(page) if self._store is None else self._store,
            is_first_try=self.run.is_first_try and not resumed,
            page_size=PAGE_SIZE if description.is_batch and self._store is not None else None,
        )

    def start(self) -> Any:
        """Submit what has not been submitted, wait if asked to, and end the task."""
        description = self.description
        with OctosparkHook(description.octospark_conn_id) as hook:
            # All of it is checked before anything is sent, also what only matters afterwards.
            arguments.one_of(description.partial_failure, get_args(PartialFailure), "partial_failure")
            self._new_wait(())
            announcements = self._to_submit(hook)
            rules = description.rules()
            rules.check(hook.settings.submit_timeout)
            submission = Submission(
                announcements,
                self.journal,
                hook.get_conn(),
                _Clock(),
                rules,
                self.run,
                self.log,
                hook.settings.max_in_flight if description.is_batch else None,
            )
            while isinstance(results := submission.advance(), WaitUntil):
                self._pause(results)
            outcomes = results.outcomes
            if results.is_skip:
                self._push(outcomes)
                raise AirflowSkipException(str(results.error))
            notes = _by_name(results.notes)
            # Now, and not when all others have been waited for: a user has to look.
            report_unknown([outcome for outcome in outcomes if note_on(outcome, notes)], self.log, notes)
            is_open = not all(outcome.is_final for outcome in outcomes) and results.resubmission_error is None
            if description.wait_for_completion and is_open:
                wait = self._new_wait(outcomes)
                self._await(hook, wait, notes)
                outcomes, doubts = self._record_final_outcomes(wait.outcomes)
                notes |= doubts
            return self._finish(outcomes, notes, results.error, results.resubmission_error)

    def _to_submit(self, hook: OctosparkHook) -> Sequence[Announcement]:
        try:
            return self.description.to_submit(hook)
        except (OctosparkArgumentError, AirflowSkipException) as error:
            earlier = [record for record in self.journal.records.values() if record.state != "unsent"]
            if not earlier:
                raise
            said = str(error)
        # What a later try cannot make sense of any more says nothing about what is out.
        why = f"what the task asks for now cannot be used: {said}"
        known = {record.key: record.outcome or outcome_about(record, "unknown", "in_doubt", why) for record in earlier}
        report_unknown(known.values(), self.log)
        if any(outcome.state == "unknown" for outcome in known.values()):
            raise OctosparkUnknownError(f"A request of an earlier try may have been accepted, and {why}")
        raise OctosparkArgumentError(f"{said} Earlier tries have submitted something; see the record of the task.")

    def complete(self, event: Any, wait: Any, notes: Notes | None) -> Any:
        """Take the trigger's event and end the task. Makes no request."""
        seen = outcomes_or_wait(event, wait, self.log)
        if isinstance(seen, Wait):
            self._defer(seen, notes or {})
        outcomes, doubts = self._record_final_outcomes(seen)
        return self._finish(outcomes, {**(notes or {}), **doubts})

    def cancel(self) -> None:
        """Take back what is still scheduled, if a user marked the task as failed; says in the log what it did."""
        cancel(self.description.octospark_conn_id, self._cancellable(), self.run, self.log)

    def _cancellable(self) -> list[Cancellable]:
        # With a page that cannot be read, nobody knows whether a submission is the only one of its post.
        return [] if self.journal.problem else cancellable(self.journal.records.values())

    def _pause(self, wait: WaitUntil) -> None:
        remaining = wait.time - datetime.now(UTC)
        if self.description.deferrable and remaining > SHORTEST_DEFERRAL:
            raise TaskDeferred(**until_in_doubt_resolved(wait.time, **self._carried()))
        time.sleep(max(0.0, remaining.total_seconds()))

    def _new_wait(self, outcomes: Sequence[Outcome]) -> Wait:
        description = self.description
        return Wait.start(
            outcomes,
            started_at=datetime.now(UTC),
            publish_timeout=require_duration(description.publish_timeout, field="publish_timeout"),
            since=self.run.run_after,
            hidden_timeout=require_duration(description.hidden_timeout, field="hidden_timeout"),
            interval=description.poll_interval,
            backoff=description.poll_backoff,
        )

    def _await(self, hook: OctosparkHook, wait: Wait, notes: Notes) -> None:
        while True:
            for line in hook.poll(wait):
                self.log.info("%s", line)
            if wait.done:
                break
            if self.description.deferrable:
                self._defer(wait, notes)
            now = datetime.now(UTC)
            time.sleep(max(0.0, (wait.next_poll(now) - now).total_seconds()))

    def _defer(self, wait: Wait, notes: Notes) -> NoReturn:
        description = self.description
        on_kill = [each.as_json() for each in self._cancellable()] if description.cancel_on_kill else None
        raise TaskDeferred(
            **until_published(description.octospark_conn_id, wait, on_kill, notes=dict(notes), **self._carried())
        )

    def _carried(self) -> dict[str, Any]:
        # Before Airflow 3.3 there is no store; what this try knows travels with the deferral.
        return {} if self._store is not None else {"page": self.journal.page()}

    def _record_final_outcomes(self, outcomes: Sequence[Outcome]) -> tuple[list[Outcome], dict[str, str]]:
        """Record what waiting has proven; return what may be said of it, and notes on what is in doubt."""
        reported, notes = record_final_outcomes(self.journal, outcomes, self.run)
        doubts = _by_name(notes)
        report_unknown([outcome for outcome in reported if note_on(outcome, doubts)], self.log, doubts)
        return reported, doubts

    def _finish(
        self,
        outcomes: Sequence[Outcome],
        notes: Notes,
        cause: OctosparkError | None = None,
        resubmission_error: OctosparkError | None = None,
    ) -> Any:
        description = self.description
        report_unknown([outcome for outcome in outcomes if not note_on(outcome, notes)], self.log)
        report_published(outcomes, self.log)
        result = description.result(outcomes)
        self.published_url = published_url_of(result)
        try:
            raise_for_outcomes(
                outcomes,
                partial_failure=description.partial_failure,
                rules=replace(description.rules(), forgets=self._store is None),
                cause=cause,
                notes=notes,
                resubmission_error=resubmission_error,
            )
        except OctosparkError:
            self._push(outcomes)
            raise
        self._push_more(outcomes)
        add_to_outlet_events(description.outlets, self.context, outcomes)
        return result

    def _push(self, outcomes: Sequence[Outcome]) -> None:
        """Push all XComs of a task that is about to raise, so that tasks which run all the same can read them."""
        try:
            self._push_more(outcomes)
            if self.description.do_xcom_push:
                self.context["ti"].xcom_push(key=RETURN_KEY, value=self.description.result(outcomes))
        except Exception:
            # What the task raises says whether it may be retried; an error of XCom must not take its place.
            self.log.exception("The outcomes could not be pushed to XCom.")

    def _push_more(self, outcomes: Sequence[Outcome]) -> None:
        if self.description.do_xcom_push:
            for key, value in self.description.extra_xcoms(outcomes).items():
                self.context["ti"].xcom_push(key=key, value=value)


def _by_name(notes: Mapping[Target, str]) -> dict[str, str]:
    return {note_key(*target): note for target, note in notes.items()}
