"""The sensor, on its own and for a list, in each mode: the same scenarios come to the same ends and XComs."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.exceptions import OctosparkPublishFailedError, OctosparkUnknownError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.platform_urls import published_url
from airflow_provider_octospark.polling import wait as waiting
from airflow_provider_octospark.sensors.octospark import OctosparkPostSensor
from tests.airflow.conftest import Recorder
from tests.airflow.scenarios import FOR_ONE, HIDDEN, PUBLISHED, REJECTED, SCENARIOS, SHORT, STUCK, Scenario, Submitted
from tests.system.dag_runs import RunDag

pytestmark = pytest.mark.slow

MODES: dict[str, dict[str, Any]] = {
    "poke": {"deferrable": False, "mode": "poke"},
    "reschedule": {"deferrable": False, "mode": "reschedule"},
    "deferred": {"deferrable": True},
}
LINK = "_link_OctosparkPublishedPostLink"


@pytest.fixture(autouse=True)
def quick(soon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give what is missing no time to appear, in place of two minutes."""
    monkeypatch.setattr(waiting, "NOT_FOUND_GRACE", timedelta(0))


@pytest.fixture
def hook(emulator: Emulator) -> Iterator[OctosparkHook]:
    """For submissions that are not the sensor's."""
    with OctosparkHook() as opened:
        yield opened


def sensor(task_id: str, submitted: Sequence[tuple[Scenario, Submitted]], publication: Any, **arguments: Any) -> None:
    """Make a sensor with short times; what its scenarios say happens when it begins to wait."""
    waits_to_happen = list(submitted)

    def let_it_happen(context: Any) -> None:
        while waits_to_happen:
            scenario, submission = waits_to_happen.pop()
            scenario.happens(submission)

    short = {"poll_interval": 0.05, "poll_backoff": 0.0, "hidden_timeout": 0.5, "publish_timeout": 60.0}
    OctosparkPostSensor(
        task_id=task_id, publication=publication, retries=2, pre_execute=let_it_happen, **short | arguments
    )


def check(scenario: Scenario, submitted: Submitted, outcome: dict[str, Any]) -> None:
    """Whether an outcome is what a scenario must be called, and what the ledger knows."""
    went_out = [each for each in submitted.emulator.publications() if each["post_id"] == submitted.post_id]
    assert (outcome["state"], outcome["reason"]) == (scenario.outcome_state, scenario.reason), scenario.name
    assert outcome["error_category"] == scenario.category, scenario.name
    assert {key: outcome[key] for key in ("team_id", "post_id", "social_account_id", "scheduled_post_id")} == {
        key: value for key, value in submitted.publication().items() if key != "state"
    }
    if scenario.outcome_state == "published":
        [publication] = went_out
        assert outcome["platform_post_id"] == publication["platform_post_id"]
        assert outcome["url"] == published_url(submitted.provider, publication["platform_post_id"]) is not None
        assert (outcome["status"], outcome["provider"]) == ("published", submitted.provider)
    else:
        assert outcome["url"] is None
    if scenario.outcome_state == "failed":
        assert went_out == []


@pytest.mark.parametrize("mode", MODES)
def test_every_scenario_ends_the_same_in_every_mode(
    mode: str, emulator: Emulator, hook: OctosparkHook, run_dag: RunDag, recorder: Recorder, pushed: list[Any]
) -> None:
    alone = {f"alone_{n}": each for n, each in enumerate((*SCENARIOS, *FOR_ONE)) if each.alone}
    together = {"all": SCENARIOS, "most": (STUCK, PUBLISHED, REJECTED, HIDDEN)}
    submitted: dict[str, list[tuple[Scenario, Submitted]]] = {
        task_id: [(each, each.submit(emulator, hook)) for each in scenarios]
        for task_id, scenarios in ({task_id: (each,) for task_id, each in alone.items()} | together).items()
    }
    with DAG(f"sensor_{mode}", schedule=None, default_args=recorder.default_args()) as dag:
        for task_id, scenario in alone.items():
            [(_, it)] = submitted[task_id]
            sensor(task_id, submitted[task_id], it.publication(), **MODES[mode], **scenario.sensor)
        for task_id, arguments in {"all": {}, "most": {**SHORT, "partial_failure": "succeed"}}.items():
            publications = [it.publication() for _, it in submitted[task_id]]
            sensor(task_id, submitted[task_id], publications, **MODES[mode], **arguments)
    before = emulator.submissions()
    run = run_dag(dag)

    states = {task_id: state for (task_id, _), state in run.states().items()}
    assert {scenario.name: states[task_id] for task_id, scenario in alone.items()} == {
        scenario.name: scenario.state for scenario in alone.values()
    }
    assert (states["all"], states["most"]) == ("failed", "success")
    for task_id, scenario in alone.items():
        [(_, it)] = submitted[task_id]
        check(scenario, it, run.xcom(task_id))
        assert run.xcom(task_id, key=LINK) == (run.xcom(task_id)["url"] or "")
        if scenario.state == "failed":
            error = recorder.error(task_id)
            assert type(error) is scenario.error, scenario.name
            assert it.post_id in str(error)
    for task_id in together:
        outcomes = run.xcom(task_id)
        assert len(outcomes) == len(submitted[task_id])
        for (scenario, it), outcome in zip(submitted[task_id], outcomes, strict=True):
            check(scenario, it, outcome)
        assert run.xcom(task_id, key=LINK) == next(each["url"] for each in outcomes if each["url"])
    assert isinstance(recorder.error("all"), OctosparkUnknownError)
    bad = sum(each.outcome_state != "published" for each in SCENARIOS)
    told = re.match(r"Of (\d+) targets: (\d+) failed, (\d+) unknown\.", str(recorder.error("all")))
    assert told is not None
    assert [int(told[1]), int(told[2]) + int(told[3])] == [len(SCENARIOS), bad]
    # One try each: an end, even an unknown one, is not retried. One XCom each, whatever the end.
    assert sorted(recorder.ends) == sorted((task_id, -1, 1, states[task_id]) for task_id in submitted)
    assert sorted(pushed) == sorted((task_id, -1, 1, "return_value") for task_id in submitted)
    # A sensor reads.
    by_people = [each for each in emulator.submissions()[len(before) :] if each["operation"] != "user-action"]
    assert by_people == []
    assert {each["method"] for each in emulator.requests()[len(before) :]} == {"GET"}


@pytest.mark.parametrize("mode", MODES)
def test_a_key_that_is_rotated_during_the_wait_is_read_anew(
    mode: str, emulator: Emulator, hook: OctosparkHook, connect: Callable[..., None], run_dag: RunDag
) -> None:
    it = PUBLISHED.submit(emulator, hook)
    emulator.clock_factor(0)
    it.begin()

    def rotate() -> None:
        # The first poll may be that of the worker before the task defers.
        while len([each for each in emulator.requests() if each["method"] == "GET"]) < 2:
            time.sleep(0.02)
        with emulator.present():  # Nobody is answered between the two.
            emulator.rotate_token()
            connect()
        emulator.advance(60)

    user_action = threading.Thread(target=rotate)
    with DAG(f"rotated_{mode}", schedule=None) as dag:
        sensor("wait", [], it.publication(), **MODES[mode])
    user_action.start()
    run = run_dag(dag)
    user_action.join()
    assert run.states() == {("wait", -1): "success"}
    check(PUBLISHED, it, run.xcom("wait"))
    # Mode reschedule reads the connection for each poll anyway.
    assert mode == "reschedule" or 401 in {each["status"] for each in emulator.requests()}


def test_by_post_and_account_it_waits_for_what_this_run_submitted(
    emulator: Emulator, run_dag: RunDag, recorder: Recorder
) -> None:
    x, linkedin = emulator.account_id("x"), emulator.account_id("linkedin")
    old, new, later = (emulator.add_post(title) for title in ("evergreen", "new", "later"))
    emulator.script("slow", social_account_id=x, seconds=0.05)
    for post_id in (old, new):
        emulator.user_action("post_now", post_id, social_account_id=x)
    time.sleep(1.1)  # The service tells its clock in whole seconds.

    def submit(context: Any) -> None:
        for post_id in (new, later):
            if not any(each["contentItemId"] == post_id for each in made):
                made.extend(emulator.user_action("post_now", post_id, social_account_id=x))  # type: ignore[arg-type]

    made: list[dict[str, Any]] = []
    short: dict[str, Any] = {"poll_interval": 0.05, "poll_backoff": 0.0, "publish_timeout": 2.0, "hidden_timeout": 0.5}
    with DAG("by_post", schedule=None, default_args=recorder.default_args()) as dag:
        # Published in some earlier week: that is not what this run waits for.
        OctosparkPostSensor(task_id="old", post_id=old, **short)
        OctosparkPostSensor(task_id="old_but_wanted", post_id=old, since="2020-01-01T00:00:00+00:00", **short)
        OctosparkPostSensor(
            task_id="old_elsewhere",
            post_id=old,
            social_account_id=linkedin,
            since=emulator.now() - timedelta(days=1),
            **short,
        )
        OctosparkPostSensor(task_id="new", post_id=new, social_account_id=x, pre_execute=submit, **short)
        OctosparkPostSensor(task_id="later", post_id=later, deferrable=True, pre_execute=submit, **short)
    run = run_dag(dag)
    assert {task_id: state for (task_id, _), state in run.states().items()} == {
        "old": "failed", "old_but_wanted": "success", "old_elsewhere": "failed", "new": "success", "later": "success",
    }  # fmt: skip
    for task_id in ("old", "old_elsewhere"):
        assert isinstance(recorder.error(task_id), OctosparkUnknownError)
        assert (run.xcom(task_id)["state"], run.xcom(task_id)["reason"]) == ("unknown", "deadline")
        assert run.xcom(task_id)["scheduled_post_id"] is None
    by_post = {each["contentItemId"]: each["id"] for each in made}
    assert run.xcom("new")["scheduled_post_id"] == by_post[new]
    assert run.xcom("later")["scheduled_post_id"] == by_post[later]
    assert run.xcom("old_but_wanted")["state"] == "published"


def test_a_failed_one_of_a_list_is_not_hidden_by_soft_fail_if_another_is_unknown(
    emulator: Emulator, hook: OctosparkHook, run_dag: RunDag, recorder: Recorder
) -> None:
    with DAG("soft_list", schedule=None, default_args=recorder.default_args()) as dag:
        for task_id, scenarios in {"proven": (PUBLISHED, REJECTED), "doubtful": (PUBLISHED, REJECTED, STUCK)}.items():
            submitted = [(each, each.submit(emulator, hook)) for each in scenarios]
            sensor(task_id, submitted, [it.publication() for _, it in submitted], soft_fail=True, **SHORT)
    run = run_dag(dag)
    assert run.states() == {("proven", -1): "skipped", ("doubtful", -1): "failed"}
    assert isinstance(recorder.error("doubtful"), OctosparkUnknownError)
    assert [each["state"] for each in run.xcom("doubtful")] == ["published", "failed", "unknown"]


def test_what_was_over_before_needs_no_look(emulator: Emulator, run_dag: RunDag, recorder: Recorder) -> None:
    over = {"team_id": emulator.team_id, "post_id": "p", "social_account_id": emulator.account_id("x")}
    with DAG("over", schedule=None, default_args=recorder.default_args()) as dag:
        for deferrable in (True, False):
            OctosparkPostSensor(
                task_id=f"published_{deferrable}", publication={**over, "state": "published"}, deferrable=deferrable
            )
            OctosparkPostSensor(
                task_id=f"failed_{deferrable}", publication=[{**over, "state": "failed"}], deferrable=deferrable
            )
            OctosparkPostSensor(
                task_id=f"dry_{deferrable}",
                publication=[{**over, "state": "pending", "reason": "dry_run"}],
                deferrable=deferrable,
            )
    run = run_dag(dag)
    ended = {task_id: state for (task_id, _), state in run.states().items()}
    assert {state for task_id, state in ended.items() if task_id.startswith("failed")} == {"failed"}
    assert {state for task_id, state in ended.items() if not task_id.startswith("failed")} == {"success"}
    assert isinstance(recorder.error("failed_True"), OctosparkPublishFailedError)
    assert emulator.requests() == []
