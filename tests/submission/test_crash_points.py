"""A task that is killed at every point, and its next try killed at every point again: each target goes out once.

Complete: the points are counted by running a try, not listed. For each form of submitting (post-now; schedule-multi in one
call; with `accounts_per_call=1`) the first try is killed at every point, the second at every point of what it then
does, and the third runs to its end with Airflow's retries. A point lies before and after each access to the store, each
reading request and each submission, and in the midst of a submission whose request has left and is processed later.

Also complete, with one kill each: a clear that shows, and one that does not, in place of the retry; in a worker that waits
itself, where the first walk defers; with `latest` as the submission created last, and as the one updated last.

By `os._exit` in a child process, so that no `finally` runs: the first try at every point of each form, complete; and for
post-now the second try at every point, after each kill of the first that left another store or another ledger behind.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from airflow_provider_octospark.exceptions import OctosparkUnknownError
from tests.sampling import IS_COMPLETE, sample
from tests.submission.harness import Bench, Job, Task, kill
from tests.submission.processes import Nursery, nursery_of_this_session, world

FORMS: dict[str, Callable[[Bench], Job]] = {
    "post-now": lambda bench: Job.post_now(bench),
    "one call": lambda bench: Job.schedule_multi(bench, accounts=3),
    "a call for each": lambda bench: Job.schedule_multi(bench, accounts=2, accounts_per_call=1),
}


def check(form: str, task: Task, story: str) -> None:
    """Every target is out once; or nobody can know, where several share a call."""
    task.bench.settle()
    last = task.tries[-1]
    for place, (count, outcome) in enumerate(zip(task.count(), last.outcomes, strict=True)):
        about = f"{story}: account {place}: {outcome.state}, {count}"
        assert count.accepted == 1, about
        assert count.on_target == 1, about
        if form == "one call" and place < len(last.outcomes) - 1:
            # The service shows its latest submission only, which is that of the last account.
            assert outcome.state in {"pending", "published", "unknown"}, about
        else:
            assert outcome.state in {"pending", "published"}, about
    unknown = "unknown" in task.ends
    assert task.state == ("failed" if unknown else "success"), f"{story}: {task.state}: {last.error}"
    assert isinstance(last.error, OctosparkUnknownError) == unknown, f"{story}: {last.error!r}"
    assert len(last.notes) == task.ends.count("unknown"), f"{story}: {last.notes}"


def count_points(task: Task) -> int:
    """How many points the latest try had."""
    return len(task.tries[-1].points.names)


@pytest.mark.parametrize("form", FORMS)
def test_two_kills_in_a_row(bench: Bench, form: str) -> None:
    """Killed at every point, and again at every point of the recovery; `make test` samples the second kill."""

    def begin(first: int) -> Task:
        bench.reset()
        task = Task(bench, FORMS[form](bench))
        task.run({first: kill})
        return task

    untouched = begin(-1)
    check(form, untouched, "no kill")
    for first in range(count_points(untouched)):
        task = begin(first)
        assert task.tries[0].state == "killed"
        killed_at = task.tries[0].points.names[-1]
        task.finish()
        check(form, task, f"killed at {first} ({killed_at})")
        assert len(task.tries) == 2
        for second in sample(range(count_points(task)), 3):
            twice = begin(first)
            twice.retry({second: kill})
            again_at = twice.tries[1].points.names[-1]
            assert twice.tries[1].state == "killed"
            twice.finish()
            check(form, twice, f"killed at {first} ({killed_at}) and at {second} ({again_at})")


@pytest.mark.parametrize("latest", ["created", "updated"])
@pytest.mark.parametrize("back", ["retry", "clear", "clear that does not show"])
@pytest.mark.parametrize("form", FORMS)
def test_every_way_back(bench: Bench, form: str, back: str, latest: str) -> None:
    """Killed at every point, and then retried or cleared."""

    def begin(first: int) -> Task:
        bench.reset()
        bench.service.configure(latest=latest)
        job = replace(FORMS[form](bench), deferrable=False)
        task = Task(bench, job, retries=3 if back == "retry" else 0)
        task.run({first: kill})
        return task

    for first in range(count_points(begin(-1))):
        task = begin(first)
        assert task.tries[0].state == "killed"
        if back == "retry":
            assert task.state == "up_for_retry"
        else:
            assert task.state == "failed"
            task.clear(shows=back == "clear")
        task.finish()
        check(form, task, f"killed at {first}")


@pytest.mark.parametrize("deferrable", [True, False])
def test_killed_while_it_waits_for_the_publication(bench: Bench, deferrable: bool) -> None:
    """Also the points after the response: a task that waits, deferred or not, and writes the end that it has seen."""

    def begin(first: int) -> Task:
        bench.reset()
        task = Task(bench, Job.post_now(bench, wait=True, deferrable=deferrable))
        task.run({first: kill})
        return task

    for first in range(count_points(begin(-1))):
        task = begin(first)
        assert task.tries[0].state == "killed"
        task.finish()
        check("post-now", task, f"killed at {first}")
        assert task.ends == ["published"]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """A process that begets processes which can be killed."""
    with nursery_of_this_session() as nursery:
        yield nursery


@pytest.mark.parametrize("form", FORMS)
def test_killed_without_a_finally(bench: Bench, nursery: Nursery, form: str) -> None:
    """The process is gone at once at every point; the next one, a new process too, carries on."""
    for first in itertools.count():
        bench.reset()
        task = nursery.task(bench, FORMS[form](bench))
        result = nursery.run_try(task, first)
        if result.killed:
            result = nursery.run_try(task, None)
        bench.settle()
        assert task.state == ("failed" if "unknown" in result.ends else "success")
        assert [count.accepted for count in task.count()] == [1] * len(task.job.accounts), f"killed at {first}"
        if task.try_number == 1:
            break
    assert first == result.points


def test_killed_again_without_a_finally(bench: Bench, nursery: Nursery) -> None:
    """The process that recovers from a kill is gone at once at every point, and another one carries on."""

    def begin(first: int) -> Task:
        bench.reset()
        task = nursery.task(bench, Job.post_now(bench))
        task.run({first: kill})
        return task

    worlds = set()
    for first in itertools.count():
        task = begin(first)
        if task.tries[0].state != "killed":
            break
        if world(task) in worlds:
            continue
        worlds.add(world(task))
        for second in itertools.count(0, 1 if IS_COMPLETE else 2):
            task = begin(first)
            killed = nursery.run_try(task, second).killed
            if killed:
                task.finish()
            bench.settle()
            assert task.state == "success"
            assert task.count()[0].accepted == 1, f"killed at {first} and at {second}"
            if not killed:
                break
    # Nothing written; the empty page; the fence; accepted by the service; the response written.
    assert len(worlds) == 5
