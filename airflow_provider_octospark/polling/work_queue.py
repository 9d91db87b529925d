"""Run a limited number of requests at once, in order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import cast


class WorkQueue:
    """Run jobs in order of arrival.

    :param concurrency_limit: how many jobs run at once.
    """

    def __init__(self, concurrency_limit: int) -> None:
        self._limit = concurrency_limit
        self._jobs: deque[Callable[[], Awaitable[None]]] = deque()
        self._workers: set[asyncio.Task[None]] = set()

    def put(self, job: Callable[[], Awaitable[None]]) -> None:
        """Add a job. It runs as soon as the limit allows, and handles its own errors."""
        self._jobs.append(job)
        if len(self._workers) < self._limit:
            # A worker serves all triggers, so it must not run in the context of one of them: its name would appear in all
            # logs.
            task = asyncio.get_running_loop().create_task(self._work(), name="octospark-poller", context=Context())
            self._workers.add(task)

    async def _work(self) -> None:
        try:
            while self._jobs:
                await self._jobs.popleft()()
        finally:
            self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def aclose(self) -> None:
        """Drop the waiting jobs and cancel the running ones."""
        self._jobs.clear()
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
