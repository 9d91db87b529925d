"""What the tests of watcher and notifier share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.polling import poller
from airflow_provider_octospark.polling import subscriptions as subscription
from airflow_provider_octospark.triggers import published


@pytest.fixture
def emulator(octospark_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The emulator, in real time, behind the default connection; accounts on X publish within a tenth of a second."""
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", octospark_emulator.connection)
    octospark_emulator.script("slow", social_account_id=octospark_emulator.account_id("x"), seconds=0.1)
    return octospark_emulator


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let watchers look many times a second."""
    monkeypatch.setattr(published, "SHORTEST_INTERVAL", 0.01)
    monkeypatch.setattr(published, "STORE_PAUSE", 0.01)
    monkeypatch.setattr(published, "delay_after", lambda *_: 0.01)
    monkeypatch.setattr(poller, "FIRST_BATCH_DELAY", 0.01)
    monkeypatch.setattr(subscription, "BATCH_DELAY", 0.02)
    monkeypatch.setattr(poller, "BATCH_DELAY", 0.02)


def run(scenario: Callable[[], Awaitable[Any]]) -> None:
    """Run a scenario in an event loop of its own."""

    async def main() -> None:
        await scenario()

    asyncio.run(main())
