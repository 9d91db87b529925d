"""What many histories at once must see of Airflow and the emulator, looked up once for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from tests.system.emulated import EmulatorControl
from tests.system.rest import AirflowRest, TaskView

LOOK_AT_FAULTS = 0.1
LOOK_AT_TASKS = 0.4
FAILED_LOOKS = 5
"""So many polls in a row may fail on a machine that has too much to do."""


class Watch:
    """Looks again and again in threads of its own, from entering to leaving the context."""

    def __init__(self, rest: AirflowRest, control: EmulatorControl) -> None:
        self._rest = rest
        self._control = control
        self._news = threading.Condition()
        self._looking = threading.Lock()
        self._ended = False
        self._failure: Exception | None = None
        self._followed: set[str] = set()
        self._views: dict[str, TaskView] = {}
        self._faults: list[dict[str, Any]] = []
        self._threads = [
            threading.Thread(target=self._look_on, args=(look, pause), daemon=True)
            for look, pause in ((self._look_at_tasks, LOOK_AT_TASKS), (self._look_at_faults, LOOK_AT_FAULTS))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._news:
            self._ended = True
            self._news.notify_all()
        for thread in self._threads:
            thread.join()

    def subscribe(self, run_id: str) -> None:
        """Look at the task of this run, too."""
        with self._news:
            self._followed.add(run_id)

    def leave(self, run_id: str) -> None:
        """Look at it no more."""
        with self._news:
            self._followed.discard(run_id)
            self._views.pop(run_id, None)

    def view(self, run_id: str) -> TaskView | None:
        """The task of a run as it was seen last."""
        with self._news:
            return self._views.get(run_id)

    def waiting_faults(self, post_id: str, operation: str) -> int:
        """How many faults have not struck yet calls of this operation about this post."""
        with self._news:
            return sum(each.get("post_id") == post_id and each["operation"] == operation for each in self._faults)

    def add_fault(self, fault: Mapping[str, Any]) -> None:
        """Let something go wrong; from now on it is seen."""
        self._control.fault(fault)
        self._look_at_faults()

    def until(self, holds: Callable[[], bool], timeout: float) -> bool:
        """Wait until something holds; return whether it does.

        :raises RuntimeError: if nothing can be seen any more.
        """
        deadline = time.monotonic() + timeout
        with self._news:
            while not holds():
                if self._failure is not None:
                    raise RuntimeError("Airflow or the emulator does not answer") from self._failure
                if self._ended or time.monotonic() > deadline:
                    return False
                self._news.wait(1)
        return True

    def _look_on(self, look: Callable[[], None], pause: float) -> None:
        failures = 0
        while not self._ended:
            try:
                look()
            except Exception as error:  # noqa: BLE001 - told to all who wait
                failures += 1
                if failures >= FAILED_LOOKS:
                    with self._news:
                        self._failure = error
                        self._news.notify_all()
                    return
            else:
                failures = 0
            time.sleep(pause)

    def _look_at_tasks(self) -> None:
        with self._news:
            run_ids = sorted(self._followed)
        views = self._rest.tasks_of_runs(run_ids) if run_ids else []
        with self._news:
            for view in views:
                if view.task.run_id in self._followed:
                    self._views[view.task.run_id] = view
            self._news.notify_all()

    def _look_at_faults(self) -> None:
        # One after the other, so that what was seen earlier never takes the place of what was seen later.
        with self._looking:
            faults = self._control.faults()
            with self._news:
                self._faults = faults
                self._news.notify_all()
