"""One history: a task is let loose, suffers what its plan says, and is followed to its end."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from psutil import Process  # type: ignore[import-untyped]

from tests.chaos.plans import SCHEDULED_IN, Moment, Plan, Strike
from tests.chaos.shapes import TASK_ID
from tests.chaos.world import World, send_signal
from tests.system.rest import RUN_ENDS, TASK_ENDS, Task

ANCHOR_TIMEOUT: Final = 180.0
"""How long a strike waits for its moment; then it does not happen."""
END_TIMEOUT: Final = 420.0
"""How long the end of a task is waited for: settle, on a busy machine, some times over."""
CLEARS: Final = 4
"""So often a user clears a task that ended without a word, such as one that was killed in its last try."""

EXPLAINED_ERRORS: Final = frozenset(
    {"AirflowTaskTimeout", "OctosparkStateStoreError", "AirflowRuntimeError", "BrokenPipeError"}
)
"""What a task may end with that has no word to say: its time was over, or it was cut off from Airflow."""

UNKNOWN_PREFIX: Final = "OCTOSPARK UNKNOWN"

Outcomes = dict[str, dict[str, Any]]
Decision = Literal["accepted", "not_accepted"]


class NoEndError(Exception):
    """A history did not end in its time, or not in a way that means anything."""


@dataclass
class Told:
    """What a history ended with, as a user of Airflow can see it.

    :param state: of the task.
    :param tries: how many it took.
    :param outcomes: what the task handed on, by account.
    :param unknowns: the lines in the log of its last try that tell of something unknown, by account.
    """

    state: str
    tries: int
    outcomes: Outcomes
    unknowns: dict[str, str]


@dataclass
class History:
    """What a plan came to.

    :param happened: what was done to the task and when, in seconds since its start.
    :param told: what it ended with before a user decided about anything.
    :param decided: what a user decided, by account.
    :param told_after: what it ended with after that; else None.
    :param trouble: why it has no end, or None.
    """

    plan: Plan
    world: World
    accounts: list[str] = field(init=False)
    task: Task = field(init=False)
    post_id: str = field(init=False)
    happened: list[str] = field(default_factory=list, init=False)
    told: Told | None = field(default=None, init=False)
    decided: dict[str, Decision] = field(default_factory=dict, init=False)
    told_after: Told | None = field(default=None, init=False)
    trouble: str | None = field(default=None, init=False)
    _begin: float = field(default_factory=time.monotonic, init=False)
    _struck_try: int = field(default=0, init=False)
    _cleared_try: int = field(default=0, init=False)
    _faults: Counter[str] = field(default_factory=Counter, init=False)
    _stopped: list[threading.Timer] = field(default_factory=list, init=False)

    def live(self) -> History:
        """Let it happen from beginning to end; whatever goes wrong with it is its ``trouble``."""
        try:
            self._start()
            for strike in self.plan.strikes:
                self._suffer(strike)
            self.told = self._end()
            self._decide(self.told)
        except Exception as error:  # noqa: BLE001 - one history must not take the others with it
            self.trouble = f"{type(error).__name__}: {error}"
        finally:
            self.world.watch.until(lambda: not any(timer.is_alive() for timer in self._stopped), END_TIMEOUT)
            self.world.watch.leave(self.plan.name)
        return self

    @property
    def last_told(self) -> Told | None:
        """What it ended with."""
        return self.told_after or self.told

    def _start(self) -> None:
        plan, world = self.plan, self.world
        self.accounts = world.accounts[: plan.accounts]
        self.post_id = world.control.add_post(f"chaos {plan.name}")
        for strike in plan.strikes[:1]:
            self._add_fault(strike.fault, strike.at)
        for fault in plan.faults:
            self._add_fault(fault)
        self.task = Task(plan.shape.dag_id, plan.name, TASK_ID)
        conf = {
            "post_id": self.post_id,
            "social_account_ids": self.accounts,
            "scheduled_at": (
                datetime.now(UTC) + timedelta(seconds=SCHEDULED_IN[plan.shape.waits] * world.concurrency)
            ).isoformat(),
            "held_up": plan.held_up,
        }
        world.watch.subscribe(plan.name)
        self._begin = time.monotonic()
        world.trigger(plan.shape.dag_id, plan.name, conf)

    # Strikes.

    def _add_fault(self, fault: Mapping[str, Any] | None, at: Moment = "request") -> None:
        if fault is not None:
            pending = {"operation": self._operation_at(at), "post_id": self.post_id, **fault}
            self._faults[pending["operation"]] += 1
            self.world.watch.add_fault(pending)

    def _arrivals(self, operation: str) -> int:
        """How many calls of an operation faults have struck so far."""
        return self._faults[operation] - self.world.watch.waiting_faults(self.post_id, operation)

    def _operation_at(self, moment: Moment) -> str:
        if moment == "read":
            return "get-post"
        return "post-now" if self.plan.shape.call == "post now" else "schedule-multi"

    def _suffer(self, strike: Strike) -> None:
        arrivals = 0
        if strike is not self.plan.strikes[0]:
            arrivals = self._arrivals(self._operation_at(strike.at))
            self._add_fault(strike.fault, strike.at)
        if not self._await_moment(strike, arrivals):
            self._note(f"missed: {strike}")
            return
        moment = time.monotonic() + strike.after
        try:
            done = self._strike(strike, moment)
        except ProcessLookupError:
            done = False
        view = self.world.watch.view(self.plan.name)
        self._note(f"{strike} (try {view.try_number if view else 0})" if done else f"missed: {strike}")

    def _await_moment(self, strike: Strike, arrivals: int) -> bool:
        watch, name = self.world.watch, self.plan.name

        def is_running() -> bool:
            view = watch.view(name)
            return view is not None and view.state == "running" and view.try_number > self._struck_try

        def is_deferred() -> bool:
            view = watch.view(name)
            return view is not None and view.state == "deferred"

        def has_arrived() -> bool:
            return self._arrivals(self._operation_at(strike.at)) > arrivals

        moments = {"running": is_running, "deferred": is_deferred, "read": has_arrived, "request": has_arrived}
        if strike.at == "end":
            return watch.until(self._has_ended, END_TIMEOUT)
        has_come = moments[strike.at]
        watch.until(lambda: has_come() or self._has_ended(), ANCHOR_TIMEOUT)
        return has_come() and not self._has_ended()

    def _strike(self, strike: Strike, moment: float) -> bool:
        match strike.action:
            case "kill" | "stop":
                # Found before the moment comes: finding takes time.
                victims = self.world.victims(self.task, strike.victims)
                self._sleep_until(moment)
                number = signal.SIGKILL if strike.action == "kill" else signal.SIGSTOP
                if send_signal(number, victims) == 0:
                    return False
                if strike.action == "stop":
                    timer = threading.Timer(strike.seconds, self._continue, (victims,))
                    timer.daemon = True
                    timer.start()
                    self._stopped.append(timer)
                self._struck_try = self._try_number()
            case "clear":
                self._sleep_until(moment)
                self._clear()
            case "kill triggerer":
                self._sleep_until(moment)
                self.world.kill_triggerer()
            case "person posts":
                self._sleep_until(moment)
                another = self.world.accounts[-1]
                self.world.control.user_action("post_now", self.post_id, social_account_id=another)
        return True

    def _continue(self, victims: Sequence[Process]) -> None:
        send_signal(signal.SIGCONT, victims)
        self._note("continued")

    def _clear(self) -> None:
        self._struck_try = self._cleared_try = self._try_number()
        self.world.clear(self.task)

    def _try_number(self) -> int:
        return self.world.rest.task(self.task).try_number

    @staticmethod
    def _sleep_until(moment: float) -> None:
        time.sleep(max(0.0, moment - time.monotonic()))

    def _note(self, event: str) -> None:
        self.happened.append(f"{time.monotonic() - self._begin:.1f} s {event}")

    # The end.

    def _has_ended(self) -> bool:
        view = self.world.watch.view(self.plan.name)
        return view is not None and view.state in TASK_ENDS and view.try_number > self._cleared_try

    def _is_left_behind(self) -> bool:
        """Whether the run is over although its task was cleared: a clear that comes just when Airflow ends the run is lost."""
        view = self.world.watch.view(self.plan.name)
        return (
            view is not None
            and view.state is None
            and self.world.rest.run_state(self.task.dag_id, self.task.run_id) in RUN_ENDS
        )

    def _end(self) -> Told:
        """Wait until the task has ended of itself. One that was killed in its last try is cleared, as a user would."""
        for _ in range(CLEARS):
            if not self.world.watch.until(lambda: self._has_ended() or self._is_left_behind(), END_TIMEOUT):
                raise NoEndError(f"still {self.world.watch.view(self.plan.name)}")
            if not self._has_ended():
                self._note("Airflow ended the run although its task was cleared, so cleared again")
                self._clear()
                continue
            view = self.world.rest.task(self.task)
            if view.state not in TASK_ENDS:
                continue
            told = Told(str(view.state), view.try_number, self._outcomes(), self._unknowns(view.try_number))
            if told.outcomes.keys() == set(self.accounts) and _is_consistent(told):
                self._note(f"{told.state} after try {told.tries}")
                return told
            self._note(f"{told.state} after try {told.tries} without a word, so cleared")
            if error := self._strange_error(told.tries):
                raise NoEndError(f"try {told.tries} broke with {error}")
            self._clear()
        raise NoEndError("it never had a word to say about its end")

    def _strange_error(self, try_number: int) -> str | None:
        """What a try ended with that no kill explains; None for one that was killed, timed out or lost Airflow."""
        log = self.world.rest.log(self.task, try_number)
        errors = re.findall(r"'exc_type': '(\w+)', 'exc_value': (.{,200})", log)
        strange = [f"{kind}: {words}" for kind, words in errors if kind not in EXPLAINED_ERRORS]
        return strange[-1] if strange else None

    def _outcomes(self) -> Outcomes:
        key = "return_value" if self.plan.shape.call == "post now" else "accounts"
        value = self.world.rest.xcom(self.task, key)
        listed = value if isinstance(value, list) else [value]
        return {each["social_account_id"]: each for each in listed if isinstance(each, dict)}

    def _unknowns(self, try_number: int) -> dict[str, str]:
        lines = self.world.rest.log(self.task, try_number).splitlines()
        found = [line for line in lines if UNKNOWN_PREFIX in line]
        return {account: line for account in self.accounts for line in found if account in line}

    # A user.

    def _decide(self, told: Told) -> None:
        """Decide what is in doubt as the message says, by what is true, and clear the task."""
        if self.plan.shape.waits != "no":
            return
        in_doubt = [
            account
            for account, outcome in told.outcomes.items()
            if outcome["state"] == "unknown" and outcome["reason"] in {"in_doubt", "access_lost"}
        ]
        submitted = {
            each["social_account_id"] for each in self.world.control.submissions() if each["post_id"] == self.post_id
        }
        for account in in_doubt:
            decision: Decision = "accepted" if account in submitted else "not_accepted"
            self._write_decision(told, account, decision)
        if in_doubt:
            self._clear()
            self.told_after = self._end()

    def _write_decision(self, told: Told, account: str, decision: Decision) -> None:
        """Write a decision to the address that the message names, in the form that it names."""
        message = told.unknowns.get(account, "")
        address = re.search(rf"PUT /api/v2(\S+octospark\.decision\.{account}\.\w+\S*) with the body", message)
        if address is None or f'{{"value": {{"decision": "{decision}"}}}}' not in message:
            raise NoEndError(f"no message says how to decide about account {account}: {message}")
        self.world.put(address[1], {"value": {"decision": decision}})
        self.decided[account] = decision
        self._note(f"a user decides {decision} about {account[:4]}")


def _is_consistent(told: Told) -> bool:
    """Whether the state is what the outcomes mean; it is not, if a task was killed after it had handed them on."""
    all_is_well = all(outcome["state"] in {"pending", "published"} for outcome in told.outcomes.values())
    return all_is_well == (told.state == "success")
