"""Looking for a secret in whatever may hold it: an independent second opinion to what the provider hides."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import json
import traceback
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, quote_plus

from rich.console import Console
from rich.traceback import Traceback

_TESTS = Path(__file__).parents[1]


@lru_cache(maxsize=8)
def written_forms(secret: str) -> dict[str, bytes]:
    """Return how the secret polls in plain, quoted for URLs, for JSON and for HTML, and in base64 at any offset."""
    json_escaped = json.dumps(secret)[1:-1]
    forms = {
        "plain": secret,
        "URL-quoted": quote(secret, safe=""),
        "path-quoted": quote(secret),
        "form-quoted": quote_plus(secret),
        "JSON-escaped": json_escaped,
        "JSON-escaped with \\/": json_escaped.replace("/", "\\/"),
        "JSON in code points": "".join(f"\\u{ord(c):04x}" for c in secret),
        "HTML-escaped": html.escape(secret),
        "hexadecimal": secret.encode().hex(),
        "backwards": secret[::-1],
    }
    for offset in range(3):
        # Whole groups of three bytes only: what comes before and after changes the others.
        inner = secret.encode()[(3 - offset) % 3 :]
        inner = inner[: len(inner) - len(inner) % 3]
        encoded = base64.b64encode(inner).decode()
        forms[f"base64 at offset {offset}"] = encoded
        forms[f"URL-safe base64 at offset {offset}"] = encoded.replace("+", "-").replace("/", "_")
    return {name: form.encode() for name, form in forms.items()}


def found_in(secret: str, data: str | bytes) -> list[str]:
    """Return the forms in which a secret stands in some data."""
    haystack = data.encode("utf-8", "replace") if isinstance(data, str) else data
    return [name for name, form in written_forms(secret).items() if form in haystack]


def dumps_of(error: BaseException, *, with_rich: bool = False) -> Iterable[str]:
    """Yield what common tools make of an error, its causes and the variables of their frames.

    :param with_rich: rich is thorough, and takes half a second.
    """
    yield str(error)
    yield repr(error)
    yield repr(vars(error))
    yield repr(error.args)
    yield "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    if with_rich:
        yield _as_rich_shows_it(error)
    yield from _frames_of_chain(error, set())


def _as_rich_shows_it(error: BaseException) -> str:
    screen = io.StringIO()
    Console(file=screen, width=400).print(
        Traceback.from_exception(
            type(error),
            error,
            error.__traceback__,
            show_locals=True,
            locals_max_length=10_000,
            locals_max_string=1_000_000,
            width=400,
            max_frames=200,
        )
    )
    return screen.getvalue()


def _frames_of_chain(error: BaseException, seen: set[int]) -> Iterable[str]:
    """As rude as it gets: also what ``raise … from None`` keeps, and one level into the objects of each frame."""
    if id(error) in seen:
        return
    seen.add(id(error))
    step = error.__traceback__
    while step is not None:
        for name, value in step.tb_frame.f_locals.items():
            yield f"{name} = {_shown(value, depth=3)}"
        step = step.tb_next
    for other in (error.__cause__, error.__context__):
        if other is not None:
            yield str(other)
            yield from _frames_of_chain(other, seen)


def _shown(value: object, depth: int) -> str:
    """What a tool shows that polls into containers and data classes, but respects what they hide."""
    try:
        if depth and isinstance(value, dict):
            return ", ".join(f"{key!r}: {_shown(entry, depth - 1)}" for key, entry in value.items())
        if depth and isinstance(value, list | tuple | set | frozenset):
            return ", ".join(_shown(entry, depth - 1) for entry in value)
        if depth and dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = [field for field in dataclasses.fields(value) if field.repr]
            return ", ".join(f"{field.name}={_shown(getattr(value, field.name), depth - 1)}" for field in fields)
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a repr may do anything
        return repr(error)


def leaks_of_error(secret: str, error: BaseException, *, with_rich: bool = False) -> list[str]:
    """Return the forms in which any dump of an error shows a secret; the frames of the test itself are left out."""
    while error.__traceback__ is not None and Path(error.__traceback__.tb_frame.f_code.co_filename).is_relative_to(
        _TESTS
    ):
        error = error.with_traceback(error.__traceback__.tb_next)
    dumps = dumps_of(error, with_rich=with_rich)
    return [f"{form} in {dump[:300]!r}" for dump in dumps for form in found_in(secret, dump)]
