"""Text for people: where it goes, and how text of unknown origin is made safe to show."""

from __future__ import annotations

import unicodedata
from typing import Any, Protocol

# Control, format (bidirectional overrides, zero-width), surrogate and private characters, line and paragraph
# separators: any of them can forge or hide a log line.
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class Log(Protocol):
    """Where lines for a person go: a logger of the standard library or one of Airflow's."""

    def info(self, event: str, *args: Any) -> Any:
        """Tell what happened."""

    def warning(self, event: str, *args: Any) -> Any:
        """Tell what is not as it should be."""

    def error(self, event: str, *args: Any) -> Any:
        """Tell what somebody has to look at."""


def plain(value: object, limit: int = 300) -> str:
    """Return ``value`` as one line of harmless characters, cut to ``limit``.

    :param value: anything; None gives an empty text.
    :param limit: longest result in characters (default 300).
    """
    if value is None:
        return ""
    # Cut before cleaning too, so that a text of megabytes costs nothing.
    text = str(value)[: limit * 4]
    cleaned = "".join(" " if unicodedata.category(c) in _HARMFUL else c for c in text)
    cleaned = " ".join(cleaned.split())
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"
