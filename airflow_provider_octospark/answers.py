"""What an HTTP answer means: the value it carries, or the error it stands for."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from html import unescape
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from airflow_provider_octospark.exceptions import (
    OctosparkAnswerError,
    OctosparkAuthError,
    OctosparkConflictError,
    OctosparkError,
    OctosparkNotFoundError,
    OctosparkPermissionError,
    OctosparkRateLimitError,
    OctosparkRequestError,
    OctosparkServerError,
)
from airflow_provider_octospark.operations import Operation
from airflow_provider_octospark.text import plain

T = TypeVar("T")

MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""Longest answer that is read, before and after decompression."""

MAX_RETRY_AFTER = 3600.0
"""Longest ``Retry-After`` that is believed, in seconds."""

_BY_STATUS: dict[int, type[OctosparkError]] = {
    401: OctosparkAuthError,
    403: OctosparkPermissionError,
    404: OctosparkNotFoundError,
    408: OctosparkServerError,
    409: OctosparkConflictError,
    429: OctosparkRateLimitError,
}

_ADVICE: dict[type[OctosparkError], str] = {
    OctosparkAuthError: "Check the API key in the connection's password field; it may be revoked or expired.",
    OctosparkPermissionError: "The key is valid but may not do this; check its team and its rights.",
    OctosparkNotFoundError: "Check the ids, and that the key belongs to the team.",
    OctosparkRequestError: "Correct what the message names.",
}


@dataclass(frozen=True)
class RawAnswer:
    """An answer as it came: ``headers`` with lower-case names, ``body`` not yet decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer(Generic[T]):
    """A readable answer: its value, and the service's clock (header ``Date``, whole seconds) if it told it."""

    value: T
    service_time: datetime | None


def read_answer(operation: Operation[T], raw: RawAnswer, now: datetime) -> Answer[T]:
    """Return what a successful answer carries.

    :param now: our own clock, to turn a ``Retry-After`` that is a date into seconds.
    :raises OctosparkError: of the class that fits the status, or :class:`OctosparkAnswerError` if the status is
        2xx and the body cannot be read as what the operation answers.
    """
    if not 200 <= raw.status < 300:
        raise _error(operation, raw, now)
    service_time = parse_http_date(raw.headers.get("date"))
    if operation.answer is None:
        return Answer(None, service_time)  # type: ignore[arg-type]
    problem: str
    try:
        value = operation.answer.validate_json(_decoded(raw))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = plain(f"{where or 'the body'}: {first['msg']}", 200)
    except ValueError as error:
        problem = plain(error, 200)
    except RecursionError:
        problem = "nested too deeply"
    else:
        return Answer(value, service_time)
    # Raised here and not inside ``except``: the cause would carry the answer along into logs.
    raise OctosparkAnswerError(
        f"{operation.name} ({operation.about}): the service answered {raw.status}, but the answer cannot be "
        f"read ({problem}).",
        operation=operation.name,
        target=operation.about,
        status=raw.status,
        request_id=_request_id(raw),
    )


def _error(operation: Operation[Any], raw: RawAnswer, now: datetime) -> OctosparkError:
    kind = _BY_STATUS.get(raw.status)
    if kind is None:
        kind = OctosparkRequestError if 400 <= raw.status < 500 else OctosparkServerError
    said = error_message(raw)
    try:
        phrase = HTTPStatus(raw.status).phrase
    except ValueError:
        phrase = "no status that HTTP knows"
    parts = [f"{operation.name} ({operation.about}): the service answered {raw.status} {phrase}"]
    if said:
        parts.append(f": {said}")
    parts.append("." if not said.endswith((".", "!", "?")) else "")
    if 300 <= raw.status < 400:
        parts.append(" Redirects are not followed; check the host of the connection.")
    retry_after = parse_retry_after(raw.headers.get("retry-after"), now)
    if retry_after is not None:
        parts.append(f" It asks to wait {retry_after:.0f} s.")
    advice = _ADVICE.get(kind)
    if advice:
        parts.append(f" {advice}")
    request_id = _request_id(raw)
    if request_id:
        parts.append(f" Request id {request_id}.")
    return kind(
        "".join(parts),
        operation=operation.name,
        target=operation.about,
        status=raw.status,
        request_id=request_id,
        retry_after=retry_after,
    )


def error_message(raw: RawAnswer) -> str:
    """Return what an error's body says to a person: one harmless line of at most 300 characters, or ''.

    Takes JSON with ``message``, ``error``, ``error.message`` or ``detail`` (their shape is not documented),
    plain text, and of an HTML page its title.
    """
    try:
        text = _decoded(raw).decode("utf-8", "replace").strip()
    except ValueError:
        return ""
    if text[:1] in {"{", "["}:
        try:
            found = _said(from_json(text))
        except (ValueError, RecursionError):
            found = None
        if found:
            return plain(found)
    if text[:1] == "<":
        title = re.search(r"<title[^>]*>([^<]{0,500})", text[:20_000], re.IGNORECASE)
        return plain(unescape(title.group(1))) if title else ""
    return plain(text)


def _said(body: object) -> str | None:
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return "; ".join(filter(None, (_said(entry) for entry in body[:5]))) or None
    if not isinstance(body, dict):
        return None
    for key in ("message", "error", "detail", "msg", "title"):
        found = _said(body.get(key))
        if found:
            return found
    return None


def _decoded(raw: RawAnswer) -> bytes:
    encoding = raw.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return raw.body
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise ValueError(f"content encoding {encoding!r:.40} was not asked for")
    machine = zlib.decompressobj(wbits=47)
    try:
        body = machine.decompress(raw.body, MAX_ANSWER_BYTES)
    except zlib.error:
        raise ValueError("its compression is broken") from None
    if machine.unconsumed_tail:
        raise ValueError(f"it is longer than {MAX_ANSWER_BYTES} bytes")
    if not machine.eof:
        raise ValueError("it is cut off")
    return body


def _request_id(raw: RawAnswer) -> str | None:
    for name in ("x-request-id", "request-id", "x-correlation-id"):
        value = raw.headers.get(name, "")
        # An id is short and plain; anything else could carry a secret or forge a log line.
        if re.fullmatch(r"[A-Za-z0-9_.:-]{1,80}", value):
            return value
    return None


def parse_http_date(text: str | None) -> datetime | None:
    """Return the instant of an HTTP date as aware UTC, or None if it is none."""
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return None


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds that a ``Retry-After`` asks for, from 0 to ``MAX_RETRY_AFTER``; None for garbage."""
    if not text:
        return None
    text = text.strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text):
        seconds = float(text)
    else:
        moment = parse_http_date(text)
        if moment is None:
            return None
        seconds = (moment - now).total_seconds()
    return min(MAX_RETRY_AFTER, max(0.0, seconds))
