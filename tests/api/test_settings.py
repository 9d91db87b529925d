"""From an Airflow connection, in whatever form it is kept, to settings, or to an error that names the field."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_octospark.api.settings import DEFAULT_HOST, ConnectionSettings
from airflow_provider_octospark.exceptions import OctosparkSettingsError
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from tests.api.calls import KEY
from tests.api.leaks import found_in, leaks_of_error

CONN_ID = "octo_test"
FIELDS = ("host", "password", "login", "schema", "port", "extra")


def from_environment(monkeypatch: pytest.MonkeyPatch, value: str) -> ConnectionSettings:
    """Let Airflow read the connection, as it does for a task."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", value)
    return OctosparkHook(CONN_ID).settings


Q = quote(KEY, safe="")


@pytest.mark.parametrize(
    ("uri", "base_url"),
    [
        (f"octospark://:{Q}@api.octospark.ai", "https://api.octospark.ai"),
        (f"octospark://:{Q}@", DEFAULT_HOST),
        (f"octospark://:{Q}@/", DEFAULT_HOST),
        (f"octospark://:{Q}@api.octospark.ai:8443", "https://api.octospark.ai:8443"),
        (f"octospark://:{Q}@api.octospark.ai/https", "https://api.octospark.ai"),
        (f"octospark://:{Q}@127.0.0.1:8080/http", "http://127.0.0.1:8080"),
        (f"octospark://:{Q}@localhost/http", "http://localhost"),
        (f"octospark://:{Q}@https%3A%2F%2Fapi.octospark.ai", "https://api.octospark.ai"),
        (f"octospark://:{Q}@http%3A%2F%2F127.0.0.1%3A4010", "http://127.0.0.1:4010"),
        (f"octospark://:{Q}@%5B%3A%3A1%5D:8080/http", "http://[::1]:8080"),
        (f"octospark://:{Q}@staging.example/http?allow_http=true", "http://staging.example"),
        (f"octospark://:{Q}@api.octospark.ai/?timeout=5&submit_timeout=90&verify=false", "https://api.octospark.ai"),
        (
            f"octospark://:{Q}@api.octospark.ai/?__extra__={quote(json.dumps({'timeout': 5}))}",
            "https://api.octospark.ai",
        ),
    ],
)
def test_a_connection_as_a_uri(monkeypatch: pytest.MonkeyPatch, uri: str, base_url: str) -> None:
    settings = from_environment(monkeypatch, uri)
    assert (settings.base_url, settings.token) == (base_url, KEY)
    assert settings.timeout == (5.0 if "timeout" in uri else 30.0)
    assert settings.verify is not ("verify" in uri)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"base_url": DEFAULT_HOST}),
        ({"host": ""}, {"base_url": DEFAULT_HOST}),
        ({"host": "api.octospark.ai"}, {}),
        ({"host": "API.Octospark.AI."}, {"base_url": "https://api.octospark.ai."}),
        ({"host": "https://api.octospark.ai/"}, {}),
        ({"host": "https://api.octospark.ai/v1/"}, {}),
        ({"host": " https://api.octospark.ai\n"}, {}),
        ({"host": "api.octospark.ai:8443"}, {"base_url": "https://api.octospark.ai:8443"}),
        ({"host": "api.octospark.ai", "port": 8443}, {"base_url": "https://api.octospark.ai:8443"}),
        ({"host": "api.octospark.ai", "port": "8443"}, {"base_url": "https://api.octospark.ai:8443"}),
        ({"host": "https://api.octospark.ai:1", "port": 1}, {"base_url": "https://api.octospark.ai:1"}),
        ({"host": "::1", "schema": "http", "port": 80}, {"base_url": "http://[::1]:80"}),
        ({"host": "2001:db8::7"}, {"base_url": "https://[2001:db8::7]"}),
        ({"host": "http://[::1]:8080"}, {"base_url": "http://[::1]:8080"}),
        ({"host": "127.0.0.2", "schema": "HTTP"}, {"base_url": "http://127.0.0.2"}),
        ({"host": "http://10.0.0.5", "extra": {"allow_http": "yes"}}, {"base_url": "http://10.0.0.5"}),
        ({"password": f"Bearer {KEY}"}, {"token": KEY}),
        ({"password": f" bearer   {KEY}\n"}, {"token": KEY}),
        ({"extra": {"timeout": "12.5", "submit_timeout": 90}}, {"timeout": 12.5, "submit_timeout": 90.0}),
        ({"extra": {"max_in_flight": "4", "trust_env": "off"}}, {"max_in_flight": 4, "trust_env": False}),
        ({"extra": {"verify": "/etc/ca.pem"}}, {"verify": "/etc/ca.pem"}),
        ({"extra": {"verify": "False"}}, {"verify": False}),
        ({"extra": {"verify": ""}}, {"verify": True}),
        ({"extra": {"verify": None, "timeout": None, "proxy": None}}, {"verify": True, "timeout": 30.0, "proxy": None}),
        ({"extra": {"proxy": "http://user:pw@proxy.example:3128"}}, {"proxy": "http://user:pw@proxy.example:3128"}),
        ({"extra": {"team_id": " t-1 ", "colour": "unknown keys are left alone"}}, {"team_id": "t-1"}),
        ({"extra": ""}, {}),
    ],
)
def test_a_connection_as_json(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    settings = from_environment(monkeypatch, json.dumps({"conn_type": "octospark", "password": KEY, **fields}))
    pending = {"base_url": "https://api.octospark.ai", "token": KEY} | expected
    assert {name: getattr(settings, name) for name in pending} == pending


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"password": ""}, "password"),
        ({"password": None}, "password"),
        ({"password": "Bearer "}, "password"),
        ({"password": "two words"}, "password"),
        ({"password": "octo_live_ü"}, "password"),
        ({"password": "octo\nlive"}, "password"),
        ({"login": "somebody"}, "login"),
        ({"host": "http://api.octospark.ai"}, "allow_http"),
        ({"host": "api.octospark.ai", "schema": "http"}, "allow_http"),
        ({"host": "http://127.0.0.1.evil.example"}, "allow_http"),
        ({"host": "http://localhost.evil.example"}, "allow_http"),
        ({"host": "http://127.1"}, "allow_http"),
        ({"host": "http://0x7f000001"}, "allow_http"),
        ({"host": "http://[::ffff:8.8.8.8]"}, "allow_http"),
        ({"host": "ftp://api.octospark.ai"}, "host"),
        ({"host": "api.octospark.ai", "schema": "ftp"}, "schema"),
        ({"host": "https://"}, "host"),
        ({"host": "https://api.octospark.ai/v2"}, "host"),
        ({"host": "https://api.octospark.ai?x=1"}, "host"),
        ({"host": "https://api.octospark.ai#x"}, "host"),
        ({"host": "https://user:pw@api.octospark.ai"}, "host"),
        ({"host": "https://127.0.0.1\\.evil.example"}, "host"),
        ({"host": "https://api octospark.ai"}, "host"),
        ({"host": "https://api.octo\nspark.ai"}, "host"),
        ({"host": "https://äpi.example"}, "host"),
        ({"host": "https://a..b"}, "host"),
        ({"host": "https://[::1"}, "host"),
        ({"host": "https://api.octospark.ai:99999"}, "host"),
        ({"host": "https://api.octospark.ai:0"}, "host"),
        ({"port": 70000}, "port"),
        ({"port": -1}, "port"),
        ({"port": "http"}, "port"),
        ({"host": "https://api.octospark.ai:1", "port": 2}, "port"),
        ({"extra": "{"}, "extra"),
        ({"extra": "[1]"}, "extra"),
        ({"extra": "7"}, "extra"),
        ({"extra": "[" * 5000}, "extra"),
        ({"extra": {"timeout": 0}}, "timeout"),
        ({"extra": {"timeout": "soon"}}, "timeout"),
        ({"extra": {"timeout": True}}, "timeout"),
        ({"extra": {"timeout": 1e9}}, "timeout"),
        ({"extra": {"timeout": "nan"}}, "timeout"),
        ({"extra": {"submit_timeout": [5]}}, "submit_timeout"),
        ({"extra": {"max_in_flight": 1.5}}, "max_in_flight"),
        ({"extra": {"max_in_flight": 1000}}, "max_in_flight"),
        ({"extra": {"trust_env": "perhaps"}}, "trust_env"),
        ({"extra": {"allow_http": 1}}, "allow_http"),
        ({"extra": {"verify": 0}}, "verify"),
        ({"extra": {"verify": ["a"]}}, "verify"),
        ({"extra": {"proxy": "proxy.example:3128"}}, "proxy"),
        ({"extra": {"proxy": "ftp://proxy.example"}}, "proxy"),
        ({"extra": {"proxy": "http://"}}, "proxy"),
        ({"extra": {"proxy": "http://proxy:port"}}, "proxy"),
        ({"extra": {"proxy": 7}}, "proxy"),
        ({"host": "http://127.0.0.1", "extra": {"proxy": "http://proxy.example:3128"}}, "proxy"),
        ({"extra": {"team_id": 7}}, "team_id"),
        ({"extra": {"api_key": KEY}}, "api_key"),
        ({"extra": {"Token": KEY}}, "Token"),
        ({"extra": {"password": KEY}}, "password"),
    ],
)
def test_what_is_unusable_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(OctosparkSettingsError) as caught:
        ConnectionSettings.from_fields(conn_id=CONN_ID, **{"host": None, "password": KEY, **fields})
    assert f"Connection {CONN_ID!r}: " in str(caught.value)
    assert named in str(caught.value)
    assert str(caught.value).isprintable()
    assert leaks_of_error(KEY, caught.value) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"host": f"https://user:{KEY}@api.octospark.ai"},
        {"host": f"https://api.octospark.ai/{KEY}"},
        {"host": f"https://{KEY}"},
        {"login": KEY},
        {"login": KEY, "password": None},
        {"schema": KEY},
        {"port": KEY},
        {"extra": {"timeout": KEY}},
        {"extra": {"verify": [KEY]}},
        {"extra": {"proxy": f"proxy.example:{KEY}"}},
        {"extra": {"api_key": KEY}},
        {"extra": KEY},
    ],
)
def test_a_key_in_the_wrong_field_is_not_told(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]) -> None:
    with pytest.raises(OctosparkSettingsError) as caught:
        ConnectionSettings.from_fields(conn_id=CONN_ID, **{"host": None, "password": KEY, **fields})
    assert leaks_of_error(KEY, caught.value) == []
    # Airflow's own objects show their password, so they may stand in no frame either.
    with pytest.raises(OctosparkSettingsError) as caught:
        from_environment(monkeypatch, json.dumps({"conn_type": "octospark", "password": KEY, **fields}, default=str))
    assert leaks_of_error(KEY, caught.value) == []


@pytest.mark.parametrize(
    "value", ["", "{", "octospark://:a#b@host", "://", "octospark://a://b://c", '{"port": "x"}', "null"]
)
def test_what_airflow_cannot_read_is_our_error_as_well(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(OctosparkSettingsError, match=CONN_ID):
        from_environment(monkeypatch, value)


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
hosts = (
    st.none()
    | st.text(max_size=40)
    | st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "http://", "https://", "ftp://", "//"]),
        st.sampled_from(
            ["localhost", "127.0.0.1", "[::1]", "::1", "example.com", "a@b", "", "127.0.0.1\\.evil.example"]
        )
        | st.from_regex(r"[a-zA-Z0-9.:_\[\]@-]{1,20}", fullmatch=True),
        st.sampled_from(["", ":80", ":0", ":x", ":99999"]),
        st.sampled_from(["", "/", "/v1", "/v2", "?", "?a=b", "#c"]),
    )
)
extras = (
    st.none()
    | st.text(max_size=20)
    | st.dictionaries(
        st.sampled_from([field.name for field in dataclasses.fields(ConnectionSettings)] + ["allow_http", "api_key"])
        | st.text(max_size=5),
        anything | st.lists(anything, max_size=2),
        max_size=5,
    )
)


@given(
    host=hosts,
    password=st.none() | st.text(max_size=40) | st.just(KEY) | st.just(KEY),
    schema=st.none() | st.sampled_from(["http", "https", "", "ftp"]) | st.text(max_size=5),
    port=st.none() | st.integers(-5, 70000) | st.text(max_size=5),
    extra=extras,
    as_text=st.booleans(),
)
def test_any_connection_is_settings_or_an_error_that_names_the_field(
    host: str | None, password: str | None, schema: str | None, port: Any, extra: Any, as_text: bool
) -> None:
    kept = json.dumps(extra) if as_text and isinstance(extra, dict) else extra
    error, settings = None, None
    try:
        settings = ConnectionSettings.from_fields(
            conn_id=CONN_ID, host=host, password=password, schema=schema, port=port, extra=kept
        )
    except OctosparkSettingsError as caught:
        error = caught
    if settings is None:
        assert any(field in str(error) for field in FIELDS)
        assert str(error).isprintable()
        assert error is not None
        assert (error.__cause__, error.__context__) == (None, None)
        assert found_in(KEY, str(error)) == []
        return
    parts = urlsplit(settings.base_url)
    assert parts.scheme in {"http", "https"}
    assert parts.path == parts.query == parts.fragment == ""
    assert parts.username is None
    assert parts.hostname
    if parts.scheme == "http" and not (isinstance(extra, dict) and extra.get("allow_http")):
        assert parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname).is_loopback
    assert settings.token in (password or "")
    assert settings.token
    assert settings.timeout > 0
    assert settings.submit_timeout > 0


def test_settings_do_not_show_their_secrets() -> None:
    settings = ConnectionSettings(base_url=DEFAULT_HOST, token=KEY, proxy=f"http://user:{KEY}@proxy.example")
    for shown in (repr(settings), str(settings), f"{settings}", repr([settings]), repr(dataclasses.astuple(settings))):
        assert found_in(KEY, shown) == []
    assert settings == dataclasses.replace(settings)
    assert settings != dataclasses.replace(settings, token="another key")
