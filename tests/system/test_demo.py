"""The demo as a user starts it: what it says in the end, and that it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.system.console import Console

ROOT = Path(__file__).parents[2]
TIMEOUT = 400


@contextmanager
def demo_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo, with all its temporary folders below this one: its processes can be told by where they are."""
    demo = subprocess.Popen(
        [sys.executable, "-m", "tests.system.demo"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield demo
    finally:
        demo.kill()
        demo.communicate()


def at_work_in(folder: Path) -> list[str]:
    """The living processes whose working folder is in this one."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(f"{process.pid} {process.cmdline()}")
    return found


def test_a_console_is_not_silent_for_long(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("tests.system.console.SILENCE", 0.0)

    def is_printed(line: str) -> bool:
        printed, deadline = "", time.monotonic() + 30
        while line not in printed and time.monotonic() < deadline:
            time.sleep(0.05)
            printed += capsys.readouterr().out
        return line in printed

    with Console() as say:
        say("starting the emulator")
        assert is_printed("... still: starting the emulator")
        say.awaited = "campaign"
        assert is_printed("... waiting for: campaign")


@pytest.mark.slow
def test_the_demo_counts_what_its_scenario_says(tmp_path: Path) -> None:
    with demo_process(tmp_path) as demo:
        printed, _ = demo.communicate(timeout=TIMEOUT)
    assert printed.splitlines()[-1] == "demo: 7 published, 2 failed as scripted, 1 unknown, 0 duplicates", printed
    assert demo.returncode == 0, printed
    assert printed.count("adopting submission") == 2
    assert printed.count("ledger: sent once") == 2
    assert "SIGKILL to process" in printed
    assert "the record of the task says: in_doubt" in printed
    assert max(map(len, printed.splitlines())) <= 100
    assert at_work_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_ends_the_demo_and_all_its_processes(tmp_path: Path) -> None:
    with demo_process(tmp_path) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "started api-server" in line:
                break
        assert at_work_in(tmp_path) != []
        os.killpg(demo.pid, signal.SIGINT)
        printed, _ = demo.communicate(timeout=TIMEOUT)
    assert demo.returncode == 130, printed
    assert at_work_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
