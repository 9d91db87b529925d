"""One cluster for all of these tests, and the count of them as the last line."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.cluster.__main__ import EXAMPLE_DAGS, open_cluster
from tests.cluster.servers import MissingServersError, find_programs
from tests.cluster.shapes import BATCH, CANCELLED_BATCH, POST_NOW, SUBMIT_TIMEOUT, SWITCHED_BATCH, WAITS
from tests.cluster.wave import Bench

ROOT = Path(__file__).parents[2]
# It publishes by the calendar.
LEFT_OUT = {"octospark_weekly_campaign.py"}

_results: Counter[str] = Counter()


def _connection(connection: str) -> str:
    fields = json.loads(connection)
    fields["extra"]["submit_timeout"] = SUBMIT_TIMEOUT
    return json.dumps(fields)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    try:
        programs = find_programs()
    except MissingServersError as error:
        pytest.skip(str(error))
    dags = tmp_path_factory.mktemp("dags")
    for file in (*EXAMPLE_DAGS.glob("*.py"), *(Path(__file__).parent / "dags").glob("*.py")):
        if file.name not in LEFT_OUT:
            shutil.copy(file, dags)
    begin = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {line}", flush=True)

    with open_cluster(programs, dags, say, _connection, {"PYTHONPATH": str(ROOT)}) as (emulator, cluster):
        cluster.wait_for_dags([POST_NOW, BATCH, CANCELLED_BATCH, SWITCHED_BATCH, WAITS])
        yield Bench(cluster, emulator)
        cluster.keep_home = bool(_results["failed"])


@pytest.fixture(autouse=True)
def all_components(bench: Bench) -> None:
    """Begin with everything up, whatever the test before has done."""
    bench.cluster.wait_until_all_run()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count; a test whose set-up or end fails has failed."""
    report = yield
    if report.failed or (report.when == "call" and report.passed):
        _results[report.outcome] += 1
    elif report.skipped:
        _results["skipped"] += 1
    return report


def pytest_unconfigure() -> None:
    skipped = f", {_results['skipped']} skipped" if _results["skipped"] else ""
    print(f"{_results['passed']} passed, {_results['failed']} failed{skipped}", flush=True)
