"""A user marks a running batch as failed: it sends nothing more, and takes back what it sent only with `cancel_on_kill`."""

from __future__ import annotations

import pytest

from airflow_provider_octospark.api.settings import DEFAULT_MAX_IN_FLIGHT
from tests.cluster.shapes import BATCH, CANCELLED_BATCH
from tests.cluster.wave import Bench, Wave

SIZE = 400
DELAY = 1.0


@pytest.mark.parametrize("dag_id", [BATCH, CANCELLED_BATCH])
def test_a_running_batch_is_marked_as_failed(bench: Bench, dag_id: str) -> None:
    wave = Wave(bench)
    task, posts = bench.batch(dag_id, SIZE, DELAY)
    bench.until(lambda: len(bench.submitted(posts)) >= DEFAULT_MAX_IN_FLIGHT, "nothing is sent")
    pid, _supervisor = bench.cluster.task_processes(task)
    bench.cluster.rest.set_task_state(task, "failed")
    bench.until(lambda: pid not in bench.cluster.task_pids(), "it does not end")
    submitted = bench.submitted(posts)
    assert DEFAULT_MAX_IN_FLIGHT <= len(submitted) < SIZE
    wave.end()
    # The other tasks took longer than whatever this one might still have had under way.
    assert bench.submitted(posts) == submitted
    assert set(submitted.values()) == {1}
    taken_back = bench.taken_back(posts)
    if dag_id == BATCH:
        assert taken_back == set()
    else:
        assert taken_back <= set(submitted)
        # What was under way at that moment is in doubt, and is left as it is.
        assert len(set(submitted) - taken_back) <= DEFAULT_MAX_IN_FLIGHT
