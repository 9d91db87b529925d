"""A connection in each form in which Airflow takes one, read through Airflow."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_octospark.api.settings import ConnectionSettings
from airflow_provider_octospark.exceptions import OctosparkSettingsError
from airflow_provider_octospark.hooks.octospark import OctosparkHook

KEY = "octo_test_key+/=with%signs"
EXTRA = {"team_id": "t", "timeout": 7, "submit_timeout": 60, "verify": False, "trust_env": False}


def both_readings(value: str, monkeypatch: pytest.MonkeyPatch) -> list[ConnectionSettings]:
    monkeypatch.setenv("AIRFLOW_CONN_FORMS", value)
    hook = OctosparkHook("forms")
    return [hook.settings, asyncio.run(hook.aget_settings())]


def as_json(**fields: Any) -> str:
    return json.dumps({"conn_type": "octospark", "password": KEY} | fields)


@pytest.mark.parametrize(
    ("value", "base_url"),
    [
        (as_json(), "https://api.octospark.ai"),
        (as_json(host=""), "https://api.octospark.ai"),
        (as_json(host="api.example.org"), "https://api.example.org"),
        (as_json(host="api.example.org:8443"), "https://api.example.org:8443"),
        (as_json(host="api.example.org", port=8443), "https://api.example.org:8443"),
        (as_json(host="https://api.example.org/v1/"), "https://api.example.org"),
        (as_json(host="http://127.0.0.1:8080"), "http://127.0.0.1:8080"),
        (as_json(host="http://api.example.org", extra={"allow_http": True}), "http://api.example.org"),
        ("octospark://:octo_test_key%2B%2F%3Dwith%25signs@api.example.org", "https://api.example.org"),
        ("octospark://:octo_test_key%2B%2F%3Dwith%25signs@127.0.0.1:8080/http", "http://127.0.0.1:8080"),
        ("octospark://:octo_test_key%2B%2F%3Dwith%25signs@http%3A%2F%2F127.0.0.1%3A8080/", "http://127.0.0.1:8080"),
        ("octospark://:octo_test_key%2B%2F%3Dwith%25signs@/", "https://api.octospark.ai"),
    ],
)
def test_hosts(value: str, base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for settings in both_readings(value, monkeypatch):
        assert settings.base_url == base_url
        assert settings.token == KEY


@pytest.mark.parametrize(
    "value",
    [
        as_json(extra=EXTRA),
        # As the form of the UI saves them.
        as_json(extra={"team_id": "t", "timeout": "7", "submit_timeout": "60", "verify": "false", "trust_env": "no"}),
        as_json(extra=json.dumps(EXTRA)),
        "octospark://:key@/?team_id=t&timeout=7&submit_timeout=60&verify=false&trust_env=false",
        "octospark://:key@/?__extra__=" + quote(json.dumps(EXTRA)),
    ],
)
def test_extras(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for settings in both_readings(value, monkeypatch):
        assert (settings.team_id, settings.timeout, settings.submit_timeout) == ("t", 7.0, 60.0)
        assert (settings.verify, settings.trust_env) == (False, False)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "no connection 'forms'"),
        ("{nope", "no connection 'forms'"),
        ('{"conn_type": "octospark"}', "password is empty"),
        (as_json(password=" "), "password is empty"),
        (as_json(password="two words"), "password"),
        (as_json(host="http://api.example.org"), "allow_http"),
        ("octospark://:key@api.example.org/http", "allow_http"),
        (as_json(host="ftp://api.example.org"), "host"),
        (as_json(host="https://api.example.org/path"), "host"),
        (as_json(host="https://user:secret@api.example.org"), "host"),
        (as_json(host="ex ample"), "host"),
        (as_json(extra="no json"), "JSON"),
        (as_json(extra="[]"), "JSON object"),
        (as_json(extra={"timeout": "soon"}), "'timeout'"),
        (as_json(extra={"timeout": 0}), "'timeout'"),
        (as_json(extra={"submit_timeout": -1}), "'submit_timeout'"),
        (as_json(extra={"verify": 7}), "'verify'"),
        (as_json(extra={"allow_http": "perhaps"}), "'allow_http'"),
        (as_json(extra={"team_id": 7}), "'team_id'"),
        (as_json(extra={"api_key": KEY}), "'api_key'"),
    ],
)
def test_what_is_unusable_is_refused_by_name_and_not_retried(
    value: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv("AIRFLOW_CONN_FORMS", raising=False)
    else:
        monkeypatch.setenv("AIRFLOW_CONN_FORMS", value)
    for use in ("task", "trigger"):
        hook = OctosparkHook("forms")
        with pytest.raises(OctosparkSettingsError) as refusal:
            _ = hook.settings if use == "task" else asyncio.run(hook.aget_settings())
        message = str(refusal.value)
        assert says in message
        assert "extra" in message or "JSON" not in says
        assert "forms" in message
        assert KEY not in message
        assert "secret" not in message
        assert isinstance(refusal.value, AirflowFailException)


def test_unchecked_certificates_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    both_readings(as_json(extra={"verify": False}), monkeypatch)
    assert capfd.readouterr().out.count("TLS certificates are not checked") == 2
