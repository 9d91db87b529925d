"""The pure rules: what a request in doubt was, what frees a target, what proves that nothing was sent.

Hypothesis draws 150 situations of a request in doubt for each property; the tables are complete.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_octospark import exceptions
from airflow_provider_octospark.api.models import Post, ScheduledPost
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.exceptions import (
    OctosparkArgumentError,
    OctosparkAuthError,
    OctosparkConnectError,
    OctosparkError,
    OctosparkHaltedError,
    OctosparkHeldUpError,
    OctosparkNetworkError,
    OctosparkServerError,
)
from airflow_provider_octospark.outcomes import Outcome, Reason, State
from airflow_provider_octospark.parameters.defaults import SETTLE_TIME
from airflow_provider_octospark.parameters.times import format_instant
from airflow_provider_octospark.submission.doubt import Adopt, PollAgain, SendAgain, Unknown, resolve_doubt
from airflow_provider_octospark.submission.records import Baseline, Record
from airflow_provider_octospark.submission.rules import (
    LEAVE_WITHIN,
    SETTLE_MARGIN,
    Rules,
    Run,
    frees,
    is_retryable_failure,
    proves_nothing_sent,
)

FENCE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
OURS, OTHER = "account-a", "account-b"
BEFORE, KNOWN, NEW = "was-before", "sent-earlier", "is-new"

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def moment(seconds: float) -> str:
    """So many seconds after the fence, as a text."""
    return format_instant(FENCE + timedelta(seconds=seconds))


offsets = st.sampled_from([-7200.0, -60.0, -1.0, 0.0, 1.0, 60.0, 600.0])
durations = st.sampled_from([None, timedelta(minutes=7), SETTLE_TIME, timedelta(hours=2)])


@st.composite
def records(draw: st.DrawFn) -> Record:
    """A record in doubt."""
    lost = draw(st.booleans())
    existed = draw(st.booleans())
    return Record(
        team_id="team",
        post_id="post",
        social_account_id=draw(st.sampled_from([OURS, OURS.upper()])),
        state="in_doubt",
        request="12345678",
        try_number=1,
        max_tries=1,
        fenced_at=format_instant(FENCE),
        baseline=None
        if lost
        else Baseline(
            scheduled_post_id=BEFORE if existed else None,
            updated_at=moment(-60) if existed else None,
            service_time=draw(st.sampled_from([None, moment(-1)])),
        ),
        run_began_at=moment(-3600) if lost else None,
        scheduled_at=draw(st.sampled_from([None, moment(3600)])),
        earlier=[
            Outcome(team_id="team", post_id="post", social_account_id=OURS, scheduled_post_id=KNOWN, state="failed")
        ],
    )


@st.composite
def submissions(draw: st.DrawFn) -> ScheduledPost | None:
    """What the post shows as its latest submission."""
    if draw(st.booleans()) and draw(st.booleans()):
        return None
    return ScheduledPost(
        id=draw(st.sampled_from([BEFORE, BEFORE.upper(), KNOWN, NEW])),
        social_account_id=draw(st.sampled_from([OURS, OURS.upper(), OTHER])),
        status=draw(st.sampled_from(["scheduled", "publishing", "published", "failed", "cancelled", "draft", "new"])),
        scheduled_at=draw(st.sampled_from([None, moment(0), moment(3600), moment(3600.4), "soon"])),
        created_at=draw(st.one_of(st.none(), st.just("garbage"), offsets.map(moment))),
        updated_at=draw(st.one_of(st.none(), st.just(moment(-60)), offsets.map(moment))),
    )


@st.composite
def responses(draw: st.DrawFn) -> Response[Post]:
    """What the service answers when it is asked for the post; its clock agrees with ours."""
    return Response(Post(id="post", latest_scheduled_post=draw(submissions())), None)


elapsed = st.sampled_from([0.0, 1.0, 14.0, 419.0, 420.0, 899.0, 900.0, 901.0, 7199.0, 7200.0, 86_400.0])


def after(seconds: float) -> datetime:
    """So many seconds after the fence."""
    return FENCE + timedelta(seconds=seconds)


@quick
@given(records(), responses(), elapsed, durations)
def test_only_what_can_be_ours_is_adopted(
    record: Record, response: Response[Post], seconds: float, settle_time: timedelta | None
) -> None:
    """Right account, not there before, not made by us earlier, not older than the request, for the time that was sent."""
    verdict = resolve_doubt(record, response, after(seconds), settle_time)
    latest = response.value.latest_scheduled_post
    if not isinstance(verdict, Adopt):
        return
    assert latest is not None
    assert verdict.scheduled is latest
    assert latest.social_account_id.lower() == OURS
    assert latest.id != KNOWN
    oldest = -3600 if record.baseline is None else -1
    assert latest.created_at is not None
    assert latest.created_at >= moment(oldest)
    if record.baseline is not None:
        assert latest.id.lower() != record.baseline.scheduled_post_id
        assert record.baseline.service_time is not None
    if record.scheduled_at is not None:
        assert latest.scheduled_at in {moment(3600), moment(3600.4)}


@quick
@given(records(), responses(), elapsed, durations)
def test_nothing_is_sent_again_that_may_be_out(
    record: Record, response: Response[Post], seconds: float, settle_time: timedelta | None
) -> None:
    """Only after `settle_time`, never with `settle_time=None`, and only if the post is exactly as it was."""
    verdict = resolve_doubt(record, response, after(seconds), settle_time)
    if not isinstance(verdict, SendAgain):
        return
    assert settle_time is not None
    assert timedelta(seconds=seconds) >= settle_time
    latest = response.value.latest_scheduled_post
    if record.baseline is None:
        for text in [latest.created_at, latest.updated_at] if latest else []:
            assert text is not None
            assert text < moment(-3600)
    elif latest is None:
        assert record.baseline.scheduled_post_id is None
    else:
        assert latest.id.lower() == record.baseline.scheduled_post_id
        assert latest.updated_at == record.baseline.updated_at


@quick
@given(records(), responses(), elapsed, durations)
def test_there_is_an_end_to_looking(
    record: Record, response: Response[Post], seconds: float, settle_time: timedelta | None
) -> None:
    """A next poll lies ahead and not beyond `settle_time`; after that there is a verdict."""
    now, patience = after(seconds), settle_time or SETTLE_TIME
    verdict = resolve_doubt(record, response, now, settle_time)
    if isinstance(verdict, PollAgain):
        assert now < verdict.at <= FENCE + patience
    else:
        assert isinstance(verdict, Adopt) or now >= FENCE + patience


def test_an_answer_that_took_long_is_as_old_as_its_question() -> None:
    """What was asked before `settle_time` was over proves nothing, however late it is answered."""
    record = Record(
        team_id="t",
        post_id="p",
        social_account_id="a",
        state="in_doubt",
        request="12345678",
        fenced_at=format_instant(FENCE),
        baseline=Baseline(scheduled_post_id=None, updated_at=None, service_time=moment(0)),
    )
    now = FENCE + SETTLE_TIME + timedelta(seconds=30)
    response = Response(Post(id="p"), now)
    assert isinstance(resolve_doubt(record, response, now, SETTLE_TIME, FENCE + SETTLE_TIME), SendAgain)
    early = resolve_doubt(record, response, now, SETTLE_TIME, FENCE + SETTLE_TIME - timedelta(seconds=1))
    assert isinstance(early, PollAgain)
    assert early.at > now


@quick
@given(records(), responses(), elapsed, durations, st.sampled_from([-3600.0, -90.0, 90.0, 3600.0]))
def test_our_clock_may_be_off(
    record: Record, response: Response[Post], seconds: float, settle_time: timedelta | None, skew: float
) -> None:
    """With all of our own times moved by the same amount, the verdict on what the service shows is the same."""
    off = timedelta(seconds=skew)
    told = Response(response.value, after(seconds))
    moved = record.model_copy(
        update={
            "fenced_at": format_instant(FENCE + off),
            "run_began_at": moment(-3600 + skew) if record.run_began_at else None,
        }
    )
    verdict, other = (
        resolve_doubt(record, told, after(seconds), settle_time),
        resolve_doubt(moved, told, after(seconds) + off, settle_time),
    )
    if isinstance(verdict, PollAgain):
        assert isinstance(other, PollAgain)
        assert other.at == verdict.at + off
    else:
        assert other == verdict


@quick
@given(records(), elapsed, durations, st.sampled_from(sorted(vars(exceptions))))
def test_what_cannot_be_read_proves_nothing(
    record: Record, seconds: float, settle_time: timedelta | None, name: str
) -> None:
    """It is looked for again while that may help, for twice `settle_time`; then it is unknown."""
    kind = getattr(exceptions, name)
    if not (isinstance(kind, type) and issubclass(kind, OctosparkError)):
        return
    now, patience = after(seconds), settle_time or SETTLE_TIME
    verdict = resolve_doubt(record, kind("no"), now, settle_time)
    assert isinstance(verdict, PollAgain | Unknown)
    if isinstance(verdict, PollAgain):
        assert now < verdict.at <= FENCE + 2 * patience
    else:
        assert verdict.reason == "access_lost"
    if issubclass(kind, OctosparkNetworkError | OctosparkServerError):
        assert isinstance(verdict, PollAgain) == (now < FENCE + 2 * patience)
    if issubclass(kind, OctosparkAuthError):
        assert isinstance(verdict, PollAgain) == (now < FENCE + patience)


def test_when_it_is_looked_for() -> None:
    """Soon, then at longer intervals, then once more when `settle_time` is over."""
    record = Record(
        team_id="t",
        post_id="p",
        social_account_id="a",
        state="in_doubt",
        request="12345678",
        fenced_at=format_instant(FENCE),
        baseline=Baseline(scheduled_post_id=None, updated_at=None, service_time=moment(0)),
    )
    looks, now = [], FENCE
    while isinstance(verdict := resolve_doubt(record, Response(Post(id="p"), now), now, SETTLE_TIME), PollAgain):
        looks.append((verdict.at - FENCE).total_seconds())
        now = verdict.at
    assert looks == [15, 60, 240, 900]
    assert isinstance(verdict, SendAgain)


# What proves that nothing was sent

PROOF = {
    **dict.fromkeys(range(100, 600), False),
    **{status: status not in {408, 409} for status in range(400, 500)},
}


@pytest.mark.parametrize("status", [None, *range(100, 600)])
def test_which_status_proves_that_nothing_was_sent(status: int | None) -> None:
    """Every 4xx but 408 and 409; no other."""
    assert proves_nothing_sent(OctosparkError("no", status=status)) == PROOF.get(status or 0, False)


@pytest.mark.parametrize("name", [name for name in vars(exceptions) if name.startswith("Octospark")])
def test_which_error_proves_that_nothing_was_sent(name: str) -> None:
    """A connection that was never made, a process that was held up or halted, a parameter that is refused; no other."""
    error = getattr(exceptions, name)("no")
    proof = isinstance(
        error, OctosparkConnectError | OctosparkHeldUpError | OctosparkHaltedError | OctosparkArgumentError
    )
    assert proves_nothing_sent(error) == proof


# What frees a target

CATEGORIES = [None, "rate_limited", "transient", "auth", "validation", "permanent", "something new"]
ENDS: list[tuple[State, Reason | None]] = [
    ("pending", None),
    ("published", None),
    ("failed", None),
    ("failed", "cancelled"),
    ("failed", "late"),
    ("failed", "not_sent"),
    ("unknown", "in_doubt"),
    ("unknown", "deadline"),
]
PASSING = {"rate_limited", "transient"}


def outcome(end: State, reason: Reason | None, category: str | None, submitted: bool, live: bool) -> Outcome:
    """An outcome of those marks."""
    return Outcome(
        team_id="t",
        post_id="p",
        social_account_id="a",
        state=end,
        reason=reason,
        error_category=category,
        scheduled_post_id="s" if submitted else None,
        platform_post_id="1" if live else None,
    )


SITUATIONS = list(itertools.product(ENDS, CATEGORIES, [True, False], [True, False]))


@pytest.mark.parametrize("cleared", [True, False])
@pytest.mark.parametrize("if_already_submitted", ["reattach", "resubmit", "fail"])
@pytest.mark.parametrize("recurs", [True, False])
@pytest.mark.parametrize("resubmit_failed", [True, False])
def test_what_frees_a_target(resubmit_failed: bool, recurs: bool, if_already_submitted: Any, cleared: bool) -> None:
    """A failure of which nothing can be live; all else only by a user's clear and wish."""
    rules = Rules(resubmit_failed=resubmit_failed, recurs=recurs, if_already_submitted=if_already_submitted)
    wished = cleared and if_already_submitted == "resubmit"
    freed = set()
    for (end, reason), category, submitted, live in SITUATIONS:
        given_outcome = outcome(end, reason, category, submitted, live)
        is_free = frees(given_outcome, rules, cleared=cleared)
        if is_free:
            freed.add((end, reason, category, submitted, live))
        if end in {"pending", "unknown"}:
            assert not is_free
        elif wished:
            assert is_free
        elif end == "published" or reason is not None or live or not resubmit_failed or (recurs and submitted):
            assert not is_free
        else:
            assert is_free == (cleared or category in PASSING or (category is None and not submitted))
    assert bool(freed) == (wished or resubmit_failed)


def test_which_failure_is_worth_a_retry() -> None:
    """What is transient and cannot be live; what was refused without a category; what was not sent so far."""
    worth = {
        (end, reason, category, submitted)
        for (end, reason), category, submitted, live in SITUATIONS
        if is_retryable_failure(outcome(end, reason, category, submitted, live))
    }
    assert worth == {
        *(("failed", None, category, True) for category in PASSING),
        *(("failed", None, category, False) for category in [None, *PASSING]),
        *(("failed", "not_sent", category, submitted) for category in PASSING for submitted in (True, False)),
    }
    assert not any(
        is_retryable_failure(outcome(end, reason, category, submitted, True))
        for (end, reason), category, submitted, _ in SITUATIONS
    )


# Limits


@pytest.mark.parametrize(
    ("settle_time", "submit_timeout", "is_refused"),
    [
        (timedelta(minutes=15), 300.0, False),
        (timedelta(minutes=6), 300.0, True),
        (timedelta(minutes=6, seconds=1), 300.0, False),
        (timedelta(seconds=1), 0.5, True),
        (timedelta(hours=1), 3600.0, True),
        (None, 86_400.0, False),
    ],
)
def test_settle_outlasts_a_request(settle_time: timedelta | None, submit_timeout: float, is_refused: bool) -> None:
    """More than `submit_timeout` and a minute, or there is no `settle_time`."""
    rules = Rules(settle_time=settle_time)
    if not is_refused:
        rules.check(submit_timeout)
        return
    with pytest.raises(OctosparkArgumentError, match="must be more than the connection's submit_timeout plus a minute"):
        rules.check(submit_timeout)


def test_a_request_leaves_within_the_margin() -> None:
    """Else it could still be under way when `settle_time` is over."""
    assert LEAVE_WITHIN < SETTLE_MARGIN


@pytest.mark.parametrize(("try_number", "is_first"), [(0, True), (1, True), (2, False)])
def test_a_first_try(try_number: int, is_first: bool) -> None:
    """Airflow counts from 1."""
    assert Run("d", "r", "t", -1, try_number, 0, FENCE).is_first_try == is_first
