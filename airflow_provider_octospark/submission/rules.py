"""The decisions of the submission protocol, each a pure function of what is recorded and what the service shows.

``submission.py`` carries them out; nothing here reads a clock, a store or the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_provider_octospark.api.backoff import is_transient
from airflow_provider_octospark.api.models import Post, ScheduledPost
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.text import sanitize
from airflow_provider_octospark.exceptions import (
    OctosparkArgumentError,
    OctosparkConnectError,
    OctosparkError,
    OctosparkHeldUpError,
)
from airflow_provider_octospark.outcomes import Outcome, Reason, classify, same_id
from airflow_provider_octospark.parameters.defaults import SETTLE_TIME, IfLate, IfSubmitted
from airflow_provider_octospark.parameters.times import on_service_clock, parse_instant
from airflow_provider_octospark.submission.records import Record

LONGEST_SETTLE_TIME = timedelta(days=30)
"""The longest ``settle_time``."""

SETTLE_MARGIN = timedelta(minutes=1)
"""By how much ``settle_time`` must exceed ``submit_timeout``: the time that a request may take to begin to leave."""

CLOCK_MARGIN = timedelta(minutes=2)
"""By how much the clocks of scheduler, worker and service may disagree where only the time tells one run's submission from
another's: without a record, and for the notifier. What was created so shortly before a run began may be the run's own."""

LEAVE_WITHIN = timedelta(seconds=30)
"""How long after its fence a request may begin to leave; less than ``SETTLE_MARGIN``."""

POLLS_IN_DOUBT = (timedelta(seconds=15), timedelta(minutes=1), timedelta(minutes=4))
"""When, after the fence, a request in doubt is looked for; the last poll is at the end of ``settle_time``."""

MAX_REFUSALS = 4
"""How often in one try a call is made anew after a refusal that is transient (429, no connection)."""

MAX_SENDS = 2
"""How many requests for a target one try sends that get no response; after that Airflow's own retries decide."""

RETRYABLE_CATEGORIES = frozenset({"rate_limited", "transient"})
"""The values of ``errorCategory`` that are transient."""


@dataclass(frozen=True)
class Run:
    """Facts about the task instance, its run and this try.

    :param map_index: -1 for a task that is not mapped.
    :param try_number: 1 for a first try.
    :param max_tries: what Airflow holds for the task instance now; a clear raises it.
    :param run_after: when the run was due; before Airflow 3, the end of its data interval.
    :param is_backfill: whether the run was made by a backfill.
    :param state_store: path in Airflow's REST API under which a user reads and writes the task instance's state store,
        with ``{key}`` for the key; None where Airflow has none.
    :param earliest_begin: an instant that provably precedes the first try, if one is known that may be earlier than
        ``run_after``: a manual run's logical date, or the start of a run that was never cleared.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    max_tries: int
    run_after: datetime
    is_backfill: bool = False
    state_store: str | None = None
    earliest_begin: datetime | None = None

    @property
    def began_at(self) -> datetime:
        """The instant that counts as the begin of the run: a submission from before it is not this run's."""
        return self.run_after if self.earliest_begin is None else min(self.run_after, self.earliest_begin)

    @property
    def is_first_try(self) -> bool:
        """Whether no try of this task instance came before."""
        return self.try_number <= 1


@dataclass(frozen=True)
class Rules:
    """How a task wants its submissions treated; the parameters of the operators.

    :param settle_time: time after which a request in doubt that left no trace is sent again; None never sends it again.
    :param resubmit_failed: whether a proven failure frees a target for a retry.
    :param if_already_submitted: what a later try does with a target that was submitted and is not free.
    :param allow_repeat: whether to submit although somebody else submitted the same target since the run began.
    :param max_lateness: how long after ``run_after`` something may still be submitted; None for any time.
    :param skip_in_backfill: whether a backfill run submits nothing.
    :param if_late: what to do with a target that is too late.
    :param dry_run: whether to stop before the first request that submits.
    :param recurs: whether what is submitted comes again by itself; the failure of one occurrence is then no end of it.
    :param forgets: whether a retry will know nothing of this try (no store), and could not tell whose failure it finds.
    """

    settle_time: timedelta | None = SETTLE_TIME
    resubmit_failed: bool = True
    if_already_submitted: IfSubmitted = "reattach"
    allow_repeat: bool = False
    max_lateness: timedelta | None = None
    skip_in_backfill: bool = False
    if_late: IfLate = "fail"
    dry_run: bool = False
    recurs: bool = False
    forgets: bool = False

    def check(self, submit_timeout: float) -> None:
        """Check the rules against the connection.

        :raises OctosparkArgumentError: if ``settle_time`` could end while a request is still under way, or is beyond 30 days.
        """
        least = timedelta(seconds=submit_timeout) + SETTLE_MARGIN
        if self.settle_time is not None and self.settle_time > LONGEST_SETTLE_TIME:
            raise OctosparkArgumentError(
                f"settle_time is {self.settle_time}; it must be at most {LONGEST_SETTLE_TIME}. "
                "settle_time=None never sends again what is in doubt."
            )
        if self.settle_time is not None and self.settle_time <= least:
            raise OctosparkArgumentError(
                f"settle_time is {self.settle_time}; it must be more than the connection's submit_timeout plus a minute, which is "
                f"{least}. Raise settle_time or lower submit_timeout."
            )


@dataclass(frozen=True)
class Adopt:
    """The submission in doubt was accepted: here it is."""

    scheduled: ScheduledPost


@dataclass(frozen=True)
class SendAgain:
    """The request in doubt is proven, or said by a user, not to have been accepted."""


@dataclass(frozen=True)
class PollAgain:
    """Neither is proven yet."""

    at: datetime


@dataclass(frozen=True)
class Unknown:
    """Neither can be proven any more."""

    why: str
    reason: Reason = "in_doubt"


def resolve_doubt(
    record: Record,
    response: Response[Post] | OctosparkError,
    now: datetime,
    settle_time: timedelta | None,
    asked: datetime | None = None,
) -> Adopt | SendAgain | PollAgain | Unknown:
    """Decide about a request that may have been accepted, from what the service shows of the post.

    :param record: the target's record, in state ``in_doubt``.
    :param response: the post, or why it could not be read.
    :param now: our clock when the response had come.
    :param settle_time: see :class:`Rules`.
    :param asked: our clock when the post was asked for (default ``now``); a response may take long, and what it shows may
        be as old as this.
    """
    asked = now if asked is None else asked
    patience = SETTLE_TIME if settle_time is None else settle_time
    if isinstance(response, OctosparkError):
        # While a post cannot be read nothing is proven; where that may pass by itself, twice the time is given.
        given = 2 * patience if is_transient(response) else patience
        if now < record.fence + given:
            return PollAgain(_poll_in_doubt(record, now, given))
        return Unknown(f"the post cannot be read: {sanitize(response)}", "access_lost")
    latest = response.value.latest_scheduled_post
    is_marked = latest is not None and bears_our_marks(record, latest, response.service_time, now)
    if latest is not None and is_marked and is_adoptable(latest):
        return Adopt(latest)
    if asked < record.fence + patience:
        return PollAgain(_poll_in_doubt(record, now, patience))
    if _is_early_by_its_clock(record, response.service_time, patience):
        if asked < record.fence + 2 * patience:
            return PollAgain(now + timedelta(minutes=1))
        return Unknown("by the service's clock settle_time is not over, by ours twice that; one of them is wrong")
    if latest is not None and is_marked:
        return Unknown(
            f"submission {latest.id}, created {sanitize(latest.created_at, 40)} for the same account, "
            f"is {sanitize(latest.status, 40)}; whether it is the one that was sent, or somebody else's, cannot be told"
        )
    if not _is_as_before(record, latest, response.service_time, now):
        return Unknown(
            f"the post's latest submission is now {latest.id} of account {latest.social_account_id} "
            f"({sanitize(latest.status, 40)}, created {sanitize(latest.created_at, 40)}); it is not what was sent, and the post "
            "is not as it was before"
            if latest
            else "the post shows no submission at all any more, where there was one before"
        )
    if settle_time is None:
        return Unknown("nothing new is to be seen, and with settle_time=None nothing in doubt is sent again")
    return SendAgain()


def _is_early_by_its_clock(record: Record, service_time: datetime | None, patience: timedelta) -> bool:
    """Whether ``patience`` has not passed by the service's clock: those of two workers may disagree."""
    before = parse_instant(record.baseline.service_time) if record.baseline else None
    # Its clock is told in whole seconds.
    return before is not None and service_time is not None and service_time < before + patience - timedelta(seconds=1)


def is_adoptable(latest: ScheduledPost) -> bool:
    """Whether a submission that bears our marks may be taken for ours without proof.

    One that failed or was cancelled may not: it may be somebody else's, while ours is hidden by it or still to come, and
    another would be sent in its place.
    """
    return classify(latest)[0] != "failed"


def _poll_in_doubt(record: Record, now: datetime, patience: timedelta) -> datetime:
    end = record.fence + patience
    later = [record.fence + after for after in POLLS_IN_DOUBT if record.fence + after > now]
    return min([*later, end if end > now else now + timedelta(minutes=1)])


def bears_our_marks(record: Record, latest: ScheduledPost, service_time: datetime | None, now: datetime) -> bool:
    """Whether a submission can be a record's request: right account, new, not older than the baseline, right time.

    Of a record without a request nothing can be.
    """
    known = [submission.scheduled_post_id for submission in record.submissions()]
    if not same_id(latest.social_account_id, record.social_account_id) or any(
        same_id(latest.id, each) for each in known
    ):
        return False
    created = parse_instant(latest.created_at)
    if record.baseline is not None:
        if same_id(latest.id, record.baseline.scheduled_post_id):
            return False
        not_before = parse_instant(record.baseline.service_time)
    else:
        not_before = _run_begin(record, service_time, now)
    if created is None or not_before is None or created < not_before:
        return False
    if record.scheduled_at is None:
        return True
    pending, got = parse_instant(record.scheduled_at), parse_instant(latest.scheduled_at)
    return pending is not None and got is not None and abs(pending - got) < timedelta(seconds=1)


def _is_as_before(record: Record, latest: ScheduledPost | None, service_time: datetime | None, now: datetime) -> bool:
    """Whether the service shows exactly what it showed before the request: nothing has come of it."""
    if record.baseline is not None:
        if latest is None:
            return record.baseline.scheduled_post_id is None
        return same_id(latest.id, record.baseline.scheduled_post_id) and latest.updated_at == record.baseline.updated_at
    if latest is None:
        return True
    begin = _run_begin(record, service_time, now)
    if (parse_instant(record.run_began_at) or record.fence) > record.fence:
        # A run that was not due yet (a timetable of one's own, before Airflow 3): time tells nothing.
        return False
    created, updated = parse_instant(latest.created_at), parse_instant(latest.updated_at)
    return None not in (begin, created, updated) and created < begin and updated < begin  # type: ignore[operator]


def _run_begin(record: Record, service_time: datetime | None, now: datetime) -> datetime | None:
    begin = parse_instant(record.run_began_at)
    return None if begin is None else on_service_clock(begin, service_time, now) - CLOCK_MARGIN


def proves_nothing_sent(error: OctosparkError) -> bool:
    """Whether an error of a submission proves that the service did not accept it.

    So do a connection that was never made, 429, and every 4xx but 408 and 409. Everything else is doubt: 3xx, 408,
    409, 5xx, a lost connection, a time-out, a response that cannot be read.
    """
    if isinstance(error, OctosparkConnectError | OctosparkHeldUpError | OctosparkArgumentError):
        return True
    return error.status is not None and 400 <= error.status < 500 and error.status not in {408, 409}


def is_retryable_failure(outcome: Outcome) -> bool:
    """Whether a failure is transient, so that another submission may go through.

    An account that schedule-multi refused has no category and no submission: nothing of it can be out.
    """
    if outcome.state != "failed" or outcome.reason not in {None, "not_sent"} or outcome.platform_post_id:
        return False
    if outcome.reason == "not_sent":
        return outcome.error_category in RETRYABLE_CATEGORIES
    return outcome.scheduled_post_id is None or outcome.error_category in RETRYABLE_CATEGORIES


def frees(outcome: Outcome, rules: Rules, *, cleared: bool) -> bool:
    """Whether an accepted submission's end allows another one (assumption 2: such a failure is final).

    A failure frees if nothing of it can be live, now or later: at once if its category is transient, in any category
    if a user cleared the task. What a user cancelled, and what was published, is submitted again only after a clear
    and with ``if_already_submitted="resubmit"``. What is pending or unknown never is.
    """
    if cleared and rules.if_already_submitted == "resubmit" and outcome.state in {"published", "failed"}:
        return True
    if not rules.resubmit_failed or outcome.state != "failed" or outcome.reason is not None:
        return False
    if outcome.platform_post_id or ((rules.recurs or rules.forgets) and outcome.scheduled_post_id):
        return False
    return cleared or is_retryable_failure(outcome)
