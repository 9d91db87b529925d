"""The one table that the benchmark prints: what we need, what others need, and the target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Value:
    """A median, and how it is written.

    :param number: None if there is none, for example because nothing was finished.
    :param unit: what follows it.
    """

    number: float | None
    unit: str

    def __str__(self) -> str:
        if self.number is None:
            return "-"
        size = abs(self.number)
        digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or size == 0 else 4
        return f"{self.number:.{digits}f} {self.unit}".strip()


@dataclass(frozen=True)
class Target:
    """What was aimed at: at most so much, of a value of ours or of a part of somebody's.

    :param at_most: the bound.
    :param of: the name of the one of whose value it is a part; empty for our value itself.
    :param at_least: a bound from below, in place of ``at_most``.
    """

    at_most: float | None = None
    of: str = ""
    at_least: float | None = None


@dataclass(frozen=True)
class Row:
    """One thing that was measured.

    :param what: the thing.
    :param ours: our value.
    :param others: the values of others, by name.
    :param target: what was aimed at, if anything.
    """

    what: str
    ours: Value
    others: tuple[tuple[str, Value], ...] = ()
    target: Target | None = None

    def ratio(self, other: Value) -> float | None:
        """Our value as a part of another."""
        if self.ours.number is None or not other.number:
            return None
        return self.ours.number / other.number

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        number = self.ratio(dict(self.others)[self.target.of]) if self.target.of else self.ours.number
        if number is None:
            return False
        if self.target.at_least is not None:
            return number >= self.target.at_least
        return self.target.at_most is not None and number <= self.target.at_most

    def cells(self) -> list[str]:
        """The row as texts."""
        others = []
        for name, value in self.others:
            ratio = self.ratio(value)
            others.append(f"{name} {value}" + ("" if ratio is None else f" (x {ratio:.2f})"))
        pending = ""
        if self.target is not None:
            bound = self.target.at_most if self.target.at_least is None else self.target.at_least
            sign = "<=" if self.target.at_least is None else ">="
            pending = f"{sign} {bound:g}" + (
                f" of {self.target.of}" if self.target.of else f" {self.ours.unit}".rstrip()
            )
        verdict = {None: "", True: "met", False: "MISSED"}[self.is_met]
        return [self.what, str(self.ours), "; ".join(others), pending, verdict]


HEAD = ["what", "ours", "others (x: ours as a part of it)", "target", ""]


def rendered(rows: Iterable[Row]) -> str:
    """The table as Markdown."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]

    def joined(cells: Sequence[str]) -> str:
        return (
            "| " + " | ".join(cell.ljust(concurrency) for cell, concurrency in zip(cells, widths, strict=True)) + " |"
        )

    ruler = "|" + "|".join("-" * (concurrency + 2) for concurrency in widths) + "|"
    return "\n".join([joined(lines[0]), ruler, *(joined(line) for line in lines[1:])])
