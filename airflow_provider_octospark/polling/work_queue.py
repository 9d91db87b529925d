"""Running requests, a limited number at once, first come first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import cast


class WorkQueue:
    """Runs jobs in the order of their arrival.

    :param concurrency_limit: how many jobs run at once.
    """

    def __init__(self, concurrency_limit: int) -> None:
        self._limit = concurrency_limit
        self._jobs: deque[Callable[[], Awaitable[None]]] = deque()
        self._workers: set[asyncio.Task[None]] = set()

    def put(self, job: Callable[[], Awaitable[None]]) -> None:
        """Run a job as soon as the limit allows; a job handles its own errors."""
        self._jobs.append(job)
        if len(self._workers) < self._limit:
            # A worker serves all triggers; the context of the one that starts it would put its name into their logs.
            task = asyncio.get_running_loop().create_task(self._work(), name="octospark-poller", context=Context())
            self._workers.add(task)

    async def _work(self) -> None:
        try:
            while self._jobs:
                await self._jobs.popleft()()
        finally:
            self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def aclose(self) -> None:
        """Drop the jobs that have not begun and cancel the others."""
        self._jobs.clear()
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
