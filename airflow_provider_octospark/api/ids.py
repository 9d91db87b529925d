"""Check ids before they become part of a request.

Imports almost nothing, because parsing a DAG file imports this module.
"""

from __future__ import annotations

import re

from airflow_provider_octospark.api.text import shown
from airflow_provider_octospark.exceptions import OctosparkArgumentError

_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")


def require_id(value: object, field: str) -> str:
    """Return an id for a path, without surrounding whitespace.

    The reference pages call path parameters 'string', so every form is accepted that a path can carry unchanged.

    :raises OctosparkArgumentError: if it is not a string, is empty, or has characters that a path cannot carry.
    """
    if not isinstance(value, str):
        raise OctosparkArgumentError(f"{field} is {shown(value)}; it must be the id as a text.")
    text = value.strip()
    if not text or text in {"None", "null", "undefined"}:
        raise OctosparkArgumentError(
            f"{field} is {shown(value)}; it must be an id. Look at the template or upstream task that gives it."
        )
    if len(text) > 200 or ".." in text or text == "." or not text.isascii() or not text.isprintable():
        raise OctosparkArgumentError(f"{field} is {shown(value)}, which is no id.")
    wrong = sorted(set(text) & set('/\\?#%&" \t<>{}[]'))
    if wrong:
        raise OctosparkArgumentError(f"{field} is {shown(value)}, which holds {' '.join(wrong)!r}; that is no id.")
    return text


def require_uuid(value: object, field: str) -> str:
    """Return an id that must be a UUID by the reference pages.

    :raises OctosparkArgumentError: if it is none.
    """
    text = require_id(value, field)
    if not _UUID.fullmatch(text):
        raise OctosparkArgumentError(
            f"{field} is {shown(text)}; it must be a UUID such as 3c90c3cc-0d44-4b50-8888-8dd25736052a."
        )
    return text
