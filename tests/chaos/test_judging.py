"""The judgement on a history can fail: each way to break the promises is found in a history made up for it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.chaos.histories import History, Told
from tests.chaos.judging import Books, problems
from tests.chaos.plans import Plan, Strike
from tests.chaos.shapes import Shape
from tests.chaos.world import World

ACCOUNT = "a-1"
POST = "p-1"
SINGLE = Plan("made-up", Shape("post now", "no"), ())


def outcome(end: str, reason: str | None = None, scheduled_post_id: str | None = None) -> dict[str, Any]:
    return {"state": end, "reason": reason, "scheduled_post_id": scheduled_post_id}


def history(ending: dict[str, Any], *, plan: Plan = SINGLE, is_logged: bool = True) -> History:
    made_up = History(plan, cast("World", None))
    made_up.accounts, made_up.post_id = [ACCOUNT], POST
    made_up.told = Told("failed", 1, {ACCOUNT: ending}, {ACCOUNT: "OCTOSPARK UNKNOWN"} if is_logged else {})
    return made_up


def books(*submitted: str, published: tuple[str, ...] | None = None, by: str = "post-now") -> Books:
    target = {"post_id": POST, "social_account_id": ACCOUNT}
    return Books(
        [{**target, "operation": by, "scheduled_post_id": each} for each in submitted],
        [{**target, "scheduled_post_id": each} for each in (submitted if published is None else published)],
    )


@pytest.mark.parametrize("end", ["pending", "published"])
def test_what_went_out_once_and_is_said_to_be_is_well(end: str) -> None:
    assert problems(history(outcome(end, scheduled_post_id="s1")), books("s1")) == []


def test_what_was_not_submitted_and_is_said_to_have_failed_is_well() -> None:
    assert problems(history(outcome("failed", "not_sent")), books()) == []


def test_what_a_person_posted_does_not_count() -> None:
    assert problems(history(outcome("failed", "not_sent")), books("s1", by="user-action")) == []


@pytest.mark.parametrize(
    ("ending", "ledger", "problem"),
    [
        (outcome("published", scheduled_post_id="s1"), books("s1", "s2"), "2 submissions"),
        (outcome("published", scheduled_post_id="s1"), books(), "0 submissions"),
        (outcome("published", scheduled_post_id="s1"), books("s2"), "it is s2"),
        (outcome("pending"), books("s1"), "it is s1"),
        (outcome("pending", scheduled_post_id="s1"), books("s1", published=()), "never came out"),
        (outcome("failed", "not_sent"), books("s1"), "was submitted"),
        (outcome("unknown", "in_doubt"), books("s1"), "could be known"),
        (outcome("unknown", "access_lost"), books("s1"), "could be known"),
        (outcome("unknown", "not_observable"), books("s1"), "could be known"),
        (outcome("running"), books("s1"), "no end"),
    ],
)
def test_each_broken_promise_is_found(ending: dict[str, Any], ledger: Books, problem: str) -> None:
    assert [each for each in problems(history(ending), ledger) if problem in each]


def test_what_a_person_hides_may_be_unknown_if_the_log_says_so() -> None:
    hidden = Plan("made-up", Shape("post now", "no"), (Strike("person posts", "request"),))
    in_doubt = outcome("unknown", "in_doubt")
    assert problems(history(in_doubt, plan=hidden), books("s1")) == []
    [problem] = problems(history(in_doubt, plan=hidden, is_logged=False), books("s1"))
    assert "no line of the log says so" in problem


def test_in_one_call_is_unknown_only_what_may_have_been_submitted() -> None:
    several = Plan("made-up", Shape("one call", "no"), (), accounts=2)
    in_doubt = outcome("unknown", "in_doubt")
    assert problems(history(in_doubt, plan=several), books("s1")) == []
    assert problems(history(in_doubt, plan=several), books()) != []


def test_what_a_person_has_decided_is_unknown_no_more() -> None:
    hidden = Plan("made-up", Shape("post now", "no"), (Strike("person posts", "request"),))
    decided = history(outcome("unknown", "in_doubt"), plan=hidden)
    decided.decided = {ACCOUNT: "not_accepted"}
    decided.told_after = Told("success", 2, {ACCOUNT: outcome("pending", None, "s1")}, {})
    assert problems(decided, books("s1")) == []
    assert problems(decided, books("s1", "s2")) != []
    decided.told_after = decided.told
    assert problems(decided, books("s1")) != []


def test_a_history_without_an_end_has_failed() -> None:
    endless = history(outcome("failed", "not_sent"))
    endless.told, endless.trouble = None, "NoEndError: still running"
    assert problems(endless, books()) == ["NoEndError: still running"]
