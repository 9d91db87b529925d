"""Code that a test stops in the middle: it runs in a thread of its own, but only while the test waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.submission.harness import Killed

STUCK_AFTER = 120.0
"""Real seconds after which code that does not hand back is taken for hung."""


class Stepped:
    """Runs a function piece by piece, strictly in turns with whoever calls :meth:`go`.

    :param body: to stop in the middle it calls :meth:`pause`.
    """

    def __init__(self, body: Callable[[], object]) -> None:
        self._body = body
        self._turn = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self.error: BaseException | None = None
        self.is_dead = False

    @property
    def ended(self) -> bool:
        """Whether it has run to its end."""
        return self._ended.is_set()

    def go(self) -> None:
        """Let it run until it pauses or ends."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="stepped", daemon=True)
            self._thread.start()
        else:
            self._turn.release()
        if not self._back.acquire(timeout=STUCK_AFTER):
            raise RuntimeError("a process hangs")
        if self.ended:
            self._thread.join()

    def kill(self) -> None:
        """End it where it is."""
        self.is_dead = True
        if not self.ended:
            self.go()

    def pause(self) -> None:
        """From within: hand back, and go on at the next turn."""
        self._back.release()
        self._turn.acquire()
        self.check_alive()

    def check_alive(self) -> None:
        """From within: after a kill nothing is done, whatever ``finally`` and ``except`` would do."""
        if self.is_dead:
            raise Killed

    def _run(self) -> None:
        try:
            self._body()
        except BaseException as error:  # noqa: BLE001 - handed to whoever looks
            self.error = error
        self._ended.set()
        self._back.release()
