"""The clock of a task that submits."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from airflow_provider_octospark.api.sync_client import LOOK_EVERY
from airflow_provider_octospark.tasks.stopping import Stopping


class SystemClock:
    """The clock of this machine.

    :param stopping: ends a sleep when the task is told to stop.
    """

    def __init__(self, stopping: Stopping) -> None:
        self._stopping = stopping

    def now(self) -> datetime:
        """Return aware UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait.

        :raises OctosparkStoppedError: if the task is told to stop meanwhile.
        """
        ends_at = time.monotonic() + seconds
        self._stopping.check()
        while (remaining := ends_at - time.monotonic()) > 0:
            time.sleep(min(LOOK_EVERY, remaining))
            self._stopping.check()
