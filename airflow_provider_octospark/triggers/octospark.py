"""The trigger: waits for publications without a worker slot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_octospark.exceptions import (
    OctosparkAuthError,
    OctosparkError,
    OctosparkProtocolError,
)
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.models import Outcome
from airflow_provider_octospark.poller import Poller, subscribed
from airflow_provider_octospark.text import plain
from airflow_provider_octospark.waiting import Wait

EVENT_FORMAT = 1

FIRST_LOOK_AFTER = timedelta(seconds=5)
"""Airflow fails a task whose trigger fires before the scheduler has seen it defer."""


class OctosparkPostTrigger(BaseTrigger):
    """Waits until every publication of a wait has ended, then fires one event with their outcomes.

    It reads only: it never submits, never cancels, and never raises. Its deadlines are absolute, so that a triggerer
    that restarts goes on where it was. All triggers of a triggerer share one client for each connection.

    :param octospark_conn_id: id of the Airflow connection; its key is read in the triggerer and never stored.
    :param wait: what :meth:`~airflow_provider_octospark.waiting.Wait.as_json` gave: JSON primitives, no secret.
    """

    def __init__(self, octospark_conn_id: str, wait: dict[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.octospark_conn_id = octospark_conn_id
        self.wait = wait

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, JSON primitives only."""
        return (
            "airflow_provider_octospark.triggers.octospark.OctosparkPostTrigger",
            {"octospark_conn_id": self.octospark_conn_id, "wait": self.wait},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event: ``{"format": 1, "outcomes": [...]}`` or ``{"format": 1, "error": "..."}``."""
        try:
            wait = Wait.from_json(self.wait)
            wait.hold(datetime.now(UTC) + FIRST_LOOK_AFTER)
            await self._observe(wait)
            event = {"format": EVENT_FORMAT, "outcomes": [outcome.as_json() for outcome in wait.outcomes]}
        except Exception as error:
            # A trigger that raises loses what it waited for.
            self.log.exception("The wait broke down.")
            event = {"format": EVENT_FORMAT, "error": f"{type(error).__name__}: {plain(error, 500)}"}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _observe(self, wait: Wait) -> None:
        async with AsyncExitStack() as stack:
            poller: Poller | None = None
            while not wait.done:
                now = datetime.now(UTC)
                due = wait.posts_due(now)
                if not due:
                    await asyncio.sleep(max(0.01, (wait.next_look(now) - now).total_seconds()))
                for post in due:
                    poller = await self._look(wait, post, poller, stack)

    async def _look(
        self, wait: Wait, post: tuple[str, str], poller: Poller | None, stack: AsyncExitStack
    ) -> Poller | None:
        """Look at one post; return the poller to go on with, another one if the key was refused and read anew."""
        try:
            poller = poller or await self._subscribe(stack)
            try:
                answer = await poller.read(*post)
            except OctosparkAuthError:
                poller = None
                await stack.aclose()
                poller = await self._subscribe(stack)
                answer = await poller.read(*post)
        except OctosparkError as error:
            self._tell(wait.failed(post, error, datetime.now(UTC)))
        else:
            self._tell(wait.saw(post, answer, datetime.now(UTC)))
        return poller

    async def _subscribe(self, stack: AsyncExitStack) -> Poller:
        settings = await OctosparkHook(self.octospark_conn_id).aget_settings()
        return await stack.enter_async_context(subscribed(settings))

    def _tell(self, lines: list[str]) -> None:
        for line in lines:
            self.log.info("%s", line)


def outcomes_of_event(event: Any) -> list[Outcome]:
    """Return the outcomes that a trigger's event carries.

    :raises OctosparkProtocolError: if it is none of ours, of another format, or tells that the wait broke down.
    """
    if not isinstance(event, dict) or event.get("format") != EVENT_FORMAT:
        raise OctosparkProtocolError(
            f"The trigger's event cannot be read ({plain(event, 200)}); was the provider changed while the task was deferred? "
            "A retry waits again and submits nothing."
        )
    if "error" in event:
        raise OctosparkProtocolError(
            f"The wait broke down in the triggerer ({plain(event['error'], 500)}). A retry waits again and submits nothing."
        )
    try:
        return [Outcome.model_validate(entry) for entry in event["outcomes"]]
    except (KeyError, TypeError, ValueError) as error:
        problem = plain(error, 200)
    raise OctosparkProtocolError(f"The trigger's event cannot be read ({problem}). A retry waits again.")
