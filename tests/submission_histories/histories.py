"""A bench on which processes are stopped in the middle, and on which everything that matters is written down."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_octospark.api.models import Post
from airflow_provider_octospark.api.operations import Operation
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.sync_client import OctosparkClient
from airflow_provider_octospark.exceptions import OctosparkError, OctosparkNetworkError
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.polling.wait import Wait
from airflow_provider_octospark.submission.journal import DECISION_KEY, PAGE_KEY
from tests.submission.harness import Action, Bench, Job, Lines, Moment, Process, StateTable, Task, Try, poll
from tests.submission_histories.stepping import Stepped

LOOKS_AT_LEAST = 12
"""After so many looks the triggerer of a history is so busy that it looks only a few times more."""


@dataclass(frozen=True)
class Strike:
    """What befalls a process at one of its points: the ``at``-th from now on.

    ``kill`` ends it there, ``pause`` holds it up there. ``store fails`` lets the next write to the store fail and
    ``store answer lost`` too, but the write lands; ``get fails`` lets the next read fail; ``times`` times in a row.
    """

    at: int
    how: Literal["kill", "pause", "store fails", "store answer lost", "get fails"]
    times: int = 1


@dataclass(frozen=True)
class Fact:
    """A scheduledPost as the service truly has it.

    :param number: of the request that caused it; None for one made by hand.
    :param is_submission: whether it is in the ledger, and not a later occurrence.
    """

    id: str
    number: int | None
    is_submission: bool
    post_id: str
    account: str
    status: str
    category: str | None
    platform_post_id: str | None
    scheduled_at: str
    created_at: datetime
    updated_at: datetime

    @property
    def may_be_live(self) -> bool:
        """Whether it is out, or may still come out without anybody's doing."""
        return self.status not in {"failed", "cancelled", "draft"} or self.platform_post_id is not None


@dataclass(frozen=True)
class Sent:
    """A request that was allowed to leave.

    :param shown: the latest submission of the post, as the process was shown it before.
    :param earlier: the facts, at that moment, of all submissions that the task instance had made before.
    """

    number: int
    task: HistoryTask
    at: datetime
    max_tries: int
    post_id: str
    accounts: tuple[str, ...]
    attempt: str | None
    shown: Fact | None
    earlier: Mapping[tuple[int, str], Fact]


@dataclass(frozen=True)
class Fence:
    """That a request was about to be sent. ``read_at`` is when the post had been read before, by the service's clock."""

    at: datetime
    read_at: datetime


@dataclass
class Sight:
    """What a try was shown of a post: last before it submitted or gave up, and ever, its wait included."""

    read_at: datetime | None = None
    latest: Fact | None = None
    ever: frozenset[str] = frozenset()
    ever_failed: bool = False


@dataclass(frozen=True)
class Report:
    """What Airflow heard from a try, and what was true then.

    :param upto: how many requests had been sent by anybody.
    """

    task: HistoryTask
    try_number: int
    at: datetime
    max_tries: int
    outcomes: list[Outcome]
    notes: list[str]
    error: BaseException | None
    upto: int
    facts: Mapping[str, Fact]
    published: frozenset[str]
    sight: Sight
    page: Any


class Running(Stepped):
    """A process of a task instance, with what leads to it in the triggerer.

    ``wakes_at`` is set while it sleeps, ``has_begun`` once it is a process of a worker.
    """

    def __init__(self, task: HistoryTask, plan: Plan, *, resumed: bool) -> None:
        super().__init__(lambda: task.run_in(self, resumed=resumed))
        self.plan = plan
        self.has_begun = False
        self.wakes_at: datetime | None = None


class Plan(Mapping[int, Action]):
    """What is planned for the points of one try: at most one strike at a time."""

    def __init__(self, bench: HistoryBench) -> None:
        self._bench = bench
        self.carried: dict[str, Any] = {}
        self.sight = Sight()
        self._strike: Strike | None = None
        self._reached = 0
        self._from = 0

    def strike(self, strike: Strike | None) -> None:
        """Plan one, counted from here."""
        self._strike, self._from = strike, self._reached

    def __contains__(self, index: object) -> bool:
        """Whether a process is stopped at a point; then a submission is under way there."""
        return self._is_due(index) and (self._strike is None or self._strike.how in {"kill", "pause"})

    def get(self, index: int, default: Any = None) -> Any:
        """What happens at a point, if anything does."""
        self._reached = index
        return self._act if self._is_due(index) else default

    def _is_due(self, index: object) -> bool:
        if self._bench.stepped_here().is_dead:
            return True
        return self._strike is not None and isinstance(index, int) and index >= self._from + self._strike.at

    def _act(self, moment: Moment) -> None:
        stepped = self._bench.stepped_here()
        stepped.check_alive()
        strike, self._strike = self._strike, None
        task = moment.task
        assert strike is not None
        self._bench.say(f"{task.name}: {strike.how} at point {moment.index}, {moment.name}")
        self._bench.seen[strike.how] += 1
        match strike.how:
            case "kill":
                stepped.is_dead = True
                stepped.check_alive()
            case "pause":
                stepped.pause()
            case "get fails":
                task.table.fail_next("get", strike.times)
            case how:
                task.table.fail_next("set", strike.times, written=how == "store answer lost")

    def __getitem__(self, index: int) -> Action:
        raise KeyError(index)

    def __iter__(self) -> Iterator[int]:
        return iter(())

    def __len__(self) -> int:
        return 1


class WatchingClient:
    """The client of a bench, for reading; it takes note of what was shown."""

    def __init__(self, bench: HistoryBench, client: OctosparkClient) -> None:
        self._bench = bench
        self._client = client

    def request(self, operation: Operation[Any]) -> Any:
        """Read, as the triggerer does."""
        try:
            response = self._client.request(operation)
        except OctosparkError as error:
            self._see(error)
            raise
        self._see(response)
        return response

    def request_all(self, operations: Iterable[Operation[Any]]) -> list[Any]:
        """Read, as the submission does."""
        responses: list[Any] = self._client.request_all(operations)
        sight = self._bench.sight_here()
        for response in responses:
            sight.read_at, sight.latest = self._bench.service.now(), self._see(response)
        return responses

    def _see(self, response: Any) -> Fact | None:
        sight = self._bench.sight_here()
        if not (isinstance(response, Response) and isinstance(response.value, Post)):
            sight.ever_failed = True
            return None
        latest = response.value.latest_scheduled_post
        sight.ever |= {latest.id if latest else ""}
        return self._bench.facts()[latest.id] if latest else None


class HistoryBench(Bench):
    """A bench that can stop processes, and remembers."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # A read that cannot connect is not worth real time: so short a budget leaves room for no second attempt.
        self._astray = OctosparkClient(dataclasses.replace(self._astray._settings, timeout=0.05), self.now)
        self.reset()

    def reset(self) -> None:
        """As new."""
        super().reset()
        self.service.configure(recurrence_limit=3)
        self.tasks: list[HistoryTask] = []
        self.sent: list[Sent] = []
        self.fences: dict[str, Fence] = {}
        self.reports: list[Report] = []
        self.history: list[str] = []
        self.seen: Counter[str] = Counter()
        self.said_not_sent: set[tuple[int, str]] = set()
        self.said_sent: set[tuple[str, str]] = set()
        self.ended_once: set[str] = set()
        self.silence_takes = 0.0
        """After how many virtual seconds a client hears that it gets no response: 0 where the connection breaks."""
        self._here = threading.local()

    @property
    def client(self) -> Any:
        """The client to use now."""
        return WatchingClient(self, super().client)

    def say(self, what: str) -> None:
        """Write a line of the history."""
        self.history.append(f"{self.service.now():%d. %H:%M:%S} {what}")

    # Where we are: in the thread of a process, or outside.

    def enter(self, stepped: Running) -> None:
        """Be in the thread of a process from now on."""
        self._here.stepped, self._here.process = stepped, None

    def enter_process(self, process: Process) -> None:
        """Be in a process of Airflow from now on; before that, in its triggerer."""
        self._here.process = process
        self._here.stepped.has_begun = True

    def stepped_here(self) -> Running:
        """The thread that we are in."""
        stepped: Running = self._here.stepped
        return stepped

    def stepped_if_any(self) -> Running | None:
        """The same, or None outside."""
        return getattr(self._here, "stepped", None)

    def process_here(self) -> Process:
        """The process that we are in."""
        process: Process = self._here.process
        return process

    def sight_here(self) -> Sight:
        """What this try was shown."""
        return self.stepped_here().plan.sight

    def advance_to(self, moment: datetime) -> None:
        """Outside: let time pass. In a process: sleep, while the team goes on."""
        stepped = self.stepped_if_any()
        if stepped is None:
            super().advance_to(moment)
        elif moment > self.now():
            stepped.wakes_at = moment
            stepped.pause()
            stepped.wakes_at = None

    # The truth.

    def facts(self) -> dict[str, Fact]:
        """All scheduledPosts, as the service has them, by id."""
        submissions = {entry["scheduled_post_id"] for entry in self.service.submissions()}
        facts = {entry["id"]: _fact(entry, submissions) for entry in self.service.scheduled_posts()}
        # What is live after this was revived: by a user, or by the service itself, which breaks assumption 2.
        self.ended_once |= {fact.id for fact in facts.values() if not fact.may_be_live}
        return facts

    def numbered(self, operation: Operation[Any]) -> Operation[Any]:
        """Take note of a request that leaves, and put its number into it."""
        assert operation.body is not None
        accounts = operation.body.get("socialAccountIds") or [operation.body["socialAccountId"]]
        task, sight = self.process_here().task, self.sight_here()
        assert isinstance(task, HistoryTask)
        facts = self.facts()
        number = len(self.sent) + 1
        attempts = {
            record["request"]
            for record in records_of(task.table.read(PAGE_KEY))
            if record["state"] == "in_doubt" and record["social_account_id"] in accounts
        }
        self.sent.append(
            Sent(
                number=number,
                task=task,
                at=self.service.now(),
                max_tries=task.max_tries_of(self.process_here()),
                post_id=operation.path[3],
                accounts=tuple(accounts),
                attempt=attempts.pop() if len(attempts) == 1 else None,
                shown=sight.latest,
                earlier={
                    (earlier.number, account): fact
                    for earlier in self.sent
                    if earlier.task is task
                    for account in earlier.accounts
                    if (fact := caused(earlier.number, account, facts.values())) is not None
                },
            )
        )
        settings = {**operation.body.get("platformSettings", {}), "request": number}
        return dataclasses.replace(operation, body={**operation.body, "platformSettings": settings})

    def submit(self, operations: Sequence[Operation[Any]], leave_by: datetime) -> list[Any]:
        """Submit, with a number in each request, by which the ledger tells whose a submission is."""
        numbered = [self.numbered(operation) for operation in operations]
        if self._silences:
            results = [self._send(operation, leave_by) for operation in numbered]
        else:
            results = super().client.submit_all(numbered, leave_by)
        if any(result is None for result in results):
            self.advance(self.silence_takes)
        for operation, result in zip(numbered, results, strict=True):
            said = (
                "accepted"
                if isinstance(result, Response)
                else f"{type(result).__name__} {getattr(result, 'status', '')}"
            )
            self.say(f"   {operation.name} no. {_number_of(operation)}: {'no response' if result is None else said}")
        return [OctosparkNetworkError("silence") if result is None else result for result in results]

    def send_and_lose(self, operation: Operation[Any], leave_by: datetime) -> OctosparkError:
        """As the bench's, numbered."""
        numbered = self.numbered(operation)
        self.say(f"   {operation.name} no. {_number_of(numbered)}: under way")
        return super().send_and_lose(numbered, leave_by)

    def fault(self, operation: Any, fault: Any, **options: Any) -> None:
        """Let one thing go wrong; see `Emulator.fault`."""
        self.say(f"to come: {operation} {fault} {options}")
        super().fault(operation, fault, **options)

    # People.

    def user_action(self, action: Any, post_id: str, account: str | None = None) -> None:
        """Let a user act in the app."""
        before = self.facts()
        self.service.user_action(action, post_id, social_account_id=account)
        after = self.facts()
        changed = [fact.id for fact in after.values() if before.get(fact.id) != fact]
        self.say(f"a user: {action} of post {post_id[:4]}, {account[:4] if account else 'all'}: {len(changed)} changed")
        self.seen[f"person {action}"] += bool(changed)

    def close_history(self) -> None:
        """End all that is left of a history."""
        for task in self.tasks:
            for stepped in task.alive():
                stepped.kill()

    def story(self) -> str:
        """The history, for a user."""
        lines = [*self.history, "the service has:"]
        lines += [
            f"  {fact.id[:8]} no. {fact.number} post {fact.post_id[:4]} account {fact.account[:4]} {fact.status}"
            f" {fact.category or ''} created {fact.created_at:%d. %H:%M:%S}"
            for fact in self.facts().values()
        ]
        lines += [f"  out: {entry['scheduled_post_id'][:8]} at {entry['at']}" for entry in self.service.publications()]
        return "\n".join(lines)


class HistoryTable(StateTable):
    """A task instance's rows; takes note of each fence."""

    def __init__(self, bench: HistoryBench) -> None:
        super().__init__()
        self._bench = bench

    def write(self, key: str, value: Any) -> None:
        """Write, as a process or a user does."""
        super().write(key, value)
        for record in records_of(value) if key == PAGE_KEY else []:
            if record["state"] == "in_doubt" and record["request"] not in self._bench.fences:
                now, sight = self._bench.service.now(), self._bench.sight_here()
                self._bench.fences[record["request"]] = Fence(now, sight.read_at or now)


class HistoryTask(Task):
    """A task instance whose processes can be stopped, lost and overtaken."""

    bench: HistoryBench

    def __init__(self, bench: HistoryBench, job: Job, **options: Any) -> None:
        super().__init__(bench, job, table=HistoryTable(bench), **options)
        self._plans: dict[int, Plan] = {}
        self._max_tries_of: dict[int, int] = {}
        self.stepped: Running | None = None
        self.left_behind: list[Running] = []
        self.began_at = bench.service.now()
        self.has_moved = False
        self.was_damaged = False
        self.is_forgetful = not self.has_store
        bench.tasks.append(self)

    @property
    def is_runnable(self) -> bool:
        """Whether Airflow would run it now."""
        return self.state in {"none", "up_for_retry", "deferred"}

    def alive(self) -> list[Running]:
        """All of its processes that are held up or asleep."""
        return [each for each in [self.stepped, *self.left_behind] if each is not None and not each.ended]

    def max_tries_of(self, process: Process) -> int:
        """What `max_tries` was when a process began."""
        return self._max_tries_of[id(process)]

    # What befalls it

    def step(self, strike: Strike | None = None, *, lingers: bool = False) -> Running:
        """Run the next try, or resume a deferred one, as far as it comes.

        :param lingers: whether it is left asleep where it sleeps.
        """
        assert self.is_runnable
        resumed = self.state == "deferred"
        number = self.try_number if resumed else self.try_number + 1
        plan = self._plans.setdefault(number, Plan(self.bench))
        stepped = self.stepped = Running(self, plan, resumed=resumed)
        self.bench.say(f"{self.name}: try {number} {'resumes' if resumed else 'begins'} (max_tries {self.max_tries})")
        return self.proceed(stepped, strike, lingers=lingers)

    def proceed(self, stepped: Running, strike: Strike | None = None, *, lingers: bool = False) -> Running:
        """Let a process go on that is held up or asleep."""
        stepped.plan.strike(strike)
        while True:
            if stepped.wakes_at is not None:
                self.bench.advance_to(stepped.wakes_at)
            stepped.go()
            if stepped.ended or stepped.wakes_at is None:
                break
            if lingers and stepped.has_begun:
                self.bench.say(f"{self.name}: asleep until {stepped.wakes_at:%H:%M:%S}")
                break
        if stepped.ended and stepped.error is not None and not stepped.is_dead:
            raise stepped.error
        return stepped

    def lose(self, how: Literal["kill", "orphan", "stale"]) -> None:
        """Lose the running process: Airflow takes the try for failed. With ``orphan`` and ``stale`` it lives on.

        An orphan has lost its supervisor; a stale one was given up by Airflow (no heartbeat), and is refused.
        """
        stepped = self.stepped
        assert stepped is not None
        assert self.state == "running"
        self.bench.say(f"{self.name}: its process is lost ({how})")
        self.bench.seen[how] += 1
        if how == "kill":
            stepped.kill()
            return
        process = self._processes[-1]
        process.supervised, process.current = how != "orphan", False
        self.left_behind.append(stepped)
        self.stepped = None
        self.state = "failed" if self.try_number > self.max_tries else "up_for_retry"

    def clear(self, *, shows: bool = True) -> None:
        """A user clears the task; a running process is stale from then on."""
        if self.stepped is not None and not self.stepped.ended:
            self.left_behind.append(self.stepped)
        self.stepped = None
        super().clear(shows=shows)
        self.bench.say(f"{self.name}: cleared, max_tries {self.max_tries}")
        self.bench.seen["clear" if shows else "clear that does not show"] += 1

    def lose_record(self) -> None:
        """Lose all that the store held."""
        self.bench.say(f"{self.name}: the record is lost")
        self.bench.seen["lost record"] += 1
        self.is_forgetful = True
        self.table.lose()

    def damage_record(self, how: str) -> None:
        """Let the page be one that cannot be read."""
        page = self.table.read(PAGE_KEY)
        text = json.dumps(page)
        self.bench.say(f"{self.name}: the record is damaged ({how})")
        self.bench.seen["damaged record"] += 1
        self.was_damaged = True
        if not records_of(page):
            how = "a list"
        self.table.rows[PAGE_KEY] = json.dumps(
            {
                "another version": {"format": 2, "records": records_of(page)},
                "cut short": text[: len(text) // 2],
                "a field too many": {"format": 1, "records": records_of(page), "also": 1},
                "a list": [page],
                "a record twice": {"format": 1, "records": records_of(page) * 2},
                "half a record": {
                    "format": 1,
                    "records": [{**each, "request": None, "state": "in_doubt"} for each in records_of(page)],
                },
            }[how]
        )

    def move_to(self, job: Job) -> None:
        """Let the next try have other targets, as where a mapped list has changed."""
        self.has_moved = self.has_moved or (job.post_id, job.accounts) != (self.job.post_id, self.job.accounts)
        self.job = job

    def decision_keys(self) -> list[str]:
        """The keys that the notes of the latest report name."""
        reports = [report for report in self.bench.reports if report.task is self]
        text = " ".join(reports[-1].notes) if reports else ""
        return re.findall(rf"{re.escape(DECISION_KEY)}\.[0-9a-f-]+\.[0-9a-f]+", text)

    def write_decision(self, key: str, decision: Any) -> None:
        """A user writes a decision under a key that a note named."""
        self.bench.say(f"{self.name}: a user writes {decision} under {key}")
        self.table.rows[key] = json.dumps(decision)
        account, _, attempt = key.removeprefix(f"{DECISION_KEY}.").rpartition(".")
        said = decision.get("decision") if isinstance(decision, dict) else decision
        self.bench.seen[f"decision {said}"] += 1
        if said == "not_accepted":
            bound = any(sent.attempt == attempt for sent in self.bench.sent)
            self.bench.said_not_sent |= {
                (sent.number, account)
                for sent in self.bench.sent
                if sent.task is self and (sent.attempt == attempt or not bound)
            }
        if said == "accepted":
            self.bench.said_sent.add((self.name, account))

    # What runs in the thread of a process

    def run_in(self, stepped: Running, *, resumed: bool) -> None:
        """Run a try, or resume it; only for the thread of ``stepped``."""
        self.bench.enter(stepped)
        if resumed:
            self.resume()
        else:
            self.start(stepped.plan)

    # What one try carries through its deferrals must not be mixed up with what an overtaken one does.

    @property
    def _deferral(self) -> TaskDeferred | None:
        return self._of_try().get("deferral")

    @_deferral.setter
    def _deferral(self, deferral: TaskDeferred | None) -> None:
        self._of_try()["deferral"] = deferral

    @property
    def _event(self) -> Any:
        return self._of_try().get("event")

    @_event.setter
    def _event(self, event: Any) -> None:
        self._of_try()["event"] = event

    def _of_try(self) -> dict[str, Any]:
        stepped = self.bench.stepped_if_any()
        return {} if stepped is None else stepped.plan.carried

    def _process(self, attempt: Try, *, resumed: bool) -> Try:
        super()._process(attempt, resumed=resumed)
        process = self.bench.process_here()
        what = attempt.state if attempt.error is None else f"{type(attempt.error).__name__}: {str(attempt.error)[:200]}"
        self.bench.say(f"{self.name}: {what}" + ("" if process.current else " (nobody hears it)"))
        if process.current and attempt.state in {"success", "skipped", "raised"}:
            self._report(process, attempt)
        return attempt

    def _execute(self, process: Process, attempt: Try, lines: Lines, resumed: bool) -> None:
        self.bench.enter_process(process)
        self._max_tries_of[id(process)] = self.max_tries
        attempt.outcomes = []
        super()._execute(process, attempt, lines, resumed)

    def _trigger(self, wait: Wait) -> None:
        """As the bench's; but a busy triggerer polls at what takes long only a few times more."""
        looks = 0
        while not wait.done:
            now = self.bench.now()
            looks += 1
            next_poll = wait.next_poll(now)
            if looks > LOOKS_AT_LEAST:
                next_poll = max(next_poll, now + (wait.deadline - now) / 3, now + timedelta(minutes=10))
            self.bench.advance_to(next_poll)
            poll(self.bench, wait)

    def _report(self, process: Process, attempt: Try) -> None:
        bench = self.bench
        bench.reports.append(
            Report(
                task=self,
                try_number=self.try_number,
                at=bench.service.now(),
                max_tries=self.max_tries_of(process),
                outcomes=list(attempt.outcomes),
                notes=list(attempt.notes),
                error=attempt.error,
                upto=len(bench.sent),
                facts=bench.facts(),
                published=frozenset(entry["scheduled_post_id"] for entry in bench.service.publications()),
                sight=dataclasses.replace(bench.sight_here()),
                page=self.table.read(PAGE_KEY),
            )
        )
        for outcome in attempt.outcomes:
            bench.seen[f"{outcome.state} {outcome.reason or ''}".strip()] += 1
        for line in attempt.log:
            for words in ("adopting", "It may be sent again", "Submitting again", "Not sending again", "no record"):
                bench.seen[words] += words in line


def records_of(page: Any) -> list[dict[str, Any]]:
    """The records of a page, if it is one."""
    records = page.get("records") if isinstance(page, dict) else None
    return records if isinstance(records, list) else []


def caused(number: int, account: str, facts: Iterable[Fact]) -> Fact | None:
    """What a request caused for an account."""
    for fact in facts:
        if fact.is_submission and fact.number == number and fact.account == account:
            return fact
    return None


def _fact(entry: Any, submissions: set[str]) -> Fact:
    return Fact(
        id=entry["id"],
        number=entry["platformSettings"].get("request"),
        is_submission=entry["id"] in submissions,
        post_id=entry["contentItemId"],
        account=entry["socialAccountId"],
        status=entry["status"],
        category=entry["errorCategory"],
        platform_post_id=entry["platformPostId"] or entry["providerPublishState"].get("platformPostId"),
        scheduled_at=entry["scheduledAt"],
        created_at=datetime.fromisoformat(entry["createdAt"]),
        updated_at=datetime.fromisoformat(entry["updatedAt"]),
    )


def _number_of(operation: Operation[Any]) -> int:
    assert operation.body is not None
    number: int = operation.body["platformSettings"]["request"]
    return number
