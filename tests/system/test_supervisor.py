"""What a supervisor does: it starts again what exits, unless it was ended by name or exits all the time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system import supervisor as supervisor_module
from tests.system.processes import calm_environment, session_members
from tests.system.supervisor import Supervisor

SLEEP = ["/bin/sh", "-c", "sleep 600"]
PATIENCE = 30.0


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(supervisor_module, "RESTART_DELAY", 0.0)
    with Supervisor(tmp_path / "logs") as family:
        yield family


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_is_killed_is_started_again_without_what_it_left_behind(family: Supervisor, tmp_path: Path) -> None:
    family.keep("member", ["/bin/sh", "-c", "sleep 600 & sleep 600"], calm_environment(), tmp_path)
    first = family.pid("member")
    until(lambda: len(session_members([first])) == 3)
    os.kill(first, signal.SIGKILL)
    until(lambda: family.restart_count("member") == 1)
    assert session_members([first]) == []
    second = family.pid("member")
    assert second != first
    assert second in session_members([second])
    assert family.log_file("member").read_text().count(supervisor_module.START_LINE) == 2


def test_what_was_ended_by_name_stays_so(family: Supervisor, tmp_path: Path) -> None:
    family.keep("member", SLEEP, calm_environment(), tmp_path)
    family.keep("other", SLEEP, calm_environment(), tmp_path)
    family.end("member")
    # Once the other one is back, the thread has seen both.
    os.kill(family.pid("other"), signal.SIGKILL)
    until(lambda: family.restart_count("other") == 1)
    assert not family.is_member("member")


def test_what_is_only_started_is_not_kept(family: Supervisor, tmp_path: Path) -> None:
    family.keep("kept", SLEEP, calm_environment(), tmp_path)
    family.start("once", ["/bin/sh", "-c", "exit 3"], calm_environment(), tmp_path)
    assert family.wait("once") == 3
    os.kill(family.pid("kept"), signal.SIGKILL)
    until(lambda: family.restart_count("kept") == 1)
    assert family.exit_code("once") == 3


def test_what_exits_all_the_time_is_given_up(
    family: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "_POLL_INTERVAL", 0.01)
    family.keep("member", ["/bin/sh", "-c", "exit 3"], calm_environment(), tmp_path)
    until(lambda: family.given_up() == ["member"])
    assert family.restart_count("member") == supervisor_module.RESTART_LIMIT


def test_the_end_ends_what_was_started_again(tmp_path: Path) -> None:
    with Supervisor(tmp_path / "logs") as family:
        family.keep("member", SLEEP, calm_environment(), tmp_path)
        os.kill(family.pid("member"), signal.SIGKILL)
        until(lambda: family.restart_count("member") == 1)
        second = family.pid("member")
    assert session_members([second]) == []
