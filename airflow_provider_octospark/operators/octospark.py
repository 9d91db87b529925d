"""Operators that submit a prepared post: at once, or at a time on several accounts. Each target goes out once."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, XCom, conf

from airflow_provider_octospark import arguments
from airflow_provider_octospark.deferral import SHORTEST_DEFERRAL, outcomes_or_wait, until_published, until_settled
from airflow_provider_octospark.exceptions import OctosparkError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.journal import Journal, MemoryStore
from airflow_provider_octospark.links import OctosparkPublishedPostLink, published_url_of
from airflow_provider_octospark.models import Outcome, PostNowRequest, PublishOptions, ScheduleMultiRequest
from airflow_provider_octospark.operations import post_now, schedule_multi
from airflow_provider_octospark.submission import Announcement, Submission, Target, WaitUntil, take_ends
from airflow_provider_octospark.submission_rules import SETTLE, IfSubmitted, Rules
from airflow_provider_octospark.times import format_instant, require_duration
from airflow_provider_octospark.verdict import Notes, PartialFailure, judge, note_on, report_unknown
from airflow_provider_octospark.versions import run_of, task_state_store
from airflow_provider_octospark.waiting import OBSERVE_TIMEOUT, POLL_FACTOR, POLL_FLOOR, PUBLISH_TIMEOUT, Wait

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

IfLate = Literal["fail", "skip"]


def _by_account(notes: Mapping[Target, str]) -> dict[str, str]:
    return {account: note for (_, _, account), note in notes.items()}


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class OctosparkSubmitOperator(BaseOperator):
    """What the operators that submit have in common; not used by itself.

    :param post_id: id of a post prepared in Octospark. (templated)
    :param team_id: id of the post's team; default: ``team_id`` in the connection's extra. (templated)
    :param platform_settings: settings for the platform, an object. (templated)
    :param first_comment: a comment to add below the post, an object. (templated)
    :param engagement_comment_trigger: a comment to add when the post does well, an object. (templated)
    :param repost_after: when and how to repost, an object. (templated)
    :param recurrence_interval_days: publish again every so many days, 1 to 365. (templated)
    :param recurrence_ends_at: end of the recurrence, an aware datetime or ISO 8601. (templated)
    :param wait_for_completion: whether the task ends only when all is published or failed (default False).
    :param deferrable: whether waiting is done by the triggerer, without a worker slot (default: Airflow's
        ``[operators] default_deferrable``).
    :param publish_timeout: with ``wait_for_completion``, how long after its time a publication is given up as unknown;
        a timedelta or seconds (default 24 hours).
    :param observe_timeout: with ``wait_for_completion``, how long after its time a publication may be hidden by a newer
        one of the same post before it is given up as unknown (default 15 minutes).
    :param poll_floor: shortest pause between two looks, in seconds (default 4.0).
    :param poll_factor: growth of the pause with the square root of the seconds since it was due (default 0.8).
    :param settle: after a request without an answer: how long until one that left no trace is taken for not accepted and
        sent again. Must exceed the connection's ``submit_timeout`` by more than a minute; None never sends again
        (default 15 minutes).
    :param resubmit_failed: whether a proven failure of the service allows a retry to submit again (default True).
    :param if_already_submitted: what a later try does with what an earlier one submitted: ``reattach`` (default) carries
        on from it, ``fail`` fails, and ``resubmit`` submits again after a person's clear, if its end is proven.
    :param allow_repeat: whether to submit although somebody else submitted the same post to the same account since this
        run was due (default False).
    :param max_lateness: how long after the run was due something may still be submitted; a timedelta, seconds or None
        for any time (default None).
    :param if_late: ``fail`` (default) or ``skip``, for what is too late to be submitted.
    :param dry_run: do everything up to the request, then log it instead of sending it (default False).
    :param octospark_conn_id: id of the Airflow connection (default ``octospark_default``). (templated)
    """

    template_fields: Sequence[str] = (
        "post_id",
        "team_id",
        "platform_settings",
        "first_comment",
        "engagement_comment_trigger",
        "repost_after",
        "recurrence_interval_days",
        "recurrence_ends_at",
        "octospark_conn_id",
    )
    operator_extra_links = (OctosparkPublishedPostLink(),)
    ui_color = "#ede7fb"
    partial_failure: PartialFailure = "fail"

    def __init__(
        self,
        *,
        post_id: Any,
        team_id: Any = None,
        platform_settings: Any = None,
        first_comment: Any = None,
        engagement_comment_trigger: Any = None,
        repost_after: Any = None,
        recurrence_interval_days: Any = None,
        recurrence_ends_at: Any = None,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        publish_timeout: timedelta | float = PUBLISH_TIMEOUT,
        observe_timeout: timedelta | float = OBSERVE_TIMEOUT,
        poll_floor: float = POLL_FLOOR,
        poll_factor: float = POLL_FACTOR,
        settle: timedelta | float | None = SETTLE,
        resubmit_failed: bool = True,
        if_already_submitted: IfSubmitted = "reattach",
        allow_repeat: bool = False,
        max_lateness: timedelta | float | None = None,
        if_late: IfLate = "fail",
        dry_run: bool = False,
        octospark_conn_id: str = OctosparkHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.post_id = post_id
        self.team_id = team_id
        self.platform_settings = platform_settings
        self.first_comment = first_comment
        self.engagement_comment_trigger = engagement_comment_trigger
        self.repost_after = repost_after
        self.recurrence_interval_days = recurrence_interval_days
        self.recurrence_ends_at = recurrence_ends_at
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.publish_timeout = publish_timeout
        self.observe_timeout = observe_timeout
        self.poll_floor = poll_floor
        self.poll_factor = poll_factor
        self.settle = settle
        self.resubmit_failed = resubmit_failed
        self.if_already_submitted = if_already_submitted
        self.allow_repeat = allow_repeat
        self.max_lateness = max_lateness
        self.if_late = if_late
        self.is_dry_run = dry_run  # ``dry_run`` is a method of every operator
        self.octospark_conn_id = octospark_conn_id
        self.published_url: str | None = None

    @abstractmethod
    def announcement(self, hook: OctosparkHook) -> Announcement:
        """Return what the task's parameters ask for.

        :raises OctosparkArgumentError: naming the parameter that is unusable.
        """

    @abstractmethod
    def result(self, outcomes: Sequence[Outcome]) -> Any:
        """Return the task's XCom ``return_value``."""

    def rules(self) -> Rules:
        """Return how the task wants its submissions treated.

        :raises OctosparkArgumentError: naming the parameter that is unusable.
        """
        return Rules(
            settle=arguments.optional_duration(self.settle, "settle"),
            resubmit_failed=self.resubmit_failed,
            if_already_submitted=arguments.one_of(
                self.if_already_submitted, get_args(IfSubmitted), "if_already_submitted"
            ),
            allow_repeat=self.allow_repeat,
            max_lateness=arguments.optional_duration(self.max_lateness, "max_lateness"),
            if_late=arguments.one_of(self.if_late, get_args(IfLate), "if_late"),
            dry_run=self.is_dry_run,
            recurs=not arguments.is_absent(self.recurrence_interval_days),
        )

    def more_xcoms(self, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:  # noqa: ARG002 - for subclasses
        """Return the task's XComs beside ``return_value``, by key."""
        return {}

    def execute(self, context: Context) -> Any:
        """Submit what has not been submitted, and wait if asked to; see the class."""
        # Opening the journal is the first act: a try that fails on a parameter has then proven that it sent nothing.
        return self._submit(context, self._open_journal(context, resumed=False))

    def resume_submission(self, context: Context, event: Any = None, page: Any = None) -> Any:  # noqa: ARG002
        """Carry on after a deferral that waited for a request in doubt to settle."""
        return self._submit(context, self._open_journal(context, resumed=True, page=page))

    def execute_complete(
        self, context: Context, event: Any, wait: Any = None, page: Any = None, notes: Notes | None = None
    ) -> Any:
        """Take the trigger's event and end the task. Makes no request."""
        seen = outcomes_or_wait(event, wait, self.log)
        journal = self._open_journal(context, resumed=True, page=page)
        if isinstance(seen, Wait):
            self._defer(context, seen, journal, notes or {})
        outcomes, doubts = self._take_ends(context, journal, seen)
        return self._finish(context, outcomes, {**(notes or {}), **doubts})

    def _open_journal(self, context: Context, *, resumed: bool, page: Any = None) -> Journal:
        store = task_state_store(context)
        return Journal(
            MemoryStore(page) if store is None else store,
            is_first_try=run_of(context).is_first_try and not resumed,
        )

    def _submit(self, context: Context, journal: Journal) -> Any:
        with OctosparkHook(self.octospark_conn_id) as hook:
            # All of it is checked before anything is sent, also what only matters afterwards.
            arguments.one_of(self.partial_failure, get_args(PartialFailure), "partial_failure")
            self._new_wait(context, ())
            rules = self.rules()
            announcement = self.announcement(hook)
            rules.check(hook.settings.submit_timeout)
            submission = Submission(
                [announcement], journal, hook.get_conn(), _Clock(), rules, run_of(context), self.log
            )
            while isinstance(outcomes := submission.advance(), WaitUntil):
                self._pause(context, outcomes, journal)
            if submission.is_skip:
                self._push(context, outcomes)
                raise AirflowSkipException(str(submission.error))
            notes = _by_account(submission.notes)
            # Now, and not when all others have been waited for: a person has to look.
            report_unknown([outcome for outcome in outcomes if note_on(outcome, notes)], self.log, notes)
            if self.wait_for_completion and not all(outcome.is_final for outcome in outcomes):
                wait = self._new_wait(context, outcomes)
                self._await(context, hook, wait, journal, notes)
                outcomes, doubts = self._take_ends(context, journal, wait.outcomes)
                notes |= doubts
            return self._finish(context, outcomes, notes, submission.error)

    def _pause(self, context: Context, wait: WaitUntil, journal: Journal) -> None:
        remaining = wait.time - datetime.now(UTC)
        if self.deferrable and remaining > SHORTEST_DEFERRAL:
            self.defer(**until_settled(wait.time, **self._carried(context, journal)))
        time.sleep(max(0.0, remaining.total_seconds()))

    def _new_wait(self, context: Context, outcomes: Sequence[Outcome]) -> Wait:
        return Wait.start(
            outcomes,
            started_at=datetime.now(UTC),
            publish_timeout=require_duration(self.publish_timeout, field="publish_timeout"),
            since=run_of(context).run_after,
            observe_timeout=require_duration(self.observe_timeout, field="observe_timeout"),
            floor=self.poll_floor,
            factor=self.poll_factor,
        )

    def _await(self, context: Context, hook: OctosparkHook, wait: Wait, journal: Journal, notes: Notes) -> None:
        while True:
            for line in hook.look(wait):
                self.log.info("%s", line)
            if wait.done:
                break
            if self.deferrable:
                self._defer(context, wait, journal, notes)
            now = datetime.now(UTC)
            time.sleep(max(0.0, (wait.next_look(now) - now).total_seconds()))

    def _defer(self, context: Context, wait: Wait, journal: Journal, notes: Notes) -> NoReturn:
        carried = self._carried(context, journal)
        self.defer(**until_published(self.octospark_conn_id, wait, notes=dict(notes), **carried))
        raise AssertionError("defer() does not return")

    def _carried(self, context: Context, journal: Journal) -> dict[str, Any]:
        # Before Airflow 3.3 there is no store; what this try knows travels with the deferral.
        return {} if task_state_store(context) is not None else {"page": journal.page()}

    def _take_ends(
        self, context: Context, journal: Journal, outcomes: Sequence[Outcome]
    ) -> tuple[list[Outcome], dict[str, str]]:
        """Record what waiting has proven; return what may be said of it, and notes on what is in doubt."""
        if journal.problem is not None:
            return list(outcomes), {}
        told, notes = take_ends(journal, outcomes, run_of(context))
        doubts = _by_account(notes)
        report_unknown([outcome for outcome in told if note_on(outcome, doubts)], self.log, doubts)
        return told, doubts

    def _finish(
        self, context: Context, outcomes: Sequence[Outcome], notes: Notes, cause: OctosparkError | None = None
    ) -> Any:
        report_unknown([outcome for outcome in outcomes if not note_on(outcome, notes)], self.log)
        result = self.result(outcomes)
        self.published_url = published_url_of(result)
        try:
            judge(
                outcomes,
                partial_failure=self.partial_failure,
                rules=replace(self.rules(), forgets=task_state_store(context) is None),
                cause=cause,
                notes=notes,
            )
        except OctosparkError:
            self._push(context, outcomes)
            raise
        self._push_more(context, outcomes)
        return result

    def _push(self, context: Context, outcomes: Sequence[Outcome]) -> None:
        """Push all XComs of a task that is about to raise, so that tasks which run all the same can read them."""
        try:
            self._push_more(context, outcomes)
            if self.do_xcom_push:
                context["ti"].xcom_push(key=XCom.XCOM_RETURN_KEY, value=self.result(outcomes))
        except Exception:
            # What the task raises says whether it may be retried; an error of XCom must not take its place.
            self.log.exception("The outcomes could not be pushed to XCom.")

    def _push_more(self, context: Context, outcomes: Sequence[Outcome]) -> None:
        if self.do_xcom_push:
            for key, value in self.more_xcoms(outcomes).items():
                context["ti"].xcom_push(key=key, value=value)

    def _options(self, zone: str | None) -> dict[str, Any]:
        """Return the optional fields that both requests share.

        :raises OctosparkArgumentError: naming the parameter that is unusable.
        """
        return PublishOptions(
            platform_settings=arguments.optional_object(self.platform_settings, "platform_settings"),
            first_comment=arguments.optional_object(self.first_comment, "first_comment"),
            engagement_comment_trigger=arguments.optional_object(
                self.engagement_comment_trigger, "engagement_comment_trigger"
            ),
            repost_after=arguments.optional_object(self.repost_after, "repost_after"),
            recurrence_interval_days=arguments.optional_interval_days(
                self.recurrence_interval_days, "recurrence_interval_days"
            ),
            recurrence_ends_at=arguments.optional_instant(self.recurrence_ends_at, zone, "recurrence_ends_at"),
        ).model_dump()


class OctosparkPostNowOperator(OctosparkSubmitOperator):
    """Publish a prepared post to one social account at once.

    Returns the outcome, a flat JSON object (see :class:`~airflow_provider_octospark.models.Outcome`).

    .. code-block:: python

        OctosparkPostNowOperator(task_id="announce", post_id="…", social_account_id="…")

    :param social_account_id: id of the account to publish to, a UUID. (templated)
    :param allow_backfill: whether to publish in runs of a backfill too; they are skipped otherwise (default False).

    All other parameters: :class:`OctosparkSubmitOperator`.

    :raises OctosparkUnknownError: if it cannot be known whether the post is live. Not retried.
    :raises OctosparkPublishRetryableError: if publishing failed for a passing reason; a retry submits again.
    :raises OctosparkPublishFailedError: if publishing failed otherwise. Not retried.
    :raises OctosparkError: of the class that fits, if nothing could be sent.
    """

    template_fields: Sequence[str] = (*OctosparkSubmitOperator.template_fields, "social_account_id")

    def __init__(self, *, social_account_id: Any, allow_backfill: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.social_account_id = social_account_id
        self.allow_backfill = allow_backfill

    def rules(self) -> Rules:
        """As the base's; a backfill run submits nothing unless allowed."""
        return replace(super().rules(), skip_in_backfill=not self.allow_backfill)

    def announcement(self, hook: OctosparkHook) -> Announcement:
        """Return the one target."""
        post_id = arguments.required_id(self.post_id, "post_id")
        account = arguments.required_account(self.social_account_id, "social_account_id")
        options = self._options(None)
        team_id = hook.team(self.team_id)
        request = PostNowRequest(social_account_id=account, **options)
        return Announcement(team_id, post_id, (account,), lambda _: post_now(team_id, post_id, request))

    def result(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Return the outcome."""
        return outcomes[0].as_json()


class OctosparkScheduleMultiOperator(OctosparkSubmitOperator):
    """Schedule a prepared post on several social accounts.

    Returns the list of the outcomes of the accounts that were scheduled, so that a sensor can be mapped over it. XCom
    ``accounts`` holds the outcomes of all accounts, ``outcome`` the counts ``totalCount``, ``successCount`` and
    ``failureCount``. All are pushed before a partial failure raises.

    .. code-block:: python

        OctosparkScheduleMultiOperator(
            task_id="schedule", post_id="…", social_account_ids=["…", "…"], scheduled_at="2030-05-17T09:00:00+02:00"
        )

    :param social_account_ids: ids of the accounts, UUIDs: a list, or a JSON or comma-separated text. (templated)
    :param scheduled_at: when to publish: an aware datetime, ISO 8601 with an offset, or a naive one with
        ``timezone``. (templated)
    :param timezone: IANA name of the zone that naive times are meant in; also told to the service. (templated)
    :param platform_settings_by_social_account_id: settings for single accounts, an object of objects keyed by account
        id. (templated)
    :param partial_failure: ``fail`` (default) fails the task if any account failed or is unknown, after all XComs are
        pushed; ``succeed`` only if all did.
    :param accounts_per_call: at most so many accounts in one request. 1 costs a request for each account and leaves at
        most one of them in doubt if an answer is lost; None (default) sends one request for all.

    All other parameters, and the errors raised: :class:`OctosparkSubmitOperator`, :class:`OctosparkPostNowOperator`.
    """

    template_fields: Sequence[str] = (
        *OctosparkSubmitOperator.template_fields,
        "social_account_ids",
        "scheduled_at",
        "timezone",
        "platform_settings_by_social_account_id",
    )

    def __init__(
        self,
        *,
        social_account_ids: Any,
        scheduled_at: Any,
        timezone: Any = None,
        platform_settings_by_social_account_id: Any = None,
        partial_failure: PartialFailure = "fail",
        accounts_per_call: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.social_account_ids = social_account_ids
        self.scheduled_at = scheduled_at
        self.timezone = timezone
        self.platform_settings_by_social_account_id = platform_settings_by_social_account_id
        self.partial_failure = partial_failure
        self.accounts_per_call = accounts_per_call

    def announcement(self, hook: OctosparkHook) -> Announcement:
        """Return the targets, one for each account."""
        width = arguments.optional_count(self.accounts_per_call, "accounts_per_call")
        post_id = arguments.required_id(self.post_id, "post_id")
        accounts = arguments.required_accounts(self.social_account_ids, "social_account_ids")
        zone = arguments.optional_timezone(self.timezone, "timezone")
        scheduled_at = arguments.required_instant(self.scheduled_at, zone, "scheduled_at")
        settings = arguments.optional_objects_by_account(
            self.platform_settings_by_social_account_id, accounts, "platform_settings_by_social_account_id"
        )
        options = self._options(zone)
        team_id = hook.team(self.team_id)

        def call(some: Sequence[str]) -> Any:
            request = ScheduleMultiRequest(
                social_account_ids=list(some),
                scheduled_at=format_instant(scheduled_at),
                timezone=zone,
                platform_settings_by_social_account_id=(
                    None if settings is None else {key: entry for key, entry in settings.items() if key in some}
                ),
                **options,
            )
            return schedule_multi(team_id, post_id, request)

        return Announcement(team_id, post_id, accounts, call, scheduled_at, width)

    def result(self, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
        """Return the outcomes of the accounts that were scheduled."""
        return [o.as_json() for o in outcomes if o.scheduled_post_id is not None or o.end == "pending"]

    def more_xcoms(self, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:
        """Return ``accounts`` and ``outcome``."""
        scheduled = len(self.result(outcomes))
        return {
            "accounts": [outcome.as_json() for outcome in outcomes],
            "outcome": {
                "totalCount": len(outcomes),
                "successCount": scheduled,
                "failureCount": len(outcomes) - scheduled,
            },
        }
