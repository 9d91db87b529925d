"""When the tasks of a case begin to wait and when their posts are published: the same for everyone, and known to both sides."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """All times in seconds after the case begins.

    :param tasks: how many wait, each for a post of its own.
    :param interval: seconds between two polls of a task.
    :param start: ``even``: over one interval; ``herd``: all at once.
    """

    tasks: int
    interval: float
    start: str

    def starts(self, task: int) -> float:
        """When a task begins."""
        return self.interval * task / self.tasks if self.start == "even" else 0.0

    def published(self, task: int) -> float:
        """When its post is published: between the third and the fourth interval, so that several polls are needed."""
        chance = random.Random(task * 7919 + 1)  # noqa: S311 - a schedule
        return self.starts(task) + self.interval * (3.0 + chance.random())
