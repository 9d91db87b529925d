"""Watcher, notifier and retry policy in a whole Airflow: its triggerer, its DAG processor, its scheduler."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_octospark.emulator.service.seed_data import TEAM_ID, TOKEN
from airflow_provider_octospark.parameters.times import parse_instant
from tests.docs.pages import ROOT
from tests.system.emulated import EmulatorProcess
from tests.system.rest import Task
from tests.system.stack import AirflowStack

pytestmark = pytest.mark.slow

PATIENCE = 480.0

WATCHED = f"""
from airflow.sdk import DAG, Asset, AssetWatcher, get_current_context, task

from airflow_provider_octospark.triggers.published import OctosparkPublishedTrigger

trigger = OctosparkPublishedTrigger("{TEAM_ID}", interval=10)
published = Asset("published", watchers=[AssetWatcher(name="octospark", trigger=trigger)])
# An equal trigger, which Airflow keeps once for both assets.
again = OctosparkPublishedTrigger("{TEAM_ID}", interval=10)
also_published = Asset("also_published", watchers=[AssetWatcher(name="octospark", trigger=again)])

with DAG("watched", schedule=[published]):

    @task
    def reported():
        events = get_current_context()["triggering_asset_events"][published]
        return [outcome for event in events for outcome in event.extra["payload"]]

    reported()

with DAG("also_watched", schedule=[also_published]):

    @task
    def reported_too():
        pass

    reported_too()
"""

NOTICED = """
from airflow.sdk import DAG, task

from airflow_provider_octospark.notifications.octospark import OctosparkPostNowNotifier


def notice(name, **more):
    return OctosparkPostNowNotifier(
        post_id="{{ params.%s }}" % name, social_account_id="{{ params.social_account_id }}", **more
    )


with DAG(
    "noticed",
    schedule=None,
    params={"of_task": "", "of_dag": "", "social_account_id": ""},
    on_success_callback=[notice("of_dag", octospark_conn_id="not_there"), notice("of_dag"), notice("of_dag")],
):

    @task(on_success_callback=[notice("of_task", octospark_conn_id="not_there"), notice("of_task"), notice("of_task")])
    def work():
        pass

    work()
"""

POLITE = """
from datetime import timedelta

from airflow.sdk import DAG, task

from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.retry_policy import OctosparkRetryPolicy

with DAG("polite", schedule=None, params={"post_id": ""}):

    @task(retries=3, retry_delay=timedelta(hours=1), retry_policy=OctosparkRetryPolicy())
    def read(post_id):
        with OctosparkHook() as hook:
            return hook.get_post(hook.team(None), post_id).title

    read("{{ params.post_id }}")
"""

EXAMPLES = ("octospark_release_notice", "octospark_after_publication")


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def stack(emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    dags = tmp_path_factory.mktemp("dags")
    for name, text in {"watched": WATCHED, "noticed": NOTICED, "polite": POLITE}.items():
        (dags / f"{name}.py").write_text(text)
    for example in EXAMPLES:
        shutil.copy(ROOT / "example_dags" / f"{example}.py", dags)
    env = {
        "AIRFLOW_CONN_OCTOSPARK_DEFAULT": emulator.connection,
        # So long a triggerer that was killed is believed to be alive.
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    }
    with AirflowStack(dags, env=env) as stack:
        stack.wait_for_dags(["watched", "also_watched", "noticed", "polite", *EXAMPLES])
        # Both watchers have begun.
        wait_until(lambda: lists(emulator) >= 4)
        yield stack


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.3)


def lists(emulator: EmulatorProcess) -> int:
    return sum(each["path"].endswith("/posts") and each["status"] == 200 for each in emulator.control.requests())


def more_looks(emulator: EmulatorProcess, number: int = 5) -> None:
    """Wait until both watchers have looked again: one every 10 seconds, the other every 15."""
    target = lists(emulator) + number
    wait_until(lambda: lists(emulator) >= target)


def x(emulator: EmulatorProcess) -> str:
    return next(each["id"] for each in emulator.social_accounts if each["provider"] == "x")


def submissions(emulator: EmulatorProcess, post_id: str) -> int:
    return sum(each["post_id"] == post_id for each in emulator.control.submissions())


def publish(emulator: EmulatorProcess, title: str) -> str:
    """A user publishes something; returns the id of the submission, once it is out."""
    post_id = emulator.control.add_post(title)
    emulator.control.user_action("post_now", post_id, social_account_id=x(emulator))

    def out() -> list[str]:
        return [each["scheduled_post_id"] for each in emulator.control.publications() if each["post_id"] == post_id]

    wait_until(lambda: bool(out()))
    [submission] = out()
    return submission


def runs(stack: AirflowStack, dag_id: str) -> list[str]:
    response = stack.rest.call("GET", f"/dags/{dag_id}/dagRuns", params={"limit": 100})
    return [run["dag_run_id"] for run in response["dag_runs"] if run["state"] == "success"]


def reported(stack: AirflowStack, dag_id: str, task_id: str) -> Counter[str]:
    """How often each publication was reported to the runs of a DAG, by submission."""
    counted: Counter[str] = Counter()
    for run_id in runs(stack, dag_id):
        for outcome in stack.rest.xcom(Task(dag_id, run_id, task_id)):
            assert outcome["state"] == "published"
            counted[outcome["scheduled_post_id"]] += 1
    return counted


def asset_events(stack: AirflowStack) -> list[dict[str, Any]]:
    """The events of the one asset, oldest first."""
    response = stack.rest.call("GET", "/assets/events", params={"limit": 100, "order_by": "timestamp"})
    events: list[dict[str, Any]] = response["asset_events"]
    return [event for event in events if event["name"] == "published"]


def submissions_of(event: dict[str, Any]) -> list[str]:
    """The submissions that an event tells of."""
    return [outcome["scheduled_post_id"] for outcome in event["extra"]["payload"]]


def lines(stack: AirflowStack, words: str) -> list[str]:
    """The lines of all logs that hold these words."""
    return [
        line
        for path in (stack.home / "logs").rglob("*")
        if path.is_file()
        for line in path.read_text(errors="replace").splitlines()
        if words in line
    ]


# The watcher


def test_a_publication_starts_its_dag_within_two_looks(stack: AirflowStack, emulator: EmulatorProcess) -> None:
    out = publish(emulator, "One")
    wait_until(lambda: reported(stack, "watched", "reported")[out] == 1)
    [event] = [each for each in asset_events(stack) if out in submissions_of(each)]
    [went_out] = [each["at"] for each in emulator.control.publications() if each["scheduled_post_id"] == out]
    begin, end = parse_instant(went_out), parse_instant(event["timestamp"])
    assert begin is not None
    assert end is not None
    polls = [
        at
        for each in emulator.control.requests()
        if each["path"].endswith("/posts") and (at := parse_instant(each["at"])) is not None and begin <= at <= end
    ]
    # Two watchers look: this one every 10 seconds, the example's every 15.
    assert len(polls) <= 2 + 1
    wait_until(lambda: bool(runs(stack, "also_watched")))


def test_equal_watchers_share_a_look(stack: AirflowStack, emulator: EmulatorProcess) -> None:
    """Two assets, one trigger: else there would be twice as many lists as there are."""
    with closing(sqlite3.connect(f"file:{stack.home / 'airflow.db'}?mode=ro", uri=True)) as database:
        found = database.execute("select count(*) from trigger where classpath like '%OctosparkPublishedTrigger'")
        assert found.fetchone() == (2,)


def test_what_goes_out_at_once_starts_a_run_at_once(stack: AirflowStack, emulator: EmulatorProcess) -> None:
    """Of two events in a row, Airflow would keep the second for a later run."""
    posts = [emulator.control.add_post(f"Burst {number}") for number in range(4)]
    for post_id in posts:
        emulator.control.user_action("post_now", post_id, social_account_id=x(emulator))

    def out() -> set[str]:
        return {each["scheduled_post_id"] for each in emulator.control.publications() if each["post_id"] in posts}

    wait_until(lambda: len(out()) == len(posts))
    wait_until(lambda: reported(stack, "watched", "reported").keys() >= out())


def test_the_example_follows_up(stack: AirflowStack, emulator: EmulatorProcess) -> None:
    out = publish(emulator, "Two")
    wait_until(lambda: reported(stack, "octospark_after_publication", "follow_up")[out] == 1)


# The notifier


def test_callbacks_that_fire_twice_publish_once(stack: AirflowStack, emulator: EmulatorProcess) -> None:
    of_task, of_dag = emulator.posts[3]["id"], emulator.posts[4]["id"]
    conf = {"of_task": of_task, "of_dag": of_dag, "social_account_id": x(emulator)}
    run_id = stack.rest.trigger("noticed", conf)
    assert stack.rest.wait_for_run("noticed", run_id, PATIENCE) == "success"
    for post_id in (of_task, of_dag):
        wait_until(lambda post_id=post_id: submissions(emulator, post_id) == 1)  # type: ignore[misc]
    # One line of the task's callbacks, and one of the DAG's, which run in the DAG processor.
    wait_until(lambda: len(lines(stack, "publishing nothing more")) >= 2)
    assert len(lines(stack, "There is no connection 'not_there'")) >= 2
    log = stack.rest.log(Task("noticed", run_id, "work"), 1)
    assert f"Octospark: publishing post {of_task}" in log
    assert "Octospark: accepted: " in log
    assert (submissions(emulator, of_task), submissions(emulator, of_dag)) == (1, 1)
    assert stack.rest.run_state("noticed", run_id) == "success"


def test_the_example_announces_its_release(stack: AirflowStack, emulator: EmulatorProcess) -> None:
    post_id = emulator.posts[5]["id"]
    conf = {"version": "2.4", "post_id": post_id, "social_account_id": x(emulator)}
    run_id = stack.rest.trigger("octospark_release_notice", conf)
    assert stack.rest.wait_for_run("octospark_release_notice", run_id, PATIENCE) == "success"
    upload = Task("octospark_release_notice", run_id, "upload")
    assert stack.rest.xcom(upload) == "https://downloads.example.com/northwind-2.4.tar.gz"
    wait_until(lambda: submissions(emulator, post_id) == 1)
    assert post_id in [each["post_id"] for each in emulator.control.submissions() if each["operation"] == "post-now"]


# The retry policy


def test_a_retry_waits_for_as_long_as_was_asked(stack: AirflowStack, emulator: EmulatorProcess) -> None:
    """More than the hook would wait by itself, and much less than the task's own hour."""
    post = emulator.posts[6]
    headers = {"Retry-After": "65"}
    emulator.control.fault(
        {"operation": "get-post", "fault": "status", "status": 429, "post_id": post["id"], "headers": headers}
    )
    run_id = stack.rest.trigger("polite", {"post_id": post["id"]})
    read = Task("polite", run_id, "read")
    stack.rest.wait_for_task(read, PATIENCE, {"up_for_retry"})
    with closing(sqlite3.connect(f"file:{stack.home / 'airflow.db'}?mode=ro", uri=True)) as database:
        query = "select retry_delay_override, retry_reason from task_instance where dag_id = 'polite'"
        [(delay, reason)] = database.execute(query).fetchall()
    assert 65.0 <= delay <= 65.0 * 1.1
    assert reason == "Octospark asked to wait 65 s"
    assert stack.rest.wait_for_run("polite", run_id, PATIENCE) == "success"
    assert stack.rest.task(read).try_number == 2
    assert stack.rest.xcom(read) == post["title"]
    asked = [each["at"] for each in emulator.control.requests() if each["path"].endswith(f"/posts/{post['id']}")]
    first, second = (parse_instant(at) for at in asked)
    assert first is not None
    assert second is not None
    assert (second - first).total_seconds() >= 65.0


# Last, since what they count is what all of the others have published


def test_a_restart_of_the_triggerer_neither_repeats_nor_misses(stack: AirflowStack, emulator: EmulatorProcess) -> None:
    before = publish(emulator, "Before the restart")
    wait_until(lambda: reported(stack, "watched", "reported")[before] == 1)
    more_looks(emulator)
    stack.kill_component("triggerer")
    meanwhile = publish(emulator, "While it is down")
    stack.start_component("triggerer")
    after = publish(emulator, "After the restart")
    out = {each["scheduled_post_id"] for each in emulator.control.publications()}
    assert {before, meanwhile, after} <= out
    for dag_id, task_id in (("watched", "reported"), ("octospark_after_publication", "follow_up")):
        wait_until(lambda dag_id=dag_id, task_id=task_id: reported(stack, dag_id, task_id).keys() >= out)  # type: ignore[misc]
    more_looks(emulator)
    in_events = Counter(each for event in asset_events(stack) for each in submissions_of(event))
    assert in_events == Counter(out), "each publication of this module once, and nothing else"
    assert reported(stack, "watched", "reported") == Counter(out)


def test_the_key_is_in_no_log_and_no_cursor(stack: AirflowStack) -> None:
    assert lines(stack, TOKEN) == []
    response = stack.rest.call("GET", "/assets", params={"name_pattern": "published"})
    assert TOKEN not in json.dumps(response)
    assert quote(TOKEN) not in Path(stack.home / "airflow.db").read_bytes().decode("latin-1")
