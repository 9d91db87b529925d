"""What a family of processes promises: nobody outlives it, whatever happens to its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.system.processes import ProcessFamily, calm_environment, parent_of, session_members

ROOT = Path(__file__).parents[2]

# As a scheduler does: a child that leaves its parent's process group, and is left behind by its parent.
FORK_AND_LEAVE = """
import os, time
if os.fork() == 0:
    os.setpgid(0, 0)
    open("ready", "w").close()
    time.sleep(600)
"""
STAY = "import time; open('ready', 'w').close(); time.sleep(600)"


def start_python(family: ProcessFamily, name: str, code: str, folder: Path) -> int:
    family.start(name, [sys.executable, "-c", code], calm_environment(), folder)
    wait_for_file(folder / "ready")
    return family.pid(name)


def wait_for_file(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def test_the_end_of_a_family_ends_what_its_members_left_behind(tmp_path: Path) -> None:
    with ProcessFamily(tmp_path / "logs") as family:
        session = start_python(family, "leaver", FORK_AND_LEAVE, tmp_path)
        assert family.wait("leaver") == 0
        assert session_members([session]) != []
    assert session_members([session]) == []


def test_one_member_can_be_ended_and_started_again(tmp_path: Path) -> None:
    with ProcessFamily(tmp_path / "logs") as family:
        first = start_python(family, "member", STAY, tmp_path)
        assert parent_of(first) == os.getpid()
        with pytest.raises(ValueError, match="started already"):
            family.start("member", ["true"], calm_environment(), tmp_path)
        family.end("member")
        assert session_members([first]) == []
        assert not family.is_member("member")
        second = start_python(family, "member", STAY, tmp_path)
        assert session_members([second]) == [second]


def test_a_stopped_member_is_ended_too(tmp_path: Path) -> None:
    with ProcessFamily(tmp_path / "logs") as family:
        session = start_python(family, "member", STAY, tmp_path)
        os.kill(session, signal.SIGSTOP)
    assert session_members([session]) == []


def test_the_end_of_a_log_is_told(tmp_path: Path) -> None:
    with ProcessFamily(tmp_path / "logs") as family:
        family.start("talker", ["/bin/sh", "-c", "echo one; echo two >&2; exit 3"], calm_environment(), tmp_path)
        assert family.wait("talker") == 3
        assert family.exit_code("talker") == 3
        assert family.log_tail("talker", 1) == "two\n"
        assert family.log_tail("nobody") == ""


OWNER = f"""
import sys, time
from pathlib import Path
from tests.system.processes import ProcessFamily, calm_environment
folder = Path(sys.argv[1])
with ProcessFamily(folder / "logs") as family:
    family.start("member", [sys.executable, "-c", {FORK_AND_LEAVE!r}], calm_environment(), folder)
    print(family.pid("member"), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_whatever_ends_the_owner_ends_the_family(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True) as owner:
        assert owner.stdout is not None
        session = int(owner.stdout.readline())
        wait_for_file(tmp_path / "ready")
        owner.send_signal(number)
        # The watchdog has the other end of this pipe as well: it closes when the watchdog is done.
        owner.communicate(timeout=60)
    assert owner.returncode != 0
    assert session_members([session]) == []


def test_the_users_airflow_is_kept_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", "/somewhere")
    monkeypatch.setenv("AIRFLOW_HOME", "/somewhere")
    monkeypatch.setenv("no_proxy", "example.org")
    env = calm_environment()
    assert not [name for name in env if name.startswith("AIRFLOW")]
    assert env["no_proxy"] == "example.org,127.0.0.1,localhost"
