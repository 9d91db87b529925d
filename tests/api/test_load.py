"""Many at once against a service that fails one call in five: all come to one of three ends, and nothing is left over."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_octospark.api import backoff as retrying
from airflow_provider_octospark.api.models import PostNowRequest
from airflow_provider_octospark.api.operations import Operation, post_now
from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.api.sync_client import OctosparkClient
from airflow_provider_octospark.emulator.http.server import Emulator
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.polling import registry
from airflow_provider_octospark.polling.wait import Wait
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.driver import Submission, WaitUntil
from airflow_provider_octospark.submission.journal import Journal, MemoryStore
from airflow_provider_octospark.submission.rules import Rules, Run
from airflow_provider_octospark.triggers import octospark as trigger_module
from airflow_provider_octospark.triggers.octospark import OctosparkPostTrigger, outcomes_of_event
from tests.api.handles import connections_to, needs_handles

pytestmark = pytest.mark.slow

TASKS, PER_TASK = 10, 20
SUBMISSIONS = TASKS * PER_TASK
WAITS = 2000
TRIES = 12
"""So often may Airflow try a task again; one in five calls fails, and one try makes three calls for each of its posts."""

CONN_ID = "octo_load"
SEED = 20261122


@dataclass
class World:
    """The emulator and how its posts will fare."""

    emulator: Emulator
    account: str
    posts: list[str]
    failing: set[str]
    stuck: set[str]

    @property
    def settings(self) -> ConnectionSettings:
        """A connection to it."""
        return ConnectionSettings(base_url=self.emulator.base_url, token=self.emulator.token, timeout=10.0)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    monkeypatch.setattr(retrying, "FIRST_DELAY", 0.02)
    monkeypatch.setattr(retrying, "LONGEST_DELAY", 0.5)
    monkeypatch.setattr(trigger_module, "FIRST_POLL_AFTER", timedelta(seconds=0.5))
    # Its clock is days behind ours, so that hours can pass there while requests are in doubt.
    with Emulator(start=datetime.now(UTC) - timedelta(days=30), seed=SEED) as emulator:
        chance = random.Random(SEED)  # noqa: S311
        posts = [emulator.add_post(f"Post {number}") for number in range(WAITS)]
        failing = set(chance.sample(posts, WAITS // 10))
        stuck = set(chance.sample(sorted(set(posts) - failing), WAITS // 40))
        for post in failing:
            emulator.script("fail", post_id=post)
        for post in stuck:
            emulator.script("stuck", post_id=post)
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", emulator.connection)
        yield World(emulator, emulator.account_id("x"), posts, failing, stuck)


def fail_one_call_in_five(emulator: Emulator) -> None:
    """Each call is struck by one of these with a probability of a fifth in all."""
    kinds: list[dict[str, object]] = [
        {"fault": "reset", "when": "before"},
        {"fault": "reset", "when": "after"},
        {"fault": "status", "status": 503, "when": "before"},
        {"fault": "status", "status": 500, "when": "after"},
        {"fault": "status", "status": 429, "headers": {"Retry-After": "0.05"}},
        {"fault": "truncate"},
        {"fault": "not_json"},
    ]
    left = 1.0
    for kind in kinds:
        each = 0.2 / len(kinds)
        emulator.faults([{"operation": "*", **kind, "probability": each / left}])
        left -= each


class _VirtualClock:
    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def now(self) -> datetime:
        return self.emulator.now()

    def sleep(self, seconds: float) -> None:
        self.emulator.advance(seconds)


def announcement(world: World, post: str) -> Announcement:
    team = world.emulator.team_id

    def operation(accounts: Sequence[str]) -> Operation[object]:
        return post_now(team, post, PostNowRequest(social_account_id=accounts[0]))  # type: ignore[return-value]

    return Announcement(team, post, (world.account,), operation)


def run_task(world: World, api: OctosparkClient, posts: Sequence[str], number: int) -> list[Outcome]:
    """Submit some posts as one task instance does, with Airflow's retries."""
    store, begin = MemoryStore(), world.emulator.now()
    outcomes: list[Outcome] = []
    for try_number in range(1, TRIES + 1):
        run = Run("dag", "run", f"task-{number}", -1, try_number, TRIES, begin)
        submission = Submission(
            [announcement(world, post) for post in posts],
            Journal(store, is_first_try=try_number == 1),
            api,
            _VirtualClock(world.emulator),
            Rules(),
            run,
            logging.getLogger("load"),
        )
        while isinstance(result := submission.advance(), WaitUntil):
            world.emulator.advance(max(0.0, (result.time - world.emulator.now()).total_seconds()))
        outcomes = result.outcomes
        if not any(outcome.reason == "not_sent" for outcome in outcomes):
            break
    return outcomes


def ledger(emulator: Emulator) -> tuple[Counter[str], set[str]]:
    """How often each post was submitted, and which are out."""
    submitted = Counter(entry["post_id"] for entry in emulator.submissions())
    return submitted, {entry["post_id"] for entry in emulator.publications()}


async def fire(trigger: OctosparkPostTrigger) -> list[Outcome]:
    events = [event async for event in trigger.run()]
    assert len(events) == 1
    return outcomes_of_event(events[0].payload)


async def wait_for_all(world: World, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Run one trigger for each, all in this event loop, as one triggerer does."""
    now = datetime.now(UTC)
    triggers = []
    for outcome in outcomes:
        patience = timedelta(seconds=8 if outcome.post_id in world.stuck else 300)
        wait = Wait.start([outcome], started_at=now, publish_timeout=patience, interval=1.0)
        triggers.append(OctosparkPostTrigger(CONN_ID, wait.as_json()))
    before = asyncio.all_tasks()
    ended = await asyncio.gather(*(fire(trigger) for trigger in triggers))
    # Whoever closes the last connection does so in a task of its own.
    while left := asyncio.all_tasks() - before:
        await asyncio.wait(left, timeout=30)
    assert not registry._pollers.get(asyncio.get_running_loop())
    return [outcome for each in ended for outcome in each]


@needs_handles
def test_two_hundred_submissions_and_two_thousand_waits(world: World) -> None:
    emulator = world.emulator
    own = world.posts[:SUBMISSIONS]
    fail_one_call_in_five(emulator)
    with OctosparkClient(world.settings, emulator.now) as api:
        outcomes = [
            outcome
            for number in range(TASKS)
            for outcome in run_task(world, api, own[number * PER_TASK : (number + 1) * PER_TASK], number)
        ]
    assert [outcome.post_id for outcome in outcomes] == own
    submitted, _ = ledger(emulator)
    assert set(submitted.values()) == {1}, "something was submitted twice"
    # Each was accepted once, and the task knows it, however often it was answered with nothing.
    assert set(submitted) == set(own)
    # What failed before it was found may be somebody else's; of all else the submission is known.
    in_doubt = {outcome.post_id for outcome in outcomes if outcome.state == "unknown"}
    assert in_doubt <= world.failing
    assert all(outcome.scheduled_post_id for outcome in outcomes if outcome.state != "unknown")
    struck = Counter(entry["fault"] for entry in emulator.requests())
    assert struck.total() > 2.2 * SUBMISSIONS
    assert struck[None] < 0.9 * struck.total(), "too few calls failed for this to show anything"

    for post in world.posts[SUBMISSIONS:]:
        [scheduled] = emulator.user_action("post_now", post, social_account_id=world.account)
        outcomes.append(
            Outcome(
                team_id=emulator.team_id,
                post_id=post,
                social_account_id=world.account,
                scheduled_post_id=scheduled["id"],
                state="pending",
            )
        )
    ended = asyncio.run(wait_for_all(world, outcomes))

    assert [outcome.post_id for outcome in ended] == world.posts
    submitted, out = ledger(emulator)
    assert set(submitted.values()) == {1}, "waiting submitted something"
    assert {outcome.post_id for outcome in ended if outcome.state == "published"} == out
    assert {outcome.post_id for outcome in ended if outcome.state == "failed"} == world.failing - in_doubt
    assert {outcome.post_id for outcome in ended if outcome.state == "unknown"} == world.stuck | in_doubt
    assert connections_to(int(emulator.base_url.rpartition(":")[2])) == []
    assert [
        name for thread in threading.enumerate() if (name := thread.name).startswith(("octospark-client", "asyncio"))
    ] == []
