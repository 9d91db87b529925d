"""No history with few departures breaks a promise; see ``world.py`` for what may depart."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import tenacity.nap

from airflow_provider_octospark.api import backoff
from airflow_provider_octospark.submission import opening
from tests.model.choices import Choices, explore
from tests.model.world import ACTS, BEGINNINGS, DEFERRED, ENDS, READS, SUBMISSIONS, WRITES, Setting, World

DEPTH = 3 if os.environ.get("OCTOSPARK_COMPLETE") else 2

SETTINGS = [
    Setting(
        accounts, latest, recurs, repeats="allow" if recurs == (latest == "updated") else "refuse", deferrable=recurs
    )
    for accounts in (("a",), ("a", "b"))
    for latest in ("created", "updated")
    for recurs in (False, True)
]

DEPARTURES = {
    *(f"begin: {each}" for each in BEGINNINGS[1:]),
    *(f"submit: {each}" for each in SUBMISSIONS[1:]),
    *(f"read: {each}" for each in READS[1:]),
    *(f"between: {each}" for each in ACTS[1:]),
    *(f"after the end: {each}" for each in ENDS[1:]),
    *(f"write: {each}" for each in WRITES[1:]),
    "sleep: killed",
}
"""All kinds of departures; a setting whose task is deferrable has some more."""


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_every_history_keeps_the_promises(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target is submitted once; what is reported is true; a task that succeeds leaves nothing unsent."""

    def run(choices: Choices) -> list[str]:
        world = World(setting, choices)
        # Equal states have equal names.
        monkeypatch.setattr(opening, "secrets", SimpleNamespace(token_hex=lambda _: world.name()))
        return world.run()

    monkeypatch.setattr(backoff, "random", SimpleNamespace(uniform=lambda _, high: high))
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=lambda _: None))
    explored = explore(run, DEPTH)
    print(
        f"{setting}, {DEPTH} departures: {explored.histories} histories, {explored.states} states before and after a try"
    )
    print(", ".join(f"{kind}: {count}" for kind, count in sorted(explored.kinds.items())))
    assert explored.violations == []
    deferred = {f"deferred: {each}" for each in DEFERRED[1:]} if setting.deferrable else set()
    assert explored.kinds.keys() == DEPARTURES | deferred
