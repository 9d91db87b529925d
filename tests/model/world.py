"""A model of Airflow and of the network around the real task: its tries, its store, its clocks, and what befalls them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Literal, Self

from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_octospark.api.models import AccountResult, ScheduleMultiResponse
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.exceptions import (
    OctosparkConflictError,
    OctosparkError,
    OctosparkNetworkError,
    OctosparkRateLimitError,
    OctosparkRequestError,
    OctosparkServerError,
    OctosparkStateStoreError,
)
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters.defaults import SETTLE_TIME, Repeats
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.rules import Rules
from airflow_provider_octospark.tasks.submit import SubmitDescription, SubmitTask
from tests.model.choices import Choices
from tests.model.service import OCCURRENCE, POST, START, TEAM, Service

RETRIES = 4
RETRY_DELAY = 300.0
TRIES_AT_MOST = 12
SCHEDULED = 20_000.0

SETTLE, REFUSAL_IS_FINAL, CLOCKS, USER = "settle_time", "a 4xx is final", "clocks", "a user's decision is true"
"""The assumptions that a departure may break; what follows then is not held against the task."""


SUBMISSIONS = (
    "ok, accepted",
    "killed, not accepted",
    "killed, accepted",
    "killed, accepted 20 s later",
    "lost, accepted",
    "lost, not accepted",
    "lost, accepted late",
    "lost, accepted too late",
    "400, not accepted",
    "400, accepted",
    "429, not accepted",
    "429, accepted",
    "500, not accepted",
    "500, accepted",
    "409, not accepted",
    "409, accepted",
    "ok, accepted and fails with transient",
    "ok, accepted and fails with permanent",
    "lost, accepted and fails with transient",
)


BEGINNINGS = ("ok", "no store", "scheduler 90 s ahead", "later worker 60 s slow", "scheduler 10 min ahead")
READS = ("ok", "killed", "500", "same target", "other account", "cancel", "reschedule")
ACTS = ("nothing", "same target", "other account", "cancel", "reschedule")
ENDS = (
    "nothing",
    "clear",
    "clear that does not show",
    "lost record",
    "damaged record",
    "list changes",
    "list grows",
    "decision accepted",
    "decision not_accepted",
)
DEFERRED = ("ok", "killed", "lost record")
WRITES = ("ok", "killed before", "killed after", "fails")


class Killed(BaseException):
    """The process is dead."""


@dataclass(frozen=True)
class Setting:
    """What is explored.

    :param accounts: of the post.
    :param latest: by what the service chooses the submission that it shows.
    :param recurs: whether the post comes again.
    :param repeats: what another submission of the same target means.
    :param deferrable: whether the triggerer waits for what is in doubt.
    """

    accounts: tuple[str, ...]
    latest: Literal["created", "updated"]
    recurs: bool
    repeats: Repeats
    deferrable: bool

    def __str__(self) -> str:
        words = ["recurring" if self.recurs else "plain", "repeats" if self.repeats == "allow" else "no repeats"]
        words += ["deferrable"] if self.deferrable else []
        return ", ".join((f"{len(self.accounts)} accounts", f"latest {self.latest}", *words))


class World:
    """One history of one task instance."""

    def __init__(self, setting: Setting, choices: Choices) -> None:
        self.setting = setting
        self.choices = choices
        self.service = Service(setting.latest, recurs=setting.recurs)
        self.accounts = setting.accounts
        self.rows: dict[str, str] = {}
        self.has_store = True
        self.skew = timedelta(0)
        self.later_skew = timedelta(0)
        self.run_after = START
        self.try_number = 0
        self.max_tries = RETRIES
        self.broken: set[str] = set()
        self.violations: list[str] = []
        self.outcomes: list[Outcome] = []
        self.cleared_at = -1.0
        """When a clear last raised max_tries."""
        self._deferral: TaskDeferred | None = None

    # The history

    def run(self) -> list[str]:
        """Let the task come to its end; return what is violated."""
        self._begin()
        self.service.advance(2)
        state = "none"
        while state != "done" and self.try_number < TRIES_AT_MOST and not self.violations:
            if state in {"none", "retry"}:
                self.choices.reach(self._state())
                state = self._try()
                if not self.violations:
                    self.choices.reach((state, *self._state()))
            self._between()
            if state == "retry":
                self.service.advance(RETRY_DELAY)
            elif state != "killed":
                state = self._after_end(state)
            if state == "killed":
                self.service.advance(RETRY_DELAY)
                state = "retry" if self.try_number <= self.max_tries else "done"
        self.service.advance(2 * OCCURRENCE)
        return self.violations

    def _state(self) -> tuple[Any, ...]:
        rows = tuple(sorted(self.rows.items())) if self.has_store else ()
        clocks = (self.has_store, self.skew, self.later_skew, self.run_after)
        tries = (self.try_number, self.max_tries, self.accounts, self.cleared_at)
        return rows, clocks, tries, frozenset(self.broken), self.service.state(), str(self.setting)

    def _begin(self) -> None:
        match self.choices.choose("begin", *BEGINNINGS):
            case "no store":
                self.has_store = False
            case "scheduler 90 s ahead":
                self.run_after += timedelta(seconds=90)
                self.has_store = False
            case "later worker 60 s slow":
                self.later_skew = timedelta(seconds=-60)
                self.has_store = False
            case "scheduler 10 min ahead":
                self.run_after += timedelta(minutes=10)
                self.has_store = False
                self.broken.add(CLOCKS)

    def _try(self) -> str:
        self.try_number += 1
        if self.try_number > 1:
            self.skew = self.later_skew
        context: dict[str, Any] = {
            "ti": SimpleNamespace(
                dag_id="dag",
                run_id="run",
                task_id="task",
                map_index=-1,
                try_number=self.try_number,
                max_tries=self.max_tries,
                xcom_push=lambda **_: None,
            ),
            "dag_run": SimpleNamespace(run_after=self.run_after, run_type="scheduled"),
        }
        if self.has_store:
            context["task_state_store"] = _Store(self)
        self._deferral = None
        try:
            while self._run(context):
                pass
        except Killed:
            return "killed"
        except Exception as error:  # noqa: BLE001 - as Airflow does
            if not isinstance(error, OctosparkError):
                self.violations.append(f"a try breaks with {error!r}")
            self._check(error)
            fails = isinstance(error, AirflowFailException) or self.try_number > self.max_tries
            return "failed" if fails else "retry"
        self._check(None)
        return "success"

    def _run(self, context: dict[str, Any]) -> bool:
        """Run a process of the task; return whether it was deferred."""
        self.outcomes = []
        deferral, self._deferral = self._deferral, None
        try:
            SubmitTask(
                self._description(),
                context,  # type: ignore[arg-type]
                _Silent(),
                resumed=deferral is not None,
                page=(deferral.kwargs or {}).get("page") if deferral is not None else None,
                clock=_Clock(self),
                connect=lambda _: _Hook(self),  # type: ignore[arg-type,return-value]
            ).start()
        except TaskDeferred as deferred:
            self._deferral = deferred
            seconds = (deferred.trigger.moment - _Clock(self).now()).total_seconds()
            match self.choices.choose("deferred", *DEFERRED):
                case "killed":
                    raise Killed from None
                case "lost record":
                    self.rows.clear()
            self.service.advance(seconds)
            return True
        return False

    def _description(self) -> SubmitDescription:
        def result(outcomes: Sequence[Outcome]) -> None:
            self.outcomes = list(outcomes)

        return SubmitDescription(
            octospark_conn_id="octospark",
            to_submit=lambda _: [self._announcement()],
            rules=lambda: Rules(recurs=self.setting.recurs, repeats=self.setting.repeats),
            result=result,
            extra_xcoms=lambda _: {},
            deferrable=self.setting.deferrable,
        )

    def _announcement(self) -> Announcement:
        is_now = len(self.setting.accounts) == 1
        due = None if is_now else START + timedelta(seconds=SCHEDULED)
        return Announcement(TEAM, POST, self.accounts, lambda some: tuple(some), due, 1)  # type: ignore[arg-type,return-value]

    # What people and machines do

    def _between(self) -> None:
        self._act(self.choices.choose("between", *ACTS))

    def _act(self, action: str) -> None:
        ours = next((each for each in reversed(self.service.submissions) if each.by_task), None)
        match action:
            case "same target":
                self.service.accept(self.accounts[0], None, by_task=False)
                self.service.advance(1)
            case "other account":
                self.service.accept("other", None, by_task=False)
                self.service.advance(1)
            case "cancel" if ours is not None and ours.status == "scheduled":
                self.service.change(ours, status="cancelled")
            case "reschedule" if ours is not None and ours.status == "scheduled":
                self.service.change(ours, due=ours.due + 3600)

    def _after_end(self, state: str) -> str:
        option = self.choices.choose("after the end", *ENDS)
        if option == "nothing":
            return "done" if state != "retry" else state
        if option == "lost record":
            self.rows.clear()
        elif option == "damaged record":
            self.rows = dict.fromkeys(self.rows, '{"format": 2}')
        elif option.startswith("decision "):
            self._decide(option.removeprefix("decision "))
        elif option == "list changes":
            self.accounts = ("b",) if self.accounts[0] == "a" else ("a",)
        elif option == "list grows":
            self.accounts = (*self.accounts, "c")
        if option != "clear that does not show":
            self.max_tries = self.try_number + RETRIES
            self.cleared_at = self.service.seconds
        self.service.advance(60)
        return "none"

    def _decide(self, decision: str) -> None:
        page = json.loads(self.rows.get("octospark", "{}"))
        for record in page.get("records", []):
            if record["state"] == "in_doubt":
                key = f"octospark.decision.{record['social_account_id']}.{record['request']}"
                self.rows[key] = json.dumps({"decision": decision})
                of_task = [
                    each
                    for each in self.service.submissions
                    if each.by_task and each.account == record["social_account_id"]
                ]
                if bool(of_task) != (decision == "accepted"):
                    self.broken.add(USER)

    # What must hold

    def _check(self, error: Exception | None) -> None:
        """Nothing that a try reports may contradict the service."""
        if self.broken or isinstance(error, OctosparkStateStoreError):
            return
        for outcome in self.outcomes:
            account = outcome.social_account_id
            of_task = [each for each in self.service.submissions if each.by_task and each.account == account]
            if outcome.state == "failed" and any(each.is_live for each in of_task):
                self.violations.append(f"{account} is reported as failed ({outcome.reason}), and is live")
            published = [each.id for each in self.service.submissions if each.status == "published"]
            if outcome.state == "published" and outcome.scheduled_post_id not in published:
                self.violations.append(f"{account} is reported as published, and is not")
        if error is None:
            sent = {each.account for each in self.service.submissions}
            self.violations += [f"success, and {each} was never sent" for each in self.accounts if each not in sent]

    def _check_request(self, account: str) -> None:
        """Nothing that this task submitted may stand in the way of a request that is accepted."""
        if self.broken:
            return
        earlier = [each for each in self.service.submissions if each.by_task and each.account == account]
        frees = [
            each
            for each in earlier
            if each.status == "failed" and (each.category == "transient" or self.cleared_at >= each.updated)
        ]
        if len(frees) < len(earlier) or self.service.is_under_way(account):
            self.violations.append(f"{account} is submitted again beside {[each.id for each in earlier]}")

    # What the task sees of it

    def read(self) -> Any:
        """Read the post."""
        self.service.advance(1)
        option = self.choices.choose("read", *READS)
        if option == "killed":
            raise Killed
        if option == "500":
            return OctosparkServerError("500", status=500)
        self._act(option)
        return Response(self.service.post(), self.service.now().replace(microsecond=0))

    def name(self) -> str:
        """Name a request."""
        return f"{int(self.service.seconds):08x}"

    def submit(self, account: str) -> Any:
        """Send a request for one account."""
        self.service.advance(1)
        due = None if len(self.setting.accounts) == 1 else SCHEDULED
        late, too_late = SETTLE_TIME.total_seconds() * 0.6, SETTLE_TIME.total_seconds() + 60
        option = self.choices.choose("submit", *SUBMISSIONS)
        kind, _, effect = option.partition(", ")
        if effect != "not accepted":
            self._check_request(account)
        if " and fails with " in effect:
            effect, self.service.fails_next = effect.split(" and fails with ")
        match effect:
            case "not accepted":
                accepted = None
            case "accepted 20 s later":
                accepted = self.service.accept(account, due, by_task=True, after=20)
            case "accepted late":
                accepted = self.service.accept(account, due, by_task=True, after=late)
            case "accepted too late":
                self.broken.add(SETTLE)
                accepted = self.service.accept(account, due, by_task=True, after=too_late)
            case _:
                accepted = self.service.accept(account, due, by_task=True)
        match kind:
            case "killed":
                raise Killed
            case "lost":
                return OctosparkNetworkError("lost")
            case "400" | "429" if effect == "accepted":
                self.broken.add(REFUSAL_IS_FINAL)
        match kind:
            case "400":
                return OctosparkRequestError("400", status=400)
            case "429":
                return OctosparkRateLimitError("429", status=429, retry_after=5.0)
            case "500":
                return OctosparkServerError("500", status=500)
            case "409":
                return OctosparkConflictError("409", status=409)
        assert accepted is not None
        view = accepted.view()
        return Response(
            ScheduleMultiResponse(data=[AccountResult(social_account_id=account, scheduled_post=view)]),
            self.service.now(),
        )


class _Clock:
    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> datetime:
        return self._world.service.now() + self._world.skew

    def sleep(self, seconds: float) -> None:
        if self._world.choices.choose("sleep", "ok", "killed") == "killed":
            raise Killed
        self._world.service.advance(seconds)


class _Hook:
    def __init__(self, world: World) -> None:
        self._world = world
        self.settings = SimpleNamespace(submit_timeout=300.0, max_in_flight=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def read_only_error(self) -> None:
        pass

    def get_conn(self) -> _Hook:
        return self

    def request_all(self, operations: Iterable[Any]) -> list[Any]:
        return [self._world.read() for _ in operations]

    def submit_all(self, operations: Iterable[Any], leave_by: datetime) -> list[Any]:
        return [self._world.submit(account) for (account,) in operations]


class _Store:
    def __init__(self, world: World) -> None:
        self._world = world

    def get(self, key: str) -> Any:
        return json.loads(self._world.rows[key]) if key in self._world.rows else None

    def set(self, key: str, value: Any, *, retention: object = None) -> None:
        match self._world.choices.choose("write", *WRITES):
            case "killed before":
                raise Killed
            case "fails":
                raise OSError("503")
            case option:
                self._world.rows[key] = json.dumps(value)
                if option == "killed after":
                    raise Killed


class _Silent:
    def info(self, event: str, *args: Any) -> None:
        pass

    warning = error = exception = info
