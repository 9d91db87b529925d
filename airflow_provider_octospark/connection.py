"""The settings of an Octospark connection, read from the fields of an Airflow connection."""

from __future__ import annotations

import ipaddress
import json
import math
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_octospark.exceptions import OctosparkSettingsError

DEFAULT_HOST = "https://api.octospark.ai"
"""Base URL of the production service (API reference, 'Basics')."""

DEFAULT_TIMEOUT = 30.0
DEFAULT_SUBMIT_TIMEOUT = 300.0
DEFAULT_MAX_IN_FLIGHT = 12

_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


@dataclass(frozen=True)
class ConnectionSettings:
    """How to reach the service.

    :param base_url: scheme, host and port, without a trailing slash.
    :param token: the API key; never part of ``repr``.
    :param team_id: default team for tasks that name none.
    :param timeout: seconds that a reading request may take in all, its retries not counted (default 30).
    :param submit_timeout: seconds that a submission may take to answer (default 300: some platforms publish
        inside the request).
    :param verify: whether TLS certificates are checked, or the path of a CA bundle to check them with.
    :param proxy: URL of an HTTP proxy, or None; its credentials, if any, are never part of ``repr``.
    :param trust_env: whether proxy variables of the environment are used (default true).
    :param max_in_flight: reading requests under way at once in one triggerer (default 12).
    """

    base_url: str
    token: str = field(repr=False)
    team_id: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    submit_timeout: float = DEFAULT_SUBMIT_TIMEOUT
    verify: bool | str = True
    proxy: str | None = field(default=None, repr=False)
    trust_env: bool = True
    max_in_flight: int = DEFAULT_MAX_IN_FLIGHT

    @classmethod
    def from_fields(
        cls,
        *,
        conn_id: str,
        host: str | None,
        password: str | None,
        schema: str | None = None,
        port: int | None = None,
        extra: str | dict[str, Any] | None = None,
    ) -> ConnectionSettings:
        """Check the raw fields of an Airflow connection and return the settings that they mean.

        :param conn_id: id of the connection, for messages.
        :param host: base URL, host, or ``host:port``; empty for the production service.
        :param password: the API key, with or without ``Bearer`` in front.
        :param schema: ``http`` or ``https``, as an Airflow connection URI may carry it.
        :param port: port, as an Airflow connection URI may carry it.
        :param extra: JSON text or the parsed object.
        :raises OctosparkSettingsError: naming the field, its problem and what to write.
        """
        options = _Extra(conn_id, extra)
        token = _token(conn_id, password)
        settings = cls(
            base_url=_base_url(conn_id, host, schema, port, allow_http=options.flag("allow_http", default=False)),
            token=token,
            team_id=options.text("team_id"),
            timeout=options.seconds("timeout", DEFAULT_TIMEOUT),
            submit_timeout=options.seconds("submit_timeout", DEFAULT_SUBMIT_TIMEOUT),
            verify=options.verify(),
            proxy=options.text("proxy"),
            trust_env=options.flag("trust_env", default=True),
            max_in_flight=options.count("max_in_flight", DEFAULT_MAX_IN_FLIGHT, highest=100),
        )
        options.refuse_secrets()
        return settings


def _token(conn_id: str, password: str | None) -> str:
    token = (password or "").strip()
    if token[:7].lower() == "bearer ":
        token = token[7:].strip()
    if not token:
        raise OctosparkSettingsError(
            f"Connection {conn_id!r}: the password is empty. Put the Octospark API key (octo_live_… or "
            "octo_test_…) into the connection's password field."
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise OctosparkSettingsError(
            f"Connection {conn_id!r}: the password holds blanks or characters that cannot stand in an HTTP "
            "header. Copy the API key again."
        )
    return token


def _base_url(conn_id: str, host: str | None, schema: str | None, port: int | None, *, allow_http: bool) -> str:
    def refuse(problem: str) -> OctosparkSettingsError:
        return OctosparkSettingsError(
            f"Connection {conn_id!r}: host {_shown(host)} {problem}. Write a base URL such as {DEFAULT_HOST}, "
            "a host, or host:port."
        )

    text = (host or "").strip()
    if not text:
        text = DEFAULT_HOST
    scheme = (schema or "").strip().lower()
    if "://" not in text:
        # A connection URI such as octospark://:key@host/http keeps the scheme apart from the host.
        if scheme and scheme not in {"http", "https"}:
            raise OctosparkSettingsError(
                f"Connection {conn_id!r}: schema {_shown(schema)} is neither http nor https. Leave it empty and "
                "write the whole base URL into host."
            )
        text = f"{scheme or 'https'}://{text}"
    try:
        parts = urlsplit(text)
        host_port = parts.port
        hostname = parts.hostname
    except ValueError as error:
        raise refuse(f"is no URL ({error})") from None
    if parts.scheme not in {"http", "https"}:
        raise refuse("has a scheme that is neither http nor https")
    if not hostname or any(c.isspace() or not c.isprintable() for c in text):
        raise refuse("names no host")
    if "@" in parts.netloc:
        raise refuse("holds a user name or password; the API key belongs into the password field")
    if parts.query or parts.fragment or parts.path.strip("/") not in {"", "v1"}:
        raise refuse("has a path, query or fragment")
    if port is not None and host_port is not None and port != host_port:
        raise refuse(f"names port {host_port} while the port field says {port}")
    effective_port = host_port if host_port is not None else port
    if parts.scheme == "http" and not allow_http and not _is_loopback(hostname):
        raise refuse(
            'would send the API key in clear over http. Use https, or set "allow_http": true in extra if you '
            "accept that"
        )
    shown_host = f"[{hostname}]" if ":" in hostname else hostname
    return f"{parts.scheme}://{shown_host}" + (f":{effective_port}" if effective_port is not None else "")


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…'"


class _Extra:
    """The connection's extra field, read key by key; a text is accepted where the UI gives texts."""

    def __init__(self, conn_id: str, extra: str | dict[str, Any] | None) -> None:
        self._conn_id = conn_id
        if extra is None or extra == "":
            extra = {}
        if isinstance(extra, str):
            try:
                extra = json.loads(extra)
            except ValueError as error:
                raise OctosparkSettingsError(
                    f"Connection {conn_id!r}: extra is not JSON ({error.args[0]}). Write an object such as "
                    '{"team_id": "…"}, or leave it empty.'
                ) from None
        if not isinstance(extra, dict):
            raise OctosparkSettingsError(
                f"Connection {conn_id!r}: extra is not a JSON object. Write an object such as "
                '{"team_id": "…"}, or leave it empty.'
            )
        self._values: dict[str, Any] = extra

    def refuse_secrets(self) -> None:
        for key in ("api_key", "api_token", "token", "password", "authorization"):
            if self._values.get(key):
                raise OctosparkSettingsError(
                    f"Connection {self._conn_id!r}: extra holds {key!r}. The API key is read from the password "
                    "field only, which Airflow encrypts and masks; remove it from extra."
                )

    def _wrong(self, key: str, wanted: str) -> OctosparkSettingsError:
        shown = "" if key == "proxy" else f" is {_shown(self._values[key])},"
        return OctosparkSettingsError(f"Connection {self._conn_id!r}: extra {key!r}{shown} must be {wanted}.")

    def text(self, key: str) -> str | None:
        value = self._values.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self._wrong(key, "a text")
        return value.strip() or None

    def seconds(self, key: str, default: float) -> float:
        value = self._values.get(key)
        if value is None or value == "":
            return default
        number = _number(value)
        if number is None or not 0 < number <= 86_400:
            raise self._wrong(key, "a number of seconds above 0, at most 86400")
        return number

    def count(self, key: str, default: int, *, highest: int) -> int:
        value = self._values.get(key)
        if value is None or value == "":
            return default
        number = _number(value)
        if number is None or number != int(number) or not 1 <= number <= highest:
            raise self._wrong(key, f"a whole number from 1 to {highest}")
        return int(number)

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._values.get(key)
        if value is None or value == "":
            return default
        parsed = _flag(value)
        if parsed is None:
            raise self._wrong(key, "true or false")
        return parsed

    def verify(self) -> bool | str:
        value = self._values.get("verify")
        if value is None or value == "":
            return True
        parsed = _flag(value)
        if parsed is not None:
            return parsed
        if not isinstance(value, str):
            raise self._wrong("verify", "true, false, or the path of a CA bundle")
        return value.strip()


def _flag(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, str) else ""
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
