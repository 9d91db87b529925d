"""The operator that measures, in a real Airflow against the emulator: its rows, its waits, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_octospark import xcom_parts
from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.exceptions import OctosparkArgumentError, OctosparkNotMeasuredError
from airflow_provider_octospark.operators.octospark import OctosparkScheduleBatchOperator
from airflow_provider_octospark.operators.performance import OctosparkPostPerformanceOperator
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.polling import measurement as measuring
from airflow_provider_octospark.polling.performance_rows import PerformanceRow
from airflow_provider_octospark.submission import batch as batch_module
from airflow_provider_octospark.tasks import measure as measure_module
from tests.airflow.conftest import Recorder
from tests.airflow.stepping import TaskSteps
from tests.system.dag_runs import RunDag

HOUR = 3600.0
Publish = Callable[..., dict[str, Any]]


@pytest.fixture
def emulator(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """An emulator of two days ago. Whatever a test does, its task only reads."""
    with Emulator(start=datetime.now(UTC) - timedelta(days=2), factor=0, seed=1) as running:
        monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", running.connection)
        yield running
        by_api = [each for each in running.submissions() if each["operation"] != "user-action"]
        assert {each["operation"] for each in by_api} <= {"schedule-multi"}
        writes = [each for each in running.requests() if each["method"] != "GET"]
        # The batch of one test submits; nothing else does.
        assert len(writes) == len(by_api)


@pytest.fixture
def publish(emulator: Emulator) -> Publish:
    """A function that publishes a new post on X and returns its outcome, as an operator does."""

    def published(title: str = "A post", *, state: str = "published", **fields: Any) -> dict[str, Any]:
        post_id = emulator.add_post(title)
        [scheduled] = emulator.user_action("post_now", post_id, social_account_id=emulator.account_id("x"))
        emulator.advance(2)
        outcome = {
            "team_id": emulator.team_id,
            "post_id": post_id,
            "social_account_id": scheduled["socialAccountId"],
            "scheduled_post_id": scheduled["id"],
            "provider": "x",
            "scheduled_at": scheduled["scheduledAt"],
            "state": state,
        }
        return outcome | fields

    return published


def measure(task_id: str = "measure", **arguments: Any) -> OctosparkPostPerformanceOperator:
    quick = {"poll_interval": 0.1, "hidden_timeout": 0.3, "collect_timeout": 20.0, "deferrable": False}
    return OctosparkPostPerformanceOperator(task_id=task_id, **quick | arguments)


def test_a_row_for_each_publication(emulator: Emulator, publish: Publish, run_dag: RunDag) -> None:
    first, second = publish("first"), publish("second", state="pending")
    emulator.advance(25 * HOUR)
    with DAG("rows", schedule=None) as dag:
        measure("one", publication=first)
        measure("several", publication=[first, [second]])
        measure("snapshots", publication=first, snapshots=True)
    run = run_dag(dag)
    assert run.state == "success"
    row = run.xcom("one")
    assert list(row) == list(get_type_hints(PerformanceRow))
    assert {key: row[key] for key in first if key in row} == {key: first[key] for key in first if key in row}
    assert (row["platform"], row["collection_status"], row["hours_since_post"]) == ("x", "completed", 24.02)
    assert row["impression_count"] > row["like_count"] > 0
    assert row["engagement_rate"] > 0
    assert row["problem"] is None
    assert [each["scheduled_post_id"] for each in run.xcom("several")] == [
        first["scheduled_post_id"],
        second["scheduled_post_id"],
    ]
    assert run.xcom("several")[0] == row
    snapshots = run.xcom("snapshots")
    assert [each["hours_since_post"] for each in snapshots] == [1.0, 6.0, 24.0]
    assert [each["impression_count"] for each in snapshots][-1] == row["impression_count"]
    assert {each["engagement_rate"] for each in snapshots} == {None}


def test_a_post_by_its_id_is_collected_after_the_task_s_start(
    emulator: Emulator, publish: Publish, run_dag: RunDag
) -> None:
    outcome = publish()
    published_at = datetime.fromisoformat(emulator.scheduled_posts()[0]["updatedAt"])
    emulator.advance((datetime.now(UTC) - emulator.now()).total_seconds())
    emulator.clock_factor(1)

    def collect_soon(context: Any) -> None:
        last = (emulator.now() + timedelta(seconds=2) - timedelta(minutes=1) - published_at) / timedelta(hours=1)
        emulator.script_performance(collected_at=[24, last])

    with DAG("by_post_id", schedule=None) as dag:
        measure(post_id=outcome["post_id"], collected_after=0.5, pre_execute=collect_soon)
    begin = emulator.now()
    run = run_dag(dag)
    assert run.state == "success"
    row = run.xcom("measure")
    assert datetime.fromisoformat(row["collected_at"]) > begin
    # The post says which submission it is, and when it was due.
    assert {key: row[key] for key in outcome if key in row} == {key: outcome[key] for key in outcome if key in row}
    assert row["hours_since_post"] == 48.0


def deferred(dag_id: str, **arguments: Any) -> TaskSteps:
    with DAG(dag_id, schedule=None) as dag:
        measure(deferrable=True, **arguments)
    return TaskSteps(dag)


@pytest.mark.parametrize("is_long", [False, True])
def test_it_waits_deferred_and_asks_nothing_before_the_time(
    is_long: bool, emulator: Emulator, publish: Publish, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Due after the first try, also on a busy machine; then the post itself is read first, because it was pending."""
    if is_long:
        monkeypatch.setattr(xcom_parts, "MOST_INLINE", 10)
    outcome = publish(state="pending")
    scheduled = datetime.fromisoformat(outcome["scheduled_at"])
    after = datetime.now(UTC) - scheduled + timedelta(seconds=5)
    steps = deferred(f"deferred_{is_long}", publication=outcome, collected_after=after)
    assert steps.try_once() == "deferred"
    assert emulator.requests() == []
    emulator.advance(49 * HOUR)
    emulator.script_performance(collected_at=[48.5])
    event = steps.run_trigger()
    asked = [each["path"].rsplit("/", 1)[-1] for each in emulator.requests()]
    assert asked == [outcome["post_id"], "performance"]
    assert ("xcom_parts" in event) is is_long
    # What an old trigger tells of another publication is not taken.
    other = publish("other")
    steps.fire({"format": 1, "measurement": measurement_of(other)})
    assert steps.resume() == "deferred"
    steps.fire(event)
    assert steps.resume() == "success"
    assert steps.xcom()["scheduled_post_id"] == outcome["scheduled_post_id"]
    assert steps.xcom()["hours_since_post"] == 48.52


def measurement_of(outcome: dict[str, Any]) -> dict[str, Any]:
    terms = measuring.Terms(
        collected_after=timedelta(1), collect_timeout=timedelta(1), max_age=None, snapshots=False,
        hidden_timeout=timedelta(1), interval=1.0,
    )  # fmt: skip
    found = measuring.Measurement.start([Outcome.model_validate(outcome)], terms, started_at=datetime.now(UTC))
    return found.as_json()


def test_it_waits_for_a_collection_that_is_new_enough(emulator: Emulator, publish: Publish, soon: None) -> None:
    emulator.script_performance(collected_at=[1, 30])
    steps = deferred("newer", publication=publish(), collected_after=HOUR, max_age=2 * HOUR)
    emulator.advance(29 * HOUR)
    assert steps.try_once() == "deferred"
    emulator.advance(2 * HOUR)
    steps.fire(steps.run_trigger())
    assert steps.resume() == "success"
    assert steps.xcom()["hours_since_post"] == 30.02


@pytest.mark.parametrize("event", [None, {"format": 2}, {"format": 1}, {"format": 1, "error": "KeyError: x"}])
def test_an_event_that_cannot_be_read_is_an_error(event: Any, emulator: Emulator, publish: Publish) -> None:
    steps = deferred("event", publication=publish(), collected_after=100 * HOUR)
    assert steps.try_once() == "deferred"
    steps.fire(event)
    assert steps.resume() == "failed"
    assert "A retry measures" in str(steps.error)


def test_a_batch_is_measured_by_its_manifest(
    emulator: Emulator, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "PART", 2)
    monkeypatch.setattr(measure_module, "PART", 2)
    emulator.advance(47.9 * HOUR)
    posts = [emulator.add_post(f"Post {number}") for number in range(5)]
    account = emulator.account_id("x")
    at = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    announcements = [{"post_id": each, "social_account_ids": [account], "scheduled_at": at} for each in posts]
    emulator.script_performance(collected_at=[0])

    def go_out(context: Any) -> None:
        emulator.advance(HOUR)

    with DAG("manifest_measured", schedule=None) as dag:
        batch = OctosparkScheduleBatchOperator(task_id="batch", announcements=announcements)
        measure(publication=batch.output, collected_after=1.0, pre_execute=go_out)
    run = run_dag(dag)
    assert run.state == "success"
    result = run.xcom("measure")
    assert (result["totalCount"], result["measuredCount"], result["rowCount"]) == (5, 5, 5)
    assert (result["taskId"], result["rowKeys"]) == ("measure", ["rows_0", "rows_1", "rows_2"])
    rows = [row for key in result["rowKeys"] for row in run.xcom("measure", key=key)]
    assert [row["post_id"] for row in rows] == posts
    assert len(emulator.submissions()) == 5


def test_what_is_not_published_is_never_measured(
    emulator: Emulator, publish: Publish, run_dag: RunDag, recorder: Recorder
) -> None:
    good = publish()
    emulator.advance(25 * HOUR)
    failed = good | {"state": "failed", "error_message": "The text is too long."}
    unknown = good | {"state": "unknown", "reason": "in_doubt"}
    dry = good | {"state": "pending", "reason": "dry_run"}
    with DAG("unpublished", schedule=None, default_args={**recorder.default_args(), "retries": 2}) as dag:
        measure("failed", publication=failed)
        measure("unknown", publication=unknown, if_not_published="skip")
        measure("skipped", publication=[failed, dry], if_not_published="skip")
    run = run_dag(dag)
    # Nothing is asked about them, although the service would have numbers.
    assert emulator.requests() == []
    assert {name: state for (name, _), state in run.states().items()} == {
        "failed": "failed", "unknown": "failed", "skipped": "skipped",
    }  # fmt: skip
    for name, words in {"failed": "The text is too long", "unknown": "in_doubt"}.items():
        error = recorder.error(name)
        assert isinstance(error, OctosparkNotMeasuredError)
        assert words in str(error)
        assert "Only what is published is measured" in str(error)
        assert run.xcom(name) is None


def test_the_rows_of_the_others_are_kept(
    emulator: Emulator, publish: Publish, run_dag: RunDag, recorder: Recorder
) -> None:
    good = publish()
    emulator.advance(25 * HOUR)
    both = [good | {"state": "failed"}, good]
    with DAG("mixed", schedule=None, default_args=recorder.default_args()) as dag:
        measure("fails", publication=both)
        measure("skips", publication=both, if_not_published="skip")
    run = run_dag(dag)
    assert {name: state for (name, _), state in run.states().items()} == {"fails": "failed", "skips": "success"}
    assert str(recorder.error("fails")).startswith("1 of 2 publications are not measured. ")
    for name in ("fails", "skips"):
        assert [row["scheduled_post_id"] for row in run.xcom(name)] == [good["scheduled_post_id"]]


def revoke(emulator: Emulator) -> None:
    emulator.rotate_token()


Breaks = Callable[[Emulator], None]
FAULTS: dict[str, tuple[Breaks, str]] = {
    "hidden": (
        lambda emulator: emulator.script_performance(scheduled_post_id=emulator.account_id("tiktok")),
        r"measures [0-9a-f-]{36}, and not .* The numbers of another submission are not returned\.",
    ),
    "404": (
        lambda emulator: emulator.fault("get-performance", "status", status=404, times=100),
        "its performance cannot be read: .*404",
    ),
    "revoked": (revoke, "its performance cannot be read: .*401"),
    "never collected": (
        lambda emulator: emulator.script_performance("collecting"),
        "not measured by .*: collecting, collected last at never; wanted from ",
    ),
    "down": (
        lambda emulator: emulator.fault("get-performance", "status", status=500, times=1000),
        "not measured by .*: .*500",
    ),
}


@pytest.mark.parametrize("is_deferred", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_words(
    fault: str, is_deferred: bool, emulator: Emulator, publish: Publish, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "NOT_FOUND_GRACE", timedelta(0))
    outcome = publish()
    emulator.advance(47 * HOUR)
    break_it, words = FAULTS[fault]
    age = datetime.now(UTC) - datetime.fromisoformat(outcome["scheduled_at"])
    after = age + timedelta(seconds=0.5) if is_deferred else timedelta(hours=24)
    break_it(emulator)
    with DAG(f"fault_{fault.replace(' ', '_')}_{is_deferred}", schedule=None, default_args={"retries": 2}) as dag:
        measure(publication=outcome, collected_after=after, collect_timeout=1.0, deferrable=is_deferred)
    steps = TaskSteps(dag)
    state = steps.try_once()
    while state == "deferred":
        steps.fire(steps.run_trigger())
        state = steps.resume()
    assert state == "failed"
    assert isinstance(steps.error, OctosparkNotMeasuredError)
    assert outcome["scheduled_post_id"] in str(steps.error)
    assert re.search(words, str(steps.error)), str(steps.error)
    assert steps.xcom() is None


def test_counts_that_are_none_are_null_with_a_reason(emulator: Emulator, publish: Publish, run_dag: RunDag) -> None:
    counts = {"likeCount": None, "commentCount": -2, "shareCount": 2.5, "reachCount": 7.0, "impressionCount": 10**20}
    emulator.script_performance(counts=counts, lacks=["saveCount"])
    outcome = publish()
    emulator.advance(25 * HOUR)
    with DAG("odd_counts", schedule=None) as dag:
        measure(publication=outcome)
        measure("snapshots", publication=outcome, snapshots=True)
    run = run_dag(dag)
    row = run.xcom("measure")
    assert [row[each] for each in ("like_count", "comment_count", "share_count", "save_count")] == [None] * 4
    assert (row["reach_count"], row["impression_count"]) == (7, None)
    assert isinstance(row["reach_count"], int)
    assert row["problem"] == (
        "likeCount is no number; commentCount is -2, below zero; shareCount is 2.5, no whole number; x lacks saveCount; "
        "impressionCount is 100000000000000000000, more than 64 bits hold"
    )
    assert {each["problem"] for each in run.xcom("snapshots")} == {row["problem"]}


def test_a_failed_collection_is_a_row_that_says_so(emulator: Emulator, publish: Publish, run_dag: RunDag) -> None:
    emulator.script_performance("failed")
    outcome = publish()
    emulator.advance(25 * HOUR)
    with DAG("failed_collection", schedule=None) as dag:
        measure(publication=outcome)
        measure("snapshots", publication=outcome, snapshots=True)
    run = run_dag(dag)
    assert run.xcom("measure")["collection_status"] == "failed"
    assert {each["problem"] for each in run.xcom("snapshots")} == {"The platform did not answer"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "Neither publication nor post_id"),
        ({"post_id": "p", "collected_after": "1 day"}, "collected_after is '1 day'"),
        ({"post_id": "p", "collect_timeout": 0}, "collect_timeout is"),
        ({"post_id": "p", "max_age": -1}, "max_age is"),
        ({"post_id": "p", "snapshots": "yes"}, "snapshots is 'yes'"),
        ({"post_id": "p", "if_not_published": "ignore"}, "if_not_published is 'ignore'"),
        ({"post_id": "a/b"}, "post_id"),
        ({"post_id": "p", "poll_interval": 0}, "poll_interval is 0"),
        ({"post_id": "p", "deferrable": None}, "deferrable is None"),
    ],
)
def test_what_cannot_be_right_is_refused_at_parsing(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(OctosparkArgumentError, match=words):
        OctosparkPostPerformanceOperator(task_id="measure", **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"publication": []}, "publication is an empty list"),
        ({"publication": "{{ none }}"}, "Neither publication nor post_id"),
        ({"publication": {"state": "published"}}, "which is no outcome"),
        ({"publication": [1], "post_id": "p"}, "Both publication and post_id"),
        (
            {"publication": {"team_id": "t", "post_id": "p", "social_account_id": None, "state": "published"}},
            "without a scheduled_post_id",
        ),
    ],
)
def test_bad_input_is_named_before_anything_is_asked(
    arguments: dict[str, Any], words: str, emulator: Emulator, run_dag: RunDag, recorder: Recorder
) -> None:
    with DAG("bad_measure", schedule=None, default_args=recorder.default_args()) as dag:
        measure(**arguments)
    assert run_dag(dag).state == "failed"
    assert isinstance(recorder.error("measure"), OctosparkArgumentError)
    assert words in str(recorder.error("measure"))
    assert emulator.requests() == []
