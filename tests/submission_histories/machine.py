"""How random histories are drawn: a Hypothesis state machine over several task instances and everything around them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_provider_octospark.parameters.defaults import SETTLE_TIME
from airflow_provider_octospark.submission.journal import PAGE_KEY
from airflow_provider_octospark.submission.rules import Rules
from tests.submission.harness import SUBMIT_TIMEOUT, Job
from tests.submission_histories.histories import HistoryBench, HistoryTask, Running, Strike
from tests.submission_histories.promises import broken

KINDS = ("now", "other", "same", "multi", "mapped")

TRIES_AT_MOST = 40
"""More tries than any history can need until all its tasks have ended."""


@dataclass(frozen=True)
class Trouble:
    """A fault of the emulator, and for which operation; '' for either that submits."""

    operation: str
    fault: str
    options: dict[str, Any] = field(default_factory=dict)


SUBMISSION_TROUBLES = [
    *(
        Trouble("", fault, {"when": when, **options})
        for when in ("before", "after")
        for fault, options in (
            ("reset", {}),
            ("no_answer", {}),
            ("not_json", {}),
            *(("status", {"status": status}) for status in (302, 408, 409, 500, 503)),
        )
    ),
    Trouble("", "truncate"),
    Trouble("", "status", {"status": 400}),
    Trouble("", "status", {"status": 404}),
    Trouble("", "status", {"status": 429, "headers": {"Retry-After": "20"}}),
    Trouble("", "status", {"status": 429, "headers": {"Retry-After": "7200"}}),
    *(Trouble("schedule-multi", "omit_account", {"when": when}) for when in ("before", "after")),
]
READ_TROUBLES = [
    Trouble("get-post", "status", {"status": 500}),
    Trouble("get-post", "status", {"status": 500, "times": 4}),
    Trouble("get-post", "status", {"status": 401}),
    Trouble("get-post", "status", {"status": 404}),
    Trouble("get-post", "not_json"),
]
FATES: list[dict[str, Any]] = [
    {"scenario": "fail", "error_category": "transient"},
    {"scenario": "fail", "error_category": "rate_limited"},
    {"scenario": "fail", "error_category": "auth"},
    {"scenario": "fail", "error_category": "validation"},
    {"scenario": "fail", "error_category": "permanent"},
    {"scenario": "stuck"},
    {"scenario": "cancel"},
    {"scenario": "slow", "seconds": 300.0},
    {"scenario": "fail_but_live", "shown_in": "post"},
    {"scenario": "fail_but_live", "shown_in": "state"},
    {"scenario": "fail_then_publish", "seconds": 400.0},
]
DAMAGES = ("another version", "cut short", "a field too many", "a list", "a record twice", "half a record")

which = st.integers(0, 11)
submission_troubles = st.sampled_from(SUBMISSION_TROUBLES)
strikes = st.builds(
    Strike,
    at=st.integers(0, 22),
    how=st.sampled_from(("kill", "pause", "kill", "pause", "store fails", "store answer lost", "get fails")),
    times=st.sampled_from((1, 1, 1, 4)),
)


@st.composite
def all_rules(draw: st.DrawFn, settle_time: timedelta | None, recurs: bool) -> Rules:
    """How one task wants its submissions treated."""
    return Rules(
        settle_time=settle_time,
        resubmit_failed=draw(st.sampled_from((True, True, False))),
        if_already_submitted=draw(st.sampled_from(("reattach", "reattach", "resubmit", "fail"))),
        repeats=draw(st.sampled_from(("refuse", "allow"))),
        recurs=recurs,
    )


class Histories(RuleBasedStateMachine):
    """One history."""

    def __init__(self, bench: HistoryBench, total: Counter[str]) -> None:
        super().__init__()
        self.bench = bench
        self.total = total
        bench.reset()
        self.targets: list[tuple[int, str]] = []

    @property
    def tasks(self) -> list[HistoryTask]:
        """All task instances."""
        return self.bench.tasks

    # The team at the beginning

    @initialize(
        data=st.data(),
        latest=st.sampled_from(("created", "updated")),
        skew=st.sampled_from((0, -75, 75)),
        settle_time=st.sampled_from((SETTLE_TIME, SETTLE_TIME, None)),
        kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True),
        seasoned=st.sampled_from(("", "x", "linkedin")),
        patient=st.booleans(),
    )
    def begin(
        self,
        data: st.DataObject,
        latest: str,
        skew: int,
        settle_time: timedelta | None,
        kinds: list[str],
        seasoned: str,
        patient: bool,
    ) -> None:
        """Make the team: what it is like, who is in it, and whether the post was out before on some account."""
        bench, service = self.bench, self.bench.service
        service.configure(latest=latest)
        bench.silence_takes = SUBMIT_TIMEOUT if patient else 0.0
        self.settle_time = settle_time
        self.accounts = [service.account_id("x"), service.account_id("linkedin"), service.account_id("youtube")]
        self.posts = [service.posts[0]["id"], service.posts[1]["id"]]
        if seasoned:
            bench.user_action("post_now", self.posts[0], service.account_id(seasoned))  # type: ignore[arg-type]
            bench.advance(7 * 86_400)
        bench.skew = timedelta(seconds=skew)
        bench.advance(2)
        for kind in kinds:
            job = self._job(kind, data)
            if kind == "mapped":
                self.targets = [(0, self.accounts[0]), (1, self.accounts[0]), (0, self.accounts[1])][
                    : data.draw(which) % 3 + 1
                ]
                self.mapped_job = job
                self._map()
            else:
                has_store = data.draw(st.sampled_from((True, True, True, False)), label="has a store")
                HistoryTask(bench, job, name=kind, has_store=has_store, retries=2)

    def _job(self, kind: str, data: st.DataObject) -> Job:
        recurs = data.draw(st.sampled_from((False, False, False, True)), label=f"{kind} recurs")
        options: dict[str, Any] = {
            "rules": data.draw(all_rules(self.settle_time, recurs), label=f"rules of {kind}"),
            "wait": data.draw(st.booleans(), label="waits"),
            "deferrable": data.draw(st.booleans(), label="deferrable"),
            "recurrence_interval_days": 1 if recurs else None,
        }
        if kind == "multi":
            options["accounts_per_call"] = data.draw(st.sampled_from((None, 1, 2)), label="accounts per call")
            hours = data.draw(st.sampled_from((0.6, 3.0)), label="in hours")
            return Job.schedule_multi(self.bench, accounts=self.accounts, hours=hours, **options)
        return Job.post_now(self.bench, account=self.accounts[1 if kind == "other" else 0], **options)

    def _map(self) -> None:
        mapped = [task for task in self.tasks if task.map_index >= 0]
        for index, (post, account) in enumerate(self.targets):
            job = replace(self.mapped_job, post_id=self.posts[post], accounts=(account,))
            if index < len(mapped):
                mapped[index].move_to(job)
            else:
                HistoryTask(self.bench, job, name=f"mapped {index}", map_index=index, retries=2)

    # Airflow

    def _runnable(self) -> list[HistoryTask]:
        return [task for task in self.tasks if task.is_runnable]

    def _held(self) -> list[tuple[HistoryTask, Running]]:
        return [(task, stepped) for task in self.tasks for stepped in task.alive()]

    @precondition(lambda self: self._runnable())
    @rule(which=which)
    def task_runs(self, which: int) -> None:
        """Airflow runs a try, and nothing new befalls it."""
        _one(self._runnable(), which).step()

    @precondition(lambda self: self._runnable())
    @rule(which=which, strike=strikes, lingers=st.booleans())
    def task_runs_into_a_strike(self, which: int, strike: Strike, lingers: bool) -> None:
        """Airflow runs a try, and something happens in the middle."""
        _one(self._runnable(), which).step(strike, lingers=lingers)

    @precondition(lambda self: self._runnable())
    @rule(which=which, trouble=submission_troubles, strike=st.none() | strikes)
    def task_runs_into_trouble(self, which: int, trouble: Trouble, strike: Strike | None) -> None:
        """Airflow runs a try, and its submission fares badly."""
        task = _one(self._runnable(), which)
        if trouble.operation in {"", task.job.kind}:
            self._trouble(replace(trouble, operation=task.job.kind))
        task.step(strike)

    @precondition(lambda self: self._runnable())
    @rule(which=which, part=st.floats(0.0, 0.95), strike=st.none() | strikes)
    def task_runs_and_is_late(self, which: int, part: float, strike: Strike | None) -> None:
        """Airflow runs a try whose submission takes effect late, as late as the rules allow; nobody hears of it."""
        task = _one(self._runnable(), which)
        longest = timedelta(days=2) if self.settle_time is None else self.settle_time
        self._trouble(Trouble(task.job.kind, "late", {"seconds": float(int(longest.total_seconds() * part))}))
        task.step(strike)

    @precondition(lambda self: self._runnable())
    @rule(which=which, scenario=st.sampled_from(FATES))
    def task_meets_a_scenario(self, which: int, scenario: dict[str, Any]) -> None:
        """Airflow runs a try, and the next publication on its account fares otherwise."""
        task = _one(self._runnable(), which)
        account = _one(task.job.accounts, which)
        self.bench.say(f"to come on account {account[:4]}: {scenario}")
        self.bench.seen[f"scenario {scenario['scenario']}"] += 1
        self.bench.service.script(social_account_id=account, times=1, **scenario)
        task.step()

    @precondition(lambda self: self._held())
    @rule(which=which, strike=st.none() | strikes, lingers=st.booleans())
    def process_goes_on(self, which: int, strike: Strike | None, lingers: bool) -> None:
        """A process that was held up, or overtaken, goes on."""
        task, stepped = _one(self._held(), which)
        task.proceed(stepped, strike, lingers=lingers)

    def _running(self) -> list[HistoryTask]:
        return [task for task in self.tasks if task.state == "running"]

    @precondition(lambda self: self._running())
    @rule(which=which, how=st.sampled_from(("kill", "orphan", "stale")))
    def process_is_lost(self, which: int, how: Any) -> None:
        """Airflow loses a process that is held up. Without a store only those are safe that are really dead."""
        task = _one(self._running(), which)
        task.lose(how if task.has_store else "kill")

    def _begun(self) -> list[HistoryTask]:
        return [task for task in self.tasks if task.try_number and (task.has_store or task.state != "running")]

    @precondition(lambda self: self._begun())
    @rule(which=which, shows=st.booleans())
    def task_is_cleared(self, which: int, shows: bool) -> None:
        """A user clears a task."""
        _one(self._begun(), which).clear(shows=shows)

    def _recorded(self) -> list[HistoryTask]:
        return [task for task in self.tasks if PAGE_KEY in task.table.rows]

    @precondition(lambda self: self._recorded())
    @rule(which=which, how=st.sampled_from(("is lost", "is lost", "is lost", *DAMAGES)))
    def record_suffers(self, which: int, how: str) -> None:
        """The store loses what it held, or it is in a form that cannot be read; and the task is cleared."""
        task = _one(self._recorded(), which)
        if how == "is lost":
            task.lose_record()
        else:
            task.damage_record(how)
        if task.state in {"success", "failed", "skipped"}:
            task.clear(shows=True)

    @precondition(lambda self: self.targets)
    @rule(grows=st.booleans())
    def mapped_list_changes(self, grows: bool) -> None:
        """The list that a task is mapped over grows or changes its order."""
        if grows and len(self.targets) < 4:
            self.targets.append((len(self.targets) % 2, self.accounts[len(self.targets) % 3]))
        else:
            self.targets = [*self.targets[1:], self.targets[0]]
        self.bench.say(f"the mapped list is {[(post, account[:4]) for post, account in self.targets]}")
        self.bench.seen["mapped list changed"] += 1
        self._map()

    # The service

    @rule(trouble=st.sampled_from(READ_TROUBLES), skip=st.sampled_from((0, 1, 2)))
    def read_fails(self, trouble: Trouble, skip: int) -> None:
        """A read will fail in some way."""
        self._trouble(trouble, skip=skip)

    def _trouble(self, trouble: Trouble, **more: Any) -> None:
        self.bench.fault(trouble.operation, trouble.fault, **trouble.options, **more)
        name = trouble.options.get("status", trouble.fault)
        self.bench.seen[f"fault {name} {trouble.options.get('when', '')}".strip()] += 1

    @rule(which=which, connected=st.booleans())
    def account_status(self, which: int, connected: bool) -> None:
        """An account's connection lapses, or is renewed."""
        account = _one(self.accounts, which)
        self.bench.say(f"account {account[:4]} is {'' if connected else 'not '}connected")
        self.bench.service.set_account_status(account, "connected" if connected else "refresh_needed")

    @rule(reachable=st.booleans())
    def network(self, reachable: bool) -> None:
        """Connections to the service can no longer be made, or can again."""
        self.bench.say(f"the service is {'' if reachable else 'not '}reachable")
        self.bench.reachable = reachable

    @rule(seconds=st.sampled_from((1, 12, 45, 200, 900, 930, 2400, 86_400)))
    def time_passes(self, seconds: int) -> None:
        """Time passes."""
        self.bench.say(f"{seconds} s pass")
        self.bench.advance(seconds)

    # People

    @rule(
        action=st.sampled_from(("reschedule", "move_to_draft", "cancel", "retry", "post_now")),
        which=which,
        everywhere=st.booleans(),
    )
    def user_action(self, action: str, which: int, everywhere: bool) -> None:
        """A user does something to the post in the app."""
        account = _one(self.accounts, which)
        self.bench.user_action(action, self.posts[0], None if everywhere and action != "post_now" else account)

    def _undecided(self) -> list[HistoryTask]:
        return [task for task in self.tasks if task.state == "failed" and task.decision_keys()]

    @precondition(lambda self: self._undecided())
    @rule(
        which=which,
        decision=st.sampled_from(
            (
                {"decision": "accepted"},
                {"decision": "not_accepted"},
                {"decision": "not_accepted"},
                "sent",
                {"decision": "perhaps"},
            )
        ),
        shows=st.booleans(),
    )
    def person_decides(self, which: int, decision: Any, shows: bool) -> None:
        """A user decides about what is unknown, rightly or wrongly, and clears the task."""
        task = _one(self._undecided(), which)
        task.write_decision(_one(task.decision_keys(), which), decision)
        task.clear(shows=shows)

    # What must hold

    @invariant()
    def promises_are_kept(self) -> None:
        """Nothing is broken so far."""
        self._check()

    def teardown(self) -> None:
        """Let everything come to its end, and look once more."""
        try:
            if self.tasks:
                self._finish()
                self._check()
        finally:
            note(self.bench.story())
            self.bench.close_history()
            self.total.update(self.bench.seen)

    def _finish(self) -> None:
        bench = self.bench
        bench.say("- the end: nothing goes wrong any more -")
        bench.service.clear_faults()
        bench.reachable = True
        for task in self.tasks:
            task.table.failures.clear()
        for task, stepped in self._held():
            task.proceed(stepped)
        for _ in range(TRIES_AT_MOST):
            runnable = [task for task in self._runnable() if task.try_number]
            if not runnable:
                break
            bench.advance(60)
            runnable[0].step()
        else:
            raise AssertionError(f"tasks do not come to an end\n{bench.story()}")
        bench.say("- all that is pending happens -")
        bench.settle()

    def _check(self) -> None:
        found = broken(self.bench)
        assert not found, "\n".join(found)


def _one(several: Any, which: int) -> Any:
    return several[which % len(several)]
