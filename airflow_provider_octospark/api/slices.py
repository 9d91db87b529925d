"""Read a long list from JSON in slices, between which the event loop runs other tasks.

A list of 5,000 posts holds the loop for 60 ms if it is parsed at once (measured); a thread would hold the interpreter as long.
Of each entry only the text is kept: the objects of thousands of posts would let Python's garbage collector walk the whole heap,
which takes longer still.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

SLICE = 128 * 1024
"""The characters that are parsed at once, 2 ms of CPU, and one entry more."""

Entry = tuple[str | None, str]
"""The id of a list's entry, or None if it has none, and its JSON text."""

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


async def parse_in_slices(text: str) -> Any:
    """Return the value of a JSON text, in which each list directly in the outermost object is one of :data:`Entry`.

    :raises ValueError: if it is no JSON.
    :raises RecursionError: if it is nested too deeply.
    """
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        value, end = _DECODER.raw_decode(text, at)
    else:
        value, end = await _object(text, at)
    if _skip(text, end) != len(text):
        raise ValueError(f"something follows its end at character {end}")
    return value


async def _object(text: str, start: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    at = _skip(text, start + 1)
    if text[at : at + 1] == "}":
        return found, at + 1
    while True:
        key, at = _DECODER.raw_decode(text, at)
        if not isinstance(key, str):
            raise ValueError(f"no key at character {at}")  # noqa: TRY004 - it is the text that is wrong
        at = _skip(text, _after(text, _skip(text, at), ":"))
        if text[at : at + 1] == "[":
            found[key], at = await _list(text, at)
        else:
            found[key], at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            return found, at + 1
        at = _skip(text, _after(text, at, ","))


async def _list(text: str, start: int) -> tuple[list[Entry], int]:
    found: list[Entry] = []
    at = _skip(text, start + 1)
    if text[at : at + 1] == "]":
        return found, at + 1
    pause_at = at + SLICE
    while True:
        entry, end = _DECODER.raw_decode(text, at)
        found.append((_id_of(entry), text[at:end]))
        at = _skip(text, end)
        if text[at : at + 1] == "]":
            return found, at + 1
        at = _skip(text, _after(text, at, ","))
        if at >= pause_at:
            await asyncio.sleep(0)
            pause_at = at + SLICE


def _id_of(entry: object) -> str | None:
    found = entry.get("id") if isinstance(entry, dict) else None
    return found if isinstance(found, str) else None


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


def _after(text: str, at: int, sign: str) -> int:
    if text[at : at + 1] != sign:
        raise ValueError(f"no {sign!r} at character {at}")
    return at + 1
