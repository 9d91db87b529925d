"""Taking guards away from a copy of the package, and running a test against the copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import airflow_provider_octospark
from tests.mutation.guards import GUARDS, Guard

PACKAGE = "airflow_provider_octospark"
TESTS = "tests/mutation/test_guards.py"
ROOT = Path(__file__).parents[2]

SECONDS_AT_MOST = 300.0
"""Real seconds that one run of the tests may take; one that hangs is no test."""

Fate = Literal["killed", "survived", "no verdict"]


class SourceChangedError(Exception):
    """The text that a mutation replaces is not there exactly once."""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutation. ``said`` is how the run of the tests ended."""

    guard: Guard
    scenario: Fate
    said: str


def source_of(module: str) -> str:
    """Return a module of the package as it is."""
    return (Path(airflow_provider_octospark.__file__).parent / module).read_text(encoding="utf-8")


def without(guard: Guard) -> dict[str, str]:
    """Return the modules that change when a guard is taken away, as they are then.

    :raises SourceChangedError: if the source no longer has what is to be replaced, or has it twice.
    """
    changed: dict[str, str] = {}
    for each in guard.without:
        source = changed.get(each.module) or source_of(each.module)
        if source.count(each.old) != 1:
            raise SourceChangedError(
                f"{guard.name}: {each.module} has {source.count(each.old)} times, not once:\n{each.old}"
            )
        changed[each.module] = source.replace(each.old, each.new)
    return changed


@contextmanager
def copy_without(guard: Guard | None) -> Iterator[Path]:
    """Give a directory with a copy of the package, less a guard, and of the tests."""
    changed = {} if guard is None else without(guard)
    with TemporaryDirectory(prefix="octospark-mutation-") as directory:
        root = Path(directory)
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(Path(airflow_provider_octospark.__file__).parent, root / PACKAGE, ignore=ignored)
        shutil.copytree(ROOT / "tests", root / "tests", ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", root)
        for module, source in changed.items():
            (root / PACKAGE / module).write_text(source, encoding="utf-8")
        yield root


def run_tests(root: Path, tests: Iterable[str]) -> str:
    """Run tests of a copy against that copy; return pytest's last line."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    environment |= {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [*command, *(f"{TESTS}::{test}" for test in tests)],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS_AT_MOST,
        )
    except subprocess.TimeoutExpired:
        return f"no end within {SECONDS_AT_MOST:.0f} s"
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return re.sub(r" in [0-9.]+s.*", "", lines[-1]).strip("= ") if lines else done.stderr.strip()[-200:]


def try_without(guard: Guard) -> Verdict:
    """Take a guard away and run its test."""
    with copy_without(guard) as root:
        said = run_tests(root, [guard.test])
    if re.fullmatch(r"(\d+ passed, )?\d+ failed|\d+ failed, \d+ passed", said):
        return Verdict(guard, "killed", said)
    return Verdict(guard, "survived" if re.fullmatch(r"\d+ passed", said) else "no verdict", said)


def try_all(guards: Iterable[Guard] = GUARDS, workers: int = 2) -> Iterator[Verdict]:
    """Try several guards, some at a time; yields in their order.

    :raises SourceChangedError: before anything is run, if a mutation no longer fits the source.
    """
    pending = list(guards)
    for guard in pending:
        without(guard)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        yield from pool.map(try_without, pending)


def try_with_all(guards: Iterable[Guard] = GUARDS) -> str:
    """Run the tests of guards against an untouched copy; return pytest's last line."""
    with copy_without(None) as root:
        return run_tests(root, [guard.test for guard in guards])
