"""The client's own promises: its budget, its turn-taking, what it leaves behind, and when it does not send."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_octospark.api import backoff as retrying
from airflow_provider_octospark.api.client import AsyncOctosparkClient
from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.api.sync_client import BackgroundLoop, OctosparkClient
from airflow_provider_octospark.exceptions import (
    OctosparkArgumentError,
    OctosparkConnectError,
    OctosparkError,
    OctosparkHeldUpError,
    OctosparkNetworkError,
    OctosparkNotFoundError,
    OctosparkRateLimitError,
    OctosparkServerError,
)
from airflow_provider_octospark.submission.rules import proves_nothing_sent
from tests.api.calls import CALLS, KEY
from tests.api.cells import soon
from tests.api.handles import connections_to, needs_handles
from tests.api.hostile import LOOPBACK, Exchange, answering, response
from tests.api.leaks import leaks_of_error
from tests.api.own_server import ServerThread

READ, SUBMISSION = CALLS[5], CALLS[8]


def settings(base_url: str, **more: object) -> ConnectionSettings:
    return ConnectionSettings(**{"base_url": base_url, "token": KEY, "timeout": 5.0, "submit_timeout": 5.0, **more})  # type: ignore[arg-type]


def test_a_submission_is_not_for_request() -> None:
    with OctosparkClient(settings("http://127.0.0.1:1")) as client, pytest.raises(OctosparkArgumentError):
        client.request(SUBMISSION.make())


def test_what_was_held_up_is_not_sent() -> None:
    with ServerThread(answering(response())) as server, OctosparkClient(settings(server.base_url)) as client:
        with pytest.raises(OctosparkHeldUpError) as caught:
            client.submit(SUBMISSION.make(), datetime.now(UTC) - timedelta(seconds=1))
        assert proves_nothing_sent(caught.value)
        assert leaks_of_error(KEY, caught.value) == []
    assert server.requests == []


def test_what_is_held_up_while_it_connects_is_not_sent() -> None:
    """The clock is read when the first byte is about to leave, not when the call begins."""
    times = iter([datetime(2026, 1, 1, tzinfo=UTC)])
    with ServerThread(answering(response())) as server:
        client = OctosparkClient(settings(server.base_url), lambda: next(times))
        with client, pytest.raises(OctosparkHeldUpError):
            client.submit(SUBMISSION.make(), datetime(2025, 12, 31, tzinfo=UTC))
        # The server may learn of the connection after the client has given it up.
        deadline = time.monotonic() + 30
        while server.connections == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert (server.connections, server.requests) == (1, [])


def test_a_safe_request_succeeds_after_passing_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_DELAY", 0.01)
    bad = [
        response(503, b""),
        response(429, b"", {"Retry-After": "0.01"}),
        b"HTTP/1.1 20",
        response(502, b""),
        response(504, b""),
    ]
    responses = iter([*bad, response(body=b'{"data": []}')])

    async def behave(exchange: Exchange) -> None:
        await exchange.read_request()
        await exchange.send(next(responses))

    with ServerThread(behave) as server, OctosparkClient(settings(server.base_url, timeout=60.0)) as client:
        assert client.request(READ.make()).value.data == []
    assert len(server.requests) == 6


def test_a_wait_that_is_longer_than_the_budget_is_not_begun() -> None:
    """Airflow's own retries come later, at no cost."""
    with (
        ServerThread(answering(response(429, b"", {"Retry-After": "600"}))) as server,
        OctosparkClient(settings(server.base_url)) as client,
        pytest.raises(OctosparkRateLimitError) as caught,
    ):
        client.request(READ.make())
    assert caught.value.retry_after == 600.0
    assert len(server.requests) == 1


def test_the_budget_bounds_the_last_try_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first try fails late, so that the second one would end beyond the budget if it had a whole timeout."""
    ends: list[float] = []
    real = asyncio.timeout

    def noting(seconds: float) -> asyncio.Timeout:
        ends.append(asyncio.get_running_loop().time() + seconds)
        return real(seconds)

    monkeypatch.setattr(asyncio, "timeout", noting)
    monkeypatch.setattr(retrying, "FIRST_DELAY", 0.01)

    async def silent(exchange: Exchange) -> None:
        await exchange.silence()

    with (
        ServerThread(silent) as server,
        OctosparkClient(settings(server.base_url, timeout=0.8)) as client,
        pytest.raises(OctosparkNetworkError, match="no whole answer within"),
    ):
        client.request(READ.make())
    first, second, *_ = ends
    assert second - first <= 0.8 + 1e-6, "the second try ended later than twice the timeout after the first began"


def test_at_most_so_many_are_under_way() -> None:
    at_once = most = 0

    async def behave(exchange: Exchange) -> None:
        nonlocal at_once, most
        while True:
            await exchange.read_request()
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.02)
            at_once -= 1
            await exchange.send(response(404, b""))

    with ServerThread(behave) as server, OctosparkClient(settings(server.base_url, max_in_flight=3)) as client:
        results = client.request_all([READ.make() for _ in range(30)])
    assert all(isinstance(result, OctosparkNotFoundError) for result in results)
    assert (most, len(server.requests)) == (3, 30)
    assert server.connections <= 3, "connections are not kept"


def test_results_come_in_their_order() -> None:
    async def behave(exchange: Exchange) -> None:
        while True:
            request = await exchange.read_request()
            status = 401 if "/posts/" in request.target else 403
            await asyncio.sleep(0.05 if status == 401 else 0)
            await exchange.send(response(status, b""))

    with ServerThread(behave) as server, OctosparkClient(settings(server.base_url)) as client:
        results = client.request_all([CALLS[0].make(), CALLS[1].make(), CALLS[0].make()])
        assert [getattr(result, "status", None) for result in results] == [401, 403, 401]
        submissions = client.submit_all([CALLS[8].make(), CALLS[9].make()], soon())
        assert [getattr(result, "status", None) for result in submissions] == [401, 401]


def _client_threads() -> set[threading.Thread]:
    """Return what a client may have started: other threads of the process come and go on their own."""
    return {thread for thread in threading.enumerate() if thread.name.startswith(("octospark-client", "asyncio"))}


@needs_handles
@pytest.mark.parametrize("ending", ["closed", "forgotten"])
def test_a_client_leaves_nothing_behind(ending: str) -> None:
    """No thread, no connection, no file handle: also if nobody closes it."""
    with ServerThread(answering(response(404, b""), keeps=True)) as server:
        for _ in range(2):  # The first one also opens what the process keeps.
            gc.collect()
            others = set(threading.enumerate())
            clients = [OctosparkClient(settings(server.base_url)) for _ in range(5)]
            for client in clients:
                with pytest.raises(OctosparkNotFoundError):
                    client.request(READ.make())
            assert len(_client_threads() - others) >= len(clients)
            if ending == "closed":
                for client in clients:
                    client.close()
            del client, clients
            gc.collect()
            for thread in _client_threads() - others:
                thread.join(timeout=30)
            assert _client_threads() - others == set()
        gc.collect()
        assert connections_to(server.port) == []


@needs_handles
def test_a_handshake_that_is_broken_off_leaves_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """httpcore forgets a connection whose TLS handshake is cancelled: it stayed open as long as the loop ran."""
    monkeypatch.setattr(retrying, "FIRST_DELAY", 0.01)

    async def silent(exchange: Exchange) -> None:
        await exchange.silence()

    async def calls(port: int) -> list[int]:
        async with AsyncOctosparkClient(settings(f"https://{LOOPBACK}:{port}", timeout=0.3)) as client:
            with pytest.raises(OctosparkConnectError):
                await client.request(READ.make())
            task = asyncio.ensure_future(client.request(READ.make()))
            await asyncio.sleep(0.15)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)
        return connections_to(port)

    with ServerThread(silent) as server:
        assert asyncio.run(calls(server.port)) == []
        assert server.connections >= 2


def test_an_interrupted_caller_ends_its_request() -> None:
    ended = threading.Event()

    async def behave(exchange: Exchange) -> None:
        await exchange.read_request()
        await exchange.silence()
        ended.set()

    class InterruptError(BaseException):
        pass

    with ServerThread(behave) as server, OctosparkClient(settings(server.base_url, timeout=60.0)) as client:
        loop = client._loop
        real = asyncio.run_coroutine_threadsafe

        class Interrupting:
            def __init__(self, future: object) -> None:
                self.future = future

            def result(self, timeout: float) -> object:
                while not server.requests:
                    pass
                raise InterruptError

            def cancel(self) -> object:
                return self.future.cancel()  # type: ignore[attr-defined]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio, "run_coroutine_threadsafe", lambda *args: Interrupting(real(*args)))
            with pytest.raises(InterruptError):
                loop.run(client._on_loop(lambda api: api.request(READ.make())))
        assert ended.wait(timeout=30), "the request went on"


def test_a_background_loop_ends_what_still_runs() -> None:
    loop = BackgroundLoop("test")
    ended: list[str] = []

    async def linger() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("ended")

    async def begin() -> asyncio.Task[None]:
        task = asyncio.ensure_future(linger())
        await asyncio.sleep(0)
        return task

    loop.run(begin())
    loop.close()
    assert ended == ["ended"]
    assert loop.run(asyncio.sleep(0, "anew")) == "anew"
    loop.close()


def test_many_threads_share_one_loop() -> None:
    loop = BackgroundLoop("test")
    loops: set[int] = set()

    async def which() -> None:
        loops.add(id(asyncio.get_running_loop()))

    threads = [threading.Thread(target=lambda: loop.run(which())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loop.close()
    assert len(loops) == 1


def test_the_right_error_for_a_service_that_is_down_and_says_what_to_do() -> None:
    with socket.socket() as reserved:
        reserved.bind((LOOPBACK, 0))
        url = f"http://{LOOPBACK}:{reserved.getsockname()[1]}"
        with OctosparkClient(settings(url)) as client, pytest.raises(OctosparkConnectError) as caught:
            client.submit(SUBMISSION.make(), soon())
    assert "Nothing was sent. Check the connection's host" in str(caught.value)
    assert isinstance(caught.value, OctosparkError)


def test_a_submission_without_an_answer_says_to_look_first() -> None:
    async def behave(exchange: Exchange) -> None:
        await exchange.read_request()

    with ServerThread(behave) as server, OctosparkClient(settings(server.base_url)) as client:
        with pytest.raises(OctosparkNetworkError, match="look at the post before you send it again") as caught:
            client.submit(SUBMISSION.make(), soon())
        assert not proves_nothing_sent(caught.value)
    with ServerThread(answering(response(503, b""))) as server, OctosparkClient(settings(server.base_url)) as client:
        with pytest.raises(OctosparkServerError) as again:
            client.submit(SUBMISSION.make(), soon())
        assert not proves_nothing_sent(again.value)
