"""A state store that fails, and processes that may not use it any more.

Complete: every access of a try fails once, or for good, for each form of submitting; and at every point of a try the
process loses its supervisor or is replaced after a clear, and the next try runs to its end before the old one goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import airflow.sdk
import pytest

from airflow_provider_octospark.exceptions import (
    OctosparkArgumentError,
    OctosparkStateStoreError,
    OctosparkUnknownError,
)
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.journal import PAGE_KEY, Journal, MemoryStore
from airflow_provider_octospark.submission.rules import LEAVE_WITHIN, Rules
from airflow_provider_octospark.submission.transitions import record_final_outcomes
from tests.sampling import IS_COMPLETE
from tests.submission.harness import Action, Bench, Job, Moment, Task, kill

FORMS: dict[str, Callable[[Bench], Job]] = {
    "post-now": lambda bench: Job.post_now(bench),
    "one call": lambda bench: Job.schedule_multi(bench, accounts=3),
    "a call for each": lambda bench: Job.schedule_multi(bench, accounts=2, accounts_per_call=1),
}

forms = pytest.mark.parametrize("form", FORMS)


def posts(bench: Bench) -> int:
    """How many submissions left."""
    return sum(request["method"] == "POST" for request in bench.service.requests())


def points_of(bench: Bench, form: str) -> list[str]:
    """The points of a try that nothing disturbs."""
    bench.reset()
    task = Task(bench, FORMS[form](bench))
    task.run()
    return task.tries[0].points.names


def check(form: str, task: Task, story: str) -> None:
    """Everything is out once, and known to be unless several share a call."""
    task.bench.settle()
    said = f"{story}: {task.state}, {task.ends}, {task.count()}"
    assert [(count.accepted, count.on_target) for count in task.count()] == [(1, 1)] * len(task.job.accounts), said
    if form == "one call":
        assert task.ends[-1] != "unknown", said
    else:
        assert task.state == "success", said


@pytest.mark.parametrize("times", [1, 10])
@pytest.mark.parametrize("written", [False, True])
@forms
def test_every_access_fails(bench: Bench, form: str, written: bool, times: int) -> None:
    """A read or a write fails, once or until the try is over; a failed write may have taken effect all the same."""
    for at, name in enumerate(points_of(bench, form)):
        if not name.startswith(("before get", "before set")):
            continue
        kind = "get" if "get" in name else "set"
        bench.reset()
        task = Task(bench, FORMS[form](bench))
        # Directly, not at a point, where the failing access is the first of all.
        task.run({at: lambda moment, kind=kind: moment.task.table.fail_next(kind, times, written=written)})  # type: ignore[misc]
        left, is_fence = posts(bench), "submission" in "".join(points_of_next(task, at))
        task.table.failures.clear()
        if task.state == "success":
            assert times == 1, f"at {at}"
        else:
            assert isinstance(task.tries[0].error, OctosparkStateStoreError), f"at {at}: {task.tries[0].error!r}"
            assert task.state == "up_for_retry"
        assert left <= 2, f"at {at}"
        assert not (is_fence and left > task.tries[0].points.names[:at].count("before submission")), f"at {at}: sent"
        task.finish()
        check(form, task, f"failed at {at} ({name})")


def points_of_next(task: Task, at: int) -> list[str]:
    """What the first try did right after a point: nothing, if the failure there stopped it."""
    return task.tries[0].points.names[at + 1 : at + 2]


def test_nothing_leaves_without_a_fence(bench: Bench) -> None:
    """The write directly before the request fails: no request is made."""
    names = points_of(bench, "post-now")
    fence = [at for at, name in enumerate(names) if name == "before set octospark"][1]
    assert names[fence + 2] == "before submission"
    bench.reset()
    task = Task(bench, Job.post_now(bench), retries=0)
    task.run({fence: lambda moment: moment.task.table.fail_next("set")})
    assert isinstance(task.tries[0].error, OctosparkStateStoreError)
    assert posts(bench) == 0
    bench.settle()
    assert task.count()[0].accepted == 0


def test_a_record_that_is_not_found_once_is_asked_for_again(bench: Bench) -> None:
    """A 404 of a proxy is no missing record; the first page of a new one would overwrite it."""
    task = Task(bench, Job.post_now(bench))
    task.run()
    found = task.table.read(PAGE_KEY)

    class Proxied(MemoryStore):
        """A store whose first read goes astray."""

        reads = 0

        def get(self, key: str) -> Any:
            self.reads += 1
            return None if self.reads == 1 else super().get(key)

    journal = Journal(Proxied(found), is_first_try=True)
    assert journal.page() == found


def test_an_answer_that_no_retry_can_find_is_unknown(bench: Bench) -> None:
    """The accepted call names its submission; the call before it is on the record, and the one after it is not sent."""
    task = Task(bench, Job.schedule_multi(bench, accounts=3, accounts_per_call=1), retries=0)
    calls = itertools.count(1)

    def fail(moment: Moment) -> None:
        if moment.name == "after submission" and next(calls) == 2:
            moment.task.table.fail_next("set", 10)

    task.run(fail)
    error = task.tries[0].error
    assert isinstance(error, OctosparkUnknownError)
    assert posts(bench) == 2
    second = bench.service.submissions()[1]["scheduled_post_id"]
    assert f"submission {second}): unknown" in str(error)
    assert list(task.ends) == ["pending", "unknown"]


class UnusableJob(Job):
    """One whose request cannot be made."""

    def announcement(self, intent: str) -> Announcement:
        """Fail only when the request is made."""

        def call(_: object) -> NoReturn:
            raise OctosparkArgumentError("no such request")

        return replace(super().announcement(intent), operation=call)


def test_a_request_that_cannot_be_made_is_not_fenced(bench: Bench) -> None:
    """No doubt is left behind by what never could have left."""
    job = Job.post_now(bench)
    task = Task(bench, UnusableJob(job.kind, job.team_id, job.post_id, job.accounts))
    task.finish()
    assert isinstance(task.tries[0].error, OctosparkArgumentError)
    assert task.table.read(PAGE_KEY)["records"] == []
    assert posts(bench) == 0


@pytest.mark.parametrize(("failures", "tries"), [(1, 1), (3, 1), (4, 2)])
def test_the_answer_is_written_again_if_that_fails(bench: Bench, failures: int, tries: int) -> None:
    """Some failures are bridged; after more the next try finds the submission."""
    task = Task(bench, Job.post_now(bench))

    def fail(moment: Moment) -> None:
        if moment.name == "after submission":
            moment.task.table.fail_next("set", failures)

    task.run(fail)
    task.finish()
    bench.settle()
    assert (len(task.tries), task.state, task.count()[0].accepted) == (tries, "success", 1)


def test_a_fence_that_cannot_be_lifted(bench: Bench) -> None:
    """The request is refused, and the store fails: the next try polls for it, and then sends."""
    bench.fault("post-now", "status", status=429)
    task = Task(bench, Job.post_now(bench))

    def fail(moment: Moment) -> None:
        if moment.name == "after submission" and posts(bench) == 1:
            moment.task.table.fail_next("set", 10)

    task.run(fail)
    assert task.state == "up_for_retry"
    task.table.failures.clear()
    task.finish()
    check("post-now", task, "refused")


# Two processes of one task instance


def orphaned(moment: Moment) -> None:
    """The supervisor is gone; Airflow takes the task for dead, and starts the next try."""
    moment.process.supervised = False
    moment.task.run()


def replaced(moment: Moment) -> None:
    """A user clears the task; the old process lives on for a while."""
    moment.task.clear()
    moment.task.run()


def replaced_unseen(moment: Moment) -> None:
    """The same, with a clear that does not show."""
    moment.task.clear(shows=False)
    moment.task.run()


def replaced_by_one_that_dies(moment: Moment) -> None:
    """The next try is killed between its fence and the response, and then the old process goes on."""
    moment.task.clear()

    def die(inner: Moment) -> None:
        if inner.name == "after submission":
            kill(inner)

    moment.task.run(die)


def stopped(moment: Moment) -> None:
    """The process and its supervisor stand still for minutes; meanwhile the next try runs."""
    moment.task.bench.advance(400)
    moment.task.start()


TAKEOVERS: list[Action] = [
    orphaned,
    replaced,
    replaced_unseen,
    replaced_by_one_that_dies,
    stopped,
]


def is_between_probe_and_write(names: list[str]) -> bool:
    """Whether a process stands between the probe that provokes a refusal and the write that it protects.

    Only a pause in these few milliseconds in which a whole other try runs could lose what that has written.
    """
    return names[-1] == "after set octospark.probe" or names[-2:-1] == ["after set octospark.probe"]


def check_takeover(bench: Bench, form: str, takeover: Action, *, writes_before_refusing: bool = False) -> None:
    """The next try runs while the old process stands at a point, for every point; then that goes on."""
    # The sample of each takeover begins elsewhere, so that together they visit every point.
    step = 1 if IS_COMPLETE else 4
    for at in itertools.count(sum(map(ord, takeover.__name__)) % step, step):
        bench.reset()
        task = Task(bench, FORMS[form](bench))
        task.table.writes_before_refusing = writes_before_refusing
        task.run({at: takeover})
        if len(task.tries) == 1:
            break
        if is_between_probe_and_write(task.tries[0].points.names[: at + 1]):
            continue
        task.finish()
        bench.settle()
        said = f"at {at} ({task.tries[0].points.names[at]}): {task.state}, {task.ends}, {task.count()}"
        assert [count.accepted for count in task.count()] == [1] * len(task.job.accounts), said
        # What the old process left in the store does no harm to what comes after.
        for shows in (True, False):
            task.clear(shows=shows)
            task.finish()
            bench.settle()
            assert [count.accepted for count in task.count()] == [1] * len(task.job.accounts), said
            if form != "one call":
                assert task.state == "success", said
    assert at >= len(points_of(bench, form))


@pytest.mark.parametrize("takeover", TAKEOVERS, ids=lambda action: action.__name__)
@forms
def test_another_process_takes_over_at_every_point(bench: Bench, form: str, takeover: Action) -> None:
    """Still each target is out once."""
    check_takeover(bench, form, takeover)


@pytest.mark.skipif(not hasattr(airflow.sdk, "NEVER_EXPIRE"), reason="this Airflow has no task state store")
@pytest.mark.parametrize(
    "takeover", [orphaned, replaced, replaced_by_one_that_dies], ids=lambda action: action.__name__
)
@forms
def test_another_process_takes_over_where_state_is_kept_elsewhere(
    bench: Bench, form: str, takeover: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state store backend is written before Airflow refuses a process that was replaced: nothing may be lost by it.

    Nobody is kept from submitting what is there already by `repeats`, so that the record alone must do.
    """
    monkeypatch.setenv("AIRFLOW__WORKERS__STATE_STORE_BACKEND", "some.where.Else")

    monkeypatch.setitem(FORMS, form, partial(_repeating, FORMS[form]))
    check_takeover(bench, form, takeover, writes_before_refusing=True)


def _repeating(make: Callable[[Bench], Job], bench: Bench) -> Job:
    return replace(make(bench), rules=Rules(repeats="allow"))


@pytest.mark.parametrize("late", [-1.0, 1.0])
def test_a_process_that_is_held_up(bench: Bench, late: float) -> None:
    """Its fence may be 30 seconds old when the request leaves, not more; what is older is fenced anew."""
    task = Task(bench, Job.post_now(bench))

    def hold(moment: Moment) -> None:
        is_fence = moment.name == "after set octospark" and moment.task.tries[0].points.names.count(moment.name) == 2
        if is_fence:
            bench.advance(LEAVE_WITHIN.total_seconds() + late)

    task.run(hold)
    bench.settle()
    assert (task.state, task.count()[0].accepted, posts(bench)) == ("success", 1, 1)
    fences = task.tries[0].points.names.count("before submission")
    assert fences == (1 if late < 0 else 2)
    assert any("held up" in line for line in task.tries[0].log) == (late > 0)


def test_a_process_that_is_held_up_while_another_takes_over(bench: Bench) -> None:
    """It finds that it is too late to send, and leaves the record to the other."""
    task = Task(bench, Job.post_now(bench))

    def hold(moment: Moment) -> None:
        if moment.name == "before submission" and moment.task.try_number == 1:
            bench.advance(60)
            moment.task.clear()
            moment.task.run()

    task.run(hold)
    first, second = task.tries
    assert second.state == "success"
    assert first.state == "raised"
    assert task.table.read(PAGE_KEY)["records"][0]["state"] == "answered"
    bench.settle()
    assert task.count()[0].accepted == 1


# The page itself


def test_the_page_is_strict_json(bench: Bench) -> None:
    """The store takes nothing else; what is stored is read back as it was."""
    task = Task(bench, Job.schedule_multi(bench, wait=True, hours=0.01))
    bench.service.set_account_status(task.job.accounts[1], "disabled")
    task.finish()
    page = task.table.read(PAGE_KEY)
    assert page["format"] == 1
    assert [record["state"] for record in page["records"]] == ["answered"] * 3
    journal = Journal(MemoryStore(page), is_first_try=False)
    assert journal.problem is None
    assert not journal.lost
    assert journal.page() == page


def test_the_ends_are_noted(bench: Bench) -> None:
    """What waiting has proven is written, what is unknown or of another submission is not."""
    task = Task(bench, Job.schedule_multi(bench))
    task.finish()
    store = MemoryStore(task.table.read(PAGE_KEY))
    journal = Journal(store, is_first_try=False)
    pending = [record.known_outcome for record in journal.records.values()]
    known: list[Outcome] = [
        pending[0].model_copy(update={"state": "published", "social_account_id": pending[0].social_account_id.upper()}),  # type: ignore[union-attr]
        pending[1].model_copy(update={"state": "unknown", "reason": "deadline"}),
        pending[2].model_copy(update={"state": "failed", "scheduled_post_id": "another"}),
        pending[2].model_copy(update={"state": "failed", "social_account_id": "nobody's"}),
    ]
    record_final_outcomes(journal, known, task.run_facts())
    ends = [record.known_outcome.state for record in Journal(store, is_first_try=False).records.values()]
    assert ends == ["published", "pending", "pending"]


def test_a_dry_run_leaves_nothing_behind(bench: Bench) -> None:
    """Nothing is sent; when the task is cleared and the parameter taken away, it is."""
    task = Task(bench, Job.schedule_multi(bench, rules=Rules(dry_run=True)))
    task.finish()
    assert (task.state, posts(bench)) == ("success", 0)
    assert {outcome.reason for outcome in task.tries[0].outcomes} == {"dry_run"}
    assert any("would send POST" in line and task.job.accounts[1] in line for line in task.tries[0].log)
    task.job = Job.schedule_multi(bench)
    task.clear()
    task.finish()
    assert (task.state, posts(bench)) == ("success", 1)


@pytest.mark.parametrize(("per_call", "calls"), [(None, 1), (1, 3), (2, 2), (3, 1), (99, 1)])
def test_accounts_per_call(bench: Bench, per_call: int | None, calls: int) -> None:
    """So many accounts in one request, and so many requests."""
    task = Task(bench, Job.schedule_multi(bench, accounts_per_call=per_call))
    task.finish()
    bench.settle()
    assert (task.state, posts(bench)) == ("success", calls)
    assert [count.accepted for count in task.count()] == [1, 1, 1]
