"""The rules of submitting: facts about the run, the operators' parameters, and what allows another submission.

Pure functions and values: nothing here reads a clock, a store or the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_provider_octospark.exceptions import (
    OctosparkArgumentError,
    OctosparkConnectError,
    OctosparkError,
    OctosparkHaltedError,
    OctosparkHeldUpError,
)
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters.defaults import SETTLE_TIME, IfLate, IfSubmitted, Repeats

LONGEST_SETTLE_TIME = timedelta(days=30)
"""The longest ``settle_time``."""

SETTLE_MARGIN = timedelta(minutes=1)
"""By how much ``settle_time`` must exceed ``submit_timeout``: the time between a fence and the start of its request."""

CLOCK_MARGIN = timedelta(minutes=2)
"""By how much the clocks of scheduler, worker and service may disagree where only the time distinguishes the submissions of
two runs: without a record, and in the notifier. A submission created this shortly before a run began may be the run's own."""

LEAVE_WITHIN = timedelta(seconds=30)
"""How long after its fence a request may begin to leave; less than ``SETTLE_MARGIN``."""

LATE_LEAD = timedelta(minutes=1)
"""How long after the service's clock a late post is scheduled with ``if_late="now"``."""

MAX_REFUSALS = 4
"""How often one try repeats a request after a transient refusal (429, no connection)."""

MAX_SENDS = 2
"""How many requests without a response one try sends for a target. After that Airflow's own retries decide."""

RETRYABLE_CATEGORIES = frozenset({"rate_limited", "transient"})
"""The values of ``errorCategory`` that are transient."""


@dataclass(frozen=True)
class Run:
    """Facts about the task instance, its run and this try.

    :param map_index: -1 for a task that is not mapped.
    :param try_number: 1 for a first try.
    :param max_tries: the task instance's ``max_tries`` now; a clear raises it.
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
        """The begin of the run: a submission from before it is not this run's."""
        return self.run_after if self.earliest_begin is None else min(self.run_after, self.earliest_begin)

    @property
    def is_first_try(self) -> bool:
        """Whether no try of this task instance came before."""
        return self.try_number <= 1

    @property
    def has_retry(self) -> bool:
        """Whether Airflow starts another try if this one fails."""
        return self.try_number <= self.max_tries


@dataclass(frozen=True)
class Rules:
    """The rules of a task, from the operators' parameters.

    :param settle_time: time after which a request in doubt that left no trace is sent again; None never sends it again.
    :param resubmit_failed: whether a proven failure frees a target for a retry.
    :param if_already_submitted: what a later try does with a target that was submitted and is not free.
    :param repeats: what to do if another submission of the same target was made since the run began: ``refuse``, submit if
        it is one of ``other_runs`` of the DAG, or ``allow``.
    :param max_lateness: how long after ``run_after`` something may still be submitted; None for any time.
    :param skip_in_backfill: whether a backfill run submits nothing.
    :param if_late: what to do with a target that is too late; with ``now``, ``max_lateness`` counts from ``scheduled_at``.
    :param dry_run: whether to stop before the first request that submits.
    :param is_scheduled: whether the task schedules posts. Publishing fails after ``scheduled_at`` only, so a retry is too late
        for it unless ``if_late`` is ``now``.
    :param recurs: whether the post recurs. A failed occurrence is then not final.
    :param forgets: whether there is no store, so that a retry could not know whose failure it finds.
    """

    settle_time: timedelta | None = SETTLE_TIME
    resubmit_failed: bool = True
    if_already_submitted: IfSubmitted = "reattach"
    repeats: Repeats = "refuse"
    max_lateness: timedelta | None = None
    skip_in_backfill: bool = False
    if_late: IfLate = "fail"
    dry_run: bool = False
    is_scheduled: bool = False
    recurs: bool = False
    forgets: bool = False

    def check(self, submit_timeout: float) -> None:
        """Check the rules, alone and against the connection.

        :raises OctosparkArgumentError: if ``settle_time`` could end while a request is still under way, or is beyond 30 days;
            or if ``if_late`` is ``now`` for a task that schedules nothing, or without ``max_lateness``.
        """
        least = timedelta(seconds=submit_timeout) + SETTLE_MARGIN
        if self.if_late == "now" and not self.is_scheduled:
            raise OctosparkArgumentError(
                "if_late is 'now', but the task publishes at once. Set 'fail' or 'skip'; 'now' is for a scheduled_at in the past."
            )
        if self.if_late == "now" and self.max_lateness is None:
            raise OctosparkArgumentError(
                "if_late is 'now' and max_lateness is not set. Set max_lateness to how long after scheduled_at the post may "
                "still go out."
            )
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


def proves_nothing_sent(error: OctosparkError) -> bool:
    """Whether an error of a submission proves that the service did not accept it.

    These are: a task or a connection that may send nothing, no connection, and a status 4xx other than 408 and 409.
    Everything else leaves the request in doubt: 3xx, 408, 409, 5xx, a lost connection, a time-out, an invalid response.
    """
    if isinstance(error, OctosparkConnectError | OctosparkHeldUpError | OctosparkHaltedError | OctosparkArgumentError):
        return True
    return error.status is not None and 400 <= error.status < 500 and error.status not in {408, 409}


def is_retryable_failure(outcome: Outcome) -> bool:
    """Whether a failure is transient, so that another submission may go through.

    An account that schedule-multi refused has no submission, so nothing can be published; it has a category only if the
    account's own status tells the reason.
    """
    if outcome.state != "failed" or outcome.reason not in {None, "not_sent"} or outcome.platform_post_id:
        return False
    if outcome.reason == "not_sent":
        return outcome.error_category in RETRYABLE_CATEGORIES
    if outcome.scheduled_post_id is None and outcome.error_category is None:
        return True
    return outcome.error_category in RETRYABLE_CATEGORIES


def is_submitted_by_retry(outcome: Outcome, rules: Rules) -> bool:
    """Whether the next try would submit a target that this one reports as failed."""
    if outcome.reason == "not_sent":
        return is_retryable_failure(outcome)
    return not is_final_for_time(outcome, rules) and frees(outcome, rules, cleared=False)


def is_final_for_time(outcome: Outcome, rules: Rules) -> bool:
    """Whether only its time keeps a failure from being submitted again: a retry comes after ``scheduled_at``."""
    is_past = rules.is_scheduled and outcome.scheduled_post_id is not None and rules.if_late != "now"
    return is_past and frees(outcome, rules, cleared=False)


def frees(outcome: Outcome, rules: Rules, *, cleared: bool) -> bool:
    """Whether the end of an accepted submission allows another one. A failure is assumed to be final.

    A failure frees the target if its category is transient, or if a user cleared the task, unless the post may be live. A
    cancelled or published submission frees it only after a clear with ``if_already_submitted="resubmit"``. A pending or
    unknown one never does.
    """
    if cleared and rules.if_already_submitted == "resubmit" and outcome.state in {"published", "failed"}:
        return True
    if not rules.resubmit_failed or outcome.state != "failed" or outcome.reason is not None:
        return False
    if outcome.platform_post_id or ((rules.recurs or rules.forgets) and outcome.scheduled_post_id):
        return False
    return cleared or is_retryable_failure(outcome)
