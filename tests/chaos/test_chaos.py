"""Real kills, a few of each kind, and a user's decision; `python -m tests.chaos` does the same many times at random."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.chaos.plans import Plan, Strike, delay
from tests.chaos.runs import Judged, judge_all, live_all
from tests.chaos.shapes import EXECUTION_TIMEOUT, HEARTBEAT_TIMEOUT, SUBMIT_TIMEOUT, Shape
from tests.chaos.world import open_world

pytestmark = pytest.mark.slow

# Nothing here has to wait for `settle`: every request was either processed, or never left.
IN_FLIGHT = {**delay(SUBMIT_TIMEOUT - 0.5, "after")}
READING = delay(4)
# After the baseline the service refuses to show the post, so that the first poll finds nothing yet.

STRUCK = {
    "kill-task": Plan(
        "kill-task",
        Shape("post now", "no"),
        (Strike("kill", "request", 0.5, "task", fault=IN_FLIGHT),),
    ),
    "kill-task-and-supervisor": Plan(
        "kill-task-and-supervisor",
        Shape("one by one", "no"),
        (Strike("kill", "request", 0.5, "both", fault=IN_FLIGHT),),
        accounts=2,
    ),
    "kill-supervisor-before-the-fence": Plan(
        "kill-supervisor-before-the-fence",
        Shape("one call", "no"),
        (Strike("kill", "read", 0.5, "supervisor", fault=READING),),
        accounts=2,
    ),
    "stop-beyond-the-heartbeat-timeout": Plan(
        "stop-beyond-the-heartbeat-timeout",
        Shape("post now", "no"),
        (Strike("stop", "request", 0.5, "both", HEARTBEAT_TIMEOUT + 6, fault=IN_FLIGHT),),
    ),
    "kill-triggerer": Plan(
        "kill-triggerer",
        Shape("post now", "deferred"),
        (Strike("kill triggerer", "deferred"),),
    ),
    "clear-while-running-and-after": Plan(
        "clear-while-running-and-after",
        Shape("post now", "staying"),
        (Strike("clear", "request", 0.5, fault=IN_FLIGHT), Strike("clear", "end")),
    ),
}
TIMED_OUT = Plan(
    "execution-timeout",
    Shape("post now", "no", hurried=True),
    (),
    faults=(delay(EXECUTION_TIMEOUT + 3, "after"),),
)
DECIDED = {
    decision: Plan(
        f"a-person-says-{decision}",
        Shape("post now", "no"),
        (Strike("person posts", "request", 0.1, fault={"fault": "no_answer", "when": when}),),
        faults=({"operation": "get-post", "fault": "status", "status": 403, "skip": 1, "times": 1},),
    )
    for decision, when in (("accepted", "after"), ("not_accepted", "before"))
}


@pytest.fixture(scope="module")
def judged() -> Iterator[Mapping[str, Judged]]:
    """All histories, which happen at the same time in one Airflow."""
    plans = [*STRUCK.values(), TIMED_OUT, *DECIDED.values()]
    with open_world(say=print) as world:
        yield {each.history.plan.name: each for each in judge_all(world, live_all(world, plans, at_once=len(plans)))}


def assert_kept(judged: Judged) -> None:
    print(judged.summary)
    assert judged.problems == [], judged.summary


@pytest.mark.parametrize("name", STRUCK)
def test_what_is_struck_goes_out_once(judged: Mapping[str, Judged], name: str) -> None:
    struck = judged[name]
    assert_kept(struck)
    assert not any("missed" in event for event in struck.history.happened), struck.summary
    told = struck.history.last_told
    assert told is not None
    assert told.state == "success", struck.summary
    assert {outcome["state"] for outcome in told.outcomes.values()} <= {"pending", "published"}


def test_what_times_out_goes_out_once(judged: Mapping[str, Judged]) -> None:
    timed_out = judged[TIMED_OUT.name]
    assert_kept(timed_out)
    told = timed_out.history.last_told
    assert told is not None
    assert (told.state, told.tries > 1) == ("success", True), timed_out.summary


@pytest.mark.parametrize("decision", DECIDED)
def test_the_next_try_obeys_a_person(judged: Mapping[str, Judged], decision: str) -> None:
    decided = judged[DECIDED[decision].name]
    assert_kept(decided)
    history = decided.history
    [account] = history.accounts
    assert history.told is not None
    assert history.told.state == "failed"
    assert history.decided == {account: decision}
    assert history.told_after is not None
    assert history.told_after.state == "success", decided.summary
