"""Excerpts of responses for XComs and events: JSON of limited size, without the key, that says what it leaves out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel

from airflow_provider_octospark.api.text import Redaction

MOST_RESPONSES: Final = 100
"""Maximum number of responses that are kept of a task."""

LIMIT: Final = 50_000
"""Maximum length of an excerpt as JSON, in characters."""

_DEPTH: Final = 12
"""How many objects and lists may be nested."""

_STEPS: Final = ((5_000, 200), (500, 50), (100, 10), (50, 4))
"""The longest text, and the most entries of an object or a list; the first step whose excerpt fits is taken."""

_LARGEST_NUMBER: Final = 2**63

# PostgreSQL stores no NUL, and UTF-8 has no surrogates.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def excerpts_of(responses: Sequence[BaseModel | None], redaction: Redaction, count: int | None = None) -> list[Any]:
    """Return an excerpt of each response, at most :data:`MOST_RESPONSES`; then a text that says how many are left out.

    :param responses: models of responses; None where there is none.
    :param redaction: removes the API key.
    :param count: how many responses there are, if not all are in ``responses`` (default: its length).
    """
    shown: list[Any] = [
        None if each is None else excerpt(_content(each), redaction) for each in responses[:MOST_RESPONSES]
    ]
    left_out = (len(responses) if count is None else count) - len(shown)
    return [*shown, f"[cut: {left_out} more responses]"] if left_out > 0 else shown


def excerpt(value: object, redaction: Redaction) -> Any:
    """Return a JSON value that is at most :data:`LIMIT` characters long, with a note in place of whatever is cut.

    A key that begins with two underscores is put in parentheses, because Airflow would take it for its own.

    :param value: a JSON value.
    :param redaction: removes the API key.
    """
    for longest, most in _STEPS:
        shown = _Cut(redaction, longest, most).cut(value, _DEPTH)
        if len(json.dumps(shown)) <= LIMIT:
            return shown
    return f"[cut: more than {LIMIT} characters]"


def _content(response: BaseModel) -> Any:
    """Return what the service sent: under its own names, also what the model does not know, without what was not sent."""
    return response.model_dump(by_alias=True, exclude_unset=True, warnings=False)


class _Cut:
    """Cuts a value at limits."""

    def __init__(self, redaction: Redaction, longest: int, most: int) -> None:
        self._redaction = redaction
        self._longest = longest
        self._most = most

    def cut(self, value: object, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict | list) and depth == 0:
            return f"[cut: {len(value)} entries that are nested too deeply]"
        if isinstance(value, dict):
            entries = list(value.items())
            shown = {self._key(str(key)): self.cut(each, depth - 1) for key, each in entries[: self._most]}
            return (
                shown | {"[cut]": f"{len(entries) - self._most} more entries"} if len(entries) > self._most else shown
            )
        if isinstance(value, list):
            listed = [self.cut(each, depth - 1) for each in value[: self._most]]
            return [*listed, f"[cut: {len(value) - self._most} more entries]"] if len(value) > self._most else listed
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        if isinstance(value, int) and abs(value) >= _LARGEST_NUMBER:
            return f"[cut: a number of {value.bit_length()} bits]"
        return value

    def _key(self, key: str) -> str:
        text = self._text(key)
        return f"({text})" if text.startswith("__") else text

    def _text(self, text: str) -> str:
        # Removed from the whole text: a part of the key would not be recognized.
        kept = _UNSTORABLE.sub("\ufffd", self._redaction.of_text(text))
        if len(kept) <= self._longest:
            return kept
        return f"{kept[: self._longest]}[cut: {len(kept) - self._longest} more characters]"
