"""A process supervisor: what it keeps is started again whenever it exits, as systemd or Kubernetes would do it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.system.processes import ProcessFamily

RESTART_DELAY: Final = 1.0
"""Seconds between an exit and the next start."""
RESTART_LIMIT: Final = 20
RESTART_WINDOW: Final = 120.0
"""A member that exits more than ``RESTART_LIMIT`` times in so many seconds is not started again."""
START_LINE: Final = "-- started by the supervisor\n"
"""Stands in the log of a member before the output of each start."""
_POLL_INTERVAL: Final = 0.2


@dataclass
class _Kept:
    """How a member is started, and when it was started again (monotonic seconds)."""

    command: Sequence[str]
    env: Mapping[str, str]
    folder: Path
    restarts: deque[float] = field(default_factory=lambda: deque(maxlen=RESTART_LIMIT))
    restart_count: int = 0
    has_given_up: bool = False

    def may_restart(self, now: float) -> bool:
        """Whether it has not exited too often of late."""
        return len(self.restarts) < RESTART_LIMIT or now - self.restarts[0] > RESTART_WINDOW


class Supervisor(ProcessFamily):
    """A family of processes of which some are kept running."""

    def __init__(self, log_folder: Path) -> None:
        super().__init__(log_folder)
        self._kept: dict[str, _Kept] = {}
        # Held while members change: the thread below starts them as well.
        self._changing = threading.RLock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._restart_what_exits, daemon=True)
        self._thread.start()

    def keep(self, name: str, command: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        """Start a member, and start it again whenever it exits, until it is ended by its name.

        :raises ValueError: a member of this name runs already.
        """
        with self._changing:
            self.start(name, command, env, folder)
            self._kept[name] = _Kept(command, env, folder)

    def release(self, name: str) -> None:
        """Do not start a member again when it exits."""
        with self._changing:
            self._kept.pop(name, None)

    def end(self, name: str) -> None:
        """Kill a member and everything that descends from it, and do not start it again."""
        with self._changing:
            self.release(name)
            super().end(name)

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        """Start a member that is not kept: once it has exited, it stays so."""
        with self._changing:
            self._start(name, command, env, folder)

    def close(self) -> None:
        """End everything. May be called twice."""
        self._closing.set()
        self._thread.join()
        super().close()

    def restart_count(self, name: str) -> int:
        """How often a member was started again."""
        return self._kept[name].restart_count

    def given_up(self) -> list[str]:
        """The members that exited too often and are not started again."""
        return [name for name, kept in list(self._kept.items()) if kept.has_given_up]

    def _restart_what_exits(self) -> None:
        while not self._closing.wait(_POLL_INTERVAL):
            with self._changing:
                exited = [name for name, kept in self._kept.items() if self._has_exited(name, kept)]
            if exited and self._closing.wait(RESTART_DELAY):
                return
            for name in exited:
                self._restart(name)

    def _has_exited(self, name: str, kept: _Kept) -> bool:
        return not kept.has_given_up and self.exit_code(name) is not None

    def _restart(self, name: str) -> None:
        with self._changing:
            kept = self._kept.get(name)
            # Meanwhile somebody may have ended it, or ended and started it.
            if kept is None or not self._has_exited(name, kept):
                return
            now = time.monotonic()
            if not kept.may_restart(now):
                kept.has_given_up = True
                return
            # Whatever it has left behind goes with it, as with a control group or a container.
            super().end(name)
            self._start(name, kept.command, kept.env, kept.folder)
            kept.restarts.append(now)
            kept.restart_count += 1

    def _start(self, name: str, command: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        with self.log_file(name).open("a") as log:
            log.write(START_LINE)
        super().start(name, command, env, folder)
