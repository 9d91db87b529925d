"""What must hold of every history, whatever happened in it; told from the truth, not from what the provider believes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from airflow_provider_octospark.exceptions import (
    OctosparkAlreadySubmittedError,
    OctosparkError,
    OctosparkStateStoreError,
    OctosparkUnknownError,
)
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters.times import parse_instant
from airflow_provider_octospark.submission.journal import PAGE_KEY
from airflow_provider_octospark.submission.rules import RETRYABLE_CATEGORIES
from tests.submission_histories.histories import (
    Fact,
    Fence,
    HistoryBench,
    HistoryTask,
    Report,
    Sent,
    caused,
    records_of,
)

ENDED = frozenset({"published", "failed", "cancelled", "draft"})

WHOLE_SECONDS = timedelta(seconds=1)
"""The header ``Date``, from which the provider knows the service's clock, tells whole seconds only."""


def broken(bench: HistoryBench) -> list[str]:
    """Return what a history breaks of the promises; nothing, if all is well."""
    return [*_submitted_twice(bench), *_published_twice(bench), *_dishonest(bench)]


def _accepted(bench: HistoryBench) -> dict[tuple[str, str, str], list[tuple[Sent, Fact]]]:
    """The accepted submissions of each task instance and target, in the order in which the requests left."""
    facts = bench.facts().values()
    accepted: dict[tuple[str, str, str], list[tuple[Sent, Fact]]] = {}
    for sent in bench.sent:
        for account in sent.accounts:
            fact = caused(sent.number, account, facts)
            if fact is not None:
                accepted.setdefault((sent.task.name, sent.post_id, account), []).append((sent, fact))
    return accepted


def _pairs(bench: HistoryBench) -> Iterator[tuple[str, tuple[Sent, Fact], tuple[Sent, Fact]]]:
    for (task, post_id, account), several in _accepted(bench).items():
        label = f"{task} submitted post {post_id[:4]} to account {account[:4]}"
        for index, one in enumerate(several):
            for other in several[index + 1 :]:
                yield label, one, other


def _submitted_twice(bench: HistoryBench) -> Iterator[str]:
    """At most one accepted submission per target and intent."""
    for label, (sent, fact), (again, _) in _pairs(bench):
        if not (_is_asked_for(bench, sent, fact, again) or _had_failed(bench, sent, fact, again)):
            yield f"{label} with no. {sent.number}, and again with no. {again.number}"


def _published_twice(bench: HistoryBench) -> Iterator[str]:
    """At most one publication per target and intent."""
    out = {entry["scheduled_post_id"] for entry in bench.service.publications()}
    for label, (sent, fact), (again, other) in _pairs(bench):
        excused = (
            _is_asked_for(bench, sent, fact, again)
            or _is_mistaken(again.task, again.shown, fact)
            or fact.id in bench.ended_once
        )
        if {fact.id, other.id} <= out and not excused:
            yield f"{label} with no. {sent.number} and no. {again.number}, and both are out"


def _is_asked_for(bench: HistoryBench, sent: Sent, fact: Fact, again: Sent) -> bool:
    """Whether a user asked for another submission, or an assumption was broken on purpose."""
    if (sent.number, fact.account) in bench.said_not_sent:
        return True
    rules = again.task.job.rules
    seen = again.earlier.get((sent.number, fact.account))
    if seen is None:
        # It had no effect yet: only an effect later than the rules take into account excuses that.
        return rules.settle_time is not None and fact.created_at - sent.at > rules.settle_time
    cleared = again.max_tries > sent.max_tries
    return rules.if_already_submitted == "resubmit" and cleared and seen.status in ENDED


def _had_failed(bench: HistoryBench, sent: Sent, fact: Fact, again: Sent) -> bool:
    """Whether the earlier submission was a proven failure that frees its target."""
    rules = again.task.job.rules
    seen = again.earlier.get((sent.number, fact.account))
    if seen is None or not rules.resubmit_failed:
        return False
    if seen.status == "failed" and seen.platform_post_id is None:
        return seen.category in RETRYABLE_CATEGORIES or again.max_tries > sent.max_tries
    if _is_mistaken(again.task, again.shown, fact):
        return True
    # Somebody revived it after it had failed, which breaks assumption 2; but not in plain sight.
    shown = again.shown
    in_plain_sight = shown is not None and shown.id == fact.id and shown.may_be_live
    return fact.id in bench.ended_once and not in_plain_sight


def _is_mistaken(task: HistoryTask, scheduled: Fact | None, fact: Fact) -> bool:
    """Whether a task instance that has lost its record takes another submission for the one it made; it cannot tell."""
    return (
        task.is_forgetful
        and scheduled is not None
        and scheduled.account == fact.account
        and scheduled.id != fact.id
        and scheduled.created_at >= task.began_at
    )


def _dishonest(bench: HistoryBench) -> Iterator[str]:
    accepted = _accepted(bench)
    for report in bench.reports:
        where = f"{report.task.name} try {report.try_number}"
        ends = {outcome.state for outcome in report.outcomes}
        if report.error is not None and not isinstance(report.error, OctosparkError):
            yield f"{where} breaks with {type(report.error).__name__}: {report.error}"
        if "unknown" in ends and not isinstance(report.error, OctosparkUnknownError | OctosparkStateStoreError):
            yield f"{where} has unknown outcomes, but ends with {report.error!r}"
        if "failed" in ends and report.error is None:
            yield f"{where} has failed outcomes, but succeeds"
        stopped = report.error is not None and not isinstance(report.error, OctosparkStateStoreError)
        if (
            report.outcomes
            and ends <= {"pending", "published"}
            and stopped
            and not _refuses_to_resubmit(report, accepted)
        ):
            yield f"{where} has only good outcomes, but ends with {report.error!r}"
        for outcome in report.outcomes:
            own = [
                (sent, fact)
                for sent, fact in accepted.get((report.task.name, outcome.post_id, outcome.social_account_id or ""), [])
                if sent.number <= report.upto and (sent.number, fact.account) not in bench.said_not_sent
            ]
            for lie in _lies(bench, report, outcome, own):
                yield f"{where} says {outcome.state} ({outcome.reason}) of account {(outcome.social_account_id or '')[:4]}: {lie}"


def _lies(bench: HistoryBench, report: Report, outcome: Outcome, own: list[tuple[Sent, Fact]]) -> Iterator[str]:
    scheduled = report.facts.get(outcome.scheduled_post_id or "")
    if outcome.scheduled_post_id is not None:
        if scheduled is None:
            yield f"there is no submission {outcome.scheduled_post_id}"
            return
        if (scheduled.post_id, scheduled.account) != (outcome.post_id, outcome.social_account_id):
            yield f"{scheduled.id} is of another target"
    match outcome.state:
        case "published":
            if outcome.scheduled_post_id not in report.published:
                yield "nothing is out"
        case "pending":
            said = (report.task.name, outcome.social_account_id or "") in bench.said_sent
            if scheduled is None and not said:
                yield "nothing was accepted, and nobody said so"
        case "failed":
            yield from _wrong_failure(bench, report, outcome, own)
        case "unknown":
            yield from _wrong_unknown(bench, report, outcome, own)


def _wrong_failure(
    bench: HistoryBench, report: Report, outcome: Outcome, own: list[tuple[Sent, Fact]]
) -> Iterator[str]:
    """Nothing that the task instance submitted to the target may be live, or become so."""
    rules = report.task.job.rules
    said = report.facts.get(outcome.scheduled_post_id or "")
    if (report.task.name, outcome.social_account_id or "") in bench.said_sent:
        return  # Which submission a user meant is not known; what is waited for is the latest one of the account.
    for sent, fact in own:
        then = report.facts.get(fact.id)
        if (then is not None and not then.may_be_live) or _is_mistaken(report.task, said, fact):
            continue
        seen = report.sight.latest
        in_plain_sight = seen is not None and seen.id == fact.id and seen.may_be_live
        if fact.id in bench.ended_once and not in_plain_sight:
            continue  # It has been revived since, out of sight.
        if then is None and rules.settle_time is not None and fact.created_at - sent.at > rules.settle_time:
            continue  # Assumption 1 is broken.
        if then is not None and then.status in ENDED and _asked(report, sent):
            continue
        yield f"no. {sent.number} ({fact.id}) {'is ' + then.status if then else 'takes effect later'}"
    if isinstance(report.error, OctosparkAlreadySubmittedError) and outcome.reason == "not_sent":
        mine = [fact.id for _, fact in own if fact.id in str(report.error)]
        if mine and not report.task.was_damaged:
            yield f"{mine[0]} was submitted by this very task instance"


def _refuses_to_resubmit(report: Report, accepted: Mapping[tuple[str, str, str], list[tuple[Sent, Fact]]]) -> bool:
    """Whether a user asked for another submission, and the task says why it was not made: the old outcome is no success."""
    return isinstance(report.error, OctosparkError) and any(
        _asked(report, sent)
        for outcome in report.outcomes
        for sent, _ in accepted.get((report.task.name, outcome.post_id, outcome.social_account_id or ""), [])
    )


def _asked(report: Report, sent: Sent) -> bool:
    return report.task.job.rules.if_already_submitted == "resubmit" and report.max_tries > sent.max_tries


def _wrong_unknown(
    bench: HistoryBench, report: Report, outcome: Outcome, own: list[tuple[Sent, Fact]]
) -> Iterator[str]:
    """Only what cannot be known is unknown."""
    task, sight = report.task, report.sight
    said = (task.name, outcome.social_account_id or "") in bench.said_sent
    if (
        not report.notes
        and not said
        and outcome.reason in {"in_doubt", "access_lost"}
        and not outcome.scheduled_post_id
    ):
        yield "nobody is told what to do"
    then = report.facts.get(outcome.scheduled_post_id or "")
    match outcome.reason:
        case "access_lost":
            if not sight.ever_failed:
                yield "the post could be read"
        case "superseded" | "not_observable" | "recurred":
            if then is not None and sight.ever <= {then.id}:
                yield "nothing but it was to be seen"
        case "deadline":
            if then is not None and then.status in ENDED and sight.ever == {then.id} and not sight.ever_failed:
                yield f"it was to be seen as {then.status}"
        case "in_doubt":
            if then is not None and then.status == "failed" and then.platform_post_id is not None:
                return  # It failed, and may be live all the same.
            if task.has_moved or task.was_damaged:
                return
            if report.error is not None and isinstance(report.error.__context__, OctosparkStateStoreError):
                return  # What the task could find out, it could not record.
            yield from _could_be_known(bench, report, outcome, own)
        case _:
            yield "this is no reason"


def _could_be_known(
    bench: HistoryBench, report: Report, outcome: Outcome, own: list[tuple[Sent, Fact]]
) -> Iterator[str]:
    task, sight = report.task, report.sight
    latest = sight.latest
    fence, numbers = _doubt(bench, report, outcome)
    mine = [
        fact
        for sent, fact in own
        if (sent.number in numbers if numbers is not None else fact.created_at >= task.began_at)
    ]
    due = task.job.scheduled_at
    if latest is not None and latest.id in {fact.id for fact in mine}:
        if report.facts.get(latest.id, latest).status in ENDED - {"published"}:
            return  # It may be somebody else's, and ours be hidden by it or still to come.
        moved = due is not None and abs((parse_instant(latest.scheduled_at) or due) - due) >= timedelta(seconds=1)
        if not moved:
            yield f"{latest.id}, which was in plain sight, is what was sent"
        return
    if task.job.rules.settle_time is None:
        return
    others = [
        fact
        for fact in report.facts.values()
        if fact.post_id == outcome.post_id and max(fact.created_at, fact.updated_at) >= fence.read_at - WHOLE_SECONDS
    ]
    if not others and report.at >= fence.at + task.job.rules.settle_time:
        yield "nothing at all has happened to the post since, so nothing was accepted"


def _doubt(bench: HistoryBench, report: Report, outcome: Outcome) -> tuple[Fence, set[int] | None]:
    """The request that is in doubt: its fence and its number; None for the number where the record was lost."""
    task: HistoryTask = report.task
    for record in records_of(report.page):
        if record["social_account_id"] == outcome.social_account_id and record["state"] == "in_doubt":
            attempt, is_lost = record["request"], record["run_began_at"] is not None
            fence = bench.fences[attempt]
            if is_lost:
                return Fence(fence.at, task.began_at), None
            return fence, {sent.number for sent in bench.sent if sent.attempt == attempt}
    return Fence(task.began_at, task.began_at), None


__all__ = ["PAGE_KEY", "broken"]
