"""Rows of waiting: CPU, requests, lag, memory and delay of many tasks that wait in one event loop."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from benchmarks import certificates
from benchmarks.environments import ROOT
from benchmarks.plan import Case, Figures, Plan, clean_environment
from benchmarks.table import Row, Target, Value

INTERVAL = 5.0
GIVE_UP = 30.0
"""Seconds after which the tasks that still wait are lost: three intervals are needed, and one for an even start."""

PEERS = ("http sensor", "dbt cloud", "plain httpx")
BARE = "bare transport"
"""A loop over httpx's transport. It is measured where its figure is a target."""


@dataclass(frozen=True)
class Setting:
    """Under what circumstances somebody waits.

    :param lists: what a list shows: ``all``, ``newest`` (at most 100, the newest updates first), ``none``.
    """

    variant: str
    tasks: int
    scheme: str
    start: str
    lists: str = "all"
    library: str = "httpx"

    @property
    def key(self) -> str:
        """Its name."""
        return ", ".join(
            [self.variant, f"{self.tasks} tasks", self.scheme, self.start, f"lists {self.lists}", self.library]
        )


class _Service:
    """The process that is asked."""

    def __init__(self, plan: Plan) -> None:
        folder = Path(plan.stack.enter_context(tempfile.TemporaryDirectory(prefix="octospark-benchmark-")))
        self.certificate, key = certificates.make(folder)
        self._process = plan.stack.enter_context(
            subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "benchmarks.service", str(self.certificate), str(key)],
                cwd=ROOT,
                env=clean_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        self._orders = cast("IO[str]", self._process.stdin)
        self._replies = cast("IO[str]", self._process.stdout)
        self.ports: Mapping[str, int] = json.loads(self._replies.readline())

    def tell(self, order: Mapping[str, Any]) -> Mapping[str, int]:
        """Begin a case, or with an empty order ask what was counted in the present one."""
        self._orders.write(json.dumps(order) + "\n")
        self._orders.flush()
        counted: Mapping[str, int] = json.loads(self._replies.readline())
        return counted


_services: dict[int, _Service] = {}


def _service(plan: Plan) -> _Service:
    if id(plan) not in _services:
        _services[id(plan)] = _Service(plan)
    return _services[id(plan)]


def _measure(plan: Plan, setting: Setting) -> Figures:
    service = _service(plan)
    case = {
        "variant": setting.variant,
        "tasks": setting.tasks,
        "interval": INTERVAL,
        "start": setting.start,
        "lists": setting.lists,
        "base_url": f"{setting.scheme}://127.0.0.1:{service.ports[setting.scheme]}",
        "certificate": str(service.certificate),
        "give_up": GIVE_UP,
    }
    with tempfile.TemporaryDirectory(prefix="octospark-benchmark-") as home:
        environment = clean_environment(
            AIRFLOW_HOME=home, PYTHONPATH=str(plan.httpx2_path) if setting.library == "httpx2" else ""
        )
        with subprocess.Popen(  # noqa: S603
            [plan.python, "-m", "benchmarks.worker", json.dumps(case)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as worker:
            service.tell({**case, "begin": 0.0})
            orders, replies = cast("IO[str]", worker.stdin), cast("IO[str]", worker.stdout)
            _expect(replies, "ready")
            begin = {"begin": time.time() + 1.0}
            service.tell({**case, **begin})
            orders.write(json.dumps(begin) + "\n")
            orders.flush()
            figures: dict[str, float] = json.loads(replies.readline() or "{}")
    counted = service.tell({})
    if not figures:
        raise RuntimeError(f"{setting.key}: the worker ended without figures")
    looks = figures["looks"] or float(counted["looks"])
    if looks:
        figures["cpu_per_look"] = figures["cpu"] / looks * 1000.0
        figures["requests_per_look"] = counted["requests"] / looks
    return figures


def _expect(replies: IO[str], word: str) -> None:
    while (line := replies.readline()).strip() != word:
        if not line:
            raise RuntimeError("a worker did not start")


def _settings(plan: Plan) -> list[Setting]:
    """What is measured: everything beside everything at 1,000 tasks, and what is most telling at 100 and 5,000."""
    if plan.is_quick:
        return [
            *(
                Setting(variant, 1000, scheme, "even")
                for variant in ("ours", *PEERS[:2])
                for scheme in ("http", "https")
            ),
            Setting("ours", 1000, "http", "herd"),
        ]
    found = []
    for scheme in ("http", "https"):
        for start in ("even", "herd"):
            for tasks in (100, 1000, 5000):
                found += [Setting(variant, tasks, scheme, start) for variant in ("ours", *PEERS)]
                found += [Setting("ours", tasks, scheme, start, lists) for lists in ("newest", "none")]
    found += [Setting(BARE, 1000, scheme, "even") for scheme in ("http", "https")]
    found += [
        Setting("ours", tasks, scheme, start, lists, "httpx2")
        for tasks in (1000, 5000)
        for scheme in ("http", "https")
        for start, lists in (("even", "all"), ("even", "none"), ("herd", "none"))
    ]
    return found


def cases(plan: Plan) -> list[Case]:
    """Each setting once in each round."""
    return [Case(setting.key, partial(_measure, plan, setting)) for setting in _settings(plan)]


def _row(plan: Plan, what: str, setting: Setting, figure: str, unit: str, scale: float, target: Target | None) -> Row:
    def value(other: Setting) -> Value:
        found = plan.median(other.key, figure)
        return Value(None if found is None else found * scale, unit)

    others = [
        Setting(peer, setting.tasks, setting.scheme, setting.start)
        for peer in (*PEERS, BARE)
        if figure != "requests_per_look"
    ]
    shown = [(each.variant, value(each)) for each in others if each.key in plan.results]
    successor = replace(setting, library="httpx2")
    if setting.library == "httpx" and successor.key in plan.results:
        shown.append(("ours with httpx2", value(successor)))
    return Row(f"{_words(setting)}: {what}", value(setting), tuple(shown), target)


def _words(setting: Setting) -> str:
    lists = {"all": "list shows all", "newest": "list of 100 newest", "none": "no list"}[setting.lists]
    start = "even start" if setting.start == "even" else "all at once"
    tls = "TLS" if setting.scheme == "https" else "http"
    library = "" if setting.library == "httpx" else f", {setting.library}"
    return f"{setting.tasks:,} waiting, {tls}, {start}, {lists}{library}"


def rows(plan: Plan) -> list[Row]:
    """Five figures for each setting of ours, beside the same of the peers."""
    found = []
    for setting in [each for each in _settings(plan) if each.variant == "ours"]:
        helps, tls = setting.lists == "all", setting.scheme == "https"
        full = setting.tasks == 1000 and helps
        part = Target(at_most=1 / 4 if tls else 1 / 3, of="http sensor")
        if setting.lists == "none":
            part = Target(at_most=1.0, of="http sensor") if tls else Target(at_most=1.1, of=BARE)
        has_peer = Setting(part.of, setting.tasks, setting.scheme, setting.start).key in plan.results
        is_compared = setting.tasks == 1000 and setting.lists != "newest" and setting.library == "httpx"
        most_lag = (
            {1000: 50.0, 5000: 200.0}.get(setting.tasks) if helps and not tls and setting.start == "even" else None
        )
        lag = None if most_lag is None else Target(at_most=most_lag)
        found += [
            _row(plan, what, setting, figure, unit, scale, target)
            for what, figure, unit, scale, target in (
                (
                    "CPU per task and look",
                    "cpu_per_look",
                    "ms",
                    1.0,
                    part if is_compared and has_peer and setting.start == "even" else None,
                ),
                ("requests per task and look", "requests_per_look", "", 1.0, Target(at_most=0.1) if full else None),
                ("loop lag p99", "lag_p99", "ms", 1000.0, lag),
                ("of that its own CPU", "own_lag_p99", "ms", 1000.0, None),
                ("memory per waiting task", "memory", "KiB", 1 / 1024, None),
                ("mean completion delay", "delay", "s", 1.0, None),
                (
                    "finished",
                    "finished",
                    "%",
                    100.0,
                    Target(at_least=100.0) if setting.tasks >= 1000 and setting.lists != "newest" else None,
                ),
                ("share of a core", "core", "", 1.0, Target(at_most=0.5) if setting.tasks == 5000 and helps else None),
            )
        ]
    return found
