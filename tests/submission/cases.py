"""What happens in each situation, as data: the tests play every case, and the documentation's table is made of them.

A case says in words what comes to pass (`situation`) and what the task then does (`what_happens`), how to play it on a
bench, and how it must end by the task's report and by the service's ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from airflow_provider_octospark.exceptions import (
    OctosparkAlreadySubmittedError,
    OctosparkAuthError,
    OctosparkCancelledError,
    OctosparkNotFoundError,
    OctosparkPermissionError,
    OctosparkPublishFailedError,
    OctosparkRateLimitError,
    OctosparkRequestError,
    OctosparkServerError,
    OctosparkStateStoreError,
    OctosparkTooLateError,
    OctosparkUnknownError,
)
from airflow_provider_octospark.submission.journal import PAGE_KEY
from airflow_provider_octospark.submission.rules import Rules
from tests.submission.harness import Bench, Job, Moment, State, Task, kill


@dataclass(frozen=True)
class Trouble:
    """What comes in place of a clear response to a submission.

    :param fault: the emulator's fault, and `options` its options.
    :param accepted: whether the service accepted the request all the same.
    """

    name: str
    situation: str
    fault: str
    accepted: bool
    options: Mapping[str, Any] = field(default_factory=dict)

    def strike(self, bench: Bench, *, skip: int = 0) -> None:
        """Let it strike the next submission, or a later one."""
        for operation in ("post-now", "schedule-multi"):
            bench.fault(operation, self.fault, skip=skip or None, **self.options)


def _both(name: str, situation: str, fault: str, **options: Any) -> list[Trouble]:
    return [
        Trouble(
            f"{name}, before",
            f"{situation}; the request was not processed",
            fault,
            False,
            {**options, "when": "before"},
        ),
        Trouble(f"{name}, after", f"{situation}; the request was processed", fault, True, {**options, "when": "after"}),
    ]


_STRANGER = "00000000-0000-4000-8000-000000000001"
_OTHER_ACCOUNT = {"id": _STRANGER, "socialAccountId": _STRANGER, "status": "published"}

TROUBLES: list[Trouble] = [
    *_both("reset", "The connection is reset", "reset"),
    *_both("no response", "No response comes within `submit_timeout`", "no_answer"),
    *_both("500", "The service answers 500", "status", status=500),
    *_both("503", "The service, or a proxy, answers 503", "status", status=503),
    *_both("408", "The service answers 408", "status", status=408),
    *_both("409", "The service answers 409", "status", status=409),
    *_both("302", "The response is a redirect", "status", status=302),
    *_both("204", "The response is 204 without a body", "status", status=204),
    *_both("no JSON", "The response is an HTML page with status 200", "not_json"),
    *_both("other account", "The response is about another account", "status", status=200, body=_OTHER_ACCOUNT),
    Trouble("cut off", "The response is cut off", "truncate", accepted=True),
    Trouble(
        "late, 2 min", "No response comes; the request is processed after 2 minutes", "late", True, {"seconds": 120.0}
    ),
    Trouble(
        "late, 14 min", "No response comes; the request is processed after 14 minutes", "late", True, {"seconds": 840.0}
    ),
]


@dataclass(frozen=True)
class Case:
    """One situation.

    :param play: makes a task instance and lets its whole history happen.
    :param state: how Airflow has the task in the end.
    :param ends: the end of each target as the last try reports it; none if it raised before there was one.
    :param accepted: how many submissions of each target the service accepted from this task, of which `freed` in all
        were made anew because the one before had failed, or because a user asked for it.
    :param error: what the last try raised.
    :param on_target: how often each target truly went out, whoever caused it; by default as often as accepted.
    """

    group: str
    situation: str
    what_happens: str
    play: Callable[[Bench], Task]
    state: State
    ends: tuple[str, ...]
    accepted: tuple[int, ...]
    error: type[Exception] | None = None
    freed: int = 0
    on_target: tuple[int, ...] | None = None


def _task(bench: Bench, job: Job | None = None, **options: Any) -> Task:
    """A task that posts now, waits for the publication, and retries."""
    return Task(bench, job or Job.post_now(bench, wait=True), **options)


def _with_rules(bench: Bench, **rules: Any) -> Job:
    return Job.post_now(bench, wait=True, rules=Rules(**rules))


def _played(task: Task) -> Task:
    task.finish()
    return task


def _cleared(task: Task, *, shows: bool = True) -> Task:
    """Let the task end, clear it, and let it end again."""
    task.finish()
    task.clear(shows=shows)
    return _played(task)


# No clear response


def _after_trouble(trouble: Trouble, rules: Rules | None = None) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        trouble.strike(bench)
        return _played(_task(bench, Job.post_now(bench, wait=True, rules=rules or Rules())))

    return play


def _doubts() -> list[Case]:
    return [
        Case(
            "No clear response",
            trouble.situation,
            "Polls the post, finds the submission and adopts it. Nothing is sent again."
            if trouble.accepted
            else "Polls the post until `settle_time` is over. The post has not changed, so the request is sent again.",
            _after_trouble(trouble),
            "success",
            ("published",),
            (1,),
        )
        for trouble in TROUBLES
    ]


def _silent_for_an_hour(bench: Bench) -> Task:
    bench.fault("post-now", "late", seconds=3600.0)
    return _played(_task(bench, Job.post_now(bench, rules=Rules(settle_time=None))))


def _never_arrives(bench: Bench) -> Task:
    bench.fault("post-now", "reset")
    return _played(_task(bench, Job.post_now(bench, rules=Rules(settle_time=None))))


def _shows_up_too_late(bench: Bench) -> Task:
    """The first request takes effect after `settle_time`, while the second is refused."""
    bench.fault("post-now", "late", seconds=1200.0)
    bench.fault("post-now", "status", status=429, headers={"Retry-After": "600"})
    return _played(_task(bench))


def _always_conflict(bench: Bench) -> Task:
    bench.fault("post-now", "status", status=409, times=100)
    return _played(_task(bench, Job.post_now(bench), retries=1))


def _unreadable_post(bench: Bench) -> Task:
    bench.fault("post-now", "reset", when="after")
    bench.fault("get-post", "status", status=500, skip=1, times=100)
    return _played(_task(bench))


def _key_revoked(bench: Bench) -> Task:
    task = _task(bench)
    task.run({_after_submission(task): kill})
    bench.service.rotate_token()
    return _played(task)


def _after_submission(task: Task) -> int:
    """The number of the point after the first submission of a first try, found by running one."""
    return _point(task, "after submission")


def _point(task: Task, name: str, *, nth: int = 1) -> int:
    """The number of the nth point of that name in a first try that nothing disturbs; the bench is as new then."""
    bench = task.bench
    probe = Task(bench, task.job, name="probe", map_index=task.map_index, has_store=task.has_store)
    probe.run()
    bench.reset()
    places = [index for index, each in enumerate(probe.tries[0].points.names) if each == name]
    return places[nth - 1]


# Killed


def _killed_at(name: str, *, nth: int = 1, **options: Any) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        task = _task(bench, Job.post_now(bench), **options)
        at = _point(task, name, nth=nth)
        task.run({at: kill})
        return _played(task)

    return play


def _killed_before_anything(bench: Bench) -> Task:
    task = _task(bench, Job.post_now(bench))
    task.run({0: kill})
    return _played(task)


def _orphaned(bench: Bench) -> Task:
    """The supervisor is killed, and Airflow starts the next try while the old process still runs."""
    task = _task(bench, Job.post_now(bench))
    at = _point(task, "before set octospark", nth=2)

    def orphan(moment: Moment) -> None:
        moment.process.supervised = False
        moment.task.run()

    task.run({at: orphan})
    return task


def _replaced(bench: Bench) -> Task:
    """The task is cleared while its process stands before the fence; the process lives on for a while."""
    task = _task(bench, Job.post_now(bench))
    at = _point(task, "before set octospark", nth=2)

    def clear(moment: Moment) -> None:
        moment.task.clear()
        moment.task.run()

    task.run({at: clear})
    return task


def _held_up(bench: Bench) -> Task:
    """The process stands still between its fence and the request, for longer than `settle_time`."""
    task = _task(bench, Job.post_now(bench))
    at = _point(task, "before submission")

    def pause(moment: Moment) -> None:
        bench.advance(300)
        moment.process.supervised = False
        moment.task.run()

    task.run({at: pause})
    return task


# Refused


def _refused(status: int, *, times: int = 1, retries: int = 3, **headers: str) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        bench.fault("post-now", "status", status=status, times=times, headers=given or None)
        return _played(_task(bench, Job.post_now(bench), retries=retries))

    return play


def _unreachable(bench: Bench) -> Task:
    task = _task(bench, Job.post_now(bench))

    def cut(moment: Moment) -> None:
        bench.reachable = moment.name != "before submission"

    task.run(cut)
    bench.reachable = True
    return _played(task)


# schedule-multi


def _multi(bench: Bench, **options: Any) -> Task:
    return _task(bench, Job.schedule_multi(bench, **options))


def _multi_lost(**options: Any) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        bench.fault("schedule-multi", "reset", when="after")
        return _played(_multi(bench, **options))

    return play


def _multi_lost_at_second(bench: Bench) -> Task:
    bench.fault("schedule-multi", "reset", when="after", skip=1)
    return _played(_multi(bench, accounts_per_call=1))


def _omitted(place: int, when: str) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        task = _multi(bench)
        bench.fault("schedule-multi", "omit_account", when=when, social_account_id=task.job.accounts[place])
        return _played(task)

    return play


def _contradictory(bench: Bench) -> Task:
    task = _multi(bench, accounts=2)
    first, second = task.job.accounts
    row = {
        "socialAccountId": first,
        "scheduledPost": {"id": _STRANGER, "socialAccountId": first, "status": "scheduled"},
    }
    both = {"data": [{**row, "error": {"message": "no"}}, {"socialAccountId": second}]}
    bench.fault("schedule-multi", "status", status=200, when="after", body=both)
    return _played(task)


def _reconnected(bench: Bench) -> Task:
    """One account is refused, a user connects it again and clears the task."""
    account = bench.service.account_id("linkedin")
    bench.service.set_account_status(account, "refresh_needed")
    task = _multi(bench)
    task.finish()
    bench.service.set_account_status(account, "connected")
    task.clear()
    return _played(task)


def _disconnected(bench: Bench) -> Task:
    bench.service.set_account_status(bench.service.account_id("linkedin"), "refresh_needed")
    return _played(_task(bench, Job.schedule_multi(bench), retries=1))


def _second_call_refused(bench: Bench) -> Task:
    bench.fault("schedule-multi", "status", status=429, skip=1, headers={"Retry-After": "600"})
    return _played(_multi(bench, accounts_per_call=1))


# Failed


def _fails(category: str, *, times: int = 1, **rules: Any) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        task = _task(bench, _with_rules(bench, **rules))
        bench.service.script("fail", post_id=task.job.post_id, error_category=category, times=times)  # type: ignore[arg-type]
        return _played(task)

    return play


def _fails_and_is_cleared(category: str, *, shows: bool = True, **rules: Any) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        task = _task(bench, _with_rules(bench, **rules), retries=0)
        bench.service.script("fail", post_id=task.job.post_id, error_category=category, times=1)  # type: ignore[arg-type]
        return _cleared(task, shows=shows)

    return play


def _scenario(
    scenario: Any, *, clear: bool = False, options: Mapping[str, Any] | None = None, **rules: Any
) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        task = _task(bench, _with_rules(bench, **rules))
        bench.service.script(scenario, post_id=task.job.post_id, times=1, **(options or {}))
        return _cleared(task) if clear else _played(task)

    return play


def _fails_is_cleared_and_refused(bench: Bench) -> Task:
    """A user's clear frees it; the request is refused; a retry must still be free to send."""
    task = _task(bench)
    bench.service.script("fail", post_id=task.job.post_id, error_category="permanent", times=1)
    task.finish()
    task.clear()
    bench.fault("post-now", "status", status=429, headers={"Retry-After": "600"})
    return _played(task)


def _fails_unseen(bench: Bench) -> Task:
    """Nobody waits; the failure comes after the task's success, and a user clears it."""
    task = _task(bench, Job.post_now(bench))
    bench.service.script("fail", post_id=task.job.post_id, error_category="auth", times=1)
    task.finish()
    bench.settle()
    task.clear()
    return _played(task)


def _recurs_after_failure(bench: Bench) -> Task:
    """The first occurrence fails at once; the account is connected again, and the task cleared."""
    job = Job.post_now(bench, recurrence_interval_days=30, rules=Rules(repeats="allow"))
    task = _task(bench, job)
    bench.service.set_account_status(job.accounts[0], "refresh_needed")
    task.finish()
    bench.service.set_account_status(job.accounts[0], "connected")
    task.clear()
    return _played(task)


# A user in between


def _fails_before_it_is_found(bench: Bench) -> Task:
    task = _task(bench)
    at = _after_submission(task)
    bench.service.script("fail", post_id=task.job.post_id, error_category="transient", times=1)
    task.run({at: kill})
    bench.advance(60)
    return _played(task)


def _fails_after_adoption(bench: Bench) -> Task:
    task = _task(bench)
    bench.service.script("fail", post_id=task.job.post_id, error_category="transient", times=1)
    bench.fault("post-now", "reset", when="after")
    return _played(task)


def _fails_after_adoption_and_is_decided(bench: Bench) -> Task:
    task = _fails_after_adoption(bench)
    task.decide(task.job.accounts[0], {"decision": "not_accepted"})
    task.clear()
    return _played(task)


def _person_after_lost_answer(
    action: Any, *, by_hand_on_other: bool = False, **options: Any
) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        task = _task(bench, Job.schedule_multi(bench, accounts=1))
        at = _after_submission(task)
        task.run({at: kill})
        account = bench.service.account_id("linkedin") if by_hand_on_other else None
        bench.service.user_action(action, task.job.post_id, social_account_id=account, **options)
        return _played(task)

    return play


def _person_retries(bench: Bench) -> Task:
    task = _task(bench)
    bench.service.script("fail", post_id=task.job.post_id, error_category="transient", times=1)
    task.run()
    bench.service.user_action("retry", task.job.post_id)
    return _played(task)


def _person_retries_after_refusal(bench: Bench) -> Task:
    """The retry is refused; then the user presses the service's own retry."""
    task = _task(bench)
    bench.service.script("fail", post_id=task.job.post_id, error_category="transient", times=1)
    task.run()
    bench.fault("post-now", "status", status=429, times=1, headers={"Retry-After": "600"})
    task.retry()
    bench.service.user_action("retry", task.job.post_id)
    bench.service.advance(60)
    return _played(task)


def _by_hand(at: str, **rules: Any) -> Callable[[Bench], Task]:
    """A first try is killed at a point; then a user posts the same post to the same account."""

    def play(bench: Bench) -> Task:
        task = _task(bench, Job.post_now(bench, rules=Rules(**rules)))
        point = _point(task, at, nth=2 if at == "before set octospark" else 1)
        task.run({point: kill})
        bench.advance(60)
        bench.service.user_action("post_now", task.job.post_id, social_account_id=task.job.accounts[0])
        return _played(task)

    return play


def _evergreen(bench: Bench) -> Task:
    """The same post went out on the same account last week."""
    job = Job.post_now(bench)
    bench.service.user_action("post_now", job.post_id, social_account_id=job.accounts[0])
    bench.service.advance(7 * 86_400)
    return _played(_task(bench, job))


# Decisions


def _decided(decision: Any, *, arrived: bool) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        bench.fault("post-now", "late" if arrived else "reset", seconds=3600.0 if arrived else None)
        task = _task(bench, Job.post_now(bench, rules=Rules(settle_time=None)))
        task.finish()
        task.decide(task.job.accounts[0], decision)
        task.clear()
        return _played(task)

    return play


# Cleared


def _published_and_cleared(*, shows: bool = True, **rules: Any) -> Callable[[Bench], Task]:
    return lambda bench: _cleared(_task(bench, _with_rules(bench, **rules)), shows=shows)


def _accepted_and_cleared(**rules: Any) -> Callable[[Bench], Task]:
    """Cleared after a success that did not wait for the publication; by then it is out."""

    def play(bench: Bench) -> Task:
        task = _task(bench, Job.post_now(bench, rules=Rules(**rules)))
        task.finish()
        bench.service.advance(3600)
        task.clear()
        return _played(task)

    return play


def _cleared_while_in_doubt(*, shows: bool, **rules: Any) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        bench.fault("post-now", "late", seconds=600.0)
        task = _task(bench, Job.post_now(bench, rules=Rules(**rules)))
        task.start()
        assert task.state == "deferred"
        task.clear(shows=shows)
        return _played(task)

    return play


def _killed_after_answer_and_retried(**rules: Any) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        task = _task(bench, Job.post_now(bench, rules=Rules(**rules)))
        task.run({_point(task, "after set octospark", nth=3): kill})
        return _played(task)

    return play


# Records


def _record_lost(*, sent: bool, **options: Any) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        task = _task(bench, Job.post_now(bench), **options)
        at = _point(task, "after set octospark", nth=3) if sent else _point(task, "before request")
        task.run({at: kill})
        task.table.lose()
        return _played(task)

    return play


def _without_store(*, at: str) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        task = _task(bench, Job.post_now(bench), has_store=False)
        task.run({_point(task, at): kill})
        return _played(task)

    return play


def _without_store_failed(bench: Bench) -> Task:
    task = _task(bench, has_store=False)
    bench.service.script("fail", post_id=task.job.post_id, error_category="transient", times=1)
    return _played(task)


def _unreadable_record(bench: Bench) -> Task:
    task = _task(bench, Job.post_now(bench))
    task.run({_after_submission(task): kill})
    task.table.write(PAGE_KEY, {"format": 2, "records": []})
    return _played(task)


def _changed_list(bench: Bench) -> Task:
    """A mapped task whose list has changed between two tries: its position now stands for another account."""
    task = _task(bench, Job.post_now(bench), map_index=0)
    task.run({_after_submission(task): kill})
    task.job = replace(task.job, accounts=(bench.service.account_id("linkedin"),))
    return _played(task)


def _store_down_at_fence(bench: Bench) -> Task:
    task = _task(bench, Job.post_now(bench), retries=0)
    at = _point(task, "before set octospark", nth=2)
    task.run({at: lambda _: task.table.fail_next("set")})
    return task


def _store_down_after_answer(retries: int) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        task = _task(bench, Job.post_now(bench), retries=retries)
        at = _point(task, "after submission")
        task.run({at: lambda _: task.table.fail_next("set", times=10)})
        task.table.failures.clear()
        return _played(task)

    return play


# Time


def _late_run(**rules: Any) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        run_after = bench.now() - timedelta(hours=3)
        return _played(_task(bench, Job.post_now(bench, rules=Rules(**rules)), run_after=run_after))

    return play


def _time_over(**rules: Any) -> Callable[[Bench], Task]:
    def play(bench: Bench) -> Task:
        job = Job.schedule_multi(bench, hours=-1, rules=Rules(**rules))
        return _played(_task(bench, job))

    return play


def _time_over_while_in_doubt(bench: Bench) -> Task:
    bench.fault("schedule-multi", "reset")
    return _played(_task(bench, Job.schedule_multi(bench, accounts=1, hours=0.1)))


def _late_retry(bench: Bench) -> Task:
    """The retry comes too late to send, but what is out is never refused for that."""
    task = _task(bench, Job.post_now(bench, rules=Rules(max_lateness=timedelta(minutes=30))))
    task.run({_after_submission(task): kill})
    bench.service.advance(3600)
    return _played(task)


def _backfill(bench: Bench) -> Task:
    return _played(_task(bench, Job.post_now(bench, rules=Rules(skip_in_backfill=True)), is_backfill=True))


def _dry_run(bench: Bench) -> Task:
    return _played(_task(bench, Job.schedule_multi(bench, rules=Rules(dry_run=True))))


_P, _F, _U, _W = "published", "failed", "unknown", "pending"
_UNKNOWN, _STOP = OctosparkUnknownError, OctosparkAlreadySubmittedError

CASES: list[Case] = [
    *_doubts(),
    Case(
        "No clear response",
        "No response comes, `settle_time=None`, and the request is processed an hour later",
        "Polls for 15 minutes, sends nothing again, and ends as unknown.",
        _silent_for_an_hour, "failed", (_U,), (1,), _UNKNOWN,
    ),
    Case(
        "No clear response",
        "The connection is reset, `settle_time=None`, and the request never arrived",
        "Polls for 15 minutes, sends nothing again, and ends as unknown.",
        _never_arrives, "failed", (_U,), (0,), _UNKNOWN,
    ),
    Case(
        "No clear response",
        "The request is processed after 20 minutes, later than `settle_time`; until then 429 keeps a second one out",
        "The retry finds the submission and adopts it. The log says to raise `settle_time`.",
        _shows_up_too_late, "success", (_P,), (1,),
    ),
    Case(
        "No clear response",
        "The service answers 409 every time",
        "Sends twice in each try, the second time after `settle_time`. Fails when the retries are used up.",
        _always_conflict, "failed", (_F,), (0,), OctosparkServerError,
    ),
    Case(
        "No clear response",
        "The response is lost, and the post cannot be read for twice `settle_time`",
        "Ends as unknown. The record is kept, and a cleared task polls again.",
        _unreadable_post, "failed", (_U,), (1,), _UNKNOWN,
    ),
    Case(
        "No clear response",
        "The response is lost, and the API key is revoked",
        "Ends as unknown when `settle_time` is over. With a new key, a cleared task polls again.",
        _key_revoked, "failed", (_U,), (1,), _UNKNOWN,
    ),
    Case(
        "No clear response",
        "The response is lost, and what was accepted fails before it is found",
        "That submission may be somebody else's and hide the task's own. Ends as unknown when `settle_time` is over.",
        _fails_before_it_is_found, "failed", (_U,), (1,), _UNKNOWN, on_target=(0,),
    ),
    Case(
        "No clear response",
        "The response is lost, what was accepted is found and adopted, and fails after that",
        "As above: ends as unknown. No retry submits again.",
        _fails_after_adoption, "failed", (_U,), (1,), _UNKNOWN, on_target=(0,),
    ),
    Case(
        "No clear response",
        "The same, and a user writes `not_accepted` and clears the task",
        "Submits again.",
        _fails_after_adoption_and_is_decided, "success", (_P,), (2,), freed=1, on_target=(1,),
    ),
    Case(
        "Killed",
        "The task is killed before it has written anything",
        "The next try cannot know that nothing was sent. It polls until `settle_time` is over, then sends.",
        _killed_before_anything, "success", (_W,), (1,),
    ),
    Case(
        "Killed",
        "The task is killed before the fence",
        "The next try sends.",
        _killed_at("before set octospark", nth=2), "success", (_W,), (1,),
    ),
    Case(
        "Killed",
        "The task is killed between the fence and the request",
        "The next try polls until `settle_time` is over, then sends.",
        _killed_at("before submission"), "success", (_W,), (1,),
    ),
    Case(
        "Killed",
        "The task is killed while its request is under way",
        "The next try finds the submission and adopts it.",
        _killed_at("during submission"), "success", (_P,), (1,),
    ),
    Case(
        "Killed",
        "The task is killed after the service has accepted, before the response is written",
        "The next try finds the submission and adopts it.",
        _killed_at("after submission"), "success", (_P,), (1,),
    ),
    Case(
        "Killed",
        "The task is killed after the response is written",
        "The next try continues from the record.",
        _killed_at("after set octospark", nth=3), "success", (_P,), (1,),
    ),
    Case(
        "Killed",
        "The supervisor is killed, and the task's process still runs while the next try runs",
        "The old process cannot write its fence, so it does not send.",
        _orphaned, "success", (_W,), (1,),
    ),
    Case(
        "Killed",
        "The task is cleared just before its process writes the fence, and the process runs on for a while",
        "The old process cannot write its fence, so it does not send.",
        _replaced, "success", (_W,), (1,),
    ),
    Case(
        "Killed",
        "The process is suspended for minutes between its fence and the request, and the next try sends meanwhile",
        "The old process finds that too much time has passed since its fence, so it does not send.",
        _held_up, "success", (_W,), (1,),
    ),
    Case(
        "Refused",
        "The service answers 429 once, and asks to wait 7 seconds",
        "Waits and sends again in the same try.",
        _refused(429, Retry_After="7"), "success", (_W,), (1,),
    ),
    Case(
        "Refused",
        "The service answers 429 every time",
        "Sends 5 times in each try. Fails when the retries are used up. Nothing is published.",
        _refused(429, times=100, retries=1), "failed", (_F,), (0,), OctosparkRateLimitError,
    ),
    Case(
        "Refused", "The service answers 400", "Fails and is not retried. Nothing is published.",
        _refused(400), "failed", (_F,), (0,), OctosparkRequestError,
    ),
    Case(
        "Refused", "The service answers 401", "Fails and is not retried. Nothing is published.",
        _refused(401), "failed", (_F,), (0,), OctosparkAuthError,
    ),
    Case(
        "Refused", "The service answers 403", "Fails and is not retried. Nothing is published.",
        _refused(403), "failed", (_F,), (0,), OctosparkPermissionError,
    ),
    Case(
        "Refused", "The service answers 404", "Fails and is not retried. Nothing is published.",
        _refused(404), "failed", (_F,), (0,), OctosparkNotFoundError,
    ),
    Case(
        "Refused",
        "No connection can be made for the request, and then one can",
        "Nothing has left. Connects again a few times in the same try, then leaves it to Airflow's retry.",
        _unreachable, "success", (_W,), (1,),
    ),
    Case(
        "Several accounts",
        "The response to one call for three accounts is lost",
        "The service shows its latest submission only: that account is adopted, the others are unknown.",
        _multi_lost(), "failed", (_U, _U, _W), (1, 1, 1), _UNKNOWN,
    ),
    Case(
        "Several accounts",
        "With `accounts_per_call=1`, the response to the second call is lost",
        "The second submission is found and adopted, then the third is sent.",
        _multi_lost_at_second, "success", (_W, _W, _W), (1, 1, 1),
    ),
    Case(
        "Several accounts",
        "The response leaves out the last account, which was scheduled",
        "Finds the submission and adopts it.",
        _omitted(2, "after"), "success", (_W, _W, _W), (1, 1, 1),
    ),
    Case(
        "Several accounts",
        "The response leaves out the first account, which was scheduled",
        "A later submission hides it: unknown for that account.",
        _omitted(0, "after"), "failed", (_U, _W, _W), (1, 1, 1), _UNKNOWN,
    ),
    Case(
        "Several accounts",
        "The response leaves out an account, which was not scheduled",
        "The post has changed: unknown for that account.",
        _omitted(1, "before"), "failed", (_W, _U, _W), (1, 0, 1), _UNKNOWN,
    ),
    Case(
        "Several accounts",
        "The response reports one account both as scheduled and as refused, and leaves out the other, the last",
        "The last one is found and adopted; the other is unknown.",
        _contradictory, "failed", (_U, _W), (1, 1), _UNKNOWN,
    ),
    Case(
        "Several accounts",
        "One account of three is refused because it must be reconnected; a user does so and clears the task",
        "The next try sends for that account only. Its result covers all accounts.",
        _reconnected, "success", (_W, _W, _W), (1, 1, 1),
    ),
    Case(
        "Several accounts",
        "One account of three is refused because it must be reconnected, and retries are left",
        "Fails at once and names the account, because no retry can change that.",
        _disconnected, "failed", (_W, _F, _W), (1, 0, 1), OctosparkPublishFailedError,
    ),
    Case(
        "Several accounts",
        "With `accounts_per_call=1`, the second call is refused with 429 for ten minutes",
        "The retry sends for the second and third account only.",
        _second_call_refused, "success", (_W, _W, _W), (1, 1, 1),
    ),
    Case(
        "Failed", "Publishing fails, `errorCategory` is `transient`", "A retry submits again.",
        _fails("transient"), "success", (_P,), (2,), freed=1, on_target=(1,),
    ),
    Case(
        "Failed", "Publishing fails, `errorCategory` is `rate_limited`", "A retry submits again.",
        _fails("rate_limited"), "success", (_P,), (2,), freed=1, on_target=(1,),
    ),
    Case(
        "Failed", "Publishing fails, `errorCategory` is `auth`", "Fails and is not retried.",
        _fails("auth"), "failed", (_F,), (1,), OctosparkPublishFailedError, on_target=(0,),
    ),
    Case(
        "Failed", "Publishing fails, `errorCategory` is `validation`", "Fails and is not retried.",
        _fails("validation"), "failed", (_F,), (1,), OctosparkPublishFailedError, on_target=(0,),
    ),
    Case(
        "Failed", "Publishing fails, `errorCategory` is `permanent`", "Fails and is not retried.",
        _fails("permanent"), "failed", (_F,), (1,), OctosparkPublishFailedError, on_target=(0,),
    ),
    Case(
        "Failed", "Publishing fails for a transient reason, `resubmit_failed=False`", "Fails. Nothing is submitted again.",
        _fails("transient", resubmit_failed=False), "failed", (_F,), (1,), OctosparkPublishFailedError, on_target=(0,),
    ),
    Case(
        "Failed", "Publishing fails for a lasting reason, and a user clears the task", "Submits again.",
        _fails_and_is_cleared("permanent"), "success", (_P,), (2,), freed=1, on_target=(1,),
    ),
    Case(
        "Failed",
        "The same, and the new request is refused with 429",
        "The retry submits again.",
        _fails_is_cleared_and_refused, "success", (_P,), (2,), freed=1, on_target=(1,),
    ),
    Case(
        "Failed",
        "Publishing fails for a lasting reason, and a user clears the task without raising `max_tries`",
        "Counts as a retry. Nothing is submitted again.",
        _fails_and_is_cleared("permanent", shows=False),
        "failed", (_F,), (1,), OctosparkPublishFailedError, on_target=(0,),
    ),
    Case(
        "Failed",
        "Publishing fails after the task has ended without waiting, and a user clears the task",
        "Reads the post, finds the failure, and submits again.",
        _fails_unseen, "success", (_W,), (2,), freed=1, on_target=(1,),
    ),
    Case(
        "Failed",
        "The service says failed and gives the platform's id of the post",
        "Ends as unknown, because the service contradicts itself. A clear does not submit again.",
        _scenario("fail_but_live", clear=True), "failed", (_U,), (1,), _UNKNOWN,
    ),
    Case(
        "Failed",
        "The same, with the id in `providerPublishState` only",
        "Ends as unknown, because the service contradicts itself. A clear does not submit again.",
        _scenario("fail_but_live", clear=True, options={"shown_in": "state"}), "failed", (_U,), (1,), _UNKNOWN,
    ),
    Case(
        "Failed",
        "The service says failed, and publishes all the same before the retry",
        "The retry reads the post first and finds it published. Nothing is submitted again.",
        _scenario("fail_then_publish", options={"seconds": 60.0}), "success", (_P,), (1,),
    ),
    Case(
        "Failed",
        "The service says failed, and publishes all the same after the retry has submitted again",
        "Published twice: the assumption that a failure is final does not hold.",
        _scenario("fail_then_publish"), "success", (_P,), (2,), freed=1,
    ),
    Case(
        "Failed",
        "The same, with `resubmit_failed=False`",
        "Fails. Nothing is submitted again, and the post is published once.",
        _scenario("fail_then_publish", resubmit_failed=False), "failed", (_F,), (1,), OctosparkPublishFailedError,
    ),
    Case(
        "Failed",
        "The first occurrence of a recurring publication fails, and a user clears the task",
        "Fails and is not submitted again, because the service repeats it by itself.",
        _recurs_after_failure, "failed", (_F,), (1,), OctosparkPublishFailedError, on_target=(11,),
    ),
    Case(
        "A user in between",
        "The response is lost, and a user reschedules the submission",
        "Ends as unknown: the task cannot distinguish it from another submission.",
        _person_after_lost_answer("reschedule"), "failed", (_U,), (1,), _UNKNOWN,
    ),
    Case(
        "A user in between",
        "The response is lost, and a user cancels the submission",
        "That submission may be somebody else's and hide the task's own. Ends as unknown when `settle_time` is over.",
        _person_after_lost_answer("cancel"), "failed", (_U,), (1,), _UNKNOWN, on_target=(0,),
    ),
    Case(
        "A user in between",
        "The response is lost, and a user moves the post back to draft",
        "As above: ends as unknown when `settle_time` is over.",
        _person_after_lost_answer("move_to_draft"), "failed", (_U,), (1,), _UNKNOWN, on_target=(0,),
    ),
    Case(
        "A user in between",
        "The response is lost, and a user posts the same post to another account",
        "The newer submission hides it: ends as unknown.",
        _person_after_lost_answer("post_now", by_hand_on_other=True), "failed", (_U,), (1,), _UNKNOWN,
    ),
    Case(
        "A user in between",
        "Publishing fails, and a user presses the service's own retry before Airflow's",
        "The retry reads the post first, finds it under way, and waits for it. Nothing is submitted again.",
        _person_retries, "success", (_P,), (1,),
    ),
    Case(
        "A user in between",
        "Publishing fails, Airflow's retry is refused with 429, and a user presses the service's own retry",
        "The next retry finds it published. Nothing is submitted again.",
        _person_retries_after_refusal, "success", (_P,), (1,),
    ),
    Case(
        "A user in between",
        "The task is killed before the fence, and a user posts by hand to the same account",
        "That submission is proven not to be the task's: fails and sends nothing.",
        _by_hand("before set octospark"), "failed", (_F,), (0,), _STOP, on_target=(1,),
    ),
    Case(
        "A user in between",
        'The same, with `repeats="allow"`',
        "Submits.",
        _by_hand("before set octospark", repeats="allow"), "success", (_W,), (1,), on_target=(2,),
    ),
    Case(
        "A user in between",
        "The task is killed between fence and request, and a user posts by hand to the same account",
        "The task cannot distinguish it from its own and adopts it. Published once.",
        _by_hand("before submission"), "success", (_P,), (0,), on_target=(1,),
    ),
    Case(
        "A user in between",
        "The same post went out on the same account last week",
        "Submits, because that was before this run was due.",
        _evergreen, "success", (_W,), (1,), on_target=(2,),
    ),
    Case(
        "A user in between",
        "A publication is cancelled on its way",
        "Fails. No retry submits again.",
        _scenario("cancel"), "failed", (_F,), (1,), OctosparkCancelledError, on_target=(0,),
    ),
    Case(
        "A user in between",
        "A publication is cancelled on its way, and a user clears the task",
        "With `reattach` nothing is submitted again.",
        _scenario("cancel", clear=True), "failed", (_F,), (1,), OctosparkCancelledError, on_target=(0,),
    ),
    Case(
        "A user in between",
        'A publication is cancelled on its way, and a user clears the task, `if_already_submitted="resubmit"`',
        "Submits again.",
        _scenario("cancel", clear=True, if_already_submitted="resubmit"), "success", (_P,), (2,), freed=1, on_target=(1,),
    ),
    Case(
        "A user decides",
        'After an unknown the decision is "accepted"; the request was accepted',
        "Continues and sends nothing.",
        _decided({"decision": "accepted"}, arrived=True), "success", (_W,), (1,),
    ),
    Case(
        "A user decides",
        'After an unknown the decision is "not_accepted"; the request never arrived',
        "Sends once.",
        _decided({"decision": "not_accepted"}, arrived=False), "success", (_W,), (1,),
    ),
    Case(
        "A user decides",
        "After an unknown the decision is something else",
        "Still unknown. The log says what to write.",
        _decided({"decision": "maybe"}, arrived=False), "failed", (_U,), (0,), _UNKNOWN,
    ),
    Case(
        "Cleared", "The post is published, and a user clears the task", "With `reattach`, the default, nothing is sent again.",
        _published_and_cleared(), "success", (_P,), (1,),
    ),
    Case(
        "Cleared", 'The same, with `if_already_submitted="resubmit"`', "Submits again, as asked.",
        _published_and_cleared(if_already_submitted="resubmit"), "success", (_P,), (2,), freed=1,
    ),
    Case(
        "Cleared",
        'The same, with `if_already_submitted="resubmit"`, and the clear does not raise `max_tries`',
        "Counts as a retry. Nothing is sent again.",
        _published_and_cleared(if_already_submitted="resubmit", shows=False), "success", (_P,), (1,),
    ),
    Case(
        "Cleared", 'The same, with `if_already_submitted="fail"`', "Fails and sends nothing.",
        _published_and_cleared(if_already_submitted="fail"), "failed", (), (1,), _STOP,
    ),
    Case(
        "Cleared",
        'The task has not waited, and the post has been published since; cleared with `if_already_submitted="resubmit"`',
        "Reads the post, finds it published, and submits again.",
        _accepted_and_cleared(if_already_submitted="resubmit"), "success", (_W,), (2,), freed=1,
    ),
    Case(
        "Cleared",
        "Cleared while a request is in doubt",
        "The next try continues to poll. A clear does not make it send what is in doubt.",
        _cleared_while_in_doubt(shows=True, if_already_submitted="resubmit"), "success", (_P,), (1,),
    ),
    Case(
        "Cleared",
        "Cleared while a request is in doubt, without raising `max_tries`",
        "The next try continues to poll.",
        _cleared_while_in_doubt(shows=False), "success", (_P,), (1,),
    ),
    Case(
        "Cleared",
        'Killed after the response is written, and retried with `if_already_submitted="fail"`',
        "Fails and sends nothing.",
        _killed_after_answer_and_retried(if_already_submitted="fail"), "failed", (), (1,), _STOP,
    ),
    Case(
        "The record",
        "The record is lost after the post was accepted",
        "Compares times: finds the submission made since the run was due and adopts it.",
        _record_lost(sent=True), "success", (_P,), (1,),
    ),
    Case(
        "The record",
        "The record is lost, and nothing was sent",
        "Compares times: polls until `settle_time` is over, then sends.",
        _record_lost(sent=False), "success", (_W,), (1,),
    ),
    Case(
        "The record",
        "Before Airflow 3.3 the task is killed after the service has accepted",
        "Compares times: finds the submission and adopts it.",
        _without_store(at="after submission"), "success", (_P,), (1,),
    ),
    Case(
        "The record",
        "Before Airflow 3.3 the task is killed before the request",
        "Compares times: polls until `settle_time` is over, then sends.",
        _without_store(at="before submission"), "success", (_W,), (1,),
    ),
    Case(
        "The record",
        "Before Airflow 3.3 publishing fails for a transient reason",
        "Fails and is not retried, because a retry cannot know whose failure it is.",
        _without_store_failed, "failed", (_F,), (1,), OctosparkPublishFailedError, on_target=(0,),
    ),
    Case(
        "The record",
        "The record was written by another version",
        "Ends as unknown. The record is neither used nor ignored.",
        _unreadable_record, "failed", (_U,), (1,), _UNKNOWN,
    ),
    Case(
        "The record",
        "The list that a task is mapped over has changed, and its record is about another account",
        "Ends as unknown, because another task instance may have sent it.",
        _changed_list, "failed", (_U,), (0,), _UNKNOWN,
    ),
    Case(
        "The record",
        "The state store fails when the fence is written",
        "Nothing is sent. Airflow may retry.",
        _store_down_at_fence, "failed", (), (0,), OctosparkStateStoreError,
    ),
    Case(
        "The record",
        "The state store fails when the response is written",
        "Writes again a few times, then fails. The retry finds the submission and adopts it.",
        _store_down_after_answer(retries=1), "success", (_P,), (1,),
    ),
    Case(
        "The record",
        "The same, without a retry",
        "Ends as unknown, with the id of the submission, which may be published.",
        _store_down_after_answer(retries=0), "failed", (_U,), (1,), OctosparkUnknownError,
    ),
    Case(
        "Time", "The run was due longer ago than `max_lateness`", "Fails. Nothing is sent.",
        _late_run(max_lateness=timedelta(hours=1)), "failed", (_F,), (0,), OctosparkTooLateError,
    ),
    Case(
        "Time", 'The same, with `if_late="skip"`', "Skipped. Nothing is sent.",
        _late_run(max_lateness=timedelta(hours=1), if_late="skip"), "skipped", (_F,), (0,),
    ),
    Case(
        "Time", "`scheduled_at` is in the past", "Fails. Nothing is sent.",
        _time_over(), "failed", (_F, _F, _F), (0, 0, 0), OctosparkTooLateError,
    ),
    Case(
        "Time",
        "The request was not accepted, and `scheduled_at` passes before `settle_time` is over",
        "Fails. Nothing is sent again.",
        _time_over_while_in_doubt, "failed", (_F,), (0,), OctosparkTooLateError,
    ),
    Case(
        "Time",
        "The task is killed after the service has accepted, and retried later than `max_lateness`",
        "Adopts it. A post that may be published already is never refused for being late.",
        _late_retry, "success", (_P,), (1,),
    ),
    Case(
        "Time", "post-now in a run of a backfill", "Skipped, unless `allow_backfill=True`.",
        _backfill, "skipped", (_F,), (0,),
    ),
    Case(
        "Time", "`dry_run=True`", "Does everything except send.",
        _dry_run, "success", (_W, _W, _W), (0, 0, 0),
    ),
]  # fmt: skip
