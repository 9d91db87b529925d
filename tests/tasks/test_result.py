"""What the ends of a task's targets mean for the task."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_octospark.exceptions import (
    OctosparkAuthError,
    OctosparkCancelledError,
    OctosparkError,
    OctosparkFailError,
    OctosparkPublishFailedError,
    OctosparkPublishRetryableError,
    OctosparkServerError,
    OctosparkStoppedError,
    OctosparkTooLateError,
    OctosparkUnknownError,
)
from airflow_provider_octospark.outcomes import Outcome, describe
from airflow_provider_octospark.submission.rules import Rules
from airflow_provider_octospark.tasks.result import UNKNOWN_PREFIX, raise_for_outcomes, report_unknown

RULES = Rules()


def outcome(end: str, account: str = "a", **more: Any) -> Outcome:
    return Outcome.model_validate(
        {
            "team_id": "t",
            "post_id": "p",
            "social_account_id": account,
            "scheduled_post_id": f"sp-{account}",
            "state": end,
        }
        | more
    )


PUBLISHED = outcome("published")
PENDING = outcome("pending", "b")
TRANSIENT = outcome("failed", "c", error_category="transient", error_message="The platform was busy")
RATE_LIMITED = outcome("failed", "d", error_category="rate_limited")
VALIDATION = outcome("failed", "e", error_category="validation", error_code="ASPECT_RATIO")
CANCELLED = outcome("failed", "f", reason="cancelled")
LIVE_AFTER_ALL = outcome("unknown", "g", reason="in_doubt", platform_post_id="1900", error_category="transient")
DEADLINE = outcome("unknown", "h", reason="deadline")
REFUSED = outcome("failed", "i", scheduled_post_id=None, error_message="refresh_needed")
NOT_SENT = outcome("failed", "j", scheduled_post_id=None, reason="not_sent")
NOT_SENT_FOR_NOW = outcome("failed", "k", scheduled_post_id=None, reason="not_sent", error_category="transient")
LATE = outcome("failed", "l", scheduled_post_id=None, reason="late")
DRY = outcome("pending", "m", scheduled_post_id=None, reason="dry_run")


@pytest.mark.parametrize("outcomes", [[PUBLISHED], [PENDING], [DRY], [PUBLISHED, PENDING]])
def test_success(outcomes: list[Outcome]) -> None:
    raise_for_outcomes(outcomes, rules=RULES)
    raise_for_outcomes(outcomes, soft_fail=True)


@pytest.mark.parametrize(
    ("outcomes", "kind"),
    [
        ([TRANSIENT], OctosparkPublishRetryableError),
        ([RATE_LIMITED], OctosparkPublishRetryableError),
        ([REFUSED], OctosparkPublishRetryableError),
        ([NOT_SENT_FOR_NOW], OctosparkPublishRetryableError),
        ([VALIDATION], OctosparkPublishFailedError),
        ([NOT_SENT], OctosparkPublishFailedError),
        ([CANCELLED], OctosparkCancelledError),
        ([DEADLINE], OctosparkUnknownError),
        ([LIVE_AFTER_ALL], OctosparkUnknownError),
        # Unknown is above all others: a retry must not begin while something may be live.
        ([TRANSIENT, DEADLINE], OctosparkUnknownError),
        ([CANCELLED, VALIDATION, TRANSIENT, LIVE_AFTER_ALL], OctosparkUnknownError),
        # What a retry can cure is worth one, although it cures only a part.
        ([VALIDATION, TRANSIENT], OctosparkPublishRetryableError),
        ([CANCELLED, TRANSIENT], OctosparkPublishRetryableError),
        ([CANCELLED, VALIDATION], OctosparkPublishFailedError),
        ([CANCELLED, PUBLISHED], OctosparkCancelledError),
    ],
)
def test_the_order_of_errors(outcomes: list[Outcome], kind: type[OctosparkError]) -> None:
    with pytest.raises(OctosparkError) as raised:
        raise_for_outcomes([PUBLISHED, *outcomes], rules=RULES)
    assert type(raised.value) is kind
    assert isinstance(raised.value, AirflowFailException) is (kind is not OctosparkPublishRetryableError)
    bad = [each for each in outcomes if each.state in {"failed", "unknown"}]
    told = str(raised.value)
    assert told.startswith(f"Of {len(outcomes) + 1} targets: ")
    for state in ("failed", "unknown"):
        count = sum(each.state == state for each in bad)
        assert (f"{count} {state}" in told.split(". ")[0]) == bool(count)


@pytest.mark.parametrize("failure", [TRANSIENT, RATE_LIMITED, REFUSED, VALIDATION])
def test_where_no_retry_submits_none_is_asked_for(failure: Outcome) -> None:
    with pytest.raises(OctosparkPublishFailedError):
        raise_for_outcomes([failure], rules=Rules(resubmit_failed=False))
    with pytest.raises(OctosparkPublishFailedError):
        raise_for_outcomes([failure])  # a sensor


def test_what_was_not_sent_is_sent_by_a_retry_even_if_failures_free_nothing() -> None:
    with pytest.raises(OctosparkPublishRetryableError):
        raise_for_outcomes([PUBLISHED, NOT_SENT_FOR_NOW, VALIDATION], rules=Rules(resubmit_failed=False))


@pytest.mark.parametrize(
    ("cause", "among_others"),
    [
        (OctosparkAuthError("401"), OctosparkPublishFailedError),
        (OctosparkTooLateError("late"), OctosparkPublishFailedError),
        (OctosparkServerError("503"), OctosparkPublishRetryableError),
    ],
)
def test_the_cause_of_sending_nothing_is_raised_itself(
    cause: OctosparkError, among_others: type[OctosparkError]
) -> None:
    for nothing in ([NOT_SENT], [LATE]):
        with pytest.raises(type(cause)) as raised:
            raise_for_outcomes(nothing, rules=RULES, cause=cause)
        assert raised.value is cause
        with pytest.raises(among_others, match=str(cause)):
            raise_for_outcomes([PUBLISHED, *nothing], rules=RULES, cause=cause)
    with pytest.raises(OctosparkUnknownError):
        raise_for_outcomes([NOT_SENT, DEADLINE], rules=RULES, cause=cause)
    # Whatever came first: a retry has something to send.
    with pytest.raises(OctosparkError) as raised:
        raise_for_outcomes([NOT_SENT, NOT_SENT_FOR_NOW], rules=RULES, cause=cause)
    assert not isinstance(raised.value, OctosparkFailError)


@pytest.mark.parametrize("bad", [TRANSIENT, VALIDATION, CANCELLED, DEADLINE, REFUSED, NOT_SENT])
@pytest.mark.parametrize("good", [PUBLISHED, PENDING])
def test_a_tolerated_partial_failure(bad: Outcome, good: Outcome) -> None:
    raise_for_outcomes([good, bad, bad], partial_failure="succeed", rules=RULES)
    with pytest.raises(OctosparkError):
        raise_for_outcomes([bad, bad], partial_failure="succeed", rules=RULES)
    with pytest.raises(OctosparkError):
        raise_for_outcomes([good, bad, bad], partial_failure="fail", rules=RULES)


def test_soft_fail_skips_proven_failures_only() -> None:
    with pytest.raises(AirflowSkipException, match="validation"):
        raise_for_outcomes([VALIDATION, PUBLISHED], soft_fail=True)
    with pytest.raises(OctosparkUnknownError):
        raise_for_outcomes([VALIDATION, DEADLINE], soft_fail=True)


def test_the_message_says_what_is_known_and_what_to_do() -> None:
    with pytest.raises(OctosparkUnknownError) as raised:
        raise_for_outcomes([LIVE_AFTER_ALL, DEADLINE], notes={"t/p/h": "Decide under the key K."})
    message = str(raised.value)
    assert (
        "Post p account g (team t, submission sp-g): unknown (in_doubt; transient; it may be live as 1900)." in message
    )
    assert "Look at the post in Octospark and on the platform" in message
    assert "Decide under the key K." in message


def test_an_outcome_in_one_line() -> None:
    full = outcome("failed", "e", provider="x", error_category="validation", error_code="E1", error_message="Too long")
    assert describe(full) == "Post p on x account e (team t, submission sp-e): failed (validation; E1; Too long)"
    bare = Outcome(team_id="t", post_id="p", social_account_id=None, state="pending")
    assert describe(bare) == "Post p (team t): pending"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The metrics that were counted."""
    names: list[str] = []
    monkeypatch.setattr(
        "airflow_provider_octospark.tasks.metrics.Stats.incr", lambda name, **_: names.append(name), raising=True
    )
    return names


def test_each_unknown_is_one_line_and_one_count(caplog: pytest.LogCaptureFixture, counted: list[str]) -> None:
    log = logging.getLogger("tests.tasks.result")
    with caplog.at_level(logging.INFO, logger=log.name):
        report_unknown([PUBLISHED, DEADLINE, VALIDATION, LIVE_AFTER_ALL, PENDING], log, {"t/p/h": "Decide."})
    lines = [record.getMessage() for record in caplog.records]
    assert [line.startswith(UNKNOWN_PREFIX) for line in lines] == [True, True]
    assert lines[0] == "OCTOSPARK UNKNOWN Decide."
    assert "it may be live as 1900" in lines[1]
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    assert counted == ["octospark.unknown", "octospark.unknown"]


def test_what_a_halted_task_has_not_sent_is_no_partial_failure() -> None:
    left = NOT_SENT.model_copy(update={"error_category": "transient"})
    with pytest.raises(OctosparkPublishRetryableError):
        raise_for_outcomes(
            [PUBLISHED, left], partial_failure="succeed", rules=RULES, cause=OctosparkStoppedError("stopped")
        )
