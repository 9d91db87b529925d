"""What is to befall a task: written by hand, or drawn at random from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal

from tests.chaos.shapes import EXECUTION_TIMEOUT, HEARTBEAT_TIMEOUT, SETTLE_TIME, SHAPES, Shape, Waits

Action = Literal["kill", "stop", "clear", "kill triggerer", "person posts"]
Victims = Literal["task", "supervisor", "both"]
Moment = Literal["running", "read", "request", "deferred", "end"]

LATEST_EFFECT: Final = 25.0
"""The longest time, in seconds, that a request takes to come into effect. With the 30 s within which one may leave after its
fence it is below every settle: assumption 1 holds."""

SCHEDULED_IN: Final[Mapping[Waits, float]] = {"no": 1800.0, "deferred": 100.0, "staying": 45.0}
"""In how many seconds is scheduled what a task publishes that waits so; more, if the machine is slow. Who stays while
waiting keeps others from running, so that it must not be long."""


@dataclass(frozen=True)
class Strike:
    """One thing that befalls a task.

    :param action: ``kill`` and ``stop`` are SIGKILL and SIGSTOP; ``clear`` is a user's, in Airflow; ``person posts`` is a
        user's in Octospark, on another account of the same post.
    :param at: the moment from which ``after`` counts: a process of the task is seen; its next read or its next
        submission has reached the service; it is deferred; it has ended.
    :param after: in seconds.
    :param victims: of ``kill`` and ``stop``.
    :param seconds: how long ``stop`` lasts, until SIGCONT.
    :param fault: what happens to that read or submission; needed to see it arrive.
    """

    action: Action
    at: Moment
    after: float = 0.0
    victims: Victims = "task"
    seconds: float = 0.0
    fault: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        words: list[str] = [self.action]
        if self.action in {"kill", "stop"}:
            words.append(self.victims)
        if self.action == "stop":
            words.append(f"for {self.seconds:.0f} s")
        words.append(f"{self.at}+{self.after:.2f}")
        return " ".join(words)


@dataclass(frozen=True)
class Plan:
    """The history that a task is to have.

    :param accounts: to how many accounts it submits.
    :param held_up: seconds for which its first try is held up between fence and request.
    :param faults: beside those of the strikes, in their order; of its submissions, unless they name an ``operation``.
    """

    name: str
    shape: Shape
    strikes: tuple[Strike, ...]
    accounts: int = 1
    held_up: float = 0.0
    faults: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_hidden(self) -> bool:
        """Whether somebody else touches the post."""
        return any(strike.action == "person posts" for strike in self.strikes)

    @property
    def is_locked_out(self) -> bool:
        """Whether the service refuses to show the post."""
        return any(fault.get("operation") == "get-post" and fault.get("status") == 403 for fault in self.faults)


def delay(seconds: float, when: Literal["before", "after"] = "before") -> dict[str, Any]:
    """The service takes its time, before or after it has processed the request."""
    return {"fault": "delay", "seconds": seconds, "when": when}


def random_plan(seed: int, number: int) -> Plan:
    """The plan of one number: the same for the same seed, whatever else is drawn."""
    random = Random(f"{seed}/{number}")  # noqa: S311 - chance for tests, no secret
    # Who stays while waiting keeps others from running.
    shape = random.choices(SHAPES, [1 if shape.waits == "staying" else 3 for shape in SHAPES])[0]
    accounts = 1 if shape.call == "post now" else random.choice((1, 2, 2, 3))
    strikes = [_strike(random, shape, first=index == 0) for index in range(random.choice((1, 1, 2, 2, 3)))]
    if random.random() < 0.3:
        strikes.append(Strike("clear", "end", random.uniform(0, 3)))
    if shape.waits == "no" and random.random() < 0.12:
        # Who takes the response away and then hides what came of the request leaves it in doubt for good.
        fault = {"fault": "no_answer", "when": random.choice(("before", "after"))}
        strikes.insert(0, Strike("person posts", "request", 0.1, fault=fault))
    return Plan(
        name=f"chaos-{seed}-{number}",
        shape=shape,
        strikes=tuple(strikes),
        accounts=accounts,
        held_up=random.choice((0, 0, 0, 0, random.uniform(0.5, 4), 34)) if not shape.hurried else 0.0,
        faults=tuple(_fault(random, shape, accounts) for _ in range(random.choice((0, 0, 0, 1, 1, 2)))),
    )


def _strike(random: Random, shape: Shape, *, first: bool) -> Strike:
    action: Action = random.choices(("kill", "stop", "clear", "kill triggerer"), (50, 18, 20, 12))[0]
    if action == "kill triggerer":
        if shape.waits != "staying":
            return Strike(action, "deferred", random.uniform(0, 6))
        action = "kill"
    at: Moment = random.choices(("running", "read", "request"), (25, 25, 50 if first else 25))[0]
    after, fault = 0.0, None
    match at:
        case "running":
            after = random.uniform(0, 3)
        case "read":
            # From shortly before the response to shortly after: the fence, and the request, come right behind it.
            seconds = random.uniform(0.8, 2)
            after, fault = seconds + random.uniform(-0.2, 0.6), delay(seconds)
        case "request":
            seconds = _seconds_of_submission(random, shape)
            after, fault = random.uniform(0, seconds + 0.4), delay(seconds, random.choice(("before", "after")))
    victims: Victims = random.choice(("task", "supervisor", "both"))
    seconds = 0.0
    if action == "stop":
        beyond = SETTLE_TIME if random.random() < 0.2 else HEARTBEAT_TIMEOUT
        seconds = beyond + random.uniform(6, 14)
    return Strike(action, at, after, victims, seconds, fault)


def _seconds_of_submission(random: Random, shape: Shape) -> float:
    if shape.hurried and random.random() < 0.7:
        return EXECUTION_TIMEOUT + random.uniform(0, 3)
    return random.uniform(0.6, 2.4)


def _fault(random: Random, shape: Shape, accounts: int) -> dict[str, Any]:
    if shape.hurried:
        return delay(EXECUTION_TIMEOUT + random.uniform(0, 3), random.choice(("before", "after")))
    faults: list[dict[str, Any]] = [
        {"fault": "reset", "when": "before"},
        {"fault": "reset", "when": "after"},
        {"fault": "reset", "when": "after"},
        {"fault": "no_answer", "when": "after"},
        {"fault": "no_answer", "when": "before"},
        {"fault": "late", "seconds": random.uniform(1, LATEST_EFFECT)},
        {"fault": "late", "seconds": random.uniform(1, LATEST_EFFECT)},
        {"fault": "status", "status": 500, "when": "after"},
        {"fault": "status", "status": 500, "when": "after"},
        {"fault": "status", "status": 503, "when": "before"},
        {"fault": "status", "status": 429, "when": "before", "headers": {"Retry-After": "1"}},
        {"fault": "status", "status": 403, "when": "before"},
        {"fault": "truncate"},
        {"fault": "not_json", "when": "after"},
    ]
    if accounts > 1:
        faults += 3 * [{"fault": "omit_account", "when": random.choice(("before", "after"))}]
    return random.choice(faults)
