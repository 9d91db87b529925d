"""Drives the real task (`SubmitTask`) against the emulator over HTTP, in virtual time and without Airflow.

What stands in for Airflow behaves as Airflow 3.3 was seen to: a task state store that survives tries and clears and
takes strict JSON only; a process that a newer one has replaced gets an error on `set` and None on `get`; one without
its supervisor gets BrokenPipeError on both; `max_tries` grows with a clear, unless the clear does not show.

Every access to the store, every reading request and every submission is a *point*, before and after. A test finds the
points of a history by running it once, and then lets something happen at any of them:

    bench = Bench(emulator, client)
    task = Task(bench, Job.post_now(bench))
    task.run({3: kill})            # a first try that dies at its third point
    task.finish()                  # Airflow's retries, until it has an end
    bench.settle()                 # all that is pending comes to its end
    assert task.count()[0].known_outcome == 1
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Literal, NoReturn, Protocol, Self
from urllib.parse import quote

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_octospark.api.client import AsyncOctosparkClient
from airflow_provider_octospark.api.models import PostNowRequest, ScheduleMultiRequest
from airflow_provider_octospark.api.operations import Operation, get_post, post_now, schedule_multi
from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.api.sync_client import OctosparkClient
from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.exceptions import OctosparkError, OctosparkNetworkError
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters.defaults import PartialFailure
from airflow_provider_octospark.parameters.times import format_instant
from airflow_provider_octospark.polling.kept_responses import kept_responses
from airflow_provider_octospark.polling.wait import Wait
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.rules import Rules, Run
from airflow_provider_octospark.tasks.result import UNKNOWN_PREFIX
from airflow_provider_octospark.tasks.submit import SubmitDescription, SubmitTask
from airflow_provider_octospark.triggers.octospark import EVENT_FORMAT

START = datetime(2026, 3, 2, 9, 0, 0, 250_000, tzinfo=UTC)

SUBMIT_TIMEOUT = 300.0
"""The submit_timeout of the imagined connection, in virtual seconds: what a silent submission costs."""

REAL_PATIENCE, REAL_HASTE = 30.0, 0.3
"""Real seconds that the client waits for the response to a reading request: where one comes, and where none will."""

REQUEST_TAKES = 0.4
"""Virtual seconds before a request reaches the service, so that not everything has the same time."""

SILENT = frozenset({"no_answer", "late"})
"""The faults after which the service never answers."""

RETRY_DELAY = timedelta(minutes=5)


class Killed(BaseException):
    """The process is dead: no code of the package runs after this, as none of it catches BaseException."""


@dataclass(frozen=True)
class Moment:
    """Where something happens.

    :param index: the point's number in this try, from 0.
    :param name: what is done there, for example `before set octospark`.
    """

    index: int
    name: str
    task: Task
    process: Process


Action = Callable[[Moment], None]


def kill(moment: Moment) -> NoReturn:
    """End the process at this point."""
    raise Killed(f"at point {moment.index}: {moment.name}")


class Points:
    """Counts the points of one try, and lets happen what is planned for them."""

    def __init__(self, planned: Mapping[int, Action] | Action | None = None) -> None:
        """`planned` maps a point's number to what happens there; a function is called at every point.

        A submission is under way for a while, and its connection is lost, only where a number in `planned` says so.
        """
        self.names: list[str] = []
        self._planned = planned or {}

    @property
    def strikes_next(self) -> bool:
        """Whether something is planned for the next point itself."""
        return not callable(self._planned) and len(self.names) in self._planned

    def reach(self, name: str, task: Task, process: Process) -> None:
        """Be at the next point."""
        index = len(self.names)
        self.names.append(name)
        action = self._planned if callable(self._planned) else self._planned.get(index)
        if action is not None:
            action(Moment(index, name, task, process))


class StoreRefusedError(Exception):
    """What the store answers when it fails."""


class StateTable:
    """The rows of one task instance's state store, which live on the other side of Airflow's API."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.failures: list[tuple[Literal["get", "set"], bool]] = []
        self.writes_before_refusing = False
        """As a `[workers] state_store_backend` does: what a replaced process sets is written, and then refused."""

    def fail_next(self, access: Literal["get", "set"], times: int = 1, *, written: bool = False) -> None:
        """Let the next accesses of a kind fail; with `written`, a set takes effect all the same."""
        self.failures += [(access, written)] * times

    def lose(self, key: str | None = None) -> None:
        """Lose one row, or all of them, as a clear on a later Airflow or a cleaned store does."""
        self.rows = {name: row for name, row in self.rows.items() if key not in {name, None}}

    def read(self, key: str) -> Any:
        """What is stored, for tests and for a user."""
        return json.loads(self.rows[key]) if key in self.rows else None

    def write(self, key: str, value: Any) -> None:
        """Store a value, as a user does through the REST API."""
        self.rows[key] = json.dumps(_strict(value), allow_nan=False)

    def fails(self, access: Literal["get", "set"]) -> tuple[bool, bool]:
        """Whether an access fails now, and whether it takes effect all the same."""
        for index, (kind, written) in enumerate(self.failures):
            if kind == access:
                del self.failures[index]
                return True, written
        return False, True


def _strict(value: Any) -> Any:
    if value is None:
        raise ValueError("None cannot be stored")
    _check_json(value)
    return value


def _check_json(value: Any) -> None:
    if value is None or isinstance(value, str | bool | int | float):
        return
    if isinstance(value, list):
        for each in value:
            _check_json(each)
    elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
        for each in value.values():
            _check_json(each)
    else:
        raise TypeError(f"{type(value).__name__} cannot be stored")


@dataclass
class Process:
    """One process that runs the operator's code: a try, or its resumption after a deferral."""

    task: Task
    points: Points
    supervised: bool = True
    """Without its supervisor every access to the store is a BrokenPipeError."""
    current: bool = True
    """Whether no newer process of the task instance has replaced it."""

    def reach(self, name: str) -> None:
        """Be at the next point."""
        self.points.reach(name, self.task, self)


class ProcessStore:
    """The task state store as one process sees it."""

    def __init__(self, process: Process, table: StateTable) -> None:
        self._process = process
        self.table = table

    def get(self, key: str) -> Any:
        """Read a value."""
        self._process.reach(f"before get {_short(key)}")
        if not self._process.supervised:
            raise BrokenPipeError("no supervisor")
        if self.table.fails("get")[0]:
            raise StoreRefusedError("503")
        value = self.table.read(key) if self._process.current else None
        self._process.reach(f"after get {_short(key)}")
        return value

    def set(self, key: str, value: Any, *, retention: object = None) -> None:
        """Write a value."""
        self._process.reach(f"before set {_short(key)}")
        if not self._process.supervised:
            raise BrokenPipeError("no supervisor")
        if not self._process.current:
            if self.table.writes_before_refusing:
                self.table.write(key, value)
            raise StoreRefusedError("404 Task Instance not found")
        fails, written = self.table.fails("set")
        if written:
            self.table.write(key, value)
        if fails:
            raise StoreRefusedError("503")
        self._process.reach(f"after set {_short(key)}")


def _short(key: str) -> str:
    return "decision" if "decision" in key else key


class Time(Protocol):
    """Virtual time."""

    def now(self) -> datetime:
        """Return aware UTC."""

    def advance(self, seconds: float) -> None:
        """Move on."""


class OurClock:
    """Our own clock: the virtual time, off by the bench's skew."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def now(self) -> datetime:
        """Return aware UTC."""
        return self._bench.now()

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._bench.advance_to(self.now() + timedelta(seconds=seconds))


class TappedApi:
    """The real client, with a point before and after each call, and one while a submission is under way."""

    def __init__(self, process: Process, bench: Bench) -> None:
        self._process = process
        self._bench = bench

    def request_all(self, operations: Iterable[Operation[Any]]) -> list[Any]:
        """Send safe operations."""
        pending = list(operations)
        if not pending:
            return []
        self._process.reach("before request")
        self._bench.advance(REQUEST_TAKES)
        results = self._bench.client.request_all(pending)
        self._process.reach("after request")
        return results

    def submit_all(self, operations: Iterable[Operation[Any]], leave_by: datetime) -> list[Any]:
        """Send submissions."""
        pending = list(operations)
        self._process.reach("before submission")
        self._bench.advance(REQUEST_TAKES)
        bench, results = self._bench, None
        if bench.emulator is not None:
            if self._process.points.strikes_next:
                results = [bench.send_and_lose(operation, leave_by) for operation in pending]
            self._process.reach("during submission")
        if results is None:
            results = bench.submit(pending, leave_by)
        self._process.reach("after submission")
        return results


class BenchHook:
    """Stands in for `OctosparkHook`: a client of the bench, with points, and polls in virtual time."""

    def __init__(self, process: Process, task: Task) -> None:
        self._process = process
        self._bench = task.bench
        self.settings = SimpleNamespace(
            submit_timeout=SUBMIT_TIMEOUT, max_in_flight=task.job.at_once, token=task.bench.settings.token
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def read_only_error(self) -> None:
        """The connection may submit."""

    def get_conn(self) -> TappedApi:
        """The client."""
        return TappedApi(self._process, self._bench)

    def poll(self, wait: Wait) -> list[str]:
        """Read once what is due."""
        return poll(self._bench, wait)


def poll(bench: Bench, wait: Wait) -> list[str]:
    """Read once every post of a wait that is due."""
    lines: list[str] = []
    for post in wait.posts_due(bench.now()):
        try:
            response = bench.client.request(get_post(*post))
        except OctosparkError as error:
            lines += wait.record_error(post, error, bench.now())
        else:
            lines += wait.record_response(post, response, bench.now())
    return lines


def _as_stored(value: Any) -> Any:
    """What Airflow hands back of the arguments of a deferral."""
    return json.loads(json.dumps(value))


class Lines:
    """A log that is kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: str, *args: Any) -> None:
        """Keep a line."""
        self.lines.append(event % args if args else event)

    warning = error = exception = info


class Bench:
    """A service, its clock, and a way to reach it.

    :param emulator: the service; None if it runs in another process.
    :param time: virtual time; default: the emulator's.
    :param skew: by how much our own clock is ahead of the service's.
    """

    def __init__(
        self,
        emulator: Emulator | None,
        settings: ConnectionSettings,
        *,
        time: Time | None = None,
        skew: timedelta = timedelta(0),
    ) -> None:
        self.emulator = emulator
        self.settings = settings
        self.skew = skew
        self._time: Time = time or emulator  # type: ignore[assignment]
        self._patient = OctosparkClient(settings, self.now)
        hasty = replace(settings, timeout=REAL_HASTE)
        self._hasty = OctosparkClient(hasty, self.now)
        # Bound, so that nobody else gets its port, and not listening, so that it refuses connections.
        self._refusing = socket.socket()
        self._refusing.bind(("127.0.0.1", 0))
        port = self._refusing.getsockname()[1]
        self._astray = OctosparkClient(replace(hasty, base_url=f"http://127.0.0.1:{port}"), self.now)
        self._silences: set[str] = set()
        self.reachable = True
        """Whether a connection to the service can be made."""
        self.in_flight_takes = 20.0
        """After how many virtual seconds a submission is processed whose sender died while it was under way."""

    @classmethod
    def on(cls, emulator: Emulator, *, skew: timedelta = timedelta(0)) -> Bench:
        """A bench on an emulator of this process."""
        settings = ConnectionSettings(
            emulator.base_url,
            emulator.token,
            emulator.team_id,
            timeout=REAL_PATIENCE,
            submit_timeout=REAL_PATIENCE,
            trust_env=False,
        )
        return cls(emulator, settings, skew=skew)

    def reset(self) -> None:
        """As new."""
        self.service.reset()
        self.skew = timedelta(0)
        self.reachable = True
        self.in_flight_takes = 20.0
        self._silences = set()

    def close(self) -> None:
        """Close the clients."""
        for client in (self._patient, self._hasty, self._astray):
            client.close()
        self._refusing.close()

    @property
    def service(self) -> Emulator:
        """The emulator, which must run in this process."""
        assert self.emulator is not None
        return self.emulator

    @property
    def client(self) -> OctosparkClient:
        """The client to use now."""
        if not self.reachable:
            return self._astray
        return self._hasty if "get-post" in self._silences else self._patient

    def now(self) -> datetime:
        """Our own clock."""
        return self._time.now() + self.skew

    def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        if seconds > 0:
            self._time.advance(seconds)

    def advance_to(self, moment: datetime) -> None:
        """Let virtual time pass until our clock shows a moment."""
        self.advance((moment - self.now()).total_seconds())

    def fault(self, operation: Any, fault: Any, **options: Any) -> None:
        """Let one thing go wrong; see `Emulator.fault`."""
        if fault in SILENT:
            self._silences.add(operation)
        self.service.fault(operation, fault, **options)

    def settle(self) -> None:
        """Move the clock on until nothing is pending."""
        self.service.advance_until_idle()

    def submit(self, operations: Sequence[Operation[Any]], leave_by: datetime) -> list[Any]:
        """Send submissions; where the service stays silent, virtual time passes instead of real time."""
        if not self._silences.intersection(operation.name for operation in operations):
            return self.client.submit_all(operations, leave_by)
        results = [self._send(operation, leave_by) for operation in operations]
        if any(result is None for result in results):
            self.advance(SUBMIT_TIMEOUT)
        silence = OctosparkNetworkError(f"the connection failed (no whole answer within {SUBMIT_TIMEOUT:g} s).")
        return [silence if result is None else result for result in results]

    def send_and_lose(self, operation: Operation[Any], leave_by: datetime) -> OctosparkError:
        """Send a submission, and lose the connection once it has arrived; it is processed some time later."""
        service = self.service
        in_wait = service.faults([])
        service.clear_faults()
        service.fault(operation.name, "late", seconds=self.in_flight_takes)  # type: ignore[arg-type]
        self._send(operation, leave_by)
        service.faults(in_wait)
        return OctosparkNetworkError(f"{operation.name}: the connection was lost.")

    def _send(self, operation: Operation[Any], leave_by: datetime) -> Any:
        """Send a submission; returns its response or error, or None once the service is silent."""
        service = self.service
        before = len(service.requests())

        def is_silent() -> bool:
            return any(request["fault"] in SILENT for request in service.requests()[before:])

        async def send() -> Any:
            async with AsyncOctosparkClient(self.settings, self.now) as client:
                sending = asyncio.create_task(client.submit(operation, leave_by))
                while not is_silent() and not sending.done():  # noqa: ASYNC110 - told by a thread
                    await asyncio.sleep(0.001)
                sending.cancel()
                await asyncio.wait([sending])
            if sending.cancelled():
                return None
            error = sending.exception()
            if error is None:
                return sending.result()
            assert isinstance(error, OctosparkError)
            return error

        return asyncio.run(send())


@dataclass(frozen=True)
class Job:
    """What a task is asked to do; the operators' parameters.

    :param kind: which operator.
    :param rules: the parameters that become `Rules`.
    """

    kind: Literal["post-now", "schedule-multi"]
    team_id: str
    post_id: str
    accounts: tuple[str, ...]
    scheduled_at: datetime | None = None
    accounts_per_call: int | None = None
    rules: Rules = field(default_factory=Rules)
    wait: bool = False
    deferrable: bool = True
    partial_failure: PartialFailure = "fail"
    recurrence_interval_days: int | None = None
    more_posts: tuple[str, ...] = ()
    at_once: int | None = None
    page_size: int | None = None
    push_response: bool = False

    @classmethod
    def post_now(cls, bench: Bench, *, post: int = 0, account: str | None = None, **options: Any) -> Job:
        """Post one of the emulator's posts to one account, by default the first."""
        service = bench.service
        return cls("post-now", service.team_id, service.posts[post]["id"], (account or x_of(bench),), **options)

    @classmethod
    def schedule_multi(
        cls, bench: Bench, *, post: int = 0, accounts: Sequence[str] | int = 3, hours: float = 6, **options: Any
    ) -> Job:
        """Schedule one of the emulator's posts on some accounts, by default the first three, in some hours."""
        service = bench.service
        if isinstance(accounts, int):
            accounts = [each["id"] for each in service.social_accounts[:accounts]]
        at = (service.now() + timedelta(hours=hours)).replace(microsecond=0)
        return cls("schedule-multi", service.team_id, service.posts[post]["id"], tuple(accounts), at, **options)

    @classmethod
    def batch(cls, bench: Bench, *, posts: int = 4, at_once: int = 2, page_size: int = 2, **options: Any) -> Job:
        """Schedule some of the emulator's posts on the first account, as one batch."""
        first, *others = (post["id"] for post in bench.service.posts[:posts])
        job = cls.schedule_multi(bench, accounts=1, at_once=at_once, page_size=page_size, **options)
        return replace(job, post_id=first, more_posts=tuple(others))

    @property
    def posts(self) -> tuple[str, ...]:
        """The posts of the job."""
        return (self.post_id, *self.more_posts)

    @property
    def announced_rules(self) -> Rules:
        """The rules that `Submission` is given."""
        is_scheduled = self.kind == "schedule-multi"
        return replace(self.rules, recurs=self.recurrence_interval_days is not None, is_scheduled=is_scheduled)

    def announcements(self, intent: str) -> list[Announcement]:
        """What `Submission` is given."""
        return [replace(self, post_id=post).announcement(intent) for post in self.posts]

    def announcement(self, intent: str) -> Announcement:
        """One of them; the request bears the intent's name, so that it can be told in the ledger."""
        options: dict[str, Any] = {"platform_settings": {"intent": intent}}
        if self.recurrence_interval_days is not None:
            options["recurrence_interval_days"] = self.recurrence_interval_days

        def call(accounts: Sequence[str]) -> Operation[Any]:
            if self.kind == "post-now":
                return post_now(
                    self.team_id, self.post_id, PostNowRequest(social_account_id=self.accounts[0], **options)
                )
            assert self.scheduled_at is not None
            request = ScheduleMultiRequest(
                social_account_ids=list(accounts), scheduled_at=format_instant(self.scheduled_at), **options
            )
            return schedule_multi(self.team_id, self.post_id, request)

        def at(instant: datetime) -> Announcement:
            return replace(self, scheduled_at=instant).announcement(intent)

        due = self.scheduled_at
        again = None if due is None else at
        return Announcement(self.team_id, self.post_id, self.accounts, call, due, self.accounts_per_call, again)


def x_of(bench: Bench) -> str:
    """The connected account on X."""
    return bench.service.account_id("x")


End = Literal["success", "skipped", "raised", "killed", "deferred"]
State = Literal["none", "running", "deferred", "up_for_retry", "success", "failed", "skipped"]


@dataclass
class Try:
    """How one try went, so far as it went: one more `resume` may follow if it was deferred."""

    points: Points
    state: End = "success"
    outcomes: list[Outcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: BaseException | None = None
    until: datetime | None = None
    log: list[str] = field(default_factory=list)
    xcoms: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Count:
    """What the service has of one target, by its ledger.

    :param accepted: submissions that it accepted from this intent.
    :param published: what truly went out of these submissions.
    :param on_target: what truly went out on this target, whoever caused it.
    """

    social_account_id: str
    accepted: int
    published: int
    on_target: int


class Task:
    """A task instance as Airflow keeps it, and the operator's code that its processes run.

    :param retries: as the task's parameter.
    :param map_index: -1 if it is not mapped.
    :param has_store: False before Airflow 3.3.
    :param name: names the intent in the ledger; must be unique on a bench.
    :param table: where its state is; by default one of its own.
    """

    def __init__(
        self,
        bench: Bench,
        job: Job,
        *,
        retries: int = 3,
        map_index: int = -1,
        has_store: bool = True,
        run_after: datetime | None = None,
        is_backfill: bool = False,
        name: str = "task",
        table: StateTable | None = None,
    ) -> None:
        self.bench = bench
        self.job = job
        self.retries = retries
        self.max_tries = retries
        self.try_number = 0
        self.map_index = map_index
        self.has_store = has_store
        self.run_after = run_after or bench.now()
        self.is_backfill = is_backfill
        self.name = name
        self.table = table or StateTable()
        self.state: State = "none"
        self.tries: list[Try] = []
        self._processes: list[Process] = []
        self._deferral: TaskDeferred | None = None
        self._event: Any = None
        self._give_up: str | None = None

    # What Airflow does

    def start(self, planned: Mapping[int, Action] | Action | None = None) -> Try:
        """Begin the next try; returns when it has ended or deferred."""
        self.try_number += 1
        self._deferral = self._give_up = None
        attempt = Try(Points(planned))
        self.tries.append(attempt)
        return self._process(attempt, resumed=False)

    def resume(self) -> Try:
        """Carry on with a try that was deferred, at the time that it waits for."""
        attempt = self.tries[-1]
        assert self.state == "deferred"
        if attempt.until is not None:
            self.bench.advance_to(attempt.until)
        elif self._deferral is not None and self._deferral.kwargs is not None:
            wait = Wait.from_json(_as_stored(self._deferral.kwargs["wait"]))
            self._trigger(wait)
            self._event = {"format": EVENT_FORMAT, "outcomes": [outcome.as_json() for outcome in wait.outcomes]}
            if (responses := kept_responses(wait, self.bench.service.token)) is not None:
                self._event["responses"] = responses
        return self._process(attempt, resumed=True)

    def resume_without_event(self, why: str) -> Try:
        """Carry on with a try that was deferred and that no trigger took over."""
        assert self.state == "deferred"
        self._deferral, self._give_up = None, why
        return self._process(self.tries[-1], resumed=True)

    def run(self, planned: Mapping[int, Action] | Action | None = None) -> Try:
        """Begin the next try, and carry on after its deferrals until it has ended."""
        attempt = self.start(planned)
        while self.state == "deferred":
            attempt = self.resume()
        return attempt

    def retry(self, planned: Mapping[int, Action] | Action | None = None, *, delay: timedelta = RETRY_DELAY) -> Try:
        """Let Airflow's delay pass, and run the next try."""
        assert self.state == "up_for_retry"
        self.bench.advance(delay.total_seconds())
        return self.run(planned)

    def finish(self, *, delay: timedelta = RETRY_DELAY) -> Try:
        """Carry on, and retry as Airflow does, until it succeeds, is skipped or fails; returns the last try."""
        while True:
            if self.state == "deferred":
                self.resume()
            elif self.state == "none":
                self.start()
            elif self.state == "up_for_retry":
                self.retry(delay=delay)
            else:
                return self.tries[-1]

    def clear(self, *, shows: bool = True) -> None:
        """A user clears the task; a running process is replaced. With `shows`, `max_tries` grows."""
        for process in self._processes:
            process.current = False
        if shows:
            self.max_tries = self.try_number + self.retries
        self.state = "none"

    def decide(self, account: str, decision: Any) -> str:
        """A user writes a decision under the key that the latest try's note names; returns the key."""
        note = next(note for note in self.tries[-1].notes if f"account {account}" in note)
        named = re.search(r"octospark\.decision\.[^\s?]+", note)
        assert named is not None, note
        self.table.write(named[0], decision)
        return named[0]

    # What the operator does

    def _process(self, attempt: Try, *, resumed: bool) -> Try:
        for older in self._processes:
            older.current = False
        process = Process(self, attempt.points)
        self._processes.append(process)
        self.state = "running"
        lines = Lines()
        attempt.error = attempt.until = None
        try:
            self._execute(process, attempt, lines, resumed)
        except Killed as error:
            attempt.state, attempt.error = "killed", error
        except AirflowSkipException as error:
            attempt.state, attempt.error = "skipped", error
        except Exception as error:  # noqa: BLE001 - whatever a task raises ends it
            attempt.state, attempt.error = "raised", error
        attempt.log += lines.lines
        # A process that was replaced while it ran decides nothing any more.
        if process.current:
            self.state = self._state_after(attempt)
        return attempt

    def _state_after(self, attempt: Try) -> State:
        match attempt.state:
            case "success" | "skipped" | "deferred":
                return attempt.state
            case _:
                fails = isinstance(attempt.error, AirflowFailException) or self.try_number > self.max_tries
                return "failed" if fails else "up_for_retry"

    def _execute(self, process: Process, attempt: Try, lines: Lines, resumed: bool) -> None:
        """Run the task itself, as an operator does in ``execute``, ``resume_submission`` and ``execute_complete``."""
        deferral, self._deferral = self._deferral, None
        kwargs = deferral.kwargs if resumed and deferral is not None and deferral.kwargs else {}
        task = SubmitTask(
            self._description(attempt),
            self._context(process),  # type: ignore[arg-type]
            lines,
            resumed=resumed,
            page=kwargs.get("page"),
            clock=OurClock(self.bench),
            connect=lambda _: BenchHook(process, self),  # type: ignore[arg-type,return-value]
        )
        try:
            if resumed and deferral is not None and deferral.method_name == "execute_complete":
                task.complete(self._event, _as_stored(kwargs["wait"]), kwargs.get("notes"))
            else:
                task.start(cannot_defer=self._give_up)
        except TaskDeferred as deferred:
            attempt.state, self._deferral = "deferred", deferred
            is_wait = deferred.method_name == "execute_complete"
            attempt.until = None if is_wait else deferred.trigger.moment
        else:
            attempt.state = "success"
        finally:
            attempt.notes += [
                line for line in lines.lines if UNKNOWN_PREFIX in line and "It is not known whether" in line
            ]

    def _description(self, attempt: Try) -> SubmitDescription:
        job = self.job

        def result(outcomes: Sequence[Outcome]) -> Any:
            attempt.outcomes = list(outcomes)
            return [outcome.as_json() for outcome in outcomes]

        return SubmitDescription(
            octospark_conn_id="octospark",
            to_submit=lambda _: job.announcements(self.name),
            rules=lambda: job.announced_rules,
            result=result,
            extra_xcoms=lambda _: {},
            page_size=job.page_size if job.at_once is not None else None,
            partial_failure=job.partial_failure,
            wait_for_completion=job.wait,
            deferrable=job.deferrable,
            push_response=job.push_response,
        )

    def _context(self, process: Process) -> dict[str, Any]:
        names = {"dag_id": "dag", "run_id": "run", "task_id": self.name, "map_index": self.map_index}
        tries = {"try_number": self.try_number, "max_tries": self.max_tries}
        run_type = "backfill" if self.is_backfill else "scheduled"
        context: dict[str, Any] = {
            "ti": SimpleNamespace(
                **names, **tries, xcom_push=lambda *, key, value: self.tries[-1].xcoms.update({key: _as_stored(value)})
            ),
            "dag_run": SimpleNamespace(run_after=self.run_after, run_type=run_type),
        }
        return {**context, "task_state_store": ProcessStore(process, self.table)} if self.has_store else context

    @property
    def state_store(self) -> str | None:
        """Where a user finds the store in Airflow's REST API, with `{key}` for the key."""
        index = f"?map_index={self.map_index}" if self.map_index >= 0 else ""
        name = quote(self.name, safe="")
        path = f"/api/v2/dags/dag/dagRuns/run/taskInstances/{name}/state-store/{{key}}{index}"
        return path if self.has_store else None

    def run_facts(self) -> Run:
        return Run(
            "dag",
            "run",
            self.name,
            self.map_index,
            self.try_number,
            self.max_tries,
            self.run_after,
            self.is_backfill,
            self.state_store,
        )

    def _trigger(self, wait: Wait) -> None:
        """As the triggerer: poll until all has ended; nothing of it can be killed in a way that matters."""
        bench = self.bench
        while not wait.done:
            bench.advance_to(wait.next_poll(bench.now()))
            poll(bench, wait)

    # What the ledger says

    def count(self) -> list[Count]:
        """What the service has of each of the job's targets, in their order; see `Bench.settle`."""
        return [count for post in self.job.posts for count in self._count(post)]

    def _count(self, post: str) -> list[Count]:
        service = self.bench.service
        ours = {
            each["id"] for each in service.scheduled_posts(post) if each["platformSettings"].get("intent") == self.name
        }
        accepted = [each for each in service.submissions() if each["scheduled_post_id"] in ours]
        published = [each for each in service.publications() if each["post_id"] == post.lower()]
        return [
            Count(
                account,
                sum(each["social_account_id"] == account.lower() for each in accepted),
                sum(
                    each["social_account_id"] == account.lower() and each["scheduled_post_id"] in ours
                    for each in published
                ),
                sum(each["social_account_id"] == account.lower() for each in published),
            )
            for account in self.job.accounts
        ]

    @property
    def ends(self) -> list[str]:
        """The end of each target as the latest try reports it."""
        return [outcome.state for outcome in self.tries[-1].outcomes]
