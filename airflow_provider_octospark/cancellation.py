"""Take a post off the schedule when its task is stopped and has failed or was skipped.

The service takes whole posts off the schedule (``move-to-draft``), not single submissions. So this applies only if the
post has one submission, this task instance made it to one account, and it is still scheduled. A submission that is in
doubt, adopted, being published or published is left as it is.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from airflow_provider_octospark.airflow_compat import TaskName, state_of
from airflow_provider_octospark.api.client import AsyncOctosparkClient
from airflow_provider_octospark.api.models import Post
from airflow_provider_octospark.api.operations import get_post, move_to_draft
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.text import Log, sanitize
from airflow_provider_octospark.exceptions import OctosparkError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.outcomes import Outcome, can_be_taken_back, same_id
from airflow_provider_octospark.submission.records import Record

PATIENCE = 20.0
"""How long to wait for the task's new state, in seconds. Airflow gives a trigger 30 s to clean up."""

ASK_EVERY = 1.0
"""Pause between two reads of the task's state, in seconds."""

NOT_YET = frozenset({"deferred", "restarting"})
"""States that do not show yet what became of the task."""

TAKES_BACK = frozenset({"failed", "skipped"})
"""States after which submissions are taken back: a user set them, or Airflow did, by ``dagrun_timeout`` or ``fail_fast``."""


@dataclass(frozen=True)
class Cancellable:
    """A submission that may be taken off the schedule if it is still scheduled."""

    team_id: str
    post_id: str
    scheduled_post_id: str

    def as_json(self) -> dict[str, str]:
        """Return JSON primitives for a trigger's arguments."""
        return asdict(self)


def cancellable(records: Iterable[Record]) -> list[Cancellable]:
    """Return the submissions of a record that are the only known ones of their posts."""
    by_post: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        by_post.setdefault(record.key[:2], []).append(record)
    return [
        Cancellable(record.team_id, record.post_id, record.known_outcome.scheduled_post_id)
        for [record] in (of_post for of_post in by_post.values() if len(of_post) == 1)
        if record.state == "answered"
        and not record.inferred
        and record.known_outcome.state == "pending"
        and record.known_outcome.scheduled_post_id is not None
        and record.baseline is not None
        and record.baseline.scheduled_post_id is None
    ]


def with_cancellable(outcomes: Sequence[Outcome], mine: Sequence[Cancellable]) -> list[Outcome]:
    """Return outcomes that say which of them their task instance alone has put on the schedule.

    :param mine: the task instance's submissions, see :func:`cancellable`.
    """
    ids = {each.scheduled_post_id for each in mine}
    return [
        outcome.model_copy(update={"cancellable": True})
        if outcome.state == "pending" and outcome.scheduled_post_id in ids
        else outcome
        for outcome in outcomes
    ]


def cancellable_of(outcomes: Sequence[Outcome]) -> list[Cancellable]:
    """Return the submissions of a sensor's outcomes that are the only ones of their posts, by the word of their task."""
    return [
        Cancellable(outcome.team_id, outcome.post_id, outcome.scheduled_post_id)
        for outcome in outcomes
        if outcome.cancellable and outcome.scheduled_post_id is not None and outcome.state == "pending"
    ]


def cancel(octospark_conn_id: str, pending: Sequence[Cancellable], task: TaskName, log: Log) -> None:
    """Call :func:`acancel` from a task's ``on_kill``. Never raises.

    ``on_kill`` interrupts the task at any point, also within a request to Airflow. So this uses a thread and an event loop
    of its own, and stops waiting for them after some time.
    """
    worker = threading.Thread(
        target=lambda: asyncio.run(acancel(octospark_conn_id, pending, task, log)), name="octospark-cancel", daemon=True
    )
    worker.start()
    worker.join(PATIENCE + 5)


async def acancel(octospark_conn_id: str, pending: Sequence[Cancellable], task: TaskName, log: Log) -> None:
    """Take submissions off the schedule if the task has failed or was skipped. Never raises; logs what it does."""
    try:
        state = await _state_after_the_kill(task)
        if state not in TAKES_BACK:
            log.info(
                "cancel_on_kill: nothing is taken back, because the task's state is %s, and neither failed nor skipped.",
                state,
            )
        elif not pending:
            log.info("cancel_on_kill: there is nothing that this task alone has put on the schedule.")
        else:
            log.info("cancel_on_kill: taking back %d posts, because the task's state is %s.", len(pending), state)
            async with AsyncOctosparkClient(await OctosparkHook(octospark_conn_id).aget_settings()) as client:
                # Airflow kills the process a few seconds later.
                await asyncio.gather(*(_take_back(client, each, log) for each in pending))
    except Exception as error:  # noqa: BLE001 - best effort, and nobody is there to raise to
        log.warning("cancel_on_kill: given up: %s: %s", type(error).__name__, sanitize(error, 300))


async def _state_after_the_kill(task: TaskName) -> str | None:
    """Wait for the state into which a user has put the task, and return it."""
    state: str | None = None
    ends_at = asyncio.get_running_loop().time() + PATIENCE
    while asyncio.get_running_loop().time() < ends_at:
        async with asyncio.timeout_at(ends_at):
            state = await state_of(task)
        if state not in NOT_YET:
            break
        await asyncio.sleep(ASK_EVERY)
    return state


async def _take_back(client: AsyncOctosparkClient, pending: Cancellable, log: Log) -> None:
    try:
        response: Response[Post] = await client.request(get_post(pending.team_id, pending.post_id))
        latest = response.value.latest_scheduled_post
        if latest is None or not same_id(latest.id, pending.scheduled_post_id):
            shown = latest.id if latest else "none"
            why = f"its latest submission is {shown}, not {pending.scheduled_post_id}"
        elif not can_be_taken_back(latest):
            why = f"submission {latest.id} is {sanitize(latest.status, 40)}"
        else:
            await client.request(move_to_draft(pending.team_id, pending.post_id))
            log.info("cancel_on_kill: post %s was moved back to draft.", pending.post_id)
            return
        log.info("cancel_on_kill: post %s is left as it is: %s.", pending.post_id, why)
    except OctosparkError as error:
        log.warning("cancel_on_kill: post %s could not be taken back: %s", pending.post_id, sanitize(error))


def read_cancellable(arguments: Sequence[dict[str, Any]]) -> list[Cancellable]:
    """Parse what :meth:`Cancellable.as_json` returned."""
    return [Cancellable(**each) for each in arguments]
