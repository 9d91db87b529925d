"""What a task that submits does when it runs: the same for all operators, and for a first run, a retry and a resumption."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_octospark.airflow_compat import run_of, task_state_store
from airflow_provider_octospark.api.models import Outcome
from airflow_provider_octospark.cancellation import Cancellable, cancel, cancellable
from airflow_provider_octospark.exceptions import OctosparkArgumentError, OctosparkError, OctosparkUnknownError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.links.octospark import published_url_of
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.parameters.defaults import RETURN_KEY, PartialFailure
from airflow_provider_octospark.parameters.times import require_duration
from airflow_provider_octospark.polling.wait import Wait
from airflow_provider_octospark.submission.journal import Journal, MemoryStore, Target
from airflow_provider_octospark.submission.protocol import Announcement, Submission, WaitUntil
from airflow_provider_octospark.submission.transitions import outcome_about, take_ends
from airflow_provider_octospark.tasks.asset_events import tell_outlets
from airflow_provider_octospark.tasks.deferral import (
    SHORTEST_DEFERRAL,
    outcomes_or_wait,
    until_published,
    until_in_doubt_resolved,
)
from airflow_provider_octospark.tasks.result import Notes, judge, note_key, note_on, report_published, report_unknown

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_octospark.operators.base import OctosparkSubmitOperator

PAGE_SIZE = 50
"""How many targets of a batch share a page of the record: a page is written whole."""


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class SubmitTask:
    """One try of a task, or what goes on of it after a deferral.

    :param operator: the task, its templates rendered.
    :param resumed: whether this goes on after a deferral.
    :param page: the record that was carried through the deferral, where Airflow has no store.
    :raises OctosparkStateStoreError: if the record cannot be read or begun.
    """

    def __init__(
        self, operator: OctosparkSubmitOperator, context: Context, *, resumed: bool = False, page: Any = None
    ) -> None:
        self.operator = operator
        self.context = context
        self.log = operator.log
        self.run = run_of(context)
        self._store = task_state_store(context)
        # Opening the journal is the first act: a try that fails on a parameter has then proven that it sent nothing.
        self.journal = Journal(
            MemoryStore(page) if self._store is None else self._store,
            is_first_try=self.run.is_first_try and not resumed,
            page_size=PAGE_SIZE if operator.is_batch and self._store is not None else None,
        )

    def start(self) -> Any:
        """Submit what has not been submitted, wait if asked to, and end the task."""
        operator = self.operator
        with OctosparkHook(operator.octospark_conn_id) as hook:
            # All of it is checked before anything is sent, also what only matters afterwards.
            arguments.one_of(operator.partial_failure, get_args(PartialFailure), "partial_failure")
            self._new_wait(())
            announcements = self._to_submit(hook)
            rules = operator.rules()
            rules.check(hook.settings.submit_timeout)
            submission = Submission(
                announcements,
                self.journal,
                hook.get_conn(),
                _Clock(),
                rules,
                self.run,
                self.log,
                hook.settings.max_in_flight if operator.is_batch else None,
            )
            while isinstance(outcomes := submission.advance(), WaitUntil):
                self._pause(outcomes)
            if submission.is_skip:
                self._push(outcomes)
                raise AirflowSkipException(str(submission.error))
            notes = _by_name(submission.notes)
            # Now, and not when all others have been waited for: a person has to look.
            report_unknown([outcome for outcome in outcomes if note_on(outcome, notes)], self.log, notes)
            if operator.wait_for_completion and not all(outcome.is_final for outcome in outcomes):
                wait = self._new_wait(outcomes)
                self._await(hook, wait, notes)
                outcomes, doubts = self._take_ends(wait.outcomes)
                notes |= doubts
            return self._finish(outcomes, notes, submission.error)

    def _to_submit(self, hook: OctosparkHook) -> Sequence[Announcement]:
        try:
            return self.operator.to_submit(hook)
        except (OctosparkArgumentError, AirflowSkipException) as error:
            earlier = [record for record in self.journal.records.values() if record.state != "clean"]
            if not earlier:
                raise
            said = str(error)
        # What a later try cannot make sense of any more says nothing about what is out.
        why = f"what the task asks for now cannot be used: {said}"
        known = {record.key: record.outcome or outcome_about(record, "unknown", "in_doubt", why) for record in earlier}
        report_unknown(known.values(), self.log)
        if any(outcome.end == "unknown" for outcome in known.values()):
            raise OctosparkUnknownError(f"A request of an earlier try may have been accepted, and {why}")
        raise OctosparkArgumentError(f"{said} Earlier tries have submitted something; see the record of the task.")

    def complete(self, event: Any, wait: Any, notes: Notes | None) -> Any:
        """Take the trigger's event and end the task. Makes no request."""
        seen = outcomes_or_wait(event, wait, self.log)
        if isinstance(seen, Wait):
            self._defer(seen, notes or {})
        outcomes, doubts = self._take_ends(seen)
        return self._finish(outcomes, {**(notes or {}), **doubts})

    def cancel(self) -> None:
        """Take back what is still scheduled, if a person marked the task as failed; says in the log what it did."""
        cancel(self.operator.octospark_conn_id, self._cancellable(), self.run, self.log)

    def _cancellable(self) -> list[Cancellable]:
        # With a page that cannot be read, nobody knows whether a submission is the only one of its post.
        return [] if self.journal.problem else cancellable(self.journal.records.values())

    def _pause(self, wait: WaitUntil) -> None:
        remaining = wait.time - datetime.now(UTC)
        if self.operator.deferrable and remaining > SHORTEST_DEFERRAL:
            self.operator.defer(**until_in_doubt_resolved(wait.time, **self._carried()))
        time.sleep(max(0.0, remaining.total_seconds()))

    def _new_wait(self, outcomes: Sequence[Outcome]) -> Wait:
        operator = self.operator
        return Wait.start(
            outcomes,
            started_at=datetime.now(UTC),
            publish_timeout=require_duration(operator.publish_timeout, field="publish_timeout"),
            since=self.run.run_after,
            hidden_timeout=require_duration(operator.hidden_timeout, field="hidden_timeout"),
            interval=operator.poll_interval,
            backoff=operator.poll_backoff,
        )

    def _await(self, hook: OctosparkHook, wait: Wait, notes: Notes) -> None:
        while True:
            for line in hook.look(wait):
                self.log.info("%s", line)
            if wait.done:
                break
            if self.operator.deferrable:
                self._defer(wait, notes)
            now = datetime.now(UTC)
            time.sleep(max(0.0, (wait.next_poll(now) - now).total_seconds()))

    def _defer(self, wait: Wait, notes: Notes) -> NoReturn:
        operator = self.operator
        on_kill = [each.as_json() for each in self._cancellable()] if operator.cancel_on_kill else None
        operator.defer(
            **until_published(operator.octospark_conn_id, wait, on_kill, notes=dict(notes), **self._carried())
        )
        raise AssertionError("defer() does not return")

    def _carried(self) -> dict[str, Any]:
        # Before Airflow 3.3 there is no store; what this try knows travels with the deferral.
        return {} if self._store is not None else {"page": self.journal.page()}

    def _take_ends(self, outcomes: Sequence[Outcome]) -> tuple[list[Outcome], dict[str, str]]:
        """Record what waiting has proven; return what may be said of it, and notes on what is in doubt."""
        told, notes = take_ends(self.journal, outcomes, self.run)
        doubts = _by_name(notes)
        report_unknown([outcome for outcome in told if note_on(outcome, doubts)], self.log, doubts)
        return told, doubts

    def _finish(self, outcomes: Sequence[Outcome], notes: Notes, cause: OctosparkError | None = None) -> Any:
        operator = self.operator
        report_unknown([outcome for outcome in outcomes if not note_on(outcome, notes)], self.log)
        report_published(outcomes, self.log)
        result = operator.result(outcomes)
        operator.published_url = published_url_of(result)
        try:
            judge(
                outcomes,
                partial_failure=operator.partial_failure,
                rules=replace(operator.rules(), forgets=self._store is None),
                cause=cause,
                notes=notes,
            )
        except OctosparkError:
            self._push(outcomes)
            raise
        self._push_more(outcomes)
        tell_outlets(operator, self.context, outcomes)
        return result

    def _push(self, outcomes: Sequence[Outcome]) -> None:
        """Push all XComs of a task that is about to raise, so that tasks which run all the same can read them."""
        try:
            self._push_more(outcomes)
            if self.operator.do_xcom_push:
                self.context["ti"].xcom_push(key=RETURN_KEY, value=self.operator.result(outcomes))
        except Exception:
            # What the task raises says whether it may be retried; an error of XCom must not take its place.
            self.log.exception("The outcomes could not be pushed to XCom.")

    def _push_more(self, outcomes: Sequence[Outcome]) -> None:
        if self.operator.do_xcom_push:
            for key, value in self.operator.more_xcoms(outcomes).items():
                self.context["ti"].xcom_push(key=key, value=value)


def _by_name(notes: Mapping[Target, str]) -> dict[str, str]:
    return {note_key(*target): note for target, note in notes.items()}
