"""The notifier that publishes a prepared post from a callback."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseNotifier

from airflow_provider_octospark.airflow_compat import began_at_of, dag_run_of, due_of, is_backfill
from airflow_provider_octospark.api.client import AsyncOctosparkClient
from airflow_provider_octospark.api.models import Post, ScheduledPost
from airflow_provider_octospark.api.operations import get_post
from airflow_provider_octospark.api.sync_client import BackgroundLoop
from airflow_provider_octospark.api.text import sanitize
from airflow_provider_octospark.exceptions import OctosparkError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.outcomes import Outcome, describe, outcome_of, same_id
from airflow_provider_octospark.parameters.arguments import fixed_flag
from airflow_provider_octospark.parameters.times import on_service_clock, parse_instant
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.requests import POST_NOW, to_post_now
from airflow_provider_octospark.submission.rules import CLOCK_MARGIN, LEAVE_WITHIN, proves_nothing_sent
from airflow_provider_octospark.tasks.result import report_unknown

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_octospark.api.responses import Response
    from airflow_provider_octospark.api.settings import ConnectionSettings

log = logging.getLogger(__name__)


class OctosparkPostNowNotifier(BaseNotifier):
    """Publish a prepared post to one social account from a callback of a DAG or a task.

    The notifier promises less than :class:`~airflow_provider_octospark.operators.octospark.OctosparkPostNowOperator`,
    because a callback has neither a state store nor retries. Use the operator if the post must go out, and go out once.
    Before it sends, the notifier reads the post, and sends nothing if the latest submission is to its account and was
    created since the run began. So a callback that runs again publishes once. Two callbacks at the same moment may publish
    twice, and so may one whose submission is hidden by another account's or shows late. The notifier does not wait for the
    publication, and does not repeat a request that could not be sent.

    If it is not known whether a request was accepted, the notifier logs ``OCTOSPARK UNKNOWN`` and sends nothing more.
    Callbacks of a DAG run in the DAG processor and write to its log.

    The notifier never fails a DAG or a task; it logs why nothing was published. In runs of a backfill it publishes
    nothing.

    .. code-block:: python

        DAG("release", on_success_callback=OctosparkPostNowNotifier(post_id="…", social_account_id="…"))

    :param post_id: id of a post prepared in Octospark. (templated)
    :param social_account_id: id of the account to publish to, a UUID. (templated)
    :param team_id: id of the post's team; default: ``team_id`` in the connection's extra. (templated)
    :param platform_settings: settings for the platform, an object. (templated)
    :param first_comment: a comment to add below the post, an object. (templated)
    :param engagement_comment_trigger: a comment to add when the post gets engagement, an object. (templated)
    :param repost_after: when and how to repost, an object. (templated)
    :param recurrence_interval_days: publish again after this number of days, 1 to 365. (templated)
    :param recurrence_ends_at: end of the recurrence, an aware datetime or ISO 8601. (templated)
    :param allow_backfill: whether to publish in runs of a backfill too (default False).
    :param octospark_conn_id: id of the Airflow connection (default ``octospark_default``). (templated)
    """

    template_fields: Sequence[str] = (*POST_NOW, "octospark_conn_id")

    def __init__(
        self,
        *,
        post_id: Any,
        social_account_id: Any,
        team_id: Any = None,
        platform_settings: Any = None,
        first_comment: Any = None,
        engagement_comment_trigger: Any = None,
        repost_after: Any = None,
        recurrence_interval_days: Any = None,
        recurrence_ends_at: Any = None,
        allow_backfill: bool = False,
        octospark_conn_id: str = OctosparkHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.post_id = post_id
        self.social_account_id = social_account_id
        self.team_id = team_id
        self.platform_settings = platform_settings
        self.first_comment = first_comment
        self.engagement_comment_trigger = engagement_comment_trigger
        self.repost_after = repost_after
        self.recurrence_interval_days = recurrence_interval_days
        self.recurrence_ends_at = recurrence_ends_at
        self.allow_backfill = fixed_flag(allow_backfill, "allow_backfill")
        self.octospark_conn_id = octospark_conn_id
        self._templates = {name: getattr(self, name) for name in self.template_fields}
        self._sent: set[tuple[str, ...]] = set()

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Return a rendered copy: Airflow calls one notifier for many runs, and rendering overwrites the templates."""
        for name, template in self._templates.items():
            setattr(self, name, template)
        super().render_template_fields(context, jinja_env)

    def __call__(self, *args: Any) -> None:
        """Publish the post from a callback; never raises."""
        try:
            super().__call__(*args)
        except Exception as error:  # noqa: BLE001 - whatever a template raises
            self._say_not_sent(error, "its templates cannot be rendered")

    def __await__(self) -> Generator[Any, None, None]:
        """Publish the post from an asynchronous callback; never raises."""
        return self._called().__await__()

    async def _called(self) -> None:
        try:
            self._update_context(self.context)
            self.render_template_fields(self.context)
        except Exception as error:  # noqa: BLE001 - whatever a template raises
            self._say_not_sent(error, "its templates cannot be rendered")
        else:
            await self.async_notify(self.context)

    def notify(self, context: Context) -> None:
        """Publish the post; never raises."""
        loop = BackgroundLoop("octospark-notifier")
        try:
            with OctosparkHook(self.octospark_conn_id) as hook:
                loop.run(self._publish(hook.settings, self._announcement(hook), context))
        except Exception as error:  # noqa: BLE001 - whatever a callback is given, it must not fail the run
            self._say_not_sent(error)
        finally:
            loop.close()

    async def async_notify(self, context: Context) -> None:
        """Publish the post, on an event loop; never raises."""
        try:
            hook = OctosparkHook(self.octospark_conn_id)
            hook.settings = await hook.aget_settings()
            await self._publish(hook.settings, self._announcement(hook), context)
        except Exception as error:  # noqa: BLE001 - as above
            self._say_not_sent(error)

    def _announcement(self, hook: OctosparkHook) -> Announcement:
        return to_post_now({name: getattr(self, name) for name in POST_NOW}, hook.team)

    async def _publish(self, settings: ConnectionSettings, announcement: Announcement, context: Context) -> None:
        due = due_of(context)
        if due is None:
            log.error(
                "Octospark: published nothing: Airflow does not tell this callback when its run was due, so what this run has "
                "published already could not be known again."
            )
            return
        if is_backfill(dag_run_of(context)) and not self.allow_backfill:
            log.info("Octospark: published nothing: this is a run of a backfill, and allow_backfill is not set.")
            return
        [account] = announcement.social_account_ids
        this = (due.isoformat(), *announcement.post, account.lower())
        if this in self._sent:
            log.info("Octospark: publishing nothing more: the request for this run has been sent.")
            return
        async with AsyncOctosparkClient(settings) as client:
            seen = await client.request(get_post(announcement.team_id, announcement.post_id))
            began_at = began_at_of(context) or due
            present = _submission_since(began_at, account, seen)
            if present is not None:
                log.info(
                    "Octospark: publishing nothing more: account %s has submission %s, created %s, after this run began (%s).",
                    account,
                    present.id,
                    sanitize(present.created_at, 40),
                    began_at.isoformat(),
                )
                return
            self._sent.add(this)
            try:
                outcome = await self._submit(client, announcement, account)
            except OctosparkError:
                self._sent.discard(this)
                raise
        if outcome.state == "unknown":
            report_unknown([outcome], log)
        elif outcome.state == "failed":
            log.error("Octospark: %s.", describe(outcome))
        else:
            log.info("Octospark: accepted: %s.", describe(outcome))

    async def _submit(self, client: AsyncOctosparkClient, announcement: Announcement, account: str) -> Outcome:
        """Send the request once; return the outcome.

        :raises OctosparkError: if it is proven that nothing was sent.
        """
        # If the process is killed now, this line remains.
        log.info("Octospark: publishing post %s on account %s now.", announcement.post_id, account)
        try:
            response = await client.submit(announcement.operation([account]), datetime.now(UTC) + LEAVE_WITHIN)
        except OctosparkError as error:
            if proves_nothing_sent(error):
                raise
            return _in_doubt(announcement, account, error)
        except asyncio.CancelledError:
            report_unknown([_in_doubt(announcement, account, "the callback was interrupted")], log)
            raise
        scheduled: ScheduledPost = response.value
        if not same_id(scheduled.social_account_id, account):
            return _in_doubt(announcement, account, "the response is about another account")
        return outcome_of(scheduled, announcement.team_id, announcement.post_id)

    def _say_not_sent(self, error: Exception, doing: str = "something unexpected went wrong") -> None:
        # The text of another exception may contain a secret.
        why = sanitize(error, 500) if isinstance(error, OctosparkError) else f"{doing} ({type(error).__name__})"
        log.error("Octospark: published nothing: %s", why)
        if not isinstance(error, OctosparkError):
            # Frames without their values: these may be secrets.
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.debug("Octospark: %s was raised here:\n%s", type(error).__name__, frames)


def _submission_since(began_at: datetime, account: str, seen: Response[Post]) -> ScheduledPost | None:
    """Return the latest submission of a post if it is to the account, unless it was created before the run began."""
    latest = seen.value.latest_scheduled_post
    if latest is None or not same_id(latest.social_account_id, account):
        return None
    created = parse_instant(latest.created_at)
    begin = on_service_clock(began_at, seen.service_time, datetime.now(UTC)) - CLOCK_MARGIN
    return latest if created is None or created >= begin else None


def _in_doubt(announcement: Announcement, account: str, why: object) -> Outcome:
    return Outcome(
        team_id=announcement.team_id,
        post_id=announcement.post_id,
        social_account_id=account,
        state="unknown",
        reason="in_doubt",
        error_message=sanitize(why, 500),
    )
