"""One task through its tries: kills, time-outs, clears, deferrals, other tasks' events, and a user's decision.

Each history runs step by step on Airflow's own code and database (`stepping.py`); what went out is counted by the
emulator.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowFailException, AirflowTaskTimeout
from fastapi import FastAPI
from fastapi.testclient import TestClient

from airflow_provider_octospark import xcom_parts
from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.exceptions import (
    OctosparkAlreadySubmittedError,
    OctosparkArgumentError,
    OctosparkCancelledError,
    OctosparkProtocolError,
    OctosparkPublishFailedError,
    OctosparkTooLateError,
    OctosparkUnknownError,
)
from airflow_provider_octospark.operators.octospark import (
    OctosparkPostNowOperator,
    OctosparkScheduleBatchOperator,
    OctosparkScheduleMultiOperator,
)
from airflow_provider_octospark.sensors.octospark import OctosparkPostSensor
from airflow_provider_octospark.submission import rules as submission_rules
from airflow_provider_octospark.tasks import metrics
from airflow_provider_octospark.tasks.wait import WAIT_KEY
from tests.airflow.stepping import TaskSteps

pytestmark = pytest.mark.slow

QUICK: dict[str, Any] = {"poll_interval": 0.05, "poll_backoff": 0.0, "hidden_timeout": 0.5, "publish_timeout": 60.0}
STRIKES = timedelta(seconds=4)
"""After so long the task's time-out strikes: in the middle of a request that is never answered, on a busy machine too."""

RETRIES: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(0)}


@pytest.fixture(autouse=True)
def quick(soon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let requests in doubt settle within a second, and deferrals be as short."""
    monkeypatch.setattr(submission_rules, "SETTLE_MARGIN", timedelta(0))
    monkeypatch.setattr("airflow_provider_octospark.tasks.submit.SHORTEST_DEFERRAL", timedelta(0))


@pytest.fixture
def post_id(emulator: Emulator) -> str:
    """A prepared post that is published quickly."""
    made = emulator.add_post("The one")
    emulator.script("slow", post_id=made, seconds=0.05)
    return made


@pytest.fixture
def account_id(emulator: Emulator) -> str:
    """The account to publish it on."""
    return emulator.account_id("x")


@pytest.fixture
def frozen(emulator: Emulator) -> Emulator:
    """The emulator, whose time stands still until a test moves it on."""
    emulator.clock_factor(0)
    return emulator


Steps = Callable[..., TaskSteps]


@pytest.fixture
def post_now(post_id: str, account_id: str, request: pytest.FixtureRequest) -> Steps:
    """A function that makes a run of a DAG that publishes the post."""

    def make(run: dict[str, Any] | None = None, **arguments: Any) -> TaskSteps:
        with DAG(re.sub(r"\W+", "_", request.node.name), schedule=None) as dag:
            OctosparkPostNowOperator(
                task_id="publish",
                **{"post_id": post_id, "social_account_id": account_id, **QUICK, **RETRIES} | arguments,
            )
        return TaskSteps(dag, **run or {})

    return make


@pytest.fixture
def settling(connect: Callable[..., None]) -> dict[str, Any]:
    """Arguments of a task whose requests settle within a second; the connection allows it."""
    connect(submit_timeout=0.5)
    return {"settle_time": 1.0}


def wait_for_submission(emulator: Emulator) -> None:
    """Wait until what is late has come."""
    for _ in range(600):
        if emulator.submissions():
            return
        time.sleep(0.05)
    raise AssertionError("nothing was submitted")


def counts(emulator: Emulator) -> tuple[int, int]:
    """How many submissions were accepted, but for what people made, and how many publications went out in the end."""
    emulator.advance_until_idle()
    return (
        len([each for each in emulator.submissions() if each["operation"] != "user-action"]),
        len(emulator.publications()),
    )


# Tries that end before their time


@pytest.mark.parametrize("waits", [True, False])
def test_a_try_that_is_killed_after_submitting_is_carried_on_by_the_next(
    waits: bool, emulator: Emulator, post_now: Steps
) -> None:
    killed: list[int] = []

    def kill(context: Any, _: Any = None) -> None:
        if context["ti"].try_number == 1:
            killed.append(1)
            raise SystemExit(137)

    steps = post_now(wait_for_completion=waits, post_execute=kill)
    assert steps.try_once() == "up_for_retry"
    assert steps.try_once() == "success"
    assert killed == [1]
    assert counts(emulator) == (1, 1)
    assert steps.xcom()["scheduled_post_id"] == emulator.submissions()[0]["scheduled_post_id"]


def test_a_time_out_that_strikes_during_the_request(emulator: Emulator, post_now: Steps) -> None:
    emulator.fault("post-now", "no_answer", when="after")
    steps = post_now(wait_for_completion=True, execution_timeout=STRIKES)
    assert steps.try_once() == "up_for_retry"
    assert isinstance(steps.error, AirflowTaskTimeout)
    assert steps.try_once() == "success"
    assert steps.xcom()["state"] == "published"
    assert counts(emulator) == (1, 1)


def test_a_time_out_that_strikes_before_the_request_arrives(
    emulator: Emulator, post_now: Steps, settling: dict[str, Any], connect: Callable[..., None]
) -> None:
    connect(submit_timeout=30)
    emulator.fault("post-now", "no_answer", when="before")
    steps = post_now(wait_for_completion=True, execution_timeout=STRIKES, settle_time=31)
    assert steps.try_once() == "up_for_retry"
    connect(submit_timeout=0.5)
    steps.task.settle_time = 1.0
    assert steps.try_once() == "success"
    assert counts(emulator) == (1, 1)
    assert len([each for each in emulator.requests() if each["method"] == "POST"]) == 2


def test_a_later_try_that_cannot_be_understood_says_what_may_be_out(emulator: Emulator, post_now: Steps) -> None:
    emulator.fault("post-now", "no_answer", when="after")
    steps = post_now(execution_timeout=STRIKES)
    assert steps.try_once() == "up_for_retry"
    steps.task.post_id = ""
    assert steps.try_once() == "failed"
    assert isinstance(steps.error, OctosparkUnknownError)
    assert "post_id" in str(steps.error)
    assert counts(emulator) == (1, 1)


def test_a_later_try_that_cannot_be_understood_says_that_something_is_out(emulator: Emulator, post_now: Steps) -> None:
    def kill(context: Any, _: Any = None) -> None:
        raise SystemExit(137)

    steps = post_now(post_execute=kill)
    assert steps.try_once() == "up_for_retry"
    steps.task.post_id = ""
    assert steps.try_once() == "failed"
    assert isinstance(steps.error, OctosparkArgumentError)
    assert "Earlier tries have submitted something" in str(steps.error)
    assert counts(emulator) == (1, 1)


@pytest.mark.parametrize("trouble", ["settle_time", "publish_timeout", "connection"])
def test_a_later_try_with_unusable_settings_says_what_may_be_out(
    trouble: str, emulator: Emulator, post_now: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.fault("post-now", "no_answer", when="after")
    steps = post_now(execution_timeout=STRIKES)
    assert steps.try_once() == "up_for_retry"
    match trouble:
        case "settle_time":
            steps.task.settle_time = 0.1
        case "publish_timeout":
            steps.task.publish_timeout = -1
        case "connection":
            monkeypatch.delenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT")
    assert steps.try_once() == "failed"
    assert isinstance(steps.error, OctosparkUnknownError)
    assert trouble in str(steps.error)
    assert steps.xcom()["state"] == "unknown"
    assert counts(emulator) == (1, 1)


def test_a_try_that_ends_while_its_templates_are_rendered_has_sent_nothing(emulator: Emulator, post_now: Steps) -> None:
    """Its record shows that; without one, ``settle_time=None`` would make the next try unknown."""
    steps = post_now(settle_time=None, team_id="{{ params.none.here if ti.try_number == 1 else '' }}")
    assert steps.try_once() == "up_for_retry"
    assert "UndefinedError" in repr(steps.error)
    assert steps.read_state("octospark")["records"] == []
    assert steps.try_once() == "success"
    assert counts(emulator) == (1, 1)


@pytest.mark.parametrize("broken", ["{}", "error", "text"])
def test_an_event_that_cannot_be_read_is_retried_and_nothing_is_sent_again(
    broken: str, frozen: Emulator, post_now: Steps
) -> None:
    payloads = {"{}": {"format": 99}, "error": {"format": 1, "error": "It broke"}, "text": "success"}
    steps = post_now(wait_for_completion=True, deferrable=True)
    assert steps.try_once() == "deferred"
    steps.fire(payloads[broken])
    assert steps.resume() == "up_for_retry"
    assert isinstance(steps.error, OctosparkProtocolError)
    frozen.advance(5)
    assert steps.try_once() == "success"
    assert counts(frozen) == (1, 1)


def test_an_event_about_something_else_is_waited_past_without_a_request(frozen: Emulator, post_now: Steps) -> None:
    steps = post_now(wait_for_completion=True, deferrable=True)
    assert steps.try_once() == "deferred"
    first = steps.deferral
    ours = steps.xcom_of_wait()
    other = {**ours, "scheduled_post_id": "00000000-0000-4000-8000-00000000000a", "state": "published"}
    before = len(frozen.requests())
    for payload in ([other], [{**ours, "post_id": "another"}], [ours, other], []):
        steps.fire({"format": 1, "outcomes": payload})
        assert steps.resume() == "deferred"
    assert len(frozen.requests()) == before
    # The same wait, to the same deadline.
    assert steps.deferral.trigger_kwargs == first.trigger_kwargs
    assert steps.xcom() is None
    frozen.advance(60)
    steps.fire(steps.run_trigger())
    assert steps.resume() == "success"
    assert steps.xcom()["state"] == "published"
    assert counts(frozen) == (1, 1)


@pytest.mark.parametrize("page", [None, {"format": 99}, "torn"])
def test_an_event_for_a_task_whose_record_is_lost(page: Any, frozen: Emulator, post_now: Steps) -> None:
    steps = post_now(wait_for_completion=True, deferrable=True)
    assert steps.try_once() == "deferred"
    steps.write_state("octospark", page)
    frozen.advance(5)
    steps.fire(steps.run_trigger())
    assert steps.resume() == "success"
    assert steps.xcom()["state"] == "published"
    assert counts(frozen) == (1, 1)


def test_the_end_that_was_waited_for_is_on_record(frozen: Emulator, post_id: str, post_now: Steps) -> None:
    frozen.script("fail", post_id=post_id, seconds=0.05, error_category="transient", times=1)
    steps = post_now(wait_for_completion=True, deferrable=True)
    for end, state in (("failed", "up_for_retry"), ("published", "success")):
        assert steps.try_once() == "deferred"
        frozen.advance(5)
        steps.fire(steps.run_trigger())
        assert steps.resume() == state
        [record] = steps.read_state("octospark")["records"]
        assert (record["state"], record["outcome"]["state"]) == ("answered", end)
    assert counts(frozen) == (2, 1)


@pytest.mark.parametrize("is_out", [True, False])
def test_a_deferral_that_no_triggerer_took_over(is_out: bool, frozen: Emulator, post_now: Steps) -> None:
    """The post is read once more; what is not out then is unknown, although there are retries."""
    steps = post_now(wait_for_completion=True, deferrable=True)
    assert steps.try_once() == "deferred"
    assert steps.deferral.trigger_timeout is not None
    assert steps.deferral.trigger_timeout > timedelta(seconds=QUICK["publish_timeout"])
    if is_out:
        frozen.advance(5)
    steps.time_out()
    assert steps.resume() == ("success" if is_out else "failed")
    outcome = steps.xcom()
    if is_out:
        assert outcome["state"] == "published"
    else:
        assert (outcome["state"], outcome["reason"]) == ("unknown", "deadline")
        assert isinstance(steps.error, OctosparkUnknownError)
        assert "no triggerer" in str(steps.error)
    assert counts(frozen) == (1, 1)


@pytest.mark.parametrize("retries", [1, 0])
def test_a_trigger_that_fails(retries: int, frozen: Emulator, post_now: Steps) -> None:
    """A retry waits again; without one, what is not out is unknown."""
    steps = post_now(wait_for_completion=True, deferrable=True, retries=retries)
    assert steps.try_once() == "deferred"
    steps.fail_trigger()
    assert steps.resume() == ("up_for_retry" if retries else "failed")
    if not retries:
        assert isinstance(steps.error, OctosparkUnknownError)
        assert steps.xcom()["state"] == "unknown"
    assert counts(frozen) == (1, 1)


# Requests in doubt


@pytest.fixture(params=["with a store", "without a store"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether there is a state store; before Airflow 3.3 there is none."""
    if request.param == "without a store":
        monkeypatch.setattr("airflow_provider_octospark.tasks.submit.task_state_store", lambda _: None)
    return str(request.param) == "with a store"


@pytest.mark.parametrize("deferrable", [True, False])
def test_an_answer_that_was_lost(
    deferrable: bool, store: bool, emulator: Emulator, post_now: Steps, settling: dict[str, Any]
) -> None:
    emulator.fault("post-now", "reset", when="after")
    steps = post_now(deferrable=deferrable, **settling)
    assert steps.try_once() == "success"
    assert steps.xcom()["scheduled_post_id"] == emulator.submissions()[0]["scheduled_post_id"]
    assert counts(emulator) == (1, 1)


def test_a_request_that_was_lost_is_sent_again_after_it_has_settled(
    store: bool, emulator: Emulator, post_now: Steps, settling: dict[str, Any]
) -> None:
    emulator.fault("post-now", "reset", when="before")
    steps = post_now(deferrable=True, **settling)
    looks = 0
    state = steps.try_once()
    while state == "deferred":
        looks += 1
        assert steps.deferral.next_method == "resume_submission"
        assert ("page" in str(steps.deferral.next_kwargs)) is not store
        assert emulator.submissions() == []
        steps.fire(steps.run_trigger())
        state = steps.resume()
    assert state == "success"
    assert looks >= 1
    assert counts(emulator) == (1, 1)


@pytest.mark.parametrize("times_out", [True, False])
def test_a_wait_for_a_request_to_settle_that_nobody_ended(
    times_out: bool, store: bool, emulator: Emulator, post_now: Steps, settling: dict[str, Any]
) -> None:
    """The task goes on in the worker, or a clear's try finds what was sent."""
    emulator.fault("post-now", "late", seconds=6.0)
    steps = post_now(deferrable=True, **{**settling, "settle_time": 12.0})
    assert steps.try_once() == "deferred"
    if times_out:
        steps.time_out()
        assert steps.resume() == "success"
    else:
        steps.clear()
        wait_for_submission(emulator)
        assert steps.try_once() == "success"
    assert counts(emulator) == (1, 1)


def test_without_a_store_a_later_try_finds_what_was_sent_by_its_time(
    emulator: Emulator, post_now: Steps, settling: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_octospark.tasks.submit.task_state_store", lambda _: None)

    def kill(context: Any, _: Any = None) -> None:
        if context["ti"].try_number == 1:
            raise SystemExit(137)

    steps = post_now(post_execute=kill, **settling)
    assert steps.try_once() == "up_for_retry"
    assert steps.try_once() == "success"
    assert steps.xcom()["scheduled_post_id"] == emulator.submissions()[0]["scheduled_post_id"]
    assert counts(emulator) == (1, 1)


@pytest.fixture(scope="module")
def rest_api() -> Iterator[TestClient]:
    """Airflow's REST API for the state store: its own routes, without asking who calls."""
    from airflow.api_fastapi.core_api.routes.public.task_state_store import task_state_store_router

    app = FastAPI()
    for route in task_state_store_router.routes:
        app.add_api_route(
            f"/api/v2{route.path}",  # type: ignore[attr-defined]
            route.endpoint,  # type: ignore[attr-defined]
            methods=list(route.methods),  # type: ignore[attr-defined]
            status_code=route.status_code,  # type: ignore[attr-defined]
        )
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize("decision", ["accepted", "not_accepted"])
def test_a_person_s_decision_is_obeyed_by_the_next_try(
    decision: str,
    emulator: Emulator,
    post_now: Steps,
    post_id: str,
    settling: dict[str, Any],
    rest_api: TestClient,
    capfd: pytest.CaptureFixture[str],
) -> None:
    emulator.fault("post-now", "reset", when="before")
    steps = post_now(deferrable=True, **settling)
    assert steps.try_once() == "deferred"
    # Somebody publishes the same post elsewhere: now nobody can tell from the post what became of the request.
    emulator.user_action("post_now", post_id, social_account_id=emulator.account_id("threads"))
    steps.fire(steps.run_trigger())
    state = steps.resume()
    while state == "deferred":
        steps.fire(steps.run_trigger())
        state = steps.resume()
    assert state == "failed"  # with two retries left
    assert isinstance(steps.error, OctosparkUnknownError)
    assert isinstance(steps.error, AirflowFailException)
    message = str(steps.error)
    assert (steps.xcom()["state"], steps.xcom()["reason"]) == ("unknown", "in_doubt")
    lines = [line for line in capfd.readouterr().out.splitlines() if "OCTOSPARK UNKNOWN" in line]
    assert len(lines) == 1
    # What the message says is done as it is written there.
    put = re.search(r"PUT (\S+) with the body (\{.*?\}\}) or (\{.*?\}\})", message)
    assert put is not None
    assert message in lines[0] or put[1] in lines[0]
    body = put[2] if decision == "accepted" else put[3]
    assert decision in body
    response = rest_api.put(put[1], content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 204, response.text
    page = re.search(r"The record is under (\S+)\.$", message)
    assert page is not None
    [record] = rest_api.get(page[1]).json()["value"]["records"]
    assert record["state"] == "in_doubt"
    steps.clear()
    assert steps.try_once() == "success"
    assert counts(emulator)[0] == (0 if decision == "accepted" else 1)


# Clears


@pytest.mark.parametrize(
    ("policy", "state", "submissions"), [("reattach", "success", 1), ("resubmit", "success", 2), ("fail", "failed", 1)]
)
def test_a_clear_of_what_was_published(
    policy: str, state: str, submissions: int, emulator: Emulator, post_now: Steps
) -> None:
    steps = post_now(wait_for_completion=True, if_already_submitted=policy, repeats="allow")
    assert steps.try_once() == "success"
    steps.clear()
    assert steps.try_once() == state
    assert counts(emulator) == (submissions, submissions)
    if policy == "fail":
        assert isinstance(steps.error, OctosparkAlreadySubmittedError)


def test_a_clear_frees_what_failed_for_good(emulator: Emulator, post_id: str, post_now: Steps) -> None:
    emulator.script("fail", post_id=post_id, error_category="validation", seconds=0.05, times=1)
    steps = post_now(wait_for_completion=True)
    assert steps.try_once() == "failed"
    assert isinstance(steps.error, OctosparkPublishFailedError)
    steps.clear()
    assert steps.try_once() == "success"
    assert counts(emulator) == (2, 1)


def test_a_person_s_cancellation_is_respected_by_retry_and_clear(
    emulator: Emulator, post_id: str, post_now: Steps
) -> None:
    emulator.script("cancel", post_id=post_id, seconds=0.05)
    steps = post_now(wait_for_completion=True)
    assert steps.try_once() == "failed"
    steps.clear()
    assert steps.try_once() == "failed"
    assert isinstance(steps.error, OctosparkCancelledError)
    assert counts(emulator) == (1, 0)


# Other runs of the same DAG


@pytest.mark.parametrize("repeats", ["refuse", "other_runs"])
def test_a_post_that_another_run_of_the_dag_submitted(repeats: str, emulator: Emulator, post_now: Steps) -> None:
    first, second = post_now(repeats=repeats), post_now(repeats=repeats)
    assert first.try_once() == "success"
    assert second.try_once() == ("failed" if repeats == "refuse" else "success")
    if repeats == "refuse":
        assert isinstance(second.error, OctosparkAlreadySubmittedError)
        assert f"that run {first.run_id} of this DAG made" in str(second.error)
        assert 'repeats="other_runs"' in str(second.error)
    assert counts(emulator) == ((1, 1) if repeats == "refuse" else (2, 2))


def test_what_a_user_submitted_is_of_no_other_run(
    emulator: Emulator, post_now: Steps, post_id: str, account_id: str
) -> None:
    """Nor is it after another run's submission has been let pass."""
    first, second = post_now(repeats="other_runs"), post_now(repeats="other_runs")
    assert first.try_once() == "success"
    emulator.user_action("post_now", post_id, social_account_id=account_id)
    assert second.try_once() == "failed"
    assert isinstance(second.error, OctosparkAlreadySubmittedError)
    assert "that this task did not make" in str(second.error)
    assert counts(emulator) == (1, 2)


@pytest.mark.parametrize("repeats", ["refuse", "other_runs"])
def test_a_batch_of_which_another_run_submitted_a_part(repeats: str, emulator: Emulator, account_id: str) -> None:
    posts = [emulator.add_post(f"Post {number}") for number in range(2)]
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()

    def run_with(some: list[str]) -> TaskSteps:
        with DAG(f"batch_repeats_{repeats}", schedule=None) as dag:
            OctosparkScheduleBatchOperator(
                task_id="schedule",
                announcements=[
                    {"post_id": post, "social_account_ids": [account_id], "scheduled_at": soon} for post in some
                ],
                repeats=repeats,
            )
        return TaskSteps(dag)

    first, second = run_with(posts[:1]), run_with(posts)
    assert first.try_once() == "success"
    assert second.try_once() == ("failed" if repeats == "refuse" else "success")
    assert counts(emulator) == ((2, 2) if repeats == "refuse" else (3, 3))


# Runs that come too late


@pytest.mark.parametrize("allowed", [True, False])
def test_a_backfill_publishes_only_if_that_is_allowed(allowed: bool, emulator: Emulator, post_now: Steps) -> None:
    steps = post_now({"run_type": "backfill"}, wait_for_completion=True, allow_backfill=allowed)
    assert steps.try_once() == ("success" if allowed else "skipped")
    assert counts(emulator) == ((1, 1) if allowed else (0, 0))
    if not allowed:
        assert (steps.xcom()["state"], steps.xcom()["reason"]) == ("failed", "late")


@pytest.mark.parametrize(("if_late", "state"), [("fail", "failed"), ("skip", "skipped")])
def test_a_run_that_was_due_too_long_ago(if_late: str, state: str, emulator: Emulator, post_now: Steps) -> None:
    due = {"run_after": datetime.now(UTC) - timedelta(hours=2)}
    steps = post_now(due, max_lateness=timedelta(hours=1), if_late=if_late)
    assert steps.try_once() == state
    assert counts(emulator) == (0, 0)
    if if_late == "fail":
        assert isinstance(steps.error, OctosparkTooLateError)


# XCom


def test_an_error_of_xcom_does_not_hide_that_something_may_be_live(
    emulator: Emulator, post_id: str, post_now: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.execution_time import task_runner

    def full(*_: Any, **__: Any) -> None:
        raise AirflowException("The XCom backend is full")

    monkeypatch.setattr(task_runner, "_xcom_push", full)
    emulator.script("fail_but_live", post_id=post_id, seconds=0.05)
    steps = post_now(wait_for_completion=True)
    assert steps.try_once() == "failed"
    assert isinstance(steps.error, OctosparkUnknownError)


def test_an_error_of_xcom_after_a_success_is_retried_and_nothing_is_sent_again(
    emulator: Emulator, post_id: str, account_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.execution_time import task_runner

    push = task_runner._xcom_push
    failures = iter(["accounts"])

    def full_once(ti: Any, key: str, value: Any, **more: Any) -> None:
        if key == next(failures, None):
            raise AirflowException("The XCom backend is full")
        push(ti, key, value, **more)

    monkeypatch.setattr(task_runner, "_xcom_push", full_once)
    with DAG("xcom_full", schedule=None) as dag:
        OctosparkScheduleMultiOperator(
            task_id="schedule",
            post_id=post_id,
            social_account_ids=[account_id],
            scheduled_at=emulator.now() + timedelta(hours=1),
            **RETRIES,
        )
    steps = TaskSteps(dag)
    assert steps.try_once() == "up_for_retry"
    assert steps.try_once() == "success"
    assert steps.xcom("outcome") == {"totalCount": 1, "successCount": 1, "failureCount": 0, "unknownCount": 0}
    assert counts(emulator) == (1, 1)


# The sensor


@pytest.fixture
def wait_for(emulator: Emulator, account_id: str, request: pytest.FixtureRequest) -> Steps:
    """A function that makes a run of a DAG that waits for posts which are submitted by hand."""

    def make(*post_ids: str, **arguments: Any) -> TaskSteps:
        publications = []
        for post_id in post_ids:
            [made] = emulator.user_action("post_now", post_id, social_account_id=account_id)
            publications.append(
                {
                    "team_id": emulator.team_id,
                    "post_id": post_id,
                    "social_account_id": account_id,
                    "scheduled_post_id": made["id"],
                    "state": "pending",
                }
            )
        with DAG(re.sub(r"\W+", "_", request.node.name), schedule=None) as dag:
            OctosparkPostSensor(task_id="wait", publication=publications, **{**QUICK, **RETRIES} | arguments)
        return TaskSteps(dag)

    return make


def test_the_sensor_waits_past_an_event_about_something_else(frozen: Emulator, post_id: str, wait_for: Steps) -> None:
    steps = wait_for(post_id, deferrable=True)
    assert steps.try_once() == "deferred"
    first, before = steps.deferral, len(frozen.requests())
    other = {**steps.xcom_of_wait(), "scheduled_post_id": "00000000-0000-4000-8000-00000000000a", "state": "published"}
    steps.fire({"format": 1, "outcomes": [other]})
    assert steps.resume() == "deferred"
    assert steps.deferral.trigger_kwargs == first.trigger_kwargs
    assert len(frozen.requests()) == before
    frozen.advance(60)
    steps.fire(steps.run_trigger())
    assert steps.resume() == "success"


@pytest.mark.parametrize("lenience", ["soft_fail", "never_fail"])
def test_what_the_sensor_does_not_know_is_never_a_skip(
    lenience: str, frozen: Emulator, post_id: str, wait_for: Steps
) -> None:
    steps = wait_for(post_id, deferrable=True, retries=1, **{lenience: True})
    assert steps.try_once() == "deferred"
    steps.fire({"format": 99})
    assert steps.resume() == "up_for_retry"
    assert isinstance(steps.error, OctosparkProtocolError)


@pytest.mark.parametrize("lenience", [{}, {"soft_fail": True}, {"never_fail": True}])
def test_a_sensor_whose_deferral_no_triggerer_took_over(
    lenience: dict[str, Any], frozen: Emulator, post_id: str, wait_for: Steps
) -> None:
    steps = wait_for(post_id, deferrable=True, **lenience)
    assert steps.try_once() == "deferred"
    steps.time_out()
    assert steps.resume() == "failed"
    assert isinstance(steps.error, OctosparkUnknownError)
    [outcome] = steps.xcom()
    assert (outcome["state"], outcome["reason"]) == ("unknown", "deadline")
    assert "no triggerer" in str(steps.error)


def test_in_mode_reschedule_the_wait_is_kept_between_looks(frozen: Emulator, post_id: str, wait_for: Steps) -> None:
    slow = frozen.add_post("Slow")
    frozen.script("stuck", post_id=slow)
    steps = wait_for(post_id, slow, mode="reschedule")
    assert steps.try_once() == "up_for_reschedule"
    kept = steps.read_state(WAIT_KEY)
    frozen.advance(60)
    assert steps.again() == "up_for_reschedule"
    later = steps.read_state(WAIT_KEY)
    assert later["wait"]["started_at"] == kept["wait"]["started_at"]
    assert [each["deadline"] for each in later["wait"]["watches"]] == [
        each["deadline"] for each in kept["wait"]["watches"]
    ]
    assert [each["outcome"]["state"] for each in later["wait"]["watches"]] == ["published", "pending"]
    # What has ended is not looked at again.
    before = len(frozen.requests())
    assert steps.again() == "up_for_reschedule"
    assert {each["path"].rpartition("/")[2] for each in frozen.requests()[before:]} <= {slow}
    frozen.user_action("cancel", slow)
    # A clear begins anew.
    steps.clear()
    assert steps.try_once() == "up_for_reschedule"
    assert steps.read_state(WAIT_KEY)["wait"]["started_at"] > kept["wait"]["started_at"]


def test_the_sensor_s_time_out_ends_the_wait_as_unknown(frozen: Emulator, post_id: str, wait_for: Steps) -> None:
    steps = wait_for(post_id, deferrable=True, timeout=timedelta(seconds=1))
    assert steps.try_once() == "deferred"
    steps.fire(steps.run_trigger())
    assert steps.resume() == "failed"
    assert isinstance(steps.error, OctosparkUnknownError)
    assert steps.xcom()[0]["reason"] == "deadline"


def test_a_wait_that_is_too_long_for_a_deferral_is_in_xcoms_until_the_next_try(
    frozen: Emulator, wait_for: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xcom_parts, "MOST_INLINE", 100)
    monkeypatch.setattr(xcom_parts, "PART", 500)
    posts = [frozen.add_post(f"Post {number}") for number in range(4)]
    steps = wait_for(*posts, deferrable=True, cancel_on_kill=True)
    assert steps.try_once() == "deferred"
    assert not any(post in steps.deferral.model_dump_json() for post in posts)
    first = steps.deferral.trigger_kwargs
    assert posts[0] in steps.xcom("octospark_wait_0")
    # The next try puts its own wait in their place.
    steps.clear()
    assert steps.try_once() == "deferred"
    assert steps.deferral.trigger_kwargs != first
    frozen.advance(60)
    event = steps.run_trigger()
    assert len(json.dumps(event)) < 500
    before = len(frozen.requests())
    # It resumes with the XComs that it left.
    steps.fire(event)
    assert steps.resume() == "success"
    assert len(frozen.requests()) == before
    assert [outcome["state"] for outcome in steps.xcom()] == ["published"] * 4
    # The next try begins without them, although it needs none itself.
    monkeypatch.setattr(xcom_parts, "MOST_INLINE", 100_000)
    assert steps.xcom("octospark_wait_0")
    assert steps.xcom("octospark_event_0")
    steps.clear()
    assert steps.try_once() == "success"
    assert steps.xcom("octospark_wait_0") is steps.xcom("octospark_event_0") is None


def test_triggers_carry_ids_and_numbers_and_no_secret(frozen: Emulator, post_id: str, wait_for: Steps) -> None:
    steps = wait_for(post_id, deferrable=True)
    assert steps.try_once() == "deferred"
    carried = steps.deferral.model_dump_json()
    assert frozen.token not in carried
    assert post_id in carried


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_sensor_counts_what_ended_while_it_waited(
    frozen: Emulator, wait_for: Steps, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    """One publication is out when the sensor begins, the other one later; a second sensor finds both final."""
    counted: list[str] = []
    stats = SimpleNamespace(incr=lambda name, **_: counted.append(name), timing=lambda *_, **__: None)
    monkeypatch.setattr(metrics, "Stats", stats)
    posts = [frozen.add_post(f"Post {number}") for number in range(2)]
    frozen.script("slow", post_id=posts[1], seconds=600)
    steps = wait_for(*posts, deferrable=deferrable)
    if deferrable:
        frozen.advance(60)
        assert steps.try_once() == "deferred"
        assert counted == ["octospark.published"]
        frozen.advance(600)
        steps.fire(steps.run_trigger())
        assert steps.resume() == "success"
    else:
        frozen.advance(660)
        assert steps.try_once() == "success"
    assert counted == ["octospark.published"] * 2
    with DAG(f"second_{deferrable}", schedule=None) as dag:
        OctosparkPostSensor(task_id="wait", publication=steps.xcom(), **{**QUICK, **RETRIES}, deferrable=deferrable)
    assert TaskSteps(dag).try_once() == "success"
    assert len(counted) == 2
