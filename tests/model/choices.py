"""Choices: where a history may depart from the good case, and the exploration of all combinations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field


class Covered(Exception):  # noqa: N818 - it ends a history, it is no error
    """What follows was explored from an equal state."""


@dataclass
class Choices:
    """The choices of one history.

    :param departures: which option is taken at which choice; the first one everywhere else.
    :param seen: the states before and after a try that were explored, with the number of departures that were left.
    :param left: how many departures may follow those of this history.
    """

    departures: dict[int, int]
    seen: dict[Hashable, int]
    left: int
    met: list[Sequence[str]] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)

    def choose(self, name: str, *options: str) -> str:
        """Return the option that this history takes."""
        index = len(self.met)
        self.met.append(options)
        option = options[self.departures.get(index, 0)]
        if index in self.departures:
            self.taken.append(f"{name}: {option}")
        return option

    def reach(self, state: Hashable) -> None:
        """Be at a state that decides all that follows.

        :raises Covered: if the histories that follow were explored.
        """
        if len(self.met) <= max(self.departures, default=-1):
            # A departure is still to come: this is the beginning of another history.
            return
        if self.seen.get(state, -1) >= self.left:
            raise Covered
        self.seen[state] = self.left


@dataclass
class Explored:
    """What an exploration has seen."""

    histories: int = 0
    states: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


def explore(run: Callable[[Choices], list[str]], depth: int, *, violations_at_most: int = 1) -> Explored:
    """Run every history with at most ``depth`` departures; stop at violations.

    :param run: runs one history and returns what it violates.
    """
    explored = Explored()
    seen: dict[Hashable, int] = {}
    pending: list[dict[int, int]] = [{}]
    while pending:
        departures = pending.pop()
        choices = Choices(departures, seen, depth - len(departures))
        try:
            violations = run(choices)
        except Covered:
            violations = []
        explored.histories += 1
        explored.kinds.update(choices.taken)
        if violations:
            explored.violations += ["; ".join(choices.taken), *violations]
            if len(explored.violations) > violations_at_most:
                break
        if len(departures) < depth:
            pending += [
                {**departures, index: option}
                for index in range(max(departures, default=-1) + 1, len(choices.met))
                for option in range(1, len(choices.met[index]))
            ]
    explored.states = len(seen)
    return explored
