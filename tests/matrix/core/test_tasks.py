"""Operators and sensor in whole DAGs: submitting, waiting in every mode, tries, links, on whatever Airflow this is."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import DAG, AirflowException, Asset, BaseOperator

from airflow_provider_octospark.airflow_compat import state_of, task_state_store
from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator, OctosparkScheduleMultiOperator
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.sensors.octospark import OctosparkPostSensor
from tests.system.dag_runs import FinishedRun, RunDag

MakeTasks = Callable[[], None]


@pytest.fixture
def emulator(octospark_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The emulator, behind the default connection, publishing within the blink of an eye."""
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", octospark_emulator.connection)
    return octospark_emulator


@pytest.fixture
def run(run_dag: RunDag, request: pytest.FixtureRequest) -> Callable[[MakeTasks], FinishedRun]:
    """A function that runs the tasks that a function makes."""

    def run(make: MakeTasks) -> FinishedRun:
        name = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
        with DAG(name, schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
            make()
        return run_dag(dag)

    return run


Run = Callable[[MakeTasks], FinishedRun]


def target(emulator: Emulator, provider: Any = "x", post: int = 0) -> dict[str, Any]:
    return {"post_id": emulator.posts[post]["id"], "social_account_id": emulator.account_id(provider)}


@pytest.mark.parametrize("deferrable", [False, True])
def test_post_now_waits_until_it_is_out(emulator: Emulator, run: Run, deferrable: bool) -> None:
    def tasks() -> None:
        OctosparkPostNowOperator(task_id="publish", **target(emulator), wait_for_completion=True, deferrable=deferrable)

    finished = run(tasks)
    outcome = finished.xcom("publish")
    [publication] = emulator.publications()
    assert finished.state == "success"
    assert outcome["state"] == "published"
    assert outcome["platform_post_id"] == publication["platform_post_id"]
    assert outcome["url"] == f"https://x.com/i/web/status/{publication['platform_post_id']}"
    assert len(emulator.submissions()) == 1


class _LetsItsTimeCome(BaseOperator):
    """Brings forward what is scheduled, so that no test depends on how fast tasks start."""

    def __init__(self, *, come: Callable[[], object], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # A function, not the emulator: Airflow copies what an operator is given, and an emulator holds locks.
        self._come = come

    def execute(self, context: Any) -> None:
        self._come()


@pytest.fixture
def parsed_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse the date that Airflow 3.0 gives to a sensor in mode ``reschedule``.

    A worker parses it when it receives it. In `dag.test()` nothing is received, and Airflow's sensor gets a text.
    """
    if airflow_version.startswith("3.0."):
        operations: Any = importlib.import_module("airflow.sdk.api.client").TaskInstanceOperations
        get = operations.get_reschedule_start_date
        monkeypatch.setattr(
            operations,
            "get_reschedule_start_date",
            lambda *args, **kwargs: (found := get(*args, **kwargs)).model_validate(found.model_dump(warnings=False)),
        )


@pytest.mark.parametrize("mode", ["poke", "reschedule", "deferrable"])
@pytest.mark.usefixtures("parsed_dates")
def test_a_sensor_pushes_what_was_read_last_in_each_mode(emulator: Emulator, run: Run, mode: str) -> None:
    waiting: dict[str, Any] = {"deferrable": True} if mode == "deferrable" else {"mode": mode}

    def tasks() -> None:
        publish = OctosparkPostNowOperator(task_id="publish", **target(emulator), push_response=True)
        options = {"publication": publish.output, "poll_interval": 2, **waiting}
        OctosparkPostSensor(task_id="wait", push_response=True, **options)
        OctosparkPostSensor(task_id="wait_quietly", **options)

    finished = run(tasks)
    [shown] = emulator.scheduled_posts()
    assert finished.state == "success"
    assert finished.xcom("publish", key="response")["id"] == shown["id"]
    assert finished.xcom("wait", key="response") == shown
    assert finished.xcom("wait")["workflow_id"] == shown["workflowId"]
    assert finished.xcom("wait_quietly", key="response") is None


@pytest.mark.parametrize("mode", ["poke", "reschedule", "deferrable"])
@pytest.mark.usefixtures("parsed_dates")
def test_schedule_multi_and_a_sensor_in_each_mode(emulator: Emulator, run: Run, mode: str) -> None:
    emulator.script("slow", post_id=emulator.posts[0]["id"], seconds=8)
    waiting: dict[str, Any] = {"deferrable": True} if mode == "deferrable" else {"mode": mode}

    def come() -> None:
        emulator.user_action("reschedule", emulator.posts[0]["id"], scheduled_at=emulator.now())

    def tasks() -> None:
        schedule = OctosparkScheduleMultiOperator(
            task_id="schedule",
            post_id=emulator.posts[0]["id"],
            social_account_ids=[emulator.account_id("x")],
            scheduled_at=datetime.now(UTC) + timedelta(hours=1),
        )
        wait = OctosparkPostSensor(task_id="wait", publication=schedule.output, poll_interval=2, **waiting)
        schedule >> _LetsItsTimeCome(task_id="come", come=come) >> wait

    finished = run(tasks)
    assert finished.state == "success"
    assert finished.xcom("schedule", key="outcome") == {
        "totalCount": 1,
        "successCount": 1,
        "failureCount": 0,
        "unknownCount": 0,
    }
    assert [each["state"] for each in finished.xcom("wait")] == ["published"]
    assert len(emulator.publications()) == 1


def test_an_answer_that_was_lost_is_found_again_within_the_same_try(emulator: Emulator, run: Run) -> None:
    emulator.fault("post-now", "reset", when="after")
    finished = run(lambda: _publish(emulator))
    assert finished.state == "success"
    assert finished.xcom("publish")["scheduled_post_id"] == emulator.submissions()[0]["scheduled_post_id"]
    assert len(emulator.submissions()) == 1


class _LosesItsFirstTry(OctosparkPostNowOperator):
    """Fails after it has submitted, as a worker does that is killed before it can say so."""

    def result(self, outcomes: Any) -> Any:
        if self.stumbles():
            raise AirflowException("the first try ends here")
        return super().result(outcomes)

    tries = 0

    def stumbles(self) -> bool:
        _LosesItsFirstTry.tries += 1
        return _LosesItsFirstTry.tries == 1


def test_a_second_try_does_not_submit_again(emulator: Emulator, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_LosesItsFirstTry, "tries", 0)

    def tasks() -> None:
        _LosesItsFirstTry(
            task_id="publish", **target(emulator), retries=1, retry_delay=timedelta(seconds=1), do_xcom_push=True
        )

    finished = run(tasks)
    assert _LosesItsFirstTry.tries == 2
    assert finished.state == "success"
    [submission] = emulator.submissions()
    assert finished.xcom("publish")["scheduled_post_id"] == submission["scheduled_post_id"]


def test_what_is_unknown_is_not_retried(emulator: Emulator, run: Run) -> None:
    emulator.script("stuck", post_id=emulator.posts[0]["id"])

    def tasks() -> None:
        OctosparkPostNowOperator(
            task_id="publish",
            **target(emulator),
            retries=3,
            wait_for_completion=True,
            publish_timeout=2,
            poll_interval=0.5,
        )

    finished = run(tasks)
    assert finished.state == "failed"
    outcome = finished.xcom("publish")
    assert (outcome["state"], outcome["reason"]) == ("unknown", "deadline")
    assert len(emulator.submissions()) == 1


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(("scenario", "state"), [("fail", "skipped"), ("stuck", "failed")])
def test_a_failure_may_be_skipped_but_not_what_is_unknown(
    emulator: Emulator, run: Run, deferrable: bool, scenario: Any, state: str
) -> None:
    emulator.script(scenario, post_id=emulator.posts[0]["id"])

    def tasks() -> None:
        OctosparkPostNowOperator(task_id="publish", **target(emulator)) >> OctosparkPostSensor(
            task_id="wait",
            **target(emulator),
            soft_fail=True,
            deferrable=deferrable,
            publish_timeout=8,
            poll_interval=0.5,
        )

    finished = run(tasks)
    assert finished.states()["wait", -1] == state


def test_a_mapped_operator_and_one_sensor_for_all(emulator: Emulator, run: Run) -> None:
    targets = [target(emulator, "x", 0), target(emulator, "linkedin", 1)]

    def tasks() -> None:
        publish = OctosparkPostNowOperator.partial(task_id="publish").expand_kwargs(targets)
        OctosparkPostSensor(task_id="wait", publication=publish.output, deferrable=True)

    finished = run(tasks)
    assert finished.state == "success"
    assert [each["state"] for each in finished.xcom("wait")] == ["published", "published"]
    assert sorted(each["post_id"] for each in emulator.publications()) == sorted(each["post_id"] for each in targets)


def test_a_refused_argument_names_itself_and_sends_nothing(emulator: Emulator, run: Run) -> None:
    def tasks() -> None:
        OctosparkPostNowOperator(
            task_id="publish", post_id=emulator.posts[0]["id"], social_account_id="{{ 'my account' }}"
        )

    finished = run(tasks)
    assert finished.state == "failed"
    assert emulator.submissions() == []
    assert emulator.requests() == []


def test_the_outcome_is_the_same_flat_object_everywhere(emulator: Emulator, run: Run) -> None:
    finished = run(lambda: _publish(emulator))
    outcome = finished.xcom("publish")
    assert set(outcome) == set(Outcome.model_fields)
    assert outcome.pop("cancellable") is False
    [shown] = emulator.scheduled_posts()
    assert (outcome["created_at"], outcome["updated_at"]) == (shown["createdAt"], shown["updatedAt"])
    assert (outcome["workflow_id"], outcome["timezone"]) == (shown["workflowId"], shown["timezone"])
    assert outcome["workflow_id"]
    assert all(value is None or isinstance(value, str) for value in outcome.values())


def test_the_event_of_an_outlet_tells_what_was_published(emulator: Emulator, run: Run) -> None:
    seen: list[dict[str, Any]] = []

    class Tells(OctosparkPostNowOperator):
        def execute(self, context: Any) -> Any:
            # Given only now: Airflow refuses assets that no scheduler has seen, and `dag.test()` has none.
            self.outlets = [Asset("octospark-x")]
            try:
                return super().execute(context)
            finally:
                seen.append(context["outlet_events"][self.outlets.pop()].extra)

    def tasks() -> None:
        Tells(task_id="publish", **target(emulator), wait_for_completion=True)

    assert run(tasks).state == "success"
    [extra] = seen
    assert (extra["event"], extra["totalCount"]) == ("published", 1)
    assert extra["outcomes"][0]["platform_post_id"] == emulator.publications()[0]["platform_post_id"]


@pytest.mark.parametrize("mapped", [False, True])
def test_the_state_of_a_task_can_be_asked_for(run: Run, mapped: bool) -> None:
    seen: list[str | None] = []

    class Look(BaseOperator):
        def __init__(self, *, number: int = 0, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.number = number

        def execute(self, context: Any) -> None:
            seen.append(asyncio.run(state_of(context["ti"])))

    def tasks() -> None:
        if mapped:
            Look.partial(task_id="look").expand(number=[1, 2])
        else:
            Look(task_id="look")

    assert run(tasks).state == "success"
    # `dag.test()` of Airflow 2 does not call what it runs running.
    assert len(seen) == (2 if mapped else 1)
    assert set(seen) <= {"running", "scheduled"}


def test_the_store_is_there_from_3_3_on_only(run: Run) -> None:
    from airflow import __version__

    seen: list[bool] = []

    class Look(BaseOperator):
        def execute(self, context: Any) -> None:
            seen.append(task_state_store(context) is not None)

    def tasks() -> None:
        Look(task_id="look")

    run(tasks)
    version = tuple(int(part) for part in __version__.split(".")[:2])
    assert seen == [version >= (3, 3)]


def _publish(emulator: Emulator) -> None:
    OctosparkPostNowOperator(
        task_id="publish", **target(emulator), wait_for_completion=True, deferrable=True, poll_interval=0.5
    )


def test_another_run_of_the_dag_is_no_stranger(emulator: Emulator, run_dag: RunDag) -> None:
    """The later runs are due before the submissions that they find."""

    def submit(hours_ago: int) -> str:
        with DAG("other_runs", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
            OctosparkPostNowOperator(task_id="publish", **target(emulator), repeats="other_runs")
        return run_dag(dag, logical_date=datetime.now(UTC) - timedelta(hours=hours_ago)).state

    assert submit(1) == "success"
    assert submit(2) == "success"
    assert len(emulator.submissions()) == 2
    emulator.user_action("post_now", **target(emulator))
    assert submit(3) == "failed"
    assert len(emulator.submissions()) == 3
