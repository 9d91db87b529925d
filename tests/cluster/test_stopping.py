"""A user stops a running batch: it sends nothing more, and takes back what it sent only with `cancel_on_kill`."""

from __future__ import annotations

import json

import pytest

from airflow_provider_octospark.api.settings import DEFAULT_MAX_IN_FLIGHT
from tests.cluster.shapes import BATCH, CANCELLED_BATCH, SUBMIT_TIMEOUT, SWITCHED_BATCH, SWITCHED_CONN_ID
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


def switch(bench: Bench, method: str, *, read_only: bool) -> None:
    """Make the connection that the batch uses, or change it."""
    fields = json.loads(bench.emulator.connection)
    extra = {**fields.pop("extra"), "submit_timeout": SUBMIT_TIMEOUT, "read_only": read_only}
    path = "/connections" if method == "POST" else f"/connections/{SWITCHED_CONN_ID}"
    body = {"connection_id": SWITCHED_CONN_ID, **fields, "extra": json.dumps(extra)}
    bench.cluster.rest.call(method, path, json=body)


def test_a_connection_that_is_made_read_only_stops_a_running_batch(bench: Bench) -> None:
    switch(bench, "POST", read_only=False)
    task, posts = bench.batch(SWITCHED_BATCH, SIZE, DELAY)
    bench.until(lambda: len(bench.submitted(posts)) >= DEFAULT_MAX_IN_FLIGHT, "nothing is sent")
    switch(bench, "PATCH", read_only=True)
    ended = bench.ended(task)
    assert ended.state == "failed"
    assert "so nothing is submitted through it" in bench.cluster.rest.log(task, ended.try_number)
    assert DEFAULT_MAX_IN_FLIGHT <= len(bench.submitted(posts)) < SIZE
