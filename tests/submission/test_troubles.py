"""Every trouble with a response, crossed with what happens next: the target goes out once, whatever it is.

Complete: each trouble of `cases.TROUBLES` with each form of submitting (one target; three with a call for each), with
each way to go on (in the same try, deferred or in the worker; killed; cleared in a way that shows or not), with
`latest` as created and as updated, and with `settle_time=None`; and for post-now a kill at every point of the troubled try.
Sampled: our own clock ahead of the service's and behind it, for a few troubles only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from airflow_provider_octospark.submission.rules import Rules
from tests.submission.cases import TROUBLES, Trouble
from tests.submission.harness import Bench, Job, Task, kill

Form = Callable[[Bench], Job]

FORMS: dict[str, Form] = {
    "post-now": lambda bench: Job.post_now(bench),
    "a call for each": lambda bench: Job.schedule_multi(bench, accounts=3, accounts_per_call=1),
}

WAYS = ["deferred", "in the worker", "killed", "cleared", "cleared, does not show"]

troubles = pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)


def once(task: Task, story: object = "") -> None:
    """Every target was accepted once, went out once, and is reported so."""
    task.bench.settle()
    said = f"{story}: {task.state}, {task.ends}, {task.count()}, {task.tries[-1].error!r}"
    assert task.state == "success", said
    assert all(end in {"pending", "published"} for end in task.ends), said
    assert all((count.accepted, count.on_target) == (1, 1) for count in task.count()), said


def go_on(task: Task, way: str) -> None:
    """Run a task that will be in doubt, and let something happen to it while it is."""
    if way in {"deferred", "in the worker"}:
        task.finish()
        return
    task.start()
    if task.state == "deferred":
        if way == "killed":
            # What a deferred task can be killed at is its resumption; its next try begins anew.
            task.state = "up_for_retry"
        else:
            task.clear(shows=way == "cleared")
    task.finish()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", FORMS)
@troubles
def test_trouble_and_what_happens_next(bench: Bench, trouble: Trouble, form: str, way: str) -> None:
    """In doubt, the task is retried, killed or cleared."""
    task = Task(bench, replace(FORMS[form](bench), deferrable=way != "in the worker"))
    trouble.strike(bench, skip=1 if form == "a call for each" else 0)
    go_on(task, way)
    once(task)


@troubles
def test_trouble_while_latest_is_the_one_updated_last(bench: Bench, trouble: Trouble) -> None:
    """`latestScheduledPost` may be the one updated last, and an older one of the same post is published meanwhile."""
    bench.service.configure(latest="updated")
    job = Job.schedule_multi(bench, accounts=1)
    other = Task(
        bench,
        replace(Job.schedule_multi(bench, hours=5), accounts=(bench.service.account_id("threads"),)),
        name="other",
    )
    other.finish()
    task = Task(bench, job)
    trouble.strike(bench)
    task.finish()
    once(task)


@troubles
def test_trouble_twice_in_a_row(bench: Bench, trouble: Trouble) -> None:
    """It strikes again when the request is sent again, in this try or in the next."""
    task = Task(bench, Job.post_now(bench))
    for _ in range(3):
        trouble.strike(bench)
    task.finish()
    once(task)
    assert len(task.tries) == (1 if trouble.accepted else 2)


@troubles
def test_trouble_and_never_again(bench: Bench, trouble: Trouble) -> None:
    """With `settle_time=None`, one request leaves and no more; what is found is adopted, all else is unknown."""
    task = Task(bench, Job.post_now(bench, rules=Rules(settle_time=None)))
    trouble.strike(bench)
    task.finish()
    bench.settle()
    assert task.state == ("success" if trouble.accepted else "failed")
    assert (task.ends[0] == "unknown") == (not trouble.accepted)
    assert task.count()[0].accepted == int(trouble.accepted)
    for shows in (True, False):
        task.clear(shows=shows)
        task.finish()
        bench.settle()
        assert task.count()[0].accepted == int(trouble.accepted)
        assert (task.ends[0] == "unknown") == (not trouble.accepted)


@troubles
def test_trouble_and_a_kill_at_every_point(bench: Bench, trouble: Trouble) -> None:
    """The troubled try is killed at every point, the troubled request's and those of looking for it."""

    def begin(at: int) -> Task:
        bench.reset()
        task = Task(bench, Job.post_now(bench, deferrable=False))
        trouble.strike(bench)
        task.run({at: kill})
        return task

    untouched = begin(-1)
    for at in range(len(untouched.tries[0].points.names)):
        task = begin(at)
        assert task.tries[0].state == "killed"
        task.finish()
        once(task, f"killed at {at}")


@pytest.mark.parametrize("minutes", [-47.0, -0.01, 0.01, 47.0])
@pytest.mark.parametrize("name", ["reset, before", "reset, after", "late, 2 min"])
def test_trouble_with_a_clock_that_is_off(bench: Bench, name: str, minutes: float) -> None:
    """Our clock and the service's may differ: only the service's is compared with what the service says."""
    trouble = next(each for each in TROUBLES if each.name == name)
    # The same post was published on the account shortly before this run was due.
    job = Job.post_now(bench)
    bench.service.user_action("post_now", job.post_id, social_account_id=job.accounts[0])
    bench.service.advance(30)
    bench.skew = timedelta(minutes=minutes)
    task = Task(bench, job)
    trouble.strike(bench)
    task.finish()
    bench.settle()
    count = task.count()[0]
    assert (task.state, count.accepted, count.on_target) == ("success", 1, 2)


def test_the_clients_own_patience(bench: Bench) -> None:
    """Here it is the real client that gives up, in real time; elsewhere silence takes no real time."""
    settings = replace(bench.settings, submit_timeout=0.3)
    own = Bench(bench.service, settings)
    bench.service.fault("post-now", "no_answer", when="after")
    task = Task(own, Job.post_now(bench))
    task.finish()
    own.close()
    once(task)
    assert any("ReadTimeout" in line for line in task.tries[0].log), task.tries[0].log
