"""One emulator for each test process; every history begins with it as new."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_octospark.emulator import Emulator
from tests.submission.harness import START
from tests.submission_histories.histories import HistoryBench


@pytest.fixture(scope="session")
def running_history_bench() -> Iterator[HistoryBench]:
    """A running emulator whose clock stands still until it is moved on."""
    with Emulator(start=START, factor=0, seed=1) as emulator:
        bench = HistoryBench.on(emulator)
        yield bench  # type: ignore[misc]
        bench.close()


@pytest.fixture
def bench(running_history_bench: HistoryBench) -> Iterator[HistoryBench]:
    """The same, as new; what is left of a history is ended with it."""
    running_history_bench.reset()
    yield running_history_bench
    running_history_bench.close_history()
