"""One case of waiting, in a process that has the peers: ``python -m benchmarks.worker '{...}'``.

Runs the triggers as Airflow's triggerer does: a task for each, with a greenback portal, on the stock event loop. A few wait
before anything is measured: what a process does once is not what a poll costs. Waits for a line on its standard input
before it begins, and prints one line of JSON at the end.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import greenback

from benchmarks.schedule import Schedule
from benchmarks.service import ACCOUNT, TEAM, post_id, scheduled_post_id

WARM_UP = 3
"""Tasks that wait before anything is measured, for posts that are out."""

PROBE = 0.02
"""Seconds that the probe of the event loop's lag sleeps."""

Wait = Callable[[int], Awaitable[None]]
"""Waits for the post of a task; returns when it is published."""


class Looks:
    """How often all tasks together have looked."""

    def __init__(self) -> None:
        self.count = 0


def quiet() -> None:
    """Log nothing: peers write a line for each poll, which would only make them dearer."""
    import logging

    import structlog

    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


async def first_event(events: AsyncIterator[Any]) -> Any:
    """The event of a trigger."""
    async for event in events:
        return event
    raise RuntimeError("the trigger ended without an event")


def ours(case: dict[str, Any], schedule: Schedule, looks: Looks) -> Wait:
    """Our trigger, with the pauses of the others."""
    from airflow_provider_octospark.outcomes import Outcome
    from airflow_provider_octospark.parameters.times import format_instant
    from airflow_provider_octospark.polling import wait as waiting
    from airflow_provider_octospark.triggers.octospark import OctosparkPostTrigger

    record_response = waiting.Wait.record_response

    def counted(self: Any, *arguments: Any) -> Any:
        looks.count += 1
        return record_response(self, *arguments)

    waiting.Wait.record_response = counted  # type: ignore[method-assign,assignment]
    verify = {"verify": case["certificate"]} if case["base_url"].startswith("https") else {}
    os.environ["AIRFLOW_CONN_OCTOSPARK_DEFAULT"] = json.dumps(
        {"conn_type": "octospark", "host": case["base_url"], "password": "octo_test_x", "extra": verify}
    )

    def arguments(task: int, now: datetime) -> dict[str, Any]:
        outcome = Outcome(
            team_id=TEAM,
            post_id=post_id(task),
            social_account_id=ACCOUNT,
            scheduled_post_id=scheduled_post_id(task),
            provider="instagram",
            status="publishing",
            state="pending",
            scheduled_at=format_instant(now),
        )
        return waiting.Wait.start([outcome], started_at=now, interval=schedule.interval, backoff=0.0).as_json()

    # A worker writes them, not the triggerer.
    written = [arguments(task, datetime.now(UTC)) for task in range(schedule.tasks)]

    async def wait(task: int) -> None:
        trigger = OctosparkPostTrigger("octospark_default", written[task])
        event = await first_event(trigger.run())
        ends = [each["state"] for each in event.payload.get("outcomes", [])]
        if ends != ["published"]:
            raise RuntimeError(f"not published: {event.payload}")

    return wait


def http_sensor(case: dict[str, Any], schedule: Schedule, _: Looks) -> Wait:
    """The http provider's sensor trigger; our service answers 404 to it until a post is published."""
    from airflow.providers.http.triggers.http import HttpSensorTrigger  # type: ignore[import-not-found]

    os.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = json.dumps({"conn_type": "http", "host": case["base_url"]})

    async def wait(task: int) -> None:
        trigger = HttpSensorTrigger(endpoint=f"sensor/{task}", poke_interval=schedule.interval)
        await first_event(trigger.run())

    return wait


def dbt_cloud(case: dict[str, Any], schedule: Schedule, _: Looks) -> Wait:
    """dbt Cloud's trigger, pointed at our service."""
    from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook  # type: ignore[import-not-found]
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger  # type: ignore[import-not-found]

    os.environ["AIRFLOW_CONN_DBT"] = json.dumps({"conn_type": "dbt_cloud", "login": "1", "password": "x", "host": "x"})

    def url(_tenant: str, endpoint: str, *_: Any, **__: Any) -> tuple[str, dict[str, Any]]:
        return f"{case['base_url']}/api/v2/accounts/{endpoint}", {}

    DbtCloudHook.get_request_url_params = staticmethod(url)

    async def wait(task: int) -> None:
        trigger = DbtCloudRunJobTrigger("dbt", task, time.time() + 3600, schedule.interval, 1)
        event = await first_event(trigger.run())
        if event.payload["status"] != "success":
            raise RuntimeError(f"not published: {event.payload}")

    return wait


def plain_httpx(case: dict[str, Any], schedule: Schedule, _: Looks) -> Wait:
    """One httpx client for all, behind a semaphore, and nothing of Airflow."""
    import ssl

    import httpx

    context = ssl.create_default_context(cafile=case["certificate"])
    limits = httpx.Limits(max_connections=12, max_keepalive_connections=12, keepalive_expiry=75.0)
    timeout = httpx.Timeout(30.0, pool=None)
    client = httpx.AsyncClient(
        base_url=case["base_url"], verify=context, trust_env=False, limits=limits, timeout=timeout
    )
    turn = asyncio.Semaphore(12)

    async def wait(task: int) -> None:
        while True:
            async with turn:
                response = await client.get(f"/v1/teams/{TEAM}/posts/{post_id(task)}")
            if response.json()["latestScheduledPost"]["status"] == "published":
                return
            await asyncio.sleep(schedule.interval)

    return wait


def bare_transport(case: dict[str, Any], schedule: Schedule, _: Looks) -> Wait:
    """One transport of httpx for all, behind a semaphore, without its client and without anything of Airflow."""
    import ssl

    import httpx

    context = ssl.create_default_context(cafile=case["certificate"])
    limits = httpx.Limits(max_connections=12, max_keepalive_connections=12, keepalive_expiry=75.0)
    transport = httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits)
    turn = asyncio.Semaphore(12)

    async def wait(task: int) -> None:
        while True:
            async with turn:
                request = httpx.Request("GET", f"{case['base_url']}/v1/teams/{TEAM}/posts/{post_id(task)}")
                response = await transport.handle_async_request(request)
                body = json.loads(await response.aread())
            if body["latestScheduledPost"]["status"] == "published":
                return
            await asyncio.sleep(schedule.interval)

    return wait


VARIANTS = {
    "ours": ours,
    "http sensor": http_sensor,
    "dbt cloud": dbt_cloud,
    "plain httpx": plain_httpx,
    "bare transport": bare_transport,
}


def trust(certificate: str) -> None:
    """Let aiohttp, which builds its TLS context once when it is imported, trust the benchmark's certificate too."""
    aiohttp_connector = sys.modules.get("aiohttp.connector")
    if aiohttp_connector is not None:
        aiohttp_connector._SSL_CONTEXT_VERIFIED.load_verify_locations(certificate)


def resident() -> int:
    """Bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


class Lags:
    """By how much the event loop is late; a delay of many probes counts as so many (coordinated omission).

    ``all`` is what a clock on the wall shows. On a machine that is shared, that holds what others took; ``own`` counts no more
    than the CPU time that this thread has used meanwhile.
    """

    def __init__(self) -> None:
        self.all: list[float] = [0.0]
        self.own: list[float] = [0.0]

    async def probe(self) -> None:
        """Go on noting it."""
        loop = asyncio.get_running_loop()
        while True:
            before, used = loop.time(), time.thread_time()
            await asyncio.sleep(PROBE)
            late = max(0.0, loop.time() - before - PROBE)
            for lags, lag in ((self.all, late), (self.own, min(late, time.thread_time() - used))):
                lags.append(lag)
                while lag > PROBE:
                    lag -= PROBE
                    lags.append(lag)

    @staticmethod
    def p99(lags: list[float]) -> float:
        """What one in a hundred exceeds."""
        return sorted(lags)[int(len(lags) * 0.99)]


async def run(case: dict[str, Any], wait: Wait, schedule: Schedule, looks: Looks, results: TextIO) -> dict[str, float]:
    """Let all tasks wait; give up after some time."""
    lags = Lags()
    delays: list[float] = []
    problems: list[str] = []

    async def one(task: int) -> None:
        await asyncio.sleep(max(0.0, case["begin"] + schedule.starts(task) - time.time()))
        await greenback.ensure_portal()
        try:
            await wait(task)
        except Exception as error:  # noqa: BLE001 - counted as lost
            problems.append(f"{type(error).__name__}: {error}")
        else:
            delays.append(time.time() - case["begin"] - schedule.published(task))

    await greenback.ensure_portal()
    await asyncio.gather(*(wait(number) for number in range(WARM_UP)))
    print("ready", file=results, flush=True)
    case |= json.loads(await asyncio.to_thread(sys.stdin.readline))
    looks.count = 0
    await asyncio.sleep(max(0.0, case["begin"] - time.time()))
    gc.collect()
    memory, cpu, began = resident(), time.process_time(), time.monotonic()
    probing = asyncio.create_task(lags.probe())
    tasks = [asyncio.create_task(one(task)) for task in range(schedule.tasks)]
    await asyncio.sleep(schedule.interval * 1.9)
    waiting_memory = resident() - memory
    await asyncio.wait(tasks, timeout=case["give_up"])
    spent, took = time.process_time() - cpu, time.monotonic() - began
    probing.cancel()
    for task in tasks:
        task.cancel()
    await asyncio.gather(probing, *tasks, return_exceptions=True)
    if problems:
        print(f"{case['variant']}: {len(problems)} problems, such as {problems[0]:.300}", file=sys.stderr)
    figures = {
        "cpu": spent,
        "core": spent / took,
        "lag_p99": lags.p99(lags.all),
        "own_lag_p99": lags.p99(lags.own),
        "memory": waiting_memory / schedule.tasks,
        "finished": len(delays) / schedule.tasks,
        "looks": float(looks.count),
    }
    if delays:
        figures["delay"] = sum(delays) / len(delays)
    return figures


def main() -> None:
    """Prepare, wait for the order to begin, and measure."""
    case = json.loads(sys.argv[1])
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    # Whatever the libraries print, the figures stand alone.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    schedule = Schedule(case["tasks"], case["interval"], case["start"])
    looks = Looks()
    wait = VARIANTS[case["variant"]](case, schedule, looks)
    trust(case["certificate"])
    quiet()
    print(json.dumps(asyncio.run(run(case, wait, schedule, looks, results))), file=results, flush=True)


if __name__ == "__main__":
    main()
