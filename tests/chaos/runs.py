"""Many histories at once in one world, and the judgement on all of them when nothing is pending any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from tests.chaos.histories import History
from tests.chaos.judging import Books, problems, summary
from tests.chaos.plans import Plan
from tests.chaos.world import World

CHECK_EVERY: Final = 1.0


@dataclass(frozen=True)
class Judged:
    """A history, what it breaks of the promises, and the lines that tell of it."""

    history: History
    problems: list[str]
    summary: str


def live_all(
    world: World, plans: Iterable[Plan], *, at_once: int, say: Callable[[str], None] = lambda _line: None
) -> list[History]:
    """Let histories happen, so many at a time, until there are no more plans; return them in the order of their ends.

    :raises StackError: if a part of Airflow goes down by itself.
    """
    waiting = iter(plans)
    taking = threading.Lock()
    ended: list[History] = []

    def live_on() -> None:
        while True:
            with taking:
                plan = next(waiting, None)
            if plan is None:
                return
            history = History(plan, world).live()
            ended.append(history)
            say(f"{plan.name} is over: {history.last_told.state if history.last_told else history.trouble}")

    threads = [threading.Thread(target=live_on, daemon=True) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        world.check()
        time.sleep(CHECK_EVERY)
    return ended


def judge_all(world: World, histories: Iterable[History]) -> list[Judged]:
    """Let everything happen that is pending, and judge.

    A process that still runs a task is a problem of every history: whose it is, cannot be told.
    """
    running = world.wait_until_nothing_runs()
    world.control.clock(until_idle=True)
    books = Books(world.control.submissions(), world.control.publications())
    still = [f"still running: {', '.join(running)}"] if running else []
    return [Judged(each, problems(each, books) + still, summary(each, books)) for each in histories]
