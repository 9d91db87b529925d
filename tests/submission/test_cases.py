"""Every situation of the table, played and counted; the table is complete as far as `cases.py` goes."""

from __future__ import annotations

import pytest

from tests.submission.cases import CASES, Case
from tests.submission.harness import Bench


@pytest.mark.parametrize("case", CASES, ids=[f"{case.group}: {case.situation}" for case in CASES])
def test_case(bench: Bench, case: Case) -> None:
    """It ends as the table says, by the task's report and by the service's ledger."""
    task = case.play(bench)
    last = task.tries[-1]
    bench.settle()
    counts = task.count()
    told = f"{task.state}, {task.ends}, {counts}: {last.error!r}\n" + "\n".join(
        line for each in task.tries for line in [f"-- {each.state}", *each.log]
    )
    assert (task.state, tuple(task.ends)) == (case.state, case.ends), told
    assert tuple(count.accepted for count in counts) == case.accepted, told
    assert tuple(count.on_target for count in counts) == (case.on_target or case.accepted), told
    assert sum(case.accepted) - case.freed <= len(counts), "more than one submission of a target that nothing freed"
    if case.error is not None:
        assert type(last.error) is case.error, told


def test_no_situation_twice() -> None:
    """A table that says two things of one situation would be no help."""
    situations = [(case.group, case.situation) for case in CASES]
    assert len(set(situations)) == len(situations)
