"""Running every fault against every operation, in both colours."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

from airflow_provider_octospark.api import client
from airflow_provider_octospark.api.client import AsyncOctosparkClient
from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.api.sync_client import OctosparkClient
from tests.api.calls import CALLS, KEY, Call
from tests.api.certificates import SERVICE_NAME, Authority
from tests.api.faults import FAULTS, Fault
from tests.api.hostile import LOOPBACK, HostileServer
from tests.api.resolver import SLOW, UNREACHABLE, UNRESOLVABLE

SHORT = 1.5
"""`timeout` and `submit_timeout` of calls that end by a timeout only, and the time to connect, in seconds."""

LONG = 20.0
"""The same for all others, so that a slow machine does not make them end by one."""

AT_ONCE = 32
HANGS = 60.0
"""When a cell is given up, in seconds: far beyond any budget."""

Colour = Literal["async", "sync"]
_NAMES = {"unresolvable": UNRESOLVABLE, "unreachable": UNREACHABLE, "slow to resolve": SLOW}


@dataclass(frozen=True)
class Result:
    """What one call came to.

    :param value: what it returned, or None.
    :param error: what it raised, or None.
    :param requests: how many whole requests reached the server.
    :param connections: how many connections did.
    """

    fault: Fault
    call: Call
    colour: Colour
    value: Any
    error: BaseException | None
    requests: int
    connections: int
    seconds: float

    @property
    def gets(self) -> str:
        """What the caller gets, in a word or two."""
        if self.error is None:
            return "the response"
        asked = getattr(self.error, "retry_after", None)
        return type(self.error).__name__ + (f" (wait {asked:g} s)" if asked is not None else "")

    @property
    def label(self) -> str:
        """Which one it is."""
        return f"{self.fault.title} / {self.call.name} / {self.colour}"


def certificates(folder: Path) -> Mapping[str, ssl.SSLContext]:
    """Make what the servers show; the right authority's bundle is `folder / "right" / "authority.pem"`."""
    for name in ("right", "wrong"):
        (folder / name).mkdir()
    right, wrong = Authority(folder / "right"), Authority(folder / "wrong", "Another authority")
    return {
        "right": right.server_context(SERVICE_NAME, LOOPBACK),
        "other host": right.server_context("other.test"),
        "expired": right.server_context(SERVICE_NAME, LOOPBACK, expired=True),
        "unknown authority": wrong.server_context(SERVICE_NAME, LOOPBACK),
    }


def run_cells(folder: Path, faults: Sequence[Fault] = FAULTS, calls: Sequence[Call] = CALLS) -> list[Result]:
    """Run every fault against every operation, asynchronously and synchronously; results in their order.

    The calls that end by a timeout run first and by themselves: they need a machine that has time for them.
    """
    shown = certificates(folder)
    results: dict[tuple[str, str], list[Result]] = {}
    for waits, seconds in ((True, SHORT), (False, LONG)):
        pairs = [(fault, call) for fault in faults for call in calls if fault.waits is waits]
        with patch.object(client, "CONNECT_TIMEOUT", seconds):
            for result in asyncio.run(_run(folder, shown, pairs)):
                results.setdefault((result.fault.title, result.call.name), []).append(result)
    return [result for fault in faults for call in calls for result in results[fault.title, call.name]]


async def _run(folder: Path, shown: Mapping[str, ssl.SSLContext], pairs: Sequence[tuple[Fault, Call]]) -> list[Result]:
    loop = asyncio.get_running_loop()
    turn = asyncio.Semaphore(AT_ONCE)
    bundle = str(folder / "right" / "authority.pem")
    # The resolver that does not answer keeps its threads busy.
    loop.set_default_executor(ThreadPoolExecutor(AT_ONCE * 4))
    with ThreadPoolExecutor(AT_ONCE) as threads:

        async def cell(fault: Fault, call: Call, colour: Colour) -> Result:
            async with turn, _served(fault, call, shown) as (server, base_url):
                settings = ConnectionSettings(
                    base_url=base_url,
                    token=KEY,
                    timeout=SHORT if fault.waits else LONG,
                    submit_timeout=SHORT if fault.waits else LONG,
                    verify=bundle,
                    trust_env=False,
                )
                begin = time.monotonic()
                async with asyncio.timeout(HANGS):
                    if colour == "async":
                        value, error = await _call_async(settings, call)
                    else:
                        value, error = await loop.run_in_executor(threads, _call_sync, settings, call)
                seconds = time.monotonic() - begin
                # What the client has sent may still be on its way to the server.
                await asyncio.sleep(0.05)
                return Result(fault, call, colour, value, error, len(server.requests), server.connections, seconds)

        tasks = [cell(fault, call, colour) for fault, call in pairs for colour in ("async", "sync")]
        return list(await asyncio.gather(*tasks))


async def _call_async(settings: ConnectionSettings, call: Call) -> tuple[Any, BaseException | None]:
    try:
        async with AsyncOctosparkClient(settings) as api:
            if call.submits:
                return (await api.submit(call.make(), soon())).value, None
            return (await api.request(call.make())).value, None
    except Exception as error:  # noqa: BLE001 - that it is one of ours is what the test checks
        return None, error


def _call_sync(settings: ConnectionSettings, call: Call) -> tuple[Any, BaseException | None]:
    try:
        with OctosparkClient(settings) as api:
            if call.submits:
                return api.submit(call.make(), soon()).value, None
            return api.request(call.make()).value, None
    except Exception as error:  # noqa: BLE001 - that it is one of ours is what the test checks
        return None, error


def soon() -> datetime:
    """A time by which every request has left."""
    return datetime.now(UTC) + timedelta(seconds=30)


@contextlib.asynccontextmanager
async def _served(
    fault: Fault, call: Call, shown: Mapping[str, ssl.SSLContext]
) -> AsyncIterator[tuple[HostileServer, str]]:
    scheme = "https" if fault.asks_tls else "http"
    tls = None if fault.certificate is None else shown[fault.certificate]
    async with HostileServer(fault.behaviour(call), tls) as server:
        if fault.address == "listening":
            yield server, f"{scheme}://{LOOPBACK}:{server.port}"
        elif fault.address in _NAMES:
            yield server, f"{scheme}://{_NAMES[fault.address]}:{server.port}"
        else:
            with _closed_port(refusing=fault.address == "refusing") as port:
                yield server, f"{scheme}://{LOOPBACK}:{port}"


@contextlib.contextmanager
def _closed_port(*, refusing: bool) -> Iterator[int]:
    """Give a port that refuses connections, or one whose queue is full, so that none is ever accepted."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((LOOPBACK, 0))
        port = listener.getsockname()[1]
        if not refusing:
            listener.listen(0)
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex((LOOPBACK, port))
        yield port
