"""One emulator and one client for each test process; every test begins with them as new."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from airflow_provider_octospark.emulator import Emulator
from tests.submission.harness import START, Bench


@pytest.fixture(scope="session")
def running_bench() -> Iterator[Bench]:
    """A running emulator whose clock stands still until it is moved on."""
    # Thousands of lines of requests would hide what a failed test has to say.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    with Emulator(start=START, factor=0, seed=1) as emulator:
        bench = Bench.on(emulator)
        yield bench
        bench.close()


@pytest.fixture
def bench(running_bench: Bench) -> Bench:
    """The same, as new."""
    running_bench.reset()
    return running_bench
