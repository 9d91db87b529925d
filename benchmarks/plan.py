"""What a run of the benchmark consists of; a group of rows is a module that makes :class:`Case` and :class:`Row`."""

from __future__ import annotations

import os
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

Figures = Mapping[str, float]
"""What one run of one case measured, by name."""


@dataclass(frozen=True)
class Case:
    """Something to measure once in each round.

    :param key: its name, unique among all.
    :param measure: does it.
    """

    key: str
    measure: Callable[[], Figures]


@dataclass
class Plan:
    """How much is measured, and with what.

    :param is_quick: whether two minutes must do.
    :param python: the interpreter that has the peers.
    :param httpx2_path: a folder to import httpx2 from.
    :param stack: what has to be ended afterwards.
    """

    is_quick: bool
    python: Path
    httpx2_path: Path
    stack: ExitStack
    results: dict[str, list[Figures]] = field(default_factory=dict)

    def median(self, key: str, figure: str) -> float | None:
        """The median of a figure over the rounds; None if there is none."""
        found = [each[figure] for each in self.results.get(key, []) if figure in each]
        return statistics.median(found) if found else None

    def run(self, cases: Sequence[Case], rounds: int, say: Callable[[str], None]) -> None:
        """Measure all cases, in another order in each round."""
        for number in range(1, rounds + 1):
            order = list(cases)
            random.Random(number).shuffle(order)  # noqa: S311 - an order
            for done, case in enumerate(order, 1):
                say(f"round {number} of {rounds}, {done} of {len(order)}: {case.key}")
                self.results.setdefault(case.key, []).append(case.measure())


def least_of_some(plan: Plan, measure: Callable[[], Figures]) -> Figures:
    """Return the least of some measurements of an import: whatever disturbs it makes it longer, never shorter."""
    measured = [measure() for _ in range(2 if plan.is_quick else 5)]
    return {figure: min(each[figure] for each in measured) for figure in measured[0]}


def clean_environment(**more: str) -> dict[str, str]:
    """The environment of what is measured: that of a default installation, without proxies and certificates of our own."""
    dropped = ("SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in dropped and not name.startswith("AIRFLOW") and not name.lower().endswith("_proxy")
    }
    return {**kept, **more}
