"""One publication of a wait, and what reads of its post show about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_provider_octospark.api.models import Post, ScheduledPost
from airflow_provider_octospark.api.performance import Performance
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.text import sanitize, without_stop
from airflow_provider_octospark.outcomes import (
    Outcome,
    Reason,
    classify,
    describe_submission,
    is_under_way,
    outcome_of,
    same_id,
)
from airflow_provider_octospark.parameters.times import format_instant, on_service_clock, parse_instant
from airflow_provider_octospark.polling.occurrences import is_next_occurrence
from airflow_provider_octospark.polling.schedule import later

NOT_FOUND_GRACE = timedelta(minutes=2)
"""How long a 404 counts as transient: a post may take some time to appear, and a single 404 does not prove that it is
gone."""


@dataclass
class Watch:
    """A publication that is waited for.

    :param outcome: its outcome; ``scheduled_post_id`` and ``social_account_id`` may be None.
    :param deadline: end of the wait.
    :param since: without a ``scheduled_post_id``, only a submission created at or after this time is accepted.
    :param patience: how long to wait after a scheduled time that the first poll shows; None if the deadline is fixed.
    :param latest: the latest possible deadline.
    :param keeps_response: whether ``response`` keeps the submission as it was read last.
    """

    outcome: Outcome
    deadline: datetime
    since: datetime | None = None
    patience: timedelta | None = None
    latest: datetime | None = None
    is_hidden: bool = False
    hidden_by: ScheduledPost | None = None
    is_unconfirmed: bool = False
    """Whether its wait has ended because another submission hides it, so that the performance may still name it."""
    shown: str | None = None
    upload: tuple[datetime, float] | None = None
    upload_remaining: float | None = None
    keeps_response: bool = False
    response: ScheduledPost | None = None

    @property
    def post(self) -> tuple[str, str]:
        """Team and post."""
        return self.outcome.team_id, self.outcome.post_id

    def due(self, started_at: datetime) -> datetime:
        """When it is due: its scheduled time, if that is later than the start of the wait."""
        scheduled = parse_instant(self.outcome.scheduled_at)
        return started_at if scheduled is None else max(started_at, scheduled)

    def expected(self, started_at: datetime, now: datetime) -> datetime:
        """Like :meth:`due`, or the past if publishing has started: the service's clock may be ahead of ours."""
        due = self.due(started_at)
        return min(due, now) if is_under_way(self.outcome) else due

    def label(self) -> str:
        """Its name in the log."""
        outcome = self.outcome
        words = [f"Post {outcome.post_id}"]
        if outcome.provider:
            words.append(f"on {outcome.provider}")
        if outcome.social_account_id:
            words.append(f"account {outcome.social_account_id}")
        return " ".join(words)

    def _is_mine(self, latest: ScheduledPost, not_before: datetime | None) -> bool:
        pending = self.outcome
        if pending.scheduled_post_id is not None:
            return same_id(latest.id, pending.scheduled_post_id)
        if pending.social_account_id is not None and not same_id(latest.social_account_id, pending.social_account_id):
            return False
        planned, due = parse_instant(pending.scheduled_at), parse_instant(latest.scheduled_at)
        if planned is not None and (due is None or abs(planned - due) >= timedelta(seconds=1)):
            return False
        created = parse_instant(latest.created_at)
        return not_before is None or (created is not None and created >= not_before)

    def _mine(self, response: Response[Post], now: datetime) -> ScheduledPost | None:
        latest = response.value.latest_scheduled_post
        not_before = on_service_clock(self.since, response.service_time, now) if self.since else None
        return latest if latest is not None and self._is_mine(latest, not_before) else None

    def is_shown_by(self, response: Response[Post], now: datetime) -> bool:
        """Whether a list shows the publication as under way or published.

        Other states in a list do not count, because a list may be incomplete or outdated.
        """
        mine = self._mine(response, now)
        return mine is not None and classify(mine)[0] in {"pending", "published"}

    def see(self, response: Response[Post], now: datetime) -> str | None:
        """Process a response; return a line for the log if something changed."""
        patience, self.patience = self.patience, None
        mine = self._mine(response, now)
        if mine is None:
            return self._see_other(response.value.latest_scheduled_post)
        self.is_hidden, self.hidden_by = False, None
        self._see_upload(mine, now)
        self.response = mine if self.keeps_response else None
        self.outcome = outcome_of(mine, self.outcome.team_id, self.outcome.post_id)
        if patience is not None:
            self._put_off(patience)
        return self._news(describe_submission(mine))

    def _put_off(self, patience: timedelta) -> None:
        scheduled = parse_instant(self.outcome.scheduled_at)
        if scheduled is not None:
            deadline = max(self.deadline, later(scheduled, patience))
            self.deadline = deadline if self.latest is None else min(deadline, self.latest)

    def _see_other(self, latest: ScheduledPost | None) -> str | None:
        if self.outcome.scheduled_post_id is None:
            return self._news("not submitted yet")
        self.is_hidden, self.hidden_by = True, latest
        if latest is None:
            return self._news("the service shows no submission of the post any more")
        return self._news(
            f"cannot be seen: the service shows {latest.id} of account {latest.social_account_id} as the latest"
        )

    def _see_upload(self, latest: ScheduledPost, now: datetime) -> None:
        progress = latest.provider_publish_state.upload_progress
        fraction = progress.fraction if progress else None
        if fraction is None or fraction >= 1.0:
            self.upload = self.upload_remaining = None
            return
        if self.upload is None or fraction < self.upload[1]:
            self.upload, self.upload_remaining = (now, fraction), None
            return
        gained, took = fraction - self.upload[1], (now - self.upload[0]).total_seconds()
        self.upload_remaining = (1.0 - fraction) * took / gained if gained > 0 else None

    def _news(self, words: str) -> str | None:
        if words == self.shown:
            return None
        self.shown = words
        return f"{self.label()}: {without_stop(words)}."

    def end_unknown(self, reason: Reason, message: str | None = None) -> str:
        """End the wait with the outcome unknown; return the line for the log."""
        self.outcome = self.outcome.model_copy(
            update={
                "state": "unknown",
                "reason": reason,
                "error_message": message or self.outcome.error_message,
            }
        )
        return f"{self.label()}: unknown ({reason})" + (f": {without_stop(message)}." if message else ".")

    def expire(self, started_at: datetime, hidden_timeout: timedelta, now: datetime) -> str | None:
        """End the wait if its deadline has passed; return the line for the log if so."""
        if self.outcome.is_final:
            return None
        if now < self.ends_at(started_at, hidden_timeout):
            return None
        if self.hidden_by is not None:
            self.is_unconfirmed = self.outcome.scheduled_post_id is not None
            return self._end_hidden_by(self.hidden_by)
        if self.is_hidden:
            return self.end_unknown("not_observable", "the service shows no submission of the post any more")
        return self.end_unknown("deadline", f"not over by {format_instant(self.deadline)}: {self.shown or 'not seen'}")

    def _end_hidden_by(self, newer: ScheduledPost) -> str:
        if is_next_occurrence(newer, self.outcome):
            return self.end_unknown(
                "recurred", f"the next occurrence hides it: {newer.id}, due {sanitize(newer.scheduled_at, 40)}"
            )
        if same_id(newer.social_account_id, self.outcome.social_account_id):
            return self.end_unknown("superseded", f"a newer submission of the same account hides it: {newer.id}")
        return self.end_unknown(
            "not_observable", f"a newer submission hides it: {newer.id} of account {newer.social_account_id}"
        )

    def see_performance(self, response: Response[Performance]) -> str | None:
        """Process the performance of the post; return a line for the log if it names this publication.

        Assumption: the service measures only what is out, so that the submission that it names is published.
        """
        self.is_unconfirmed = False
        if not same_id(response.value.scheduled_post_id, self.outcome.scheduled_post_id):
            return None
        self.outcome = self.outcome.model_copy(update={"state": "published", "reason": None, "error_message": None})
        return f"{self.label()}: published, because the post's performance measures it."

    def ends_at(self, started_at: datetime, hidden_timeout: timedelta) -> datetime:
        """The deadline of the wait."""
        if not self.is_hidden:
            return self.deadline
        return min(self.deadline, later(self.due(started_at), hidden_timeout))
