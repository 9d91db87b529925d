"""Operators that submit prepared posts: one now, one scheduled on several accounts, or many. Each target goes out once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.operators.base import OctosparkSubmitOperator
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.parameters.checks import check_at_parsing, check_fixed, check_literals
from airflow_provider_octospark.parameters.defaults import PAGE_SIZE, IfBadItems, IfEmpty, PartialFailure

if TYPE_CHECKING:
    from airflow_provider_octospark.hooks.octospark import OctosparkHook
    from airflow_provider_octospark.outcomes import Outcome
    from airflow_provider_octospark.submission.announcements import Announcement
    from airflow_provider_octospark.submission.batch import Batch
    from airflow_provider_octospark.submission.rules import Rules

__all__ = [
    "OctosparkPostNowOperator",
    "OctosparkScheduleBatchOperator",
    "OctosparkScheduleMultiOperator",
    "OctosparkSubmitOperator",
]


def _partial_failure(value: PartialFailure, name: str) -> PartialFailure:
    return arguments.one_of(value, get_args(PartialFailure), name)


class OctosparkSubmitPostOperator(OctosparkSubmitOperator):
    """Base of the operators that submit one post; not used by itself.

    :param post_id: id of a post prepared in Octospark. (templated)
    :param platform_settings: settings for the platform, an object. (templated)
    :param first_comment: a comment to add below the post, an object. (templated)
    :param engagement_comment_trigger: a comment to add when the post gets engagement, an object. (templated)
    :param repost_after: when and how to repost, an object. (templated)
    :param recurrence_interval_days: publish again after this number of days, 1 to 365. (templated)
    :param recurrence_ends_at: end of the recurrence, an aware datetime or ISO 8601. (templated)
    :param content_hash: the hash of what was approved, as ``OctosparkHook.content_hash`` returns it. A post whose text or
        assets have changed since is not sent. None (default) sends any. (templated)
    """

    template_fields: Sequence[str] = (
        "post_id",
        *OctosparkSubmitOperator.template_fields,
        "platform_settings",
        "first_comment",
        "engagement_comment_trigger",
        "repost_after",
        "recurrence_interval_days",
        "recurrence_ends_at",
        "content_hash",
    )

    def __init__(
        self,
        *,
        post_id: Any,
        platform_settings: Any = None,
        first_comment: Any = None,
        engagement_comment_trigger: Any = None,
        repost_after: Any = None,
        recurrence_interval_days: Any = None,
        recurrence_ends_at: Any = None,
        content_hash: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.post_id = post_id
        self.content_hash = content_hash
        self._has_content_hash = content_hash is not None
        self.platform_settings = platform_settings
        self.first_comment = first_comment
        self.engagement_comment_trigger = engagement_comment_trigger
        self.repost_after = repost_after
        self.recurrence_interval_days = recurrence_interval_days
        self.recurrence_ends_at = recurrence_ends_at

    @property
    def recurs(self) -> bool:
        """Whether what is submitted comes again by itself."""
        from airflow_provider_octospark.parameters.arguments import is_absent

        return not is_absent(self.recurrence_interval_days)

    def require_content_hash(self) -> None:
        """Refuse a ``content_hash`` that a template rendered to nothing: the post would not be checked.

        :raises OctosparkArgumentError: if so.
        """
        if self._has_content_hash and arguments.is_absent(self.content_hash):
            raise OctosparkArgumentError("content_hash is empty. Give the hash, or leave the parameter out.")


class OctosparkPostNowOperator(OctosparkSubmitPostOperator):
    """Publish a prepared post to one social account at once.

    Returns the outcome, a flat JSON object (see :class:`~airflow_provider_octospark.outcomes.Outcome`).

    .. code-block:: python

        OctosparkPostNowOperator(task_id="announce", post_id="…", social_account_id="…")

    :param social_account_id: id of the account to publish to, a UUID. (templated)
    :param allow_backfill: whether to publish in runs of a backfill too; they are skipped otherwise (default False).

    All other parameters: :class:`OctosparkSubmitPostOperator`, :class:`OctosparkSubmitOperator`.

    :raises OctosparkUnknownError: if it cannot be known whether the post is live. Not retried.
    :raises OctosparkPublishRetryableError: if publishing failed for a transient reason; a retry submits again.
    :raises OctosparkPublishFailedError: if publishing failed otherwise. Not retried.
    :raises OctosparkError: of the class that fits, if nothing could be sent.
    """

    template_fields: Sequence[str] = (*OctosparkSubmitPostOperator.template_fields, "social_account_id")

    def __init__(self, *, social_account_id: Any, allow_backfill: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.social_account_id = social_account_id
        self.allow_backfill = allow_backfill
        check_at_parsing(self)

    def check_parameters(self) -> None:
        """Check what no template can change."""
        super().check_parameters()
        check_fixed(self, allow_backfill=arguments.fixed_flag)
        check_literals(
            self,
            post_id=arguments.required_id,
            social_account_id=arguments.required_account,
            content_hash=arguments.optional_hash,
        )

    def rules(self) -> Rules:
        """Return the rules of the task's parameters; a backfill run submits nothing unless allowed."""
        return replace(super().rules(), skip_in_backfill=not self.allow_backfill)

    def to_submit(self, hook: OctosparkHook) -> Sequence[Announcement]:
        """Return the one target."""
        from airflow_provider_octospark.submission.requests import POST_NOW, to_post_now

        self.require_content_hash()
        return [to_post_now({name: getattr(self, name) for name in (*POST_NOW, "content_hash")}, hook.team)]

    def result(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Return the outcome."""
        return outcomes[0].as_json()


class OctosparkScheduleMultiOperator(OctosparkSubmitPostOperator):
    """Schedule a prepared post on several social accounts.

    Returns the list of the outcomes of the accounts that were scheduled, so that a sensor can be mapped over it. XCom
    ``accounts`` holds the outcomes of all accounts, ``outcome`` the counts ``totalCount``, ``successCount``,
    ``failureCount`` and ``unknownCount``. All are pushed before a partial failure raises.

    .. code-block:: python

        OctosparkScheduleMultiOperator(
            task_id="schedule", post_id="…", social_account_ids=["…", "…"], scheduled_at="2030-05-17T09:00:00+02:00"
        )

    :param social_account_ids: ids of the accounts, UUIDs: a list, or a JSON or comma-separated text. (templated)
    :param scheduled_at: when to publish: an aware datetime, ISO 8601 with an offset, or a naive one with
        ``timezone``. (templated)
    :param timezone: IANA name of the zone of naive times; also sent to the service. (templated)
    :param platform_settings_by_social_account_id: settings for single accounts, an object of objects keyed by account
        id. (templated)
    :param partial_failure: ``fail`` (default) fails the task if any account failed or is unknown, after all XComs are
        pushed; ``succeed`` only if all did.
    :param accounts_per_call: the most accounts in one request. With 1, each account takes a request, and a lost response
        leaves at most one in doubt. None (default) sends one request for all.

    All other parameters, and the errors raised: :class:`OctosparkSubmitPostOperator`, :class:`OctosparkSubmitOperator`,
    :class:`OctosparkPostNowOperator`.
    """

    template_fields: Sequence[str] = (
        *OctosparkSubmitPostOperator.template_fields,
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
        check_at_parsing(self)

    def check_parameters(self) -> None:
        """Check what no template can change."""
        super().check_parameters()
        check_fixed(self, partial_failure=_partial_failure, accounts_per_call=arguments.optional_count)
        check_literals(
            self,
            post_id=arguments.required_id,
            social_account_ids=arguments.required_accounts,
            timezone=arguments.optional_timezone,
        )
        if arguments.is_literal([self.scheduled_at, self.timezone]):
            zone = arguments.optional_timezone(self.timezone, "timezone")
            arguments.required_instant(self.scheduled_at, zone, "scheduled_at")

    def rules(self) -> Rules:
        """Return the rules of the task's parameters."""
        return replace(super().rules(), is_scheduled=True)

    def to_submit(self, hook: OctosparkHook) -> Sequence[Announcement]:
        """Return the targets, one for each account."""
        from airflow_provider_octospark.parameters.arguments import optional_count
        from airflow_provider_octospark.submission.requests import SCHEDULE_MULTI, to_schedule

        concurrency = optional_count(self.accounts_per_call, "accounts_per_call")
        self.require_content_hash()
        return [to_schedule({name: getattr(self, name) for name in SCHEDULE_MULTI}, hook.team, concurrency)]

    def result(self, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
        """Return the outcomes of the accounts that were scheduled."""
        return [outcome.as_json() for outcome in outcomes if outcome.was_scheduled]

    def extra_xcoms(self, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:
        """Return ``accounts`` and ``outcome``."""
        from airflow_provider_octospark.outcomes import counts_of

        return {"accounts": [outcome.as_json() for outcome in outcomes], "outcome": counts_of(outcomes)}


class OctosparkScheduleBatchOperator(OctosparkSubmitOperator):
    """Schedule many prepared posts in one task, with at most the connection's ``max_in_flight`` requests at once.

    Each item is submitted as by :class:`OctosparkScheduleMultiOperator` and has records of its own, so a killed batch
    resumes. A rate limit slows the batch down. The log reports the progress.

    Returns a manifest: the counts ``totalCount``, ``successCount``, ``failureCount`` and ``unknownCount`` of the targets;
    ``failures``, at most 100 outcomes of targets that failed or are unknown; ``badItems``; ``dagId``, ``runId``, ``taskId`` and
    ``mapIndex`` of this task instance; and ``outcomeKeys``, the keys of its XComs that hold the outcomes of all targets, in order,
    at most 200 in each. All are pushed before the task fails. The sensor takes the manifest as its ``publication``.

    .. code-block:: python

        OctosparkScheduleBatchOperator(
            task_id="campaign",
            announcements=[
                {"post_id": "…", "social_account_ids": ["…"], "scheduled_at": "2030-05-17T09:00:00+02:00"},
                {"post_id": "…", "social_account_ids": ["…"], "scheduled_at": "2030-05-18T09:00:00+02:00"},
            ],
        )

    :param announcements: a list of objects, each with the parameters of :class:`OctosparkScheduleMultiOperator` that
        describe what to schedule: a literal, JSON text, an XCom, or the name of a ``.json`` file beside the DAG.
        (templated)
    :param if_bad_items: ``fail`` (default) sends nothing if any item is unusable, and names all unusable ones; ``skip``
        sends the others.
    :param if_empty: what an empty list does: ``fail`` (default) or ``skip``.
    :param partial_failure: ``fail`` (default) fails the task if any target failed or is unknown, after all XComs are
        pushed; ``succeed`` only if all did.
    :param accounts_per_call: as of :class:`OctosparkScheduleMultiOperator`.

    All other parameters, and the errors raised: :class:`OctosparkSubmitOperator`, :class:`OctosparkPostNowOperator`.
    """

    template_fields: Sequence[str] = (*OctosparkSubmitOperator.template_fields, "announcements")
    template_ext: Sequence[str] = (".json",)
    template_fields_renderers = {"announcements": "json"}  # noqa: RUF012 - as Airflow declares it
    page_size = PAGE_SIZE

    def __init__(
        self,
        *,
        announcements: Any,
        if_bad_items: IfBadItems = "fail",
        if_empty: IfEmpty = "fail",
        partial_failure: PartialFailure = "fail",
        accounts_per_call: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.announcements = announcements
        self.if_bad_items = if_bad_items
        self.if_empty = if_empty
        self.partial_failure = partial_failure
        self.accounts_per_call = accounts_per_call
        self._batch: Batch | None = None
        check_at_parsing(self)

    def render_template(self, content: Any, *args: Any, **kwargs: Any) -> Any:
        """Render a template. Only a bare text that ends in ``.json`` names a file, no text of a list or an object."""
        if isinstance(content, str):
            return super().render_template(content, *args, **kwargs)
        template_ext, self.template_ext = self.template_ext, ()
        try:
            return super().render_template(content, *args, **kwargs)
        finally:
            self.template_ext = template_ext

    def check_parameters(self) -> None:
        """Check what no template can change."""
        super().check_parameters()
        check_fixed(
            self,
            if_bad_items=lambda value, name: arguments.one_of(value, get_args(IfBadItems), name),
            if_empty=lambda value, name: arguments.one_of(value, get_args(IfEmpty), name),
            partial_failure=_partial_failure,
            accounts_per_call=arguments.optional_count,
        )

    def rules(self) -> Rules:
        """Return the rules of the task's parameters."""
        return replace(super().rules(), is_scheduled=True)

    @property
    def recurs(self) -> bool:
        """Whether any post of the batch recurs."""
        return self._present.recurs

    def to_submit(self, hook: OctosparkHook) -> Sequence[Announcement]:
        """Return the announcements of the usable items.

        :raises OctosparkArgumentError: naming all unusable items, or if the list is empty.
        :raises AirflowSkipException: if the list is empty, with ``if_empty="skip"``.
        """
        batch = self._batch = self._read(hook.team)
        for item in batch.bad:
            self.log.warning("Left out: announcements[%d]: %s", item.index, item.problem)
        return batch.announcements

    def result(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Return the manifest."""
        from airflow_provider_octospark.submission.batch import manifest

        if self._task is None:
            raise RuntimeError("The manifest names the task instance, and no task instance runs.")
        return manifest(outcomes, self._present.bad, self._task.run)

    def extra_xcoms(self, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:
        """Return the outcomes of all targets, in parts."""
        from airflow_provider_octospark.submission.batch import parts

        return parts(outcomes)

    @property
    def _present(self) -> Batch:
        """Return the parsed list; after a deferral, the list as it is now, if it can be parsed."""
        if self._batch is None:
            from airflow_provider_octospark.submission.batch import Batch

            try:
                # The teams do not matter here.
                self._batch = self._read(str)
            except AirflowException:
                self._batch = Batch(())
        return self._batch

    def _read(self, team_of: Callable[[object], str]) -> Batch:
        from airflow_provider_octospark.submission.batch import Batch

        return Batch.read(
            self.announcements,
            team_of,
            team_id=self.team_id,
            accounts_per_call=self.accounts_per_call,
            if_bad_items=self.if_bad_items,
            if_empty=self.if_empty,
        )
