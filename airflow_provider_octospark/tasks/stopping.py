"""What a running task does when Airflow tells it to stop: it sends nothing more, takes back what it may, and ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_provider_octospark.exceptions import OctosparkStoppedError


class Stopping:
    """Whether Airflow has told the task to stop, and what follows from it.

    Airflow 3 calls ``on_kill`` in a signal handler of the main thread, returns to what was running, and kills the process
    five seconds later. The main thread may stand in a call to Airflow, and another call before that one ends would wait for
    it. So the handler stores a plain attribute and takes no lock; the task's own code reads it. Where none of this code is
    running, as after ``execution_timeout``, nobody would read it, and ``on_kill`` does the work itself.

    Source: ``_on_term`` and ``_execute_task`` in ``airflow/sdk/execution_time/task_runner.py`` of Airflow 3.3.

    :param take_back: takes back what may be taken back, in a few seconds, and never raises; None for a task that takes
        nothing back.
    """

    def __init__(self, take_back: Callable[[], None] | None = None) -> None:
        self.is_requested = False
        self._take_back = take_back
        self._depth = 0

    def on_kill(self) -> None:
        """Stop all sending for good; what may be taken back is taken back by whoever can."""
        self.is_requested = True
        if self._depth == 0:
            self._end()

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Run code that looks at :meth:`error` and ends if there is one."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self.is_requested and self._depth == 0:
                self._end()

    def error(self) -> OctosparkStoppedError | None:
        """Return the error that the task ends with if it was told to stop, or None. Airflow may retry it."""
        if not self.is_requested:
            return None
        return OctosparkStoppedError("Airflow told the task to stop, so it sends nothing more. A retry sends the rest.")

    def check(self) -> None:
        """Raise if the task was told to stop.

        :raises OctosparkStoppedError: if it was.
        """
        error = self.error()
        if error is not None:
            raise error

    def _end(self) -> None:
        take_back, self._take_back = self._take_back, None
        if take_back is not None:
            take_back()
