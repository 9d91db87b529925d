"""Random histories: the same ones each time in `make test` and `make test-more`, others each time in `make chaos`.

`OCTOSPARK_HISTORIES` is their number. `--hypothesis-seed=N` draws others: the same ones for the same N. They are drawn in
parts, each with a seed of its own, so that several workers share them.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.submission_histories.histories import HistoryBench
from tests.submission_histories.machine import Histories

HISTORIES = 60
RULES_IN_EACH = 30
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_breaks_a_promise(part: int, bench: HistoryBench, pytestconfig: pytest.Config) -> None:
    """Whatever is mixed, and in whatever order: nothing goes out twice, and what is said is true."""
    total: Counter[str] = Counter()
    given = pytestconfig.getoption("--hypothesis-seed")
    run_state_machine_as_test(
        seed(f"{0 if given is None else int(given)}, part {part}")(lambda: Histories(bench, total)),  # type: ignore[arg-type]
        settings=settings(
            max_examples=-(-int(os.environ.get("OCTOSPARK_HISTORIES", HISTORIES)) // PARTS),
            stateful_step_count=RULES_IN_EACH,
            database=None,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(", ".join(f"{seen}: {count}" for seen, count in total.most_common()))
    assert total
