"""The settings of an Octospark connection, from the fields of an Airflow connection."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_octospark.api.text import HIDDEN, Secret, as_flag
from airflow_provider_octospark.exceptions import OctosparkReadOnlyError, OctosparkSettingsError

DEFAULT_HOST = "https://api.octospark.ai"
"""Base URL of the production service (API reference, 'Basics')."""

DEFAULT_TIMEOUT = 30.0
DEFAULT_SUBMIT_TIMEOUT = 300.0
DEFAULT_MAX_IN_FLIGHT = 12

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_PROXY_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})
_SECRET_KEYS = frozenset(
    {"api_key", "apikey", "api_token", "token", "access_token", "secret", "password", "authorization"}
)


EXTRA_KEYS = frozenset(
    ["team_id", "timeout", "submit_timeout", "verify", "proxy", "trust_env", "allow_http", "max_in_flight", "read_only"]
)
"""The keys of the connection's extra that mean something."""


@dataclass(frozen=True)
class ConnectionSettings:
    """Settings of a connection to the service.

    :param base_url: scheme, host and port, without a trailing slash.
    :param token: the API key; no ``repr`` shows it.
    :param team_id: default team for tasks that name none.
    :param timeout: time limit of a reading request in seconds (default 30); twice as long with its retries.
    :param submit_timeout: time limit of a submission in seconds (default 300, because some platforms publish within the
        request).
    :param verify: whether TLS certificates are checked, or the path of a CA bundle (a file, or a folder made by
        ``c_rehash``), which replaces the default authorities.
    :param proxy: URL of a proxy, or None. It may hold credentials; no ``repr`` shows it.
    :param trust_env: whether the environment's proxy variables (``HTTPS_PROXY``, ``NO_PROXY``, …) and
        ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` are used (default true). A service on loopback is reached directly.
    :param max_in_flight: maximum number of concurrent reading requests in a triggerer (default 12).
    :param read_only: whether nothing may be submitted through the connection (default false); reading goes on.
    :param unknown_extra: the keys of the connection's extra that mean nothing, for a warning.
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
    read_only: bool = False
    unknown_extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "token", Secret(self.token))
        if self.proxy is not None:
            object.__setattr__(self, "proxy", Secret(self.proxy))

    @property
    def is_loopback(self) -> bool:
        """Whether the service is on this machine."""
        return _is_loopback(urlsplit(self.base_url).hostname or "")

    @classmethod
    def from_fields(
        cls,
        *,
        conn_id: str,
        host: str | None,
        password: str | None,
        login: str | None = None,
        schema: str | None = None,
        port: int | str | None = None,
        extra: str | dict[str, Any] | None = None,
    ) -> ConnectionSettings:
        """Validate the fields of an Airflow connection and return the settings.

        :param conn_id: id of the connection, for messages.
        :param host: base URL or host; empty for the production service. It may include the port.
        :param password: the API key, with or without ``Bearer`` in front.
        :param login: not used; a value is refused.
        :param schema: ``http`` or ``https``, as an Airflow connection URI may carry it.
        :param port: port; must agree with a port in ``host``.
        :param extra: JSON text or the parsed object.
        :raises OctosparkSettingsError: naming the field, its problem and what to write.
        """
        try:
            if login and login.strip():
                raise OctosparkSettingsError(
                    f"Connection {conn_id!r}: login is filled in, but Octospark has none. Put the API key into password and the "
                    'id of a team into extra, {"team_id": "…"}; leave login empty.'
                )
            return _Fields(conn_id, host, password, schema, port, extra).settings()
        except OctosparkSettingsError as error:
            problem = str(error)
        # Raised here, where no variable holds the key: a traceback may show local variables.
        del host, password, login, schema, port, extra
        raise OctosparkSettingsError(problem)


def read_only_error(settings: ConnectionSettings) -> OctosparkReadOnlyError | None:
    """Return why nothing may be submitted with these settings, or None."""
    if not settings.read_only:
        return None
    return OctosparkReadOnlyError(
        'The connection\'s extra has "read_only": true, so nothing is submitted through it. Set it to false to publish again.'
    )


class _Fields:
    """The raw fields of one connection."""

    def __init__(
        self,
        conn_id: str,
        host: str | None,
        password: str | None,
        schema: str | None,
        port: int | str | None,
        extra: str | dict[str, Any] | None,
    ) -> None:
        self._conn_id = conn_id
        self._host = host
        self._password = password or ""
        self._schema = schema
        self._port = port
        self._extra = extra

    def settings(self) -> ConnectionSettings:
        """Return the settings."""
        options = _Extra(self._conn_id, self._extra, self._shown)
        token = self._token()
        allow_http = options.flag("allow_http", default=False)
        base_url = self._base_url(allow_http=allow_http)
        return ConnectionSettings(
            base_url=base_url,
            token=token,
            team_id=options.text("team_id"),
            timeout=options.seconds("timeout", DEFAULT_TIMEOUT),
            submit_timeout=options.seconds("submit_timeout", DEFAULT_SUBMIT_TIMEOUT),
            verify=options.verify(),
            proxy=options.proxy(in_clear=base_url.startswith("http:") and not allow_http),
            trust_env=options.flag("trust_env", default=True),
            max_in_flight=options.count("max_in_flight", DEFAULT_MAX_IN_FLIGHT, highest=100),
            read_only=options.flag("read_only", default=False),
            unknown_extra=options.unknown(),
        )

    def _token(self) -> str:
        token = self._password.strip()
        if token.lower() == "bearer" or token[:7].lower() == "bearer ":
            token = token[7:].strip()
        if not token:
            raise OctosparkSettingsError(
                f"Connection {self._conn_id!r}: the password is empty. Put the Octospark API key (octo_live_… or "
                "octo_test_…) into the connection's password field."
            )
        if not token.isascii() or not token.isprintable() or " " in token:
            raise OctosparkSettingsError(
                f"Connection {self._conn_id!r}: the password holds blanks or characters that cannot stand in an HTTP "
                "header. Copy the API key again."
            )
        return token

    def _shown(self, value: object) -> str:
        """Return a field's value for a message, without credentials or a key in the wrong field."""
        text = str(value)
        password = self._password.strip()
        if "@" in text or (password and password in text):
            return repr(HIDDEN)
        return _short(value)

    def _refuse(self, field: str, value: object, problem: str) -> OctosparkSettingsError:
        return OctosparkSettingsError(
            f"Connection {self._conn_id!r}: {field} {self._shown(value)} {problem}. Write a base URL such as "
            f"{DEFAULT_HOST} into host and its port, if it has one, into port; leave schema empty."
        )

    def _base_url(self, *, allow_http: bool) -> str:
        host = self._host
        text = (host or "").strip() or DEFAULT_HOST
        scheme = (self._schema or "").strip().lower()
        if scheme and scheme not in {"http", "https"}:
            raise self._refuse("schema", self._schema, "is neither http nor https")
        if "://" not in text:
            # A connection URI such as octospark://:key@host/http keeps the scheme apart from the host, and takes the
            # brackets off an IPv6 address.
            text = f"{scheme or 'https'}://" + (f"[{text}]" if _is_ipv6(text) else text)
        if any(c.isspace() or not c.isprintable() for c in text):
            raise self._refuse("host", host, "holds blanks or control characters")
        try:
            parts = urlsplit(text)
            host_port, hostname = parts.port, parts.hostname or ""
        except ValueError:
            parts = None
        if parts is None:
            raise self._refuse("host", host, "is no URL")
        if parts.scheme not in {"http", "https"}:
            raise self._refuse("host", host, "has a scheme that is neither http nor https")
        if "@" in parts.netloc:
            raise self._refuse(
                "host", host, "holds a user name or password; the API key belongs into the password field"
            )
        if not _is_ipv6(hostname) and not _HOST_NAME.fullmatch(hostname):
            raise self._refuse("host", host, "names no host in ASCII letters, digits, points and dashes")
        if parts.query or parts.fragment or parts.path.strip("/") not in {"", "v1"}:
            raise self._refuse("host", host, "has a path, query or fragment")
        port = self._checked_port(host_port)
        if parts.scheme == "http" and not allow_http and not _is_loopback(hostname):
            raise self._refuse(
                "host",
                host,
                'would send the API key in clear over http. Use https, or set "allow_http": true in extra if you '
                "accept that",
            )
        return f"{parts.scheme}://" + (f"[{hostname}]" if ":" in hostname else hostname) + port

    def _checked_port(self, host_port: int | None) -> str:
        number = _number(self._port) if self._port not in {None, ""} else None
        if self._port not in {None, ""} and (number is None or number != int(number)):
            raise self._refuse("port", self._port, "is no whole number")
        port = None if number is None else int(number)
        if port is not None and host_port is not None and port != host_port:
            raise self._refuse("port", port, f"contradicts host {self._shown(self._host)}")
        effective = host_port if host_port is not None else port
        if effective is None:
            return ""
        if not 1 <= effective <= 65535:
            raise self._refuse("host" if host_port is not None else "port", effective, "is no port from 1 to 65535")
        return f":{effective}"


def _is_ipv6(hostname: str) -> bool:
    try:
        return ipaddress.IPv6Address(hostname).scope_id is None
    except ValueError:
        return False


def _is_loopback(hostname: str) -> bool:
    if hostname.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…'"


class _Extra:
    """The connection's extra field. Text values are accepted, because the UI stores text.

    :param shown: formats a value for a message.
    """

    def __init__(self, conn_id: str, extra: str | dict[str, Any] | None, shown: Callable[[object], str]) -> None:
        self._conn_id = conn_id
        self._shown = shown
        self._values = self._object(extra)
        for key in self._values:
            if key.lower() in _SECRET_KEYS and self._values[key]:
                raise OctosparkSettingsError(
                    f"Connection {conn_id!r}: extra holds {key!r}. The API key is read from the password field only, "
                    "which Airflow encrypts and masks; remove it from extra."
                )

    def _object(self, extra: str | dict[str, Any] | None) -> dict[str, Any]:
        if extra is None or extra == "":
            return {}
        problem = "not a JSON object"
        if isinstance(extra, str):
            try:
                extra = json.loads(extra)
            except json.JSONDecodeError as error:
                problem = f"not JSON ({error.args[0]})"
            except (ValueError, RecursionError):
                problem = "not JSON that can be read"
        if isinstance(extra, dict):
            return extra
        raise OctosparkSettingsError(
            f"Connection {self._conn_id!r}: extra is {problem}. Write an object such as "
            '{"team_id": "…"}, or leave it empty.'
        )

    def unknown(self) -> tuple[str, ...]:
        return tuple(sorted(_short(key) for key in self._values if key not in EXTRA_KEYS))

    def _wrong(self, key: str, pending: str) -> OctosparkSettingsError:
        # A proxy's URL may hold credentials.
        shown = "" if key == "proxy" else f" is {self._shown(self._values[key])},"
        return OctosparkSettingsError(f"Connection {self._conn_id!r}: extra {key!r}{shown} must be {pending}.")

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
        parsed = as_flag(value)
        if parsed is None:
            raise self._wrong(key, "true or false")
        return parsed

    def verify(self) -> bool | str:
        value = self._values.get("verify")
        if value is None or value == "":
            return True
        parsed = as_flag(value)
        if parsed is not None:
            return parsed
        if not isinstance(value, str):
            raise self._wrong("verify", "true, false, or the path of a CA bundle")
        return value.strip() or True

    def proxy(self, *, in_clear: bool) -> str | None:
        """Return the proxy's URL.

        :param in_clear: whether requests are unencrypted, which is allowed on loopback only.
        """
        value = self.text("proxy")
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            hostname, _ = parts.hostname or "", parts.port
        except ValueError:
            hostname = ""
        if not hostname or parts.scheme not in _PROXY_SCHEMES or not value.isprintable() or " " in value:
            raise self._wrong("proxy", "a URL such as http://proxy.example:3128 (http, https, socks5 or socks5h)")
        if in_clear and not _is_loopback(hostname):
            raise self._wrong(
                "proxy",
                "left out for a host on this machine: the API key would go to the proxy in clear over http. Set "
                '"allow_http": true in extra if you accept that',
            )
        return value


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
