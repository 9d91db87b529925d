"""Processes that end for certain, whatever becomes of the one who started them.

A scheduler forks workers, workers fork supervisors, supervisors fork tasks and give each a process group
of its own: ending the process we started, or its group, leaves the rest behind. What all of them keep is
the session. So every member of a family leads a session, and ending a member ends its session.

Somebody must do that even when the owner is killed with SIGKILL. A watchdog process holds the reading end
of a pipe that only the owner writes to: when the owner is gone, for whatever reason, the pipe closes, and
the watchdog ends every session that it was told of. An orderly end takes the same path.

Run as a script, this file is the watchdog.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import psutil  # type: ignore[import-untyped]

LOOPBACK = "127.0.0.1"

_KILL_PATIENCE = 10.0


def session_members(sessions: Collection[int]) -> list[int]:
    """The living processes of these sessions (a zombie is dead, and may never be reaped in a container)."""
    found = []
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def kill_sessions(sessions: Collection[int]) -> None:
    """Kill until nobody is left: between two polls, a member may have forked."""
    deadline = time.monotonic() + _KILL_PATIENCE
    while (members := session_members(sessions)) and time.monotonic() < deadline:
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def calm_environment() -> dict[str, str]:
    """This process's environment without a word about Airflow, and with no proxy before this machine."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    for name in ("no_proxy", "NO_PROXY"):
        env[name] = ",".join(filter(None, [env.get(name), LOOPBACK, "localhost"]))
    return env


def parent_of(pid: int) -> int:
    """The process that forked this one."""
    return int(psutil.Process(pid).ppid())


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait: between the start of a process and telling the watchdog, nobody would end it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        held.append(number)

    former = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        for arrived in held:
            signal.raise_signal(arrived)


class ProcessFamily:
    """Named processes, each with its log file, none of which outlives this object or its process."""

    def __init__(self, log_folder: Path) -> None:
        self._log_folder = log_folder
        self._log_folder.mkdir(parents=True, exist_ok=True)
        self._members: dict[str, subprocess.Popen[bytes]] = {}
        with _interrupts_held():
            self._watchdog = subprocess.Popen(
                [sys.executable, "-P", str(Path(__file__).resolve())],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        """Start a member in a session of its own; its output is added to its log file."""
        if name in self._members:
            raise ValueError(f"{name} has been started already")
        with self.log_file(name).open("ab") as log, _interrupts_held():
            member = subprocess.Popen(
                list(command),
                env=dict(env),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._members[name] = member
            self._tell_watchdog(f"+{member.pid}")

    def end(self, name: str) -> None:
        """Kill a member and everything that descends from it."""
        member = self._members.pop(name)
        kill_sessions([member.pid])
        member.wait()
        self._tell_watchdog(f"-{member.pid}")

    def close(self) -> None:
        """End everything. May be called twice."""
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
        self._watchdog.wait()
        kill_sessions([member.pid for member in self._members.values()])
        for member in self._members.values():
            member.wait()

    def pid(self, name: str) -> int:
        """The process id, which is also the session id, of a member."""
        return self._members[name].pid

    def is_member(self, name: str) -> bool:
        """Whether a process of this name was started and not ended by us."""
        return name in self._members

    def wait(self, name: str) -> int:
        """Wait until a member has ended by itself and return its exit code."""
        return self._members[name].wait()

    def exit_code(self, name: str) -> int | None:
        """None while the member runs."""
        return self._members[name].poll()

    def log_file(self, name: str) -> Path:
        """Where a member's output goes."""
        return self._log_folder / f"{name}.log"

    def log_tail(self, name: str, lines: int = 30) -> str:
        """The end of a member's output, for messages about its failure."""
        path = self.log_file(name)
        if not path.exists():
            return ""
        with path.open(errors="replace") as log:
            return "".join(deque(log, maxlen=lines))

    def _tell_watchdog(self, line: str) -> None:
        if self._watchdog.stdin is None:
            raise RuntimeError("the watchdog has no pipe")
        self._watchdog.stdin.write(f"{line}\n".encode())
        self._watchdog.stdin.flush()


def _watch() -> None:
    """Read which sessions to guard until the owner is gone, then end them."""
    for quiet in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(quiet, signal.SIG_IGN)
    sessions: set[int] = set()
    for line in sys.stdin:
        change = sessions.add if line.startswith("+") else sessions.discard
        change(int(line[1:]))
    kill_sessions(sessions)


if __name__ == "__main__":
    _watch()
