"""Formatting and parsing of the service's times."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from airflow_provider_octospark.emulator.service.clock import END_OF_TIME

_SHAPE: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?\s?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)


def format_timestamp(timestamp: datetime) -> str:
    """Return ISO 8601 in UTC with milliseconds and `Z`. Assumption: the service uses this format."""
    return timestamp.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_zone(name: str) -> ZoneInfo:
    """Return the IANA time zone of a name; raise ValueError if there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("is no IANA time zone") from error


def parse_timestamp(text: str, timezone: str | None = None) -> datetime:
    """Parse ISO 8601 text into an aware time in UTC.

    Assumption: text without an offset is local time in `timezone`, and is refused without one; the reference pages call it
    a string. Raises ValueError with the problem.
    """
    if not _SHAPE.fullmatch(text):
        raise ValueError("is no ISO 8601 date and time")
    try:
        timestamp = datetime.fromisoformat(text.upper().replace(" ", "T", 1).replace(" ", "").replace(",", "."))
        if timestamp.tzinfo is None:
            if timezone is None:
                raise ValueError("has no offset, and there is no timezone")
            timestamp = timestamp.replace(tzinfo=parse_zone(timezone))
        timestamp = timestamp.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is out of range") from error
    if timestamp > END_OF_TIME:
        raise ValueError(f"is after {END_OF_TIME:%Y-%m-%d}")
    return timestamp
