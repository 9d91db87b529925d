"""The way to the service as companies have it: their own authority, a proxy, an environment; alike in both colours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_octospark.api import backoff as retrying
from airflow_provider_octospark.api.client import AsyncOctosparkClient
from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.api.sync_client import OctosparkClient
from airflow_provider_octospark.api.transport import httpx, ssl_context
from airflow_provider_octospark.exceptions import (
    OctosparkConnectError,
    OctosparkError,
    OctosparkServerError,
    OctosparkSettingsError,
)
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from tests.api.calls import CALLS, KEY
from tests.api.cells import Colour, soon
from tests.api.certificates import SERVICE_NAME, Authority
from tests.api.hostile import LOOPBACK, Behaviour, Exchange, answering, response
from tests.api.leaks import found_in, leaks_of_error
from tests.api.own_server import ServerThread
from tests.api.resolver import own_resolver

COLOURS: tuple[Colour, ...] = ("async", "sync")
READ, SUBMISSION = CALLS[5], CALLS[8]
GOOD = answering(response(body=b'{"data": [{"id": "org-1"}]}'), keeps=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def service(authority: Authority) -> Iterator[ServerThread]:
    """A service that is known by a name and shows a certificate of a company's own authority."""
    with own_resolver(), ServerThread(GOOD, authority.server_context(SERVICE_NAME, LOOPBACK)) as running:
        yield running


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(retrying, "DELAY_GROWTH", 1e5)
    monkeypatch.setattr(retrying, "LONGEST_DELAY", 1e5)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    ssl_context.cache_clear()


def named(service: ServerThread) -> str:
    return f"https://{SERVICE_NAME}:{service.port}"


def ask(colour: Colour, base_url: str, **settings: Any) -> Any:
    """Make one read and return what it answers."""
    made = ConnectionSettings(base_url=base_url, token=KEY, timeout=5.0, submit_timeout=5.0, **settings)
    if colour == "sync":
        with OctosparkClient(made) as client:
            return client.request(READ.make()).value

    async def ask_async() -> Any:
        async with AsyncOctosparkClient(made) as client:
            return (await client.request(READ.make())).value

    return asyncio.run(ask_async())


def forwarding(seen: list[bytes]) -> Behaviour:
    """A proxy that opens tunnels to this machine, and notes all that it can read."""

    async def behave(exchange: Exchange) -> None:
        method, target, headers = await exchange.read_head()
        seen.append(f"{method} {target} {headers}".encode())
        if method != "CONNECT":
            await exchange.send(response(body=b'{"data": [{"id": "through-the-proxy"}]}'))
            return
        reader, writer = await asyncio.open_connection(LOOPBACK, int(target.rpartition(":")[2]))
        await exchange.send(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                seen.append(data)
                sink.write(data)
                await sink.drain()
            sink.close()

        await asyncio.gather(pump(exchange.reader, writer), pump(reader, exchange.writer))

    return behave


@pytest.fixture
def seen() -> list[bytes]:
    return []


@pytest.fixture
def proxy(seen: list[bytes]) -> Iterator[ServerThread]:
    with ServerThread(forwarding(seen)) as running:
        yield running


@pytest.mark.parametrize("colour", COLOURS)
class TestAuthority:
    """Who vouches for the service."""

    def test_a_company_s_bundle_is_trusted_if_named(
        self, colour: Colour, service: ServerThread, authority: Authority
    ) -> None:
        assert ask(colour, named(service), verify=str(authority.bundle)).data[0].id == "org-1"

    def test_without_it_the_service_is_not_believed(self, colour: Colour, service: ServerThread) -> None:
        before = len(service.requests)
        with pytest.raises(OctosparkConnectError, match=r"CERTIFICATE_VERIFY_FAILED.*'verify' \(its CA bundle\)"):
            ask(colour, named(service))
        assert len(service.requests) == before

    def test_the_environment_s_bundle_is_trusted_if_the_environment_is(
        self, colour: Colour, service: ServerThread, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
        assert ask(colour, named(service)).data[0].id == "org-1"
        with pytest.raises(OctosparkConnectError):
            ask(colour, named(service), trust_env=False)

    def test_nothing_is_checked_if_that_is_written_out(self, colour: Colour, service: ServerThread) -> None:
        assert ask(colour, named(service), verify=False).data[0].id == "org-1"

    @pytest.mark.parametrize("content", [None, b"", b"no certificates"])
    def test_a_bundle_that_cannot_be_read_is_named(self, colour: Colour, content: bytes | None, tmp_path: Path) -> None:
        bundle = tmp_path / "bundle.pem"
        if content is not None:
            bundle.write_bytes(content)
        with pytest.raises(OctosparkSettingsError, match=r"extra 'verify'.*bundle\.pem") as caught:
            ask(colour, "https://127.0.0.1:1", verify=str(bundle))
        assert leaks_of_error(KEY, caught.value) == []

    def test_the_environment_s_bundle_that_cannot_be_read_is_named(
        self, colour: Colour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
        with pytest.raises(OctosparkSettingsError, match="SSL_CERT_FILE"):
            ask(colour, "https://127.0.0.1:1")


@pytest.mark.parametrize("colour", COLOURS)
class TestProxy:
    """Who is in between."""

    def test_the_connection_s_proxy_is_used_and_cannot_read_the_key(
        self, colour: Colour, service: ServerThread, authority: Authority, proxy: ServerThread, seen: list[bytes]
    ) -> None:
        answered = ask(colour, named(service), verify=str(authority.bundle), proxy=proxy.base_url)
        assert answered.data[0].id == "org-1"
        assert seen[0].startswith(f"CONNECT {SERVICE_NAME}:{service.port}".encode())
        assert found_in(KEY, b"".join(seen)) == []

    def test_the_environment_s_proxy_is_used_unless_the_connection_says_no(
        self,
        colour: Colour,
        service: ServerThread,
        authority: Authority,
        proxy: ServerThread,
        seen: list[bytes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", proxy.base_url)
        ask(colour, named(service), verify=str(authority.bundle))
        assert len(seen) > 0
        seen.clear()
        ask(colour, named(service), verify=str(authority.bundle), trust_env=False)
        assert seen == []

    def test_the_key_for_a_service_on_this_machine_goes_to_no_proxy_of_the_environment(
        self, colour: Colour, proxy: ServerThread, seen: list[bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
        monkeypatch.setenv("ALL_PROXY", proxy.base_url)
        with ServerThread(GOOD) as service:
            assert ask(colour, service.base_url).data[0].id == "org-1"
        assert seen == []

    def test_a_proxy_that_refuses_is_an_error_of_ours_with_nothing_sent(
        self, colour: Colour, service: ServerThread, authority: Authority
    ) -> None:
        async def refuse(exchange: Exchange) -> None:
            await exchange.read_head()
            await exchange.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

        with ServerThread(refuse) as proxy, pytest.raises(OctosparkConnectError, match=r"407.*Nothing was sent"):
            ask(colour, named(service), verify=str(authority.bundle), proxy=proxy.base_url)

    @pytest.mark.parametrize("variable", ["gopher://proxy", "http://proxy:port", "socks4://proxy"])
    def test_a_proxy_that_is_none_is_named(
        self, colour: Colour, variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ALL_PROXY", variable)
        with pytest.raises(OctosparkSettingsError, match="proxy variables of the environment") as caught:
            ask(colour, "https://unresolvable.test")
        assert leaks_of_error(KEY, caught.value) == []


@pytest.mark.parametrize("colour", COLOURS)
class TestHost:
    """The key goes to the connection's host, and nowhere else."""

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_no_redirect_is_followed(self, colour: Colour, status: int) -> None:
        with ServerThread(GOOD) as elsewhere:
            location = f"{elsewhere.base_url}/v1/organizations?key={KEY}"
            redirecting = answering(response(status, b"", {"Location": location, "Refresh": f"0; url={location}"}))
            with ServerThread(redirecting) as service, pytest.raises(OctosparkServerError) as caught:
                ask(colour, service.base_url)
            assert (len(service.requests), elsewhere.connections) == (1, 0)
        assert "Redirects are not followed" in str(caught.value)
        assert elsewhere.base_url not in str(caught.value)
        assert leaks_of_error(KEY, caught.value) == []

    def test_no_cookie_is_kept(self, colour: Colour) -> None:
        setting = answering(response(200, b'{"data": []}', {"Set-Cookie": f"session={KEY}; Path=/"}), keeps=True)
        with ServerThread(setting) as service:
            settings = ConnectionSettings(base_url=service.base_url, token=KEY)
            if colour == "sync":
                with OctosparkClient(settings) as client:
                    for _ in range(3):
                        client.request(READ.make())
            else:

                async def thrice() -> None:
                    async with AsyncOctosparkClient(settings) as client:
                        for _ in range(3):
                            await client.request(READ.make())

                asyncio.run(thrice())
            assert [request.headers.get("cookie") for request in service.requests] == [None] * 3
            assert service.connections == 1


def test_what_the_log_says_of_a_call_is_not_the_key(caplog: pytest.LogCaptureFixture) -> None:
    """At the most talkative level, with a response that quotes the key in a header and in its body."""
    caplog.set_level(logging.DEBUG)
    quoting = answering(response(400, b'{"message": "no: Bearer ' + KEY.encode() + b'"}'))
    with ServerThread(quoting) as service:
        for call in (READ, SUBMISSION):
            settings = ConnectionSettings(base_url=service.base_url, token=KEY)
            with OctosparkClient(settings) as client, pytest.raises(OctosparkError) as caught:
                client.submit(call.make(), soon()) if call.submits else client.request(call.make())
            logging.getLogger("tests").error("it failed: %s", caught.value, exc_info=caught.value)
    assert "it failed" in caplog.text
    assert found_in(KEY, caplog.text) == []


def test_the_hook_warns_of_what_is_not_checked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_UNCHECKED", '{"conn_type": "octospark", "password": "k", "extra": {"verify": false}}'
    )
    hook = OctosparkHook("unchecked")
    monkeypatch.setattr(hook, "_log", logging.getLogger("tests"))  # Airflow's own is out of pytest's reach.
    assert hook.settings.verify is False
    assert "TLS certificates are not checked" in caplog.text


def test_every_time_limit_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A submission bounds each step; a read bounds its beginning, and the client the whole of it."""
    clients: list[dict[str, Any]] = []
    requests: list[dict[str, Any]] = []
    real_client, real_request = httpx.AsyncClient, httpx.Request

    def client_of(**kwargs: Any) -> Any:
        clients.append(kwargs)
        return real_client(**kwargs)

    def request_of(*args: Any, **kwargs: Any) -> Any:
        requests.append(kwargs)
        return real_request(*args, **kwargs)

    with ServerThread(answering(response(404, b""), keeps=True)) as service:
        settings = ConnectionSettings(base_url=service.base_url, token=KEY, timeout=7.0, submit_timeout=70.0)
        with OctosparkClient(settings) as client:
            monkeypatch.setattr(httpx, "Request", request_of)
            with pytest.raises(OctosparkError):
                client.request(READ.make())
            monkeypatch.setattr(httpx, "Request", real_request)
            monkeypatch.setattr(httpx, "AsyncClient", client_of)
            with pytest.raises(OctosparkError):
                client.submit(SUBMISSION.make(), soon())
    assert [each["extensions"]["timeout"] for each in requests] == [{"connect": 7.0}]
    assert [each["timeout"].as_dict() for each in clients] == [
        {"connect": 10.0, "read": 70.0, "write": 70.0, "pool": 70.0},
    ]
    assert [each["follow_redirects"] for each in clients] == [False]
