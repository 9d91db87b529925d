"""An emulator whose clock stands still until a test moves it on, and a client for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from airflow_provider_octospark.emulator import Emulator
from tests.emulator.calling import Caller

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """A fresh emulator at `START`."""
    with Emulator(start=START, factor=0, seed=1) as running:
        yield running


@pytest.fixture
def caller(emulator: Emulator) -> Iterator[Caller]:
    """A client of that emulator."""
    with Caller(emulator) as calling:
        yield calling


@pytest.fixture
def post_id(emulator: Emulator) -> str:
    """A prepared post."""
    return emulator.posts[0]["id"]


@pytest.fixture
def x(emulator: Emulator) -> str:
    """A connected account on X, which publishes in 1.5 seconds."""
    return emulator.account_id("x")


@pytest.fixture
def youtube(emulator: Emulator) -> str:
    """A connected account on YouTube, which takes 30 seconds and needs polling."""
    return emulator.account_id("youtube")
