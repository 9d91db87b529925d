"""Parse and check the values of operator parameters.

A value may be a literal, text rendered by Jinja, a native object, or an XCom. An optional parameter that renders to
nothing is absent. Every other value is refused, with the parameter's name, before anything is sent.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from airflow_provider_octospark.api.ids import require_id, require_uuid
from airflow_provider_octospark.api.text import as_flag, shown
from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.parameters.times import (
    require_duration,
    require_instant,
    require_timezone,
)

Word = TypeVar("Word", bound=str)

LONGEST_POLL_INTERVAL = 86_400.0
"""The longest pause between two polls, in seconds."""

DEEPEST = 100
"""How many levels an object of a request may have; parsers of JSON have such limits."""

_TEMPLATE_MARKS = ("{{", "{%", "{#")


def is_literal(value: object) -> bool:
    """Whether a value of a template field stays what it is: plain values and texts without Jinja's marks, and lists of them."""
    pending, seen = [value], set[int]()
    while pending:
        entry = pending.pop()
        if isinstance(entry, list | tuple):
            # Each list once: one may be in many places, even within itself.
            if id(entry) not in seen:
                seen.add(id(entry))
                pending.extend(entry)
        elif isinstance(entry, str):
            if any(mark in entry for mark in _TEMPLATE_MARKS):
                return False
        elif entry is not None and not isinstance(entry, bool | int | float | datetime | timedelta):
            return False
    return True


def is_absent(value: object) -> bool:
    """Whether a value, possibly rendered by a template, is absent."""
    return value is None or (isinstance(value, str) and value.strip() in {"", "None", "null"})


def structure(value: object) -> object:
    """Return a text parsed as JSON or as a Python literal (Jinja renders native objects so), or else the value itself."""
    if not isinstance(value, str):
        return value
    # A file may begin with a byte order mark.
    text = value.strip().removeprefix("\ufeff")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def optional_object(value: object, field: str) -> dict[str, Any] | None:
    """Return an optional JSON object.

    :raises OctosparkArgumentError: if it is not an object, or cannot be written as JSON.
    """
    if is_absent(value):
        return None
    if isinstance(value, str):
        value = structure(value)
    if not isinstance(value, Mapping):
        raise OctosparkArgumentError(f"{field} is {shown(value)}; it must be an object such as {{'key': 'value'}}.")
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        problem = str(error)
    else:
        if not _is_deeper(plain, DEEPEST):
            return plain
        problem = f"more than {DEEPEST} levels"
    raise OctosparkArgumentError(f"{field} holds a value that JSON cannot carry ({problem:.120}).")


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    return levels <= 0 or any(
        _is_deeper(entry, levels - 1) for entry in (value.values() if isinstance(value, dict) else value)
    )


def optional_objects_by_account(
    value: object, accounts: Collection[str], field: str
) -> dict[str, dict[str, Any]] | None:
    """Return an optional object of objects, with the account ids of ``accounts`` as keys.

    :raises OctosparkArgumentError: if a key is not in ``accounts`` or names an account twice, or a value is not an object.
    """
    whole = optional_object(value, field)
    if whole is None:
        return None
    spelled = {account.lower(): account for account in accounts}
    result: dict[str, dict[str, Any]] = {}
    for key, entry in whole.items():
        account = spelled.get(require_uuid(key, f"{field}, key {shown(key, 60)},").lower())
        if account is None:
            raise OctosparkArgumentError(f"{field} names {key}, which is not among the social accounts of the task.")
        if account in result:
            raise OctosparkArgumentError(f"{field} names {account} twice; name each social account once.")
        if not isinstance(entry, dict):
            raise OctosparkArgumentError(f"{field}[{shown(key, 60)}] is {shown(entry, 60)}; it must be an object.")
        result[account] = entry
    return result


def optional_interval_days(value: object, field: str) -> int | None:
    """Return an optional number of days from 1 to 365 (reference page, ``recurrenceIntervalDays``).

    :raises OctosparkArgumentError: if it is not an integer in that range.
    """
    if is_absent(value):
        return None
    number: object = value
    if isinstance(value, str):
        number = structure(value)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 365:
        raise OctosparkArgumentError(f"{field} is {shown(value, 40)}; it must be a whole number of days from 1 to 365.")
    return number


def optional_instant(value: object, zone: str | None, field: str) -> datetime | None:
    """Return an optional time as aware UTC.

    :raises OctosparkArgumentError: as :func:`~airflow_provider_octospark.parameters.times.require_instant`.
    """
    return None if is_absent(value) else require_instant(value, zone, field=field)


def required_instant(value: object, zone: str | None, field: str) -> datetime:
    """Return a required time as aware UTC.

    :raises OctosparkArgumentError: as :func:`~airflow_provider_octospark.parameters.times.require_instant`.
    """
    if is_absent(value):
        raise OctosparkArgumentError(f"{field} is {shown(value)}; it is required.")
    return require_instant(value, zone, field=field)


def optional_timezone(value: object, field: str) -> str | None:
    """Return the IANA name of an optional time zone.

    :raises OctosparkArgumentError: as :func:`~airflow_provider_octospark.parameters.times.require_timezone`.
    """
    return None if is_absent(value) else require_timezone(value, field=field)


def required_id(value: object, field: str) -> str:
    """Return a required id for a path.

    :raises OctosparkArgumentError: as :func:`~airflow_provider_octospark.api.ids.require_id`.
    """
    return require_id(value, field)


def required_account(value: object, field: str) -> str:
    """Return a required social account id, a UUID by the reference pages.

    :raises OctosparkArgumentError: as :func:`~airflow_provider_octospark.api.ids.require_uuid`.
    """
    return require_uuid(value, field)


def optional_id(value: object, field: str) -> str | None:
    """Return an optional id.

    :raises OctosparkArgumentError: as :func:`~airflow_provider_octospark.api.ids.require_id`.
    """
    return None if is_absent(value) else require_id(value, field)


def optional_hash(value: object, field: str) -> str | None:
    """Return an optional SHA-256. Only None is absent: an empty text would switch a check off.

    :raises OctosparkArgumentError: if it is not 64 hexadecimal digits.
    """
    if value is None:
        return None
    text = value.strip().lower() if isinstance(value, str) else ""
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise OctosparkArgumentError(
            f"{field} is {shown(value)}; it must be 64 hexadecimal digits, as OctosparkHook.content_hash returns them."
        )
    return text


def optional_account(value: object, field: str) -> str | None:
    """Return an optional social account id.

    :raises OctosparkArgumentError: as :func:`~airflow_provider_octospark.api.ids.require_uuid`.
    """
    return None if is_absent(value) else require_uuid(value, field)


def required_accounts(value: object, field: str) -> tuple[str, ...]:
    """Return a list of social account ids, from a list, a JSON or comma-separated text, or a single id.

    :raises OctosparkArgumentError: if it is empty, names an account twice, or has an item that is not a UUID.
    """
    entries: object = value
    if isinstance(value, str):
        entries = structure(value)
        if isinstance(entries, str):
            entries = [part for part in entries.split(",") if part.strip()]
    if isinstance(entries, str | bytes | Mapping) or not hasattr(entries, "__iter__"):
        raise OctosparkArgumentError(f"{field} is {shown(value)}; it must be a list of social account ids.")
    accounts = [require_uuid(entry, f"{field}[{index}]") for index, entry in enumerate(entries)]
    if not accounts:
        raise OctosparkArgumentError(f"{field} is {shown(value)}; it must name at least one social account.")
    seen: set[str] = set()
    for account in accounts:
        if account.lower() in seen:
            raise OctosparkArgumentError(f"{field} names {account} twice; name each social account once.")
        seen.add(account.lower())
    return tuple(accounts)


def flag(value: object, field: str) -> bool:
    """Return a yes/no parameter; a template renders it to a word, or to 1 or 0.

    :raises OctosparkArgumentError: if it is neither. Nothing is taken for its default.
    """
    parsed = as_flag(str(value)) if isinstance(value, bool | str | int) else None
    if parsed is None:
        raise OctosparkArgumentError(f"{field} is {shown(value, 60)}; write True or False.")
    return parsed


def fixed_flag(value: object, field: str) -> bool:
    """Return a yes/no parameter that is no template.

    :raises OctosparkArgumentError: if it is neither True nor False.
    """
    if not isinstance(value, bool):
        raise OctosparkArgumentError(f"{field} is {shown(value, 60)}; write True or False, without quotes.")
    return value


def is_poll_interval(value: object) -> bool:
    """Whether a value is a number of seconds above 0, at most a day."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LONGEST_POLL_INTERVAL


def poll_interval(value: Any) -> float:
    """Return the shortest pause between two polls, in seconds.

    :raises OctosparkArgumentError: if it is no number above 0, or above a day.
    """
    if not is_poll_interval(value):
        raise OctosparkArgumentError(
            f"poll_interval is {shown(value)}; it must be a number of seconds above 0, at most {LONGEST_POLL_INTERVAL:.0f}."
        )
    return float(value)


def poll_backoff(value: object) -> float:
    """Return the growth of the pause between polls.

    :raises OctosparkArgumentError: if it is no number from 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST_POLL_INTERVAL:
        raise OctosparkArgumentError(
            f"poll_backoff is {shown(value)}; it must be a number from 0 to {LONGEST_POLL_INTERVAL:.0f}."
        )
    return value


def one_of(value: Word, words: Collection[Word], field: str) -> Word:
    """Return a parameter that must be one of some strings.

    :raises OctosparkArgumentError: if it is not one of them.
    """
    # An object of another class may not even be comparable with a text.
    if not isinstance(value, str) or value not in words:
        raise OctosparkArgumentError(
            f"{field} is {shown(value, 60)}; write {' or '.join(repr(word) for word in words)}."
        )
    return value


def required_duration(value: object, field: str) -> timedelta:
    """Return a duration.

    :raises OctosparkArgumentError: as :func:`~airflow_provider_octospark.parameters.times.require_duration`.
    """
    return require_duration(value, field=field)


def optional_duration(value: object, field: str) -> timedelta | None:
    """Return a duration, or None where None was given.

    :raises OctosparkArgumentError: as :func:`~airflow_provider_octospark.parameters.times.require_duration`.
    """
    return None if value is None else require_duration(value, field=field)


def optional_count(value: object, field: str) -> int | None:
    """Return a whole number from 1, or None where None was given.

    :raises OctosparkArgumentError: if it is neither.
    """
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise OctosparkArgumentError(f"{field} is {shown(value, 40)}; write a whole number from 1, or None.")
    return value
