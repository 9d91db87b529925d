"""The emulator as a command, as a context manager and as a fixture."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.emulator.__main__ import main
from tests.emulator.calling import Caller, client

COMMAND = [sys.executable, "-m", "airflow_provider_octospark.emulator"]


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The command, and what it printed when it was ready."""
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def get_nothing(http: httpx.Client, path: str) -> None:
    """Call, and be left without a response."""
    with pytest.raises(httpx.TransportError):
        http.get(path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command(emulator: Emulator, number: signal.Signals) -> None:
    with running() as (process, ready):
        assert ready.keys() == {*("base_url", "token", "team_id", "posts", "social_accounts", "connection")}
        assert ready["posts"][0].keys() == {"id", "title"}
        assert len(ready["posts"]) >= 8
        assert ready["social_accounts"][0].keys() == {"id", "provider", "displayName", "status"}
        connection = json.loads(ready["connection"])
        assert connection == {
            "conn_type": "octospark",
            "host": "http://127.0.0.1",
            "port": int(ready["base_url"].rpartition(":")[2]),
            "password": ready["token"],
            "extra": {"team_id": ready["team_id"]},
        }
        assert ready["token"].startswith("octo_test_")
        # The ids are the same in every start.
        assert ready["posts"] == emulator.posts
        assert ready["social_accounts"] == emulator.social_accounts
        assert (ready["team_id"], ready["token"]) == (emulator.team_id, emulator.token)
        path = f"/v1/teams/{ready['team_id']}/posts/{ready['posts'][0]['id']}"
        with client(ready["base_url"]) as http:
            http.headers["Authorization"] = f"Bearer {ready['token']}"
            assert http.get(path).status_code == 200
            http.post("/_emulator/faults", json=[{"operation": "get-post", "fault": "no_answer"}])
            waiting = threading.Thread(target=get_nothing, args=(http, path))
            waiting.start()
            while not http.get("/_emulator/requests").json()["data"][-1]["fault"]:
                time.sleep(0.01)
            begin = time.monotonic()
            process.send_signal(number)
            rest, complaints = process.communicate(timeout=60)
            assert time.monotonic() - begin < 60
            waiting.join()
        assert (process.returncode, rest, complaints) == (0, "", "")


@pytest.mark.parametrize("as_json", [False, True])
def test_in_a_terminal_it_prints_for_a_person(as_json: bool, emulator: Emulator) -> None:
    ours, theirs = pty.openpty()
    arguments = ["--json"] if as_json else []
    with subprocess.Popen([*COMMAND, *arguments], stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        try:
            end = b"\n" if as_json else b"}}'"
            printed = b""
            while end not in printed:
                printed += os.read(ours, 65_536)
        finally:
            process.kill()
            os.close(ours)
    text = printed.decode()
    assert text.startswith("{") is as_json
    [line] = [each for each in text.splitlines() if "AIRFLOW_CONN" in each or as_json]
    if as_json:
        assert json.loads(line)["token"] == emulator.token
        return
    [_, assigned] = shlex.split(line)
    connection = json.loads(assigned.partition("=")[2])
    assert connection["password"] == emulator.token
    assert f"Page      {connection['host']}:{connection['port']}/" in text


def test_a_signal_before_it_is_ready_ends_it_as_well() -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(0.4)
        process.terminate()
        _, complaints = process.communicate(timeout=10)
    assert complaints == ""
    # It may not have come as far as to its own handler.
    assert process.returncode in (0, -signal.SIGTERM)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.com", "", "::"])  # noqa: S104
def test_only_loopback(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="loopback"):
        Emulator(host)
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    try:
        assert main(["--host", host]) == 2
    finally:
        for each, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
            signal.signal(each, handler)
    assert "loopback" in capsys.readouterr().err


def test_a_port_that_is_taken(emulator: Emulator) -> None:
    port = emulator.base_url.rsplit(":", 1)[1]
    done = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert port in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1"])
def test_other_names_of_loopback(host: str) -> None:
    if host == "::1":
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6")
    with Emulator(host) as emulator, Caller(emulator) as caller:
        assert caller.http.get("/v1/organizations").status_code == 200


@pytest.mark.parametrize(
    "fault", [{"fault": "no_answer"}, {"fault": "late", "seconds": 600.0}, {"fault": "delay", "seconds": 600.0}]
)
def test_it_stops_whoever_waits(fault: dict[str, Any]) -> None:
    with Emulator() as emulator, Caller(emulator) as caller:
        emulator.faults([{"operation": "*", **fault}])
        waiting = threading.Thread(target=get_nothing, args=(caller.http, "/v1/organizations"))
        waiting.start()
        while not emulator.requests():
            time.sleep(0.01)
        begin = time.monotonic()
        emulator.stop()
        waiting.join()
        assert time.monotonic() - begin < 60


def test_it_leaves_nothing_behind() -> None:
    threads, files = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        with Emulator() as emulator, Caller(emulator) as caller:
            caller.http.get("/v1/organizations")
            started = set(threading.enumerate()) - threads
            assert started
        for thread in started:  # A pool's thread ends a moment after its pool.
            thread.join(timeout=30)
            assert not thread.is_alive()
    assert len(os.listdir("/proc/self/fd")) == files  # noqa: PTH208
    emulator.stop()
    with pytest.raises(RuntimeError, match="already"):
        emulator.start()
    with pytest.raises(RuntimeError, match="not been started"):
        _ = Emulator().base_url


def test_the_fixture(octospark_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", octospark_emulator.connection)
    with Caller(octospark_emulator) as caller:
        caller.post_now(octospark_emulator.posts[0]["id"], octospark_emulator.account_id("x"))
    assert len(octospark_emulator.submissions()) == 1


def test_the_fixture_is_fresh_for_each_test(octospark_emulator: Emulator) -> None:
    assert octospark_emulator.submissions() == []
    assert octospark_emulator.requests() == []


def test_without_fastapi_it_says_what_to_install() -> None:
    script = "import sys; sys.modules['fastapi'] = None; from airflow_provider_octospark.emulator import Emulator"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'airflow-provider-octospark[emulator]'" in done.stderr


def test_what_is_imported() -> None:
    script = """
import sys
import airflow_provider_octospark.emulator.pytest_plugin
assert not {"fastapi", "uvicorn", "pydantic"} & sys.modules.keys()
from airflow_provider_octospark.emulator import Emulator
assert "airflow" not in sys.modules
ours = [name for name in sys.modules if name.startswith("airflow_provider_octospark.")]
assert all(name.startswith("airflow_provider_octospark.emulator") for name in ours), ours
assert "httpx" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
