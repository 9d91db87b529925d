"""The emulated team: accounts, posts, and the operations on them."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Final, Literal

from airflow_provider_octospark.emulator.service import seed_data as seed_data
from airflow_provider_octospark.emulator.service.collection import Collection
from airflow_provider_octospark.emulator.service.cursors import Place, read_cursor, write_cursor
from airflow_provider_octospark.emulator.service.enumerations import AccountStatus, Provider
from airflow_provider_octospark.emulator.service.ledger import Ledger
from airflow_provider_octospark.emulator.service.publishing import AccountUnavailableError, Publishing
from airflow_provider_octospark.emulator.service.records import Post, ScheduledPost, SocialAccount, Submission
from airflow_provider_octospark.emulator.service.scenarios import Scenarios
from airflow_provider_octospark.emulator.settings import Settings

UserAction = Literal["reschedule", "move_to_draft", "cancel", "retry", "post_now"]

USER_RESCHEDULES_BY: Final = timedelta(hours=1)
"""How much later a user moves a publication if no time is given."""


class UnknownIdError(LookupError):
    """Raised if there is no such team, post or account."""


class Team:
    """A team with its accounts and posts. Not thread-safe by itself: the emulator's lock guards it."""

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
        """The seed data at `now`. `public_url` is where the pages of publications are shown."""
        self.accounts: dict[str, SocialAccount] = {}
        self.posts: dict[str, Post] = {}
        self.collection = Collection()
        self.publishing = Publishing(
            now,
            ledger=ledger,
            scenarios=scenarios,
            settings=settings,
            randomness=randomness,
            public_url=public_url,
        )
        self._settings = settings
        for number, (provider, name, handle, status) in enumerate(seed_data.ACCOUNTS):
            account_id = seed_data.fixed_id(f"account {number}")
            self.add_account(provider, name, handle, status, account_id, timedelta(days=90 - number))
        oldest_first = reversed(list(enumerate(seed_data.POSTS)))
        for number, (title, text, video) in oldest_first:
            post_id = seed_data.fixed_id(f"post {number}")
            self.add_post(title, text, video, post_id, timedelta(hours=6 * (number + 1)))
        self.posts = dict(reversed(self.posts.items()))

    @property
    def now(self) -> datetime:
        """The virtual time until which all events are processed."""
        return self.publishing.now

    # Set-up

    def add_account(
        self,
        provider: Provider,
        display_name: str,
        handle: str,
        status: AccountStatus = "connected",
        account_id: str | None = None,
        age: timedelta = timedelta(0),
    ) -> SocialAccount:
        """Add a social account, connected `age` ago."""
        since = self.now - age
        account = SocialAccount(
            id=account_id or self.publishing.new_id(),
            provider=provider,
            provider_account_id=str(1_000_460_012_300_000 + len(self.accounts)),
            display_name=display_name,
            handle=handle,
            status=status,
            connected_at=since,
            updated_at=since,
            disconnected_at=self.now - age / 2 if status == "disconnected" else None,
        )
        self.accounts[account.id] = account
        return account

    def set_account_status(self, account_id: str, status: AccountStatus) -> SocialAccount:
        """Set an account's connection status."""
        account = self.account(account_id)
        account.status = status
        account.updated_at = self.now
        account.disconnected_at = self.now if status == "disconnected" else None
        return account

    def add_post(
        self,
        title: str,
        text: str,
        video: bool = False,
        post_id: str | None = None,
        age: timedelta = timedelta(0),
    ) -> Post:
        """Add a prepared post, created `age` ago."""
        post = Post(
            id=post_id or self.publishing.new_id(),
            title=title,
            text=text,
            video=video,
            created_at=self.now - age,
            updated_at=self.now - age,
            updated_order=self.publishing.new_order(),
        )
        self.posts[post.id] = post
        return post

    # Looking

    def post(self, post_id: str) -> Post:
        """Return the post with an id, in upper or lower case."""
        if (post := self.posts.get(post_id.lower())) is None:
            raise UnknownIdError("There is no such post.")
        return post

    def account(self, account_id: str) -> SocialAccount:
        """Return the account with an id, in upper or lower case."""
        if (account := self.accounts.get(account_id.lower())) is None:
            raise UnknownIdError("There is no such social account.")
        return account

    def latest(self, post: Post) -> ScheduledPost | None:
        """Return the scheduledPost of a post that the API shows."""
        if self._settings.latest == "created":
            return max(post.scheduled_posts, key=lambda each: each.created_order, default=None)
        return max(post.scheduled_posts, key=lambda each: each.updated_order, default=None)

    def measured(self, post: Post) -> ScheduledPost | None:
        """Return the scheduledPost that the performance of a post is about."""
        if self._settings.performance == "latest":
            return self.latest(post)
        published = [each for each in post.scheduled_posts if each.status == "published"]
        return max(published, key=lambda each: each.updated_order, default=None)

    def listed_posts(self, limit: int | None, cursor: str | None = None) -> tuple[list[Post], str | None]:
        """Return the posts, newest first, and the cursor of the next page or None.

        Assumption: a `limit` that is too high is reduced, not refused.

        :param cursor: the page as the page before named it; None (default) for the first one.
        :raises CursorError: if no page named it so.
        """
        ordered = sorted(self.posts.values(), key=self._list_key, reverse=True)
        if cursor is not None and self._settings.list_pages:
            after = read_cursor(cursor)
            ordered = [post for post in ordered if self._list_key(post) < after]
        most = self._settings.list_limit
        page = ordered[: most if limit is None else min(limit, most)]
        is_last = len(page) == len(ordered) or not self._settings.list_pages
        return page, None if is_last else write_cursor(self._list_key(page[-1]))

    def _list_key(self, post: Post) -> Place:
        by_update = self._settings.list_order == "updated"
        return post.updated_at if by_update else post.created_at, post.updated_order

    # Operations of the API

    def post_now(self, post_id: str, account_id: str, request: Submission) -> ScheduledPost:
        """Publish at once. On an account that is not connected, the submission is accepted and fails."""
        post, account = self.post(post_id), self.account(account_id)
        return self.publishing.accept("post-now", post, account, request)

    def schedule(self, post_id: str, account_id: str, request: Submission) -> ScheduledPost:
        """Schedule on one account of schedule-multi, if the account is connected."""
        post, account = self.post(post_id), self.account(account_id)
        if account.status != "connected":
            raise AccountUnavailableError(account)
        return self.publishing.accept("schedule-multi", post, account, request)

    def move_to_draft(self, post_id: str) -> Post:
        """Take the scheduled submissions of a post off the schedule. Assumption: a post without one is returned as it is,
        without an error.
        """
        post = self.post(post_id)
        for scheduled in post.scheduled_posts:
            if scheduled.status == "scheduled":
                self.publishing.end(scheduled, "draft")
        return post

    # What a user does

    def user_action(
        self,
        action: UserAction,
        post_id: str,
        account_id: str | None = None,
        scheduled_at: datetime | None = None,
    ) -> list[ScheduledPost]:
        """Perform an action of a user in the app; return the submissions that it changed or created.

        - `reschedule`: scheduled and draft submissions move to `scheduled_at`, or one hour later.
        - `move_to_draft`: scheduled submissions become draft.
        - `cancel`: scheduled and draft submissions become cancelled.
        - `retry`: the newest failed submission is published again.
        - `post_now`: a new submission to `account_id`.

        With `account_id`, only submissions to that account.
        """
        post = self.post(post_id)
        account = None if account_id is None else self.account(account_id)
        if action == "post_now":
            if account is None:
                raise ValueError("social_account_id is needed for post_now")
            return [self.publishing.accept("user-action", post, account, Submission(scheduled_at=self.now))]
        own = [each for each in post.scheduled_posts if account is None or each.account is account]
        match action:
            case "retry":
                touched = [each for each in own if each.status == "failed"][-1:]
                for each in touched:
                    self.publishing.begin(each)
            case "reschedule":
                touched = [each for each in own if each.status in ("scheduled", "draft")]
                for each in touched:
                    later = max(each.scheduled_at, self.now) + USER_RESCHEDULES_BY
                    self.publishing.schedule(each, scheduled_at or later)
            case "cancel":
                touched = [each for each in own if each.status in ("scheduled", "draft")]
                for each in touched:
                    self.publishing.end(each, "cancelled")
            case "move_to_draft":
                touched = [each for each in own if each.status == "scheduled"]
                for each in touched:
                    self.publishing.end(each, "draft")
        return touched
