"""The life of submissions: scheduled, publishing, published or failed, and recurrences.

Nothing runs in the background. Every access calls `Publishing.catch_up` first, which processes all events that are due, in
order and each at its own time.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from airflow_provider_octospark.emulator.service import platforms
from airflow_provider_octospark.emulator.service import seed_data as seed_data
from airflow_provider_octospark.emulator.service.enumerations import ErrorCategory, Provider, Status
from airflow_provider_octospark.emulator.service.event_queue import EventQueue
from airflow_provider_octospark.emulator.service.ledger import (
    Ledger,
    PublicationEntry,
    SubmissionEntry,
    SubmittingOperation,
)
from airflow_provider_octospark.emulator.service.records import (
    Post,
    ProviderPublishState,
    ScheduledPost,
    SocialAccount,
    Submission,
)
from airflow_provider_octospark.emulator.service.recurrence import next_occurrence, repost_request
from airflow_provider_octospark.emulator.service.scenarios import SERVICE_RETRY_SECONDS, ScenarioRule, Scenarios
from airflow_provider_octospark.emulator.service.timestamps import format_timestamp
from airflow_provider_octospark.emulator.settings import Settings

_MILLISECOND: Final = timedelta(milliseconds=1)


class AccountUnavailableError(Exception):
    """Raised if the account is not connected."""

    def __init__(self, account: SocialAccount) -> None:
        super().__init__(
            f"The {account.provider} account {account.display_name!r} cannot be posted to: {account.status}."
        )
        self.code = f"ACCOUNT_{account.status.upper()}"


class Publishing:
    """All submissions of the team. Not thread-safe by itself: the emulator's lock guards it."""

    def __init__(
        self,
        now: datetime,
        *,
        ledger: Ledger,
        scenarios: Scenarios,
        settings: Settings,
        randomness: random.Random,
        public_url: str,
    ) -> None:
        self.now = now
        self.event_queue = EventQueue()
        self.scheduled_posts: list[ScheduledPost] = []
        self._ledger = ledger
        self._scenarios = scenarios
        self._settings = settings
        self._random = randomness
        self.public_url = public_url
        self._order = itertools.count(1)
        self._publications: dict[tuple[str, str], int] = {}

    def catch_up(self, now: datetime) -> None:
        """Process all events that are due at `now`."""
        while (event := self.event_queue.take(now)) is not None:
            at, action = event
            self.now = max(self.now, at)
            action()
        self.now = max(self.now, now)

    def in_future(self, seconds: float, action: Callable[[], None]) -> None:
        """Add an event in `seconds`."""
        self.event_queue.add(self.now + timedelta(seconds=seconds), action)

    def new_id(self) -> str:
        """Return a new UUID."""
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def new_order(self) -> int:
        """Return the next number."""
        return next(self._order)

    def accept(
        self, operation: SubmittingOperation, post: Post, account: SocialAccount, request: Submission
    ) -> ScheduledPost:
        """Accept a submission. A second one is accepted too, because no idempotency is documented."""
        scenario = self._scenarios.bind(post.id, account.id)
        scheduled = self._create(post, account, request, request.scheduled_at, scenario)
        self._ledger.submissions.append(
            SubmissionEntry(
                at=format_timestamp(self.now),
                operation=operation,
                team_id=seed_data.TEAM_ID,
                post_id=post.id,
                social_account_id=account.id,
                scheduled_post_id=scheduled.id,
            )
        )
        self._wait_for_its_time(scheduled)
        return scheduled

    def _create(
        self,
        post: Post,
        account: SocialAccount,
        request: Submission,
        scheduled_at: datetime,
        scenario: ScenarioRule | None = None,
    ) -> ScheduledPost:
        now = self._stamp(post)
        scheduled = ScheduledPost(
            id=self.new_id(),
            post=post,
            account=account,
            request=request,
            scheduled_at=scheduled_at,
            workflow_id=f"publish-{self.new_id()}",
            workflow_run_id=self.new_id(),
            created_at=now,
            updated_at=now,
            created_order=post.updated_order,
            updated_order=post.updated_order,
            bound_scenario=scenario,
        )
        post.scheduled_posts.append(scheduled)
        self.scheduled_posts.append(scheduled)
        return scheduled

    def schedule(self, scheduled: ScheduledPost, at: datetime) -> None:
        """Move a submission to another time; a draft is scheduled again."""
        scheduled.life += 1
        scheduled.scheduled_at = at
        scheduled.status = "scheduled"
        self._touch(scheduled)
        self._wait_for_its_time(scheduled)

    def _wait_for_its_time(self, scheduled: ScheduledPost) -> None:
        """Plan the start of publishing. Assumption: a time in the past means at once."""
        if scheduled.scheduled_at <= self.now:
            self.begin(scheduled)
        else:
            self.event_queue.add(scheduled.scheduled_at, lambda: self.begin(scheduled), scheduled)

    def begin(self, scheduled: ScheduledPost) -> None:
        """Start to publish, for the first time or after a user's retry."""
        scheduled.life += 1
        account = scheduled.account
        if account.status != "connected":
            unavailable = AccountUnavailableError(account)
            self._fail(scheduled, ("auth", unavailable.code, str(unavailable)))
            return
        scenario = scheduled.bound_scenario or self._scenarios.standing(scheduled.post.id, account.id)
        scheduled.bound_scenario = None
        self._publish(scheduled, scenario)

    # The way

    def _publish(self, scheduled: ScheduledPost, scenario: ScenarioRule | None) -> None:
        provider = scheduled.account.provider
        seconds = platforms.PLATFORMS[provider].seconds
        if scenario is not None and scenario.seconds is not None and scenario.scenario != "fail_then_publish":
            seconds = scenario.seconds
        stuck = scenario is not None and scenario.scenario == "stuck"
        scheduled.status = "publishing"
        scheduled.error_category = scheduled.error_code = scheduled.error_message = None
        scheduled.publish_state = ProviderPublishState()
        if platforms.needs_polling(provider, scheduled.post):
            publish_id = f"{provider}_pub_{scheduled.workflow_run_id}"
            first, *further = platforms.stages(provider, publish_id, seconds)
            scheduled.publish_state = first.state
            for stage in further[:1] if stuck else further:
                self._plan(scheduled, stage.after.total_seconds(), self._progress, stage.state)
        self._touch(scheduled)
        if not stuck:
            self._plan(scheduled, seconds, self._finish, scenario)

    def _plan(self, scheduled: ScheduledPost, seconds: float, action: Callable[..., None], *arguments: Any) -> None:
        at = self.now + timedelta(seconds=seconds)
        self.event_queue.add(at, lambda: action(scheduled, *arguments), scheduled)

    def _progress(self, scheduled: ScheduledPost, state: ProviderPublishState) -> None:
        scheduled.publish_state = state
        self._touch(scheduled)

    # Ends

    def _finish(self, scheduled: ScheduledPost, scenario: ScenarioRule | None) -> None:
        if scenario is None or scenario.scenario in ("publish", "slow"):
            self._out(scheduled)
        elif scenario.scenario == "publish_with_error":
            self._out(scheduled)
            _, code, message = scenario.error()
            # Assumption: the content of publishResults is not documented.
            scheduled.publish_results["firstComment"] = {
                "status": "failed",
                "error": {"code": code, "message": message},
            }
        elif scenario.scenario == "cancel":
            self.end(scheduled, "cancelled")
        elif scenario.scenario == "fail_but_live":
            self._fail_but_live(scheduled, scenario)
        else:
            self._fail(scheduled, scenario.error())
            if scenario.scenario == "fail_then_publish":
                after = SERVICE_RETRY_SECONDS if scenario.seconds is None else scenario.seconds
                self._plan(scheduled, after, self._publish, None)

    def end(self, scheduled: ScheduledPost, status: Status) -> None:
        """Set a submission to cancelled or draft; its recurrence ends."""
        scheduled.life += 1
        scheduled.status = status
        self._touch(scheduled)

    def _out(self, scheduled: ScheduledPost) -> None:
        platform_post_id = self._go_out(scheduled)
        provider = scheduled.account.provider
        scheduled.status = "published"
        scheduled.platform_post_id = platform_post_id
        scheduled.publish_results = _publish_results(self.public_url, provider, platform_post_id, self.now)
        if scheduled.publish_state:
            scheduled.publish_state = _published_state(scheduled.publish_state, provider, platform_post_id)
        self._touch(scheduled)
        self._come_again(scheduled)
        self._repost(scheduled)

    def _go_out(self, scheduled: ScheduledPost) -> str:
        key = (scheduled.post.id, scheduled.account.id)
        self._publications[key] = self._publications.get(key, 0) + 1
        platform_post_id = platforms.platform_post_id(scheduled.account, scheduled.post.id, self._publications[key])
        self._ledger.publications.append(
            PublicationEntry(
                at=format_timestamp(self.now),
                post_id=scheduled.post.id,
                social_account_id=scheduled.account.id,
                scheduled_post_id=scheduled.id,
                platform_post_id=platform_post_id,
            )
        )
        return platform_post_id

    def _fail_but_live(self, scheduled: ScheduledPost, scenario: ScenarioRule) -> None:
        platform_post_id = self._go_out(scheduled)
        if scenario.shown_in == "post":
            scheduled.platform_post_id = platform_post_id
        else:
            scheduled.publish_state = {**scheduled.publish_state, "platformPostId": platform_post_id}
        self._fail(scheduled, scenario.error())

    def _fail(self, scheduled: ScheduledPost, error: tuple[ErrorCategory, str, str]) -> None:
        scheduled.status = "failed"
        scheduled.error_category, scheduled.error_code, scheduled.error_message = error
        if scheduled.publish_state.get("requiresPolling"):
            scheduled.publish_state = {
                **scheduled.publish_state,
                "requiresPolling": False,
                "failureCode": scheduled.error_code,
            }
            scheduled.publish_state.pop("pollingReason", None)
        self._touch(scheduled)
        self._come_again(scheduled)

    # Again

    def _come_again(self, scheduled: ScheduledPost) -> None:
        """Create the next occurrence of a recurrence.

        Assumption: it is a scheduledPost of its own. The setting `next_occurrence` says when it is created.
        """
        at = next_occurrence(scheduled, self._settings.recurrence_limit)
        if at is None:
            return
        if self._settings.next_occurrence == "at_its_time":
            self.event_queue.add(at, lambda: self._add_occurrence(scheduled, at), scheduled)
        else:
            self._add_occurrence(scheduled, at)

    def _add_occurrence(self, scheduled: ScheduledPost, at: datetime) -> None:
        successor = self._create(scheduled.post, scheduled.account, scheduled.request, at)
        successor.occurrence = scheduled.occurrence + 1
        self._wait_for_its_time(successor)

    def _repost(self, scheduled: ScheduledPost) -> None:
        """Create the repost. Assumption: one scheduledPost of its own."""
        request = repost_request(scheduled, self.now)
        if request is None:
            return
        repost = self._create(scheduled.post, scheduled.account, request, request.scheduled_at)
        self._wait_for_its_time(repost)

    # Stamps

    def _stamp(self, post: Post) -> datetime:
        """Return the time in milliseconds, later than any other change of this post."""
        now = self.now.replace(microsecond=self.now.microsecond // 1000 * 1000)
        post.updated_at = max(now, post.updated_at + _MILLISECOND)
        post.updated_order = self.new_order()
        return post.updated_at

    def _touch(self, scheduled: ScheduledPost) -> None:
        scheduled.updated_at = self._stamp(scheduled.post)
        scheduled.updated_order = scheduled.post.updated_order


def _publish_results(public_url: str, provider: Provider, platform_post_id: str, now: datetime) -> dict[str, Any]:
    # Assumption: the content of publishResults is not documented.
    return {
        "url": f"{public_url}/published/{provider}/{quote(platform_post_id, safe='')}",
        "publishedAt": format_timestamp(now),
    }


def _published_state(state: ProviderPublishState, provider: Provider, platform_post_id: str) -> ProviderPublishState:
    published: ProviderPublishState = {
        **state,
        "requiresPolling": False,
        "platformPostId": platform_post_id,
        "providerStatus": platforms.PLATFORMS[provider].done,
    }
    published.pop("pollingReason", None)
    return published
