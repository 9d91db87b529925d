"""A task that is told to stop while it runs sends nothing more, and its next try sends what is left.

Each runs on Airflow's own code and database, and is stopped as a worker stops it: by SIGTERM, upon which Airflow calls
`on_kill` and goes on.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.exceptions import OctosparkReadOnlyError, OctosparkStoppedError
from airflow_provider_octospark.hooks import octospark as hook_module
from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator, OctosparkScheduleBatchOperator
from tests.airflow.stepping import TaskSteps

pytestmark = pytest.mark.slow

RETRIES: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(0)}
PATIENCE = 60.0


@pytest.fixture
def stop_when() -> Iterator[Callable[[Callable[[], bool]], None]]:
    """A function that sends SIGTERM to the task once a condition holds. Airflow sets its own handler before it runs one."""
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    watchers: list[threading.Thread] = []

    def watch(holds: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not holds() and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    def begin(holds: Callable[[], bool]) -> None:
        watchers.append(threading.Thread(target=watch, args=(holds,)))
        watchers[-1].start()

    yield begin
    for watcher in watchers:
        watcher.join()
    signal.signal(signal.SIGTERM, before)


def submissions(emulator: Emulator) -> Counter[str]:
    return Counter(each["post_id"] for each in emulator.submissions())


def account(emulator: Emulator) -> str:
    return next(each["id"] for each in emulator.social_accounts if each["status"] == "connected")


def asked_to_submit(emulator: Emulator) -> int:
    return sum(each["method"] == "POST" and "post-now" in each["path"] for each in emulator.requests())


def test_a_post_does_not_go_out_after_a_back_off_in_which_the_task_was_stopped(
    emulator: Emulator, stop_when: Callable[[Callable[[], bool]], None]
) -> None:
    post_id = emulator.add_post("Later")
    emulator.fault("post-now", "status", status=429, headers={"Retry-After": "20"})
    with DAG("stopped_in_a_back_off") as dag:
        OctosparkPostNowOperator(task_id="one", post_id=post_id, social_account_id=account(emulator), **RETRIES)
    steps = TaskSteps(dag)
    stop_when(lambda: asked_to_submit(emulator) == 1)
    assert steps.try_once() == "up_for_retry"
    assert isinstance(steps.error, OctosparkStoppedError)
    assert (asked_to_submit(emulator), submissions(emulator)) == (1, Counter())
    assert steps.try_once() == "success"
    assert submissions(emulator) == Counter([post_id])


def test_a_batch_that_is_stopped_sends_nothing_more_and_its_retry_the_rest(
    emulator: Emulator, connect: Callable[..., None], stop_when: Callable[[Callable[[], bool]], None]
) -> None:
    connect(max_in_flight=1)
    posts = [emulator.add_post(f"Batch {number}") for number in range(12)]
    emulator.fault("schedule-multi", "delay", seconds=0.3, times=1000)
    at = (datetime.now(UTC) + timedelta(days=7)).isoformat()
    announcements = [{"post_id": post, "social_account_ids": [account(emulator)], "scheduled_at": at} for post in posts]
    with DAG("stopped_batch") as dag:
        OctosparkScheduleBatchOperator(task_id="batch", announcements=announcements, **RETRIES)
    steps = TaskSteps(dag)
    seen: list[int] = []

    def three_are_out() -> bool:
        out = len(emulator.submissions())
        if out >= 3:
            seen.append(out)
        return out >= 3

    stop_when(three_are_out)
    assert steps.try_once() == "up_for_retry"
    # One request was under way at most.
    assert seen[0] <= len(emulator.submissions()) <= seen[0] + 1 < len(posts)
    assert steps.try_once() == "success"
    assert submissions(emulator) == Counter(posts)


def test_nothing_is_submitted_through_a_read_only_connection(emulator: Emulator, connect: Callable[..., None]) -> None:
    connect(read_only=True)
    post_id = emulator.add_post("Quiet")
    with DAG("read_only") as dag:
        OctosparkPostNowOperator(task_id="one", post_id=post_id, social_account_id=account(emulator), **RETRIES)
    steps = TaskSteps(dag)
    assert steps.try_once() == "up_for_retry"
    assert isinstance(steps.error, OctosparkReadOnlyError)
    assert "read_only" in str(steps.error)
    assert asked_to_submit(emulator) == 0
    connect(read_only=False)
    assert steps.try_once() == "success"
    assert submissions(emulator) == Counter([post_id])


def test_a_batch_stops_submitting_when_its_connection_becomes_read_only(
    emulator: Emulator, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_module, "SETTINGS_FRESH", 0.0)
    connect(max_in_flight=1)
    posts = [emulator.add_post(f"Quiet {number}") for number in range(6)]
    at = (datetime.now(UTC) + timedelta(days=7)).isoformat()
    announcements = [{"post_id": post, "social_account_ids": [account(emulator)], "scheduled_at": at} for post in posts]
    with DAG("read_only_batch") as dag:
        OctosparkScheduleBatchOperator(task_id="batch", announcements=announcements, **RETRIES)
    steps = TaskSteps(dag)
    real = hook_module.OctosparkHook.read_only_error

    def quiet_after_two(hook: hook_module.OctosparkHook) -> OctosparkReadOnlyError | None:
        connect(max_in_flight=1, read_only=len(emulator.submissions()) == 2 and steps.try_number == 1)
        return real(hook)

    monkeypatch.setattr(hook_module.OctosparkHook, "read_only_error", quiet_after_two)
    assert steps.try_once() == "up_for_retry"
    assert len(emulator.submissions()) == 2
    connect(max_in_flight=1)
    assert steps.try_once() == "success"
    assert submissions(emulator) == Counter(posts)
