"""Our trigger on a real clock, against the simulation: posts that are due now and published within half a minute."""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from airflow_provider_octospark.parameters.times import format_instant
from airflow_provider_octospark.polling.schedule import next_poll
from airflow_provider_octospark.polling.subscriptions import BATCH_DELAY
from airflow_provider_octospark.polling.wait import Wait
from airflow_provider_octospark.triggers.octospark import FIRST_POLL_AFTER, FIRST_POLLS_WITHIN, OctosparkPostTrigger
from benchmarks.plan import Figures
from tests.polling.things import TEAM, answer_with, new_id, pending, post_json, scheduled_json

LATEST = 30.0
"""Seconds within which all are published, evenly."""


async def measure(count: int) -> Figures:
    """Wait for so many posts, and simulate the same."""
    begin = time.time()
    chance = random.Random(21)  # noqa: S311 - a schedule
    moment = format_instant(datetime.now(UTC))
    posts = {each: scheduled_json(each, scheduledAt=moment) for each in (new_id() for _ in range(count))}
    out_at = {each: chance.uniform(0.0, LATEST) for each in posts}
    looks: Counter[str] = Counter()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                post_id = head.split(b" ", 2)[1].decode().partition("?")[0].rpartition("/")[2]
                status, body = 403, b"{}"
                if post_id in posts:
                    looks[post_id] += 1
                    state = "published" if time.time() - begin >= out_at[post_id] else "scheduled"
                    status, body = 200, json.dumps(post_json(post_id, {**posts[post_id], "status": state})).encode()
                date = format_datetime(datetime.now(UTC), usegmt=True)
                writer.write(
                    f"HTTP/1.1 {status} X\r\nDate: {date}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(connection, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        os.environ["AIRFLOW_CONN_BENCHMARK"] = json.dumps(
            {"conn_type": "octospark", "host": f"http://127.0.0.1:{port}", "password": "octo_test_x"}
        )
        delays: list[float] = []

        async def wait(post_id: str) -> None:
            now = datetime.now(UTC)
            waits = Wait.start([pending(post_id, posts[post_id])], started_at=now)
            waits.record_response((TEAM, post_id), answer_with(post_id, posts[post_id]), now)
            trigger = OctosparkPostTrigger("benchmark", waits.as_json())
            trigger._report = lambda lines: None  # type: ignore[method-assign]  # noqa: ARG005
            async for event in trigger.run():
                if event.payload["outcomes"][0]["state"] != "published":
                    raise RuntimeError(f"not published: {event.payload}")
            delays.append(time.time() - begin - out_at[post_id])

        await asyncio.gather(*map(wait, posts))
    calls = [1 + looks[each] for each in posts]
    simulated = [_simulated(each, chance) for each in out_at.values() for _ in range(20)]
    return {
        "calls": statistics.mean(calls),
        "delay": statistics.mean(delays),
        "simulated_calls": statistics.mean(calls for calls, _ in simulated),
        "simulated_delay": statistics.mean(delay for _, delay in simulated),
    }


def _simulated(out: float, chance: random.Random) -> tuple[int, float]:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    published = begin + timedelta(seconds=out)
    first = begin + FIRST_POLL_AFTER + FIRST_POLLS_WITHIN * chance.random()
    now, calls = begin, 1
    while now < published:
        now = max(next_poll(now, begin, jitter=chance.random()), first)
        now += timedelta(seconds=BATCH_DELAY * chance.random() if calls > 1 else BATCH_DELAY)
        calls += 1
    return calls, (now - published).total_seconds()
