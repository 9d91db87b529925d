"""The task of the operators that submit: first try, retry and resumption."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException, TaskDeferred

from airflow_provider_octospark.airflow_compat import run_of, task_state_store
from airflow_provider_octospark.api.text import Log, sanitize
from airflow_provider_octospark.cancellation import Cancellable, cancel, cancellable, with_cancellable
from airflow_provider_octospark.exceptions import (
    OctosparkArgumentError,
    OctosparkError,
    OctosparkSettingsError,
    OctosparkStateStoreError,
)
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
from airflow_provider_octospark.polling.wait import Wait
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.driver import Submission, WaitUntil
from airflow_provider_octospark.submission.journal import Journal, MemoryStore
from airflow_provider_octospark.submission.received import ReceivingApi
from airflow_provider_octospark.submission.records import Target, target_key
from airflow_provider_octospark.submission.refused_accounts import report_disconnected
from airflow_provider_octospark.submission.transitions import outcomes_on_record, record_final_outcomes
from airflow_provider_octospark.tasks.asset_events import add_to_outlet_events
from airflow_provider_octospark.tasks.clock import SystemClock
from airflow_provider_octospark.tasks.deferral import (
    SHORTEST_DEFERRAL,
    ends_or_wait,
    responses_of_event,
    until_in_doubt_resolved,
    until_published,
    whole_event,
)
from airflow_provider_octospark.tasks.metrics import count_ended, count_requests, ended_since
from airflow_provider_octospark.tasks.other_runs import run_with_submission
from airflow_provider_octospark.tasks.result import (
    Notes,
    fails_for_retry,
    note_key,
    note_on,
    raise_for_outcomes,
    report_published,
    report_unknown,
)
from airflow_provider_octospark.tasks.stopping import Stopping
from airflow_provider_octospark.tasks.xcoms import XComs

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_octospark.submission.rules import Rules
    from airflow_provider_octospark.submission.sending import Clock


@dataclass(frozen=True, kw_only=True)
class SubmitDescription:
    """The description of a task that submits.

    :param octospark_conn_id: id of the Airflow connection.
    :param to_submit: returns the announcements; raises `OctosparkArgumentError` for an unusable parameter.
    :param rules: returns the rules; raises `OctosparkArgumentError` for an unusable parameter.
    :param result: returns the task's XCom ``return_value`` for its outcomes.
    :param extra_xcoms: returns the task's other XComs for its outcomes, by key.
    :param page_size: for a batch, how many targets share a page of the record; None (default) for all on one page.
    :param partial_failure: one of `PartialFailure`.
    :param wait_for_completion: whether the task waits until all submissions are published or failed; True, False or a word.
    :param deferrable: whether the task waits in the triggerer.
    :param publish_timeout: how long after its time to wait for a publication; a timedelta or seconds.
    :param hidden_timeout: how long a publication may be hidden by a newer one of its post; a timedelta or seconds.
    :param poll_interval: shortest pause between two polls, in seconds.
    :param poll_backoff: growth of that pause.
    :param cancel_on_kill: whether scheduled submissions are taken off the schedule if a user marks the task as failed.
    :param outlets: the task's outlets.
    :param do_xcom_push: whether the task pushes XComs.
    :param push_response: whether they include the service's responses.
    """

    octospark_conn_id: str
    to_submit: Callable[[OctosparkHook], Sequence[Announcement]]
    rules: Callable[[], Rules]
    result: Callable[[Sequence[Outcome]], Any]
    extra_xcoms: Callable[[Sequence[Outcome]], Mapping[str, Any]]
    page_size: int | None = None
    partial_failure: PartialFailure = "fail"
    wait_for_completion: bool | str = False
    deferrable: bool = False
    publish_timeout: timedelta | float = PUBLISH_TIMEOUT
    hidden_timeout: timedelta | float = HIDDEN_TIMEOUT
    poll_interval: float = POLL_INTERVAL
    poll_backoff: float = POLL_BACKOFF
    cancel_on_kill: bool = False
    outlets: Sequence[Any] = ()
    do_xcom_push: bool = True
    push_response: bool = False


class SubmitTask:
    """One try of a task, or its continuation after a deferral.

    :param description: the task's description, with rendered templates.
    :param log: the task's log.
    :param resumed: whether the task continues after a deferral.
    :param page: the record that the deferral carried, where Airflow has no store.
    :param clock: our own clock; tests pass another.
    :param connect: creates the hook of a connection; tests pass another.
    :raises OctosparkStateStoreError: if the record cannot be read or written.
    """

    published_url: str | None = None
    _cannot_defer: str | None = None

    def __init__(
        self,
        description: SubmitDescription,
        context: Context,
        log: Log,
        *,
        resumed: bool = False,
        page: Any = None,
        clock: Clock | None = None,
        connect: Callable[[str], OctosparkHook] = OctosparkHook,
    ) -> None:
        self.description = description
        self.context = context
        self.log = log
        self.run = run_of(context)
        # Of a mapped task, the value is not checked yet. It may be an array, which is neither true nor false.
        self.stopping = Stopping(self.cancel if description.cancel_on_kill is True else None)
        self._is_resumed = resumed
        self._xcoms = XComs(description, context, log)
        self._clock = clock or SystemClock(self.stopping)
        self._connect = connect
        self._store = task_state_store(context)
        # The journal is opened first, so that a try which fails on a parameter proves that it sent nothing.
        self.journal = Journal(
            MemoryStore(page) if self._store is None else self._store,
            is_first_try=self.run.is_first_try and not resumed,
            page_size=description.page_size if self._store is not None else None,
        )

    def start(self, *, cannot_defer: str | None = None) -> Any:
        """Submit what is not submitted yet, wait if asked to, and end the task.

        :param cannot_defer: why the task cannot wait in the triggerer; what is not final after one poll is then unknown. None
            (default) if it can.
        """
        description = self.description
        self._cannot_defer = cannot_defer
        with self.stopping.observed(), self._connect(description.octospark_conn_id) as hook:
            hook.is_stopped = lambda: self.stopping.is_requested
            announcements, rules, waits = self._checked(hook)
            before = dict(self.journal.records)
            api = ReceivingApi(hook.get_conn())
            submission = Submission(
                announcements,
                self.journal,
                api,
                self._clock,
                rules,
                self.run,
                self.log,
                hook.settings.max_in_flight if description.page_size is not None else None,
                lambda: self.stopping.error() or hook.read_only_error(),
                lambda submission_id: run_with_submission(self.context, submission_id, self.log),
            )
            try:
                if description.page_size is not None and not self._is_resumed:
                    report_disconnected(announcements, before, api, self.log)
                while isinstance(results := submission.advance(), WaitUntil):
                    self._pause(results)
            except OctosparkStateStoreError as error:
                if not self.run.has_retry:
                    # No retry can find what this try has sent.
                    self._report_record(str(error))
                raise
            finally:
                # A deferral, an error and a wait come later than the responses, which are known now only.
                count_requests(before, self.journal.records)
                known = (record.outcome for record in self.journal.records.values())
                self._xcoms.push_responses(lambda: api.excerpts(known, hook.settings.token, self._is_resumed))
            outcomes = api.with_details(results.outcomes)
            if results.is_skip:
                self._push(with_cancellable(outcomes, self._cancellable()))
                raise AirflowSkipException(str(results.error))
            notes = _by_name(results.notes)
            # Logged before the wait for the others, because a user has to act.
            report_unknown([outcome for outcome in outcomes if note_on(outcome, notes)], self.log, notes)
            is_open = not all(outcome.is_final for outcome in outcomes) and results.resubmission_error is None
            if waits and is_open and not self._is_for_retry(outcomes, rules):
                wait = self._new_wait(outcomes)
                if description.push_response and not api.count and not self._is_resumed:
                    keep_responses(wait, api.read_of(outcomes))
                self._await(hook, wait, notes)
                self._xcoms.push_responses(lambda: kept_responses(wait, hook.settings.token))
                outcomes, doubts = self._record_final_outcomes(wait.outcomes)
                notes |= doubts
            return self._finish(outcomes, notes, results.error, results.resubmission_error)

    def _is_for_retry(self, outcomes: Sequence[Outcome], rules: Rules) -> bool:
        """Whether the task fails before it waits, so that a retry submits refused targets before their time has passed."""
        return self.run.has_retry and fails_for_retry(
            outcomes, self.description.partial_failure, replace(rules, forgets=self._store is None)
        )

    def _report_record(self, why: str) -> None:
        """Report what the record shows, for a try that ends before the protocol does.

        :raises OctosparkUnknownError: if a target is in doubt.
        """
        outcomes, doubts = outcomes_on_record(self.journal, sanitize(why), self.run)
        notes = _by_name(doubts)
        report_unknown(outcomes, self.log, notes)
        if any(outcome.state == "unknown" for outcome in outcomes):
            self._push(outcomes)
            raise_for_outcomes(outcomes, notes=notes)

    def _checked(self, hook: OctosparkHook) -> tuple[Sequence[Announcement], Rules, bool]:
        """Check all parameters before anything is sent, also those of the wait.

        :returns: the announcements, the rules, and whether the task waits.
        :raises OctosparkError: naming what is unusable.
        """
        description = self.description
        try:
            announcements = description.to_submit(hook)
            arguments.one_of(description.partial_failure, get_args(PartialFailure), "partial_failure")
            self._new_wait(())
            rules = description.rules()
            rules.check(hook.settings.submit_timeout)
            return announcements, rules, arguments.flag(description.wait_for_completion, "wait_for_completion")
        except (OctosparkArgumentError, OctosparkSettingsError, AirflowSkipException) as error:
            problem = error
        # A parameter that is unusable now says nothing about earlier submissions.
        self._report_record(f"what the task asks for now cannot be used: {problem}")
        if all(record.state == "unsent" for record in self.journal.records.values()):
            raise problem
        raise OctosparkArgumentError(f"{problem} Earlier tries have submitted something; see the record of the task.")

    def complete(self, event: Any, wait: Any, notes: Notes | None) -> Any:
        """Take the trigger's event and end the task.

        Makes no request, unless targets were added while the task was deferred; these are submitted first.
        """
        with self.stopping.observed():
            event = whole_event(event)
            seen = ends_or_wait(event, wait, self.log)
            if isinstance(seen, Wait):
                self._defer(seen, notes or {})
            self._xcoms.push_responses(lambda: responses_of_event(event))
            outcomes, doubts = self._record_final_outcomes(seen.outcomes)
            if self._is_asked_for_more(outcomes):
                return self.start()
            return self._finish(outcomes, {**(notes or {}), **doubts})

    def _is_asked_for_more(self, outcomes: Sequence[Outcome]) -> bool:
        """Whether targets were added while the task was deferred."""
        known = {target_key(each.team_id, each.post_id, each.social_account_id or "") for each in outcomes}
        try:
            with self._connect(self.description.octospark_conn_id) as hook:
                asked_for = {key for each in self.description.to_submit(hook) for key in each.targets}
        except (OctosparkError, AirflowException) as error:
            # All targets of the deferral are known; a parameter that is unusable now does not change them.
            self.log.warning("What the task asks for now cannot be used: %s", error)
            return False
        if not known <= asked_for:
            # A template may render differently in each process; only a list that has grown is submitted.
            self.log.warning("The task asks for other targets than when it was deferred; it reports the earlier ones.")
            return False
        added = len(asked_for - known)
        if added:
            self.log.warning("While the task was deferred, %d targets were added; submitting them.", added)
        return bool(added)

    def cancel(self) -> None:
        """Take submissions off the schedule if a user marked the task as failed; log what it does."""
        cancel(self.description.octospark_conn_id, self._cancellable(), self.run, self.log)

    def _cancellable(self) -> list[Cancellable]:
        # With an unreadable page it is not known whether a submission is the only one of its post.
        return [] if self.journal.problem else cancellable(self.journal.records.values())

    def _pause(self, wait: WaitUntil) -> None:
        self.stopping.check()
        remaining = wait.time - self._clock.now()
        if self.description.deferrable and self._cannot_defer is None and remaining > SHORTEST_DEFERRAL:
            raise TaskDeferred(**until_in_doubt_resolved(wait.time, **self._carried()))
        self._clock.sleep(max(0.0, remaining.total_seconds()))

    def _new_wait(self, outcomes: Sequence[Outcome]) -> Wait:
        description = self.description
        return Wait.start(
            outcomes,
            started_at=self._clock.now(),
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
            if self._cannot_defer is not None:
                wait.end_unknown("deadline", self._cannot_defer)
            if wait.done:
                break
            self.stopping.check()
            if self.description.deferrable:
                self._defer(wait, notes)
            now = self._clock.now()
            self._clock.sleep(max(0.0, (wait.next_poll(now) - now).total_seconds()))

    def _defer(self, wait: Wait, notes: Notes) -> NoReturn:
        description = self.description
        on_kill = [each.as_json() for each in self._cancellable()] if description.cancel_on_kill else None
        raise TaskDeferred(
            **until_published(
                description.octospark_conn_id, wait, self.run, on_kill, notes=dict(notes), **self._carried()
            )
        )

    def _carried(self) -> dict[str, Any]:
        # Before Airflow 3.3 there is no store, so the deferral carries the record.
        return {} if self._store is not None else {"page": self.journal.page()}

    def _record_final_outcomes(self, outcomes: Sequence[Outcome]) -> tuple[list[Outcome], dict[str, str]]:
        """Record the results of a wait; return the outcomes to report, and notes on targets in doubt."""
        on_record = (record.outcome for record in self.journal.records.values() if record.outcome is not None)
        count_ended(ended_since(outcomes, on_record))
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
        outcomes = with_cancellable(outcomes, self._cancellable())
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
        self._xcoms.push(description.extra_xcoms(outcomes))
        add_to_outlet_events(description.outlets, self.context, outcomes)
        return result

    def _push(self, outcomes: Sequence[Outcome]) -> None:
        description = self.description
        self._xcoms.push_before_raising(lambda: (description.extra_xcoms(outcomes), description.result(outcomes)))


def _by_name(notes: Mapping[Target, str]) -> dict[str, str]:
    return {note_key(*target): note for target, note in notes.items()}
