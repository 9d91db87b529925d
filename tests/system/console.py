"""What a long command prints: each line with the seconds since its begin, and never silence for long."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import NoReturn, Self

SILENCE = 8.0


class Console:
    """Prints lines; repeats what is awaited when there is nothing new to say. Use it as a context manager."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._said = self._begin
        self.awaited = ""
        """What is printed when nothing happens; by default the last line."""
        self._last = ""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def __call__(self, line: str) -> None:
        """Print a line."""
        with self._lock:
            self._last = line
            self._print(line)

    def _print(self, line: str) -> None:
        self._said = time.monotonic()
        print(f"{self._said - self._begin:6.1f} s  {line}", flush=True)

    def _repeat(self) -> None:
        while not self._ended.wait(0.5):
            with self._lock:
                if time.monotonic() - self._said > SILENCE:
                    self._print(f"... waiting for: {self.awaited}" if self.awaited else f"... still: {self._last}")


def how_to_stop() -> str:
    """Say how a user ends this process: a shell ignores Ctrl-C in what it runs in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return f"To end everything: kill {os.getpid()}"
    return "Ctrl-C ends everything."


def end_in_order(number: int, _frame: FrameType | None) -> NoReturn:
    """Let a SIGTERM leave through the context managers, as Ctrl-C does."""
    sys.exit(128 + number)


def print_failure(error: Exception) -> None:
    """Say what went wrong; a traceback of this harness would not help anyone."""
    print("\n".join(["", str(error), *getattr(error, "__notes__", [])]))
