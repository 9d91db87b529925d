"""The log interface, and sanitizing text of unknown origin."""

from __future__ import annotations

import base64
import html
import json
import re
import reprlib
import unicodedata
from datetime import timedelta
from typing import Any, Protocol
from urllib.parse import quote, quote_plus

# Control, format (bidirectional overrides, zero-width), surrogate and private characters, line and paragraph
# separators: any of them can forge or hide a log line.
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

HIDDEN = "***"
"""Replaces a secret in a text; the same as in Airflow."""

_SHORTEST_SECRET = 8


class Log(Protocol):
    """A logger of the standard library or of Airflow."""

    def info(self, event: str, *args: Any) -> Any:
        """Log an event."""

    def warning(self, event: str, *args: Any) -> Any:
        """Log a problem that the code handles."""

    def error(self, event: str, *args: Any) -> Any:
        """Log a problem that needs a user's attention."""

    def exception(self, event: str, *args: Any) -> Any:
        """Log the exception that is being handled, with its traceback."""


def shown(value: object, limit: int = 80) -> str:
    """Return the form of a user's value for an error message, like ``repr``, but of limited depth and length.

    :param limit: maximum length in characters (default 80).
    """
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = limit
    try:
        text = short.repr(value)
    except Exception:  # noqa: BLE001 - whatever the value's own class raises
        text = f"<{type(value).__name__}>"
    return text[:limit]


def sanitize(value: object, limit: int = 300) -> str:
    """Return ``value`` as one line of printable characters, cut to ``limit``.

    :param value: any value; None gives an empty string.
    :param limit: maximum length in characters (default 300).
    """
    if value is None:
        return ""
    # Cut before cleaning too, so that a text of megabytes costs nothing.
    text = str(value)[: limit * 4]
    # All that is harmful is not printable; nearly every text is printable as a whole.
    cleaned = text if text.isprintable() else "".join(" " if unicodedata.category(c) in _HARMFUL else c for c in text)
    cleaned = " ".join(cleaned.split())
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"


def without_stop(text: str) -> str:
    """Return a sentence without its full stop, to be quoted within another one."""
    return text.rstrip(" .")


def rounded(duration: timedelta) -> str:
    """Return a duration for a log: whole seconds up to two minutes, then whole minutes."""
    seconds = duration.total_seconds()
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


class Secret(str):
    """A string that its ``repr`` does not show, so neither does a traceback with local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(HIDDEN)


class Redaction:
    """Remove a secret from external text, in each common encoding.

    A service or a proxy may quote the request with its headers in an error page.

    :param secret: a secret of fewer than 8 characters is not removed, because it could match ordinary words.
    """

    def __init__(self, secret: str) -> None:
        forms = sorted(_forms(secret), key=len, reverse=True) if len(secret) >= _SHORTEST_SECRET else []
        self._forms = [form.encode() for form in forms]
        self._pattern = re.compile("|".join(map(re.escape, forms)))
        self._bytes_pattern = re.compile(b"|".join(map(re.escape, self._forms)))

    def of_text(self, text: str) -> str:
        """Return ``text`` without the secret."""
        return self._pattern.sub(HIDDEN, text) if self._forms else text

    def of_bytes(self, body: bytes) -> bytes:
        """Return ``body`` without the secret."""
        # Almost always it is not there, and looking for one form after the other is ten times faster than the pattern.
        if not any(form in body for form in self._forms):
            return body
        return self._bytes_pattern.sub(HIDDEN.encode(), body)


def _forms(secret: str) -> set[str]:
    escaped = json.dumps(secret)[1:-1]
    forms = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), html.escape(secret), escaped}
    forms.add(escaped.replace("/", "\\/"))
    # In base64 a text looks different at each of three offsets; what its neighbours change is left out.
    for offset, skipped in enumerate((0, 2, 3)):
        encoded = base64.b64encode(b"\0" * offset + secret.encode()).decode()
        kept = encoded.rstrip("=")[skipped:]
        kept = kept[:-1] if encoded.endswith("=") else kept
        forms |= {kept, kept.replace("+", "-").replace("/", "_")}
    return forms


_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


def as_flag(value: object) -> bool | None:
    """Return a yes/no value that may be a word, or None if it is neither."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, str) else ""
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    return None
