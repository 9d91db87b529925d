"""Await the publications of one post in a triggerer, for all triggers that wait for publications."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_octospark.api.models import Post
from airflow_provider_octospark.api.performance import Performance
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.exceptions import OctosparkError
from airflow_provider_octospark.polling.poller import LONGEST_SLEEP
from airflow_provider_octospark.polling.wait import Wait
from airflow_provider_octospark.triggers.reader import Reader

Report = Callable[[list[str]], None]
"""Logs lines."""


async def for_each_post(
    posts: Sequence[tuple[str, str]], follow: Callable[[tuple[str, str]], Coroutine[Any, Any, None]]
) -> None:
    """Follow all posts at the same time.

    :param posts: team and post of each.
    """
    if len(posts) == 1:
        await follow(posts[0])
        return

    async with asyncio.TaskGroup() as group:
        for post in posts:
            group.create_task(follow(post))


async def observe(post: tuple[str, str], wait: Wait, reader: Reader, report: Report) -> None:
    """Poll one post until all its publications are final.

    :param post: team and post.
    """
    subscriber = _Subscriber(post, wait, report)
    while (pause := subscriber.pause()) is not None:
        if pause > 0:
            await asyncio.sleep(min(pause, LONGEST_SLEEP))
            continue
        try:
            await reader.subscribe(post, subscriber)
        except OctosparkError as error:
            report(wait.record_error(post, error, datetime.now(UTC)))
    if post in wait.unconfirmed():
        await _confirm(post, wait, reader, report)


async def _confirm(post: tuple[str, str], wait: Wait, reader: Reader, report: Report) -> None:
    """Ask the performance of a post whether a publication that another submission hides is out."""
    response: Response[Performance] | OctosparkError
    try:
        response = await reader.performance(post)
    except OctosparkError as error:
        response = error
    report(wait.record_performance(post, response))


class _Subscriber:
    """The subscriber for one post of a wait."""

    def __init__(self, post: tuple[str, str], wait: Wait, report: Report) -> None:
        self.polls = 0
        self._post = post
        self._wait = wait
        self._report = report

    def pause(self) -> float | None:
        wait, post, now = self._wait, self._post, datetime.now(UTC)
        if not wait.is_open(post):
            return None
        pause = wait.poll_at(post, now) - now
        if pause > timedelta(0):
            return pause.total_seconds()
        self._report(lines := wait.expire(post, now))
        return self.pause() if lines else 0.0

    def is_shown_by(self, response: Response[Post]) -> bool:
        return self._wait.is_shown_by(self._post, response, datetime.now(UTC))

    def see(self, response: Response[Post]) -> None:
        self.polls += 1
        self._report(self._wait.record_response(self._post, response, datetime.now(UTC)))


def cause_of(error: Exception) -> Exception:
    """Return the first error of an exception group."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
