"""Turn an HTTP response into a value or an error."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from html import unescape
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from airflow_provider_octospark.api.operations import Operation
from airflow_provider_octospark.api.slices import parse_in_slices
from airflow_provider_octospark.api.text import Redaction, sanitize, without_stop
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

T = TypeVar("T")

MAX_RESPONSE_BYTES = 8 * 1024 * 1024
"""Maximum size of a response in bytes, before and after decompression."""

MAX_RESPONSE_VALUES = 400_000
"""Maximum number of JSON values in a response. Three million empty objects in 8 MiB block the event loop for a minute and
take gigabytes. A list of posts has 40 to 80 values for each post."""

MAX_RETRY_AFTER = 3600.0
"""Maximum ``Retry-After`` that is accepted, in seconds."""

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
    OctosparkConflictError: "Look at the post in Octospark: its state does not allow this now.",
    OctosparkRequestError: "Correct what the message names.",
    OctosparkRateLimitError: "Try again later, or let fewer tasks run at once.",
    OctosparkServerError: "The service, or a proxy on the way to it, is in trouble; a later try may succeed.",
}
_ADVICE_ON_REDIRECT = "Redirects are not followed; check the host of the connection."
_ADVICE_ON_RESPONSE = "Check that the connection's host is Octospark's API, and that no proxy answers in its place."


@dataclass(frozen=True)
class RawResponse:
    """A response as received: ``headers`` with lower-case names, ``body`` before decompression.

    ``repr`` shows neither headers, which may carry tokens, nor the body.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Response(Generic[T]):
    """A valid response: its value, and the service's clock (header ``Date``, whole seconds) or None."""

    value: T
    service_time: datetime | None


async def read_response(operation: Operation[T], raw: RawResponse, now: datetime, redaction: Redaction) -> Response[T]:
    """Return the value of a successful response. A list of texts is read in slices.

    :param now: our own clock. It turns a ``Retry-After`` date into seconds if the response has no ``Date``.
    :param redaction: removes the API key from the response's texts.
    :raises OctosparkError: of the class that fits the status, or :class:`OctosparkAnswerError` if the status is 2xx and
        the body does not match the operation's response type.
    """
    if not 200 <= raw.status < 300:
        raise _error(operation, raw, now, redaction)
    service_time = parse_http_date(raw.headers.get("date"))
    if operation.response is None:
        return Response(None, service_time)  # type: ignore[arg-type]
    problem: str
    try:
        # In two steps: pydantic's one takes twice as long for a list whose entries are taken as they are.
        if operation.is_list_of_texts:
            # Receiving it, cleaning it and parsing it each take some ms of a long list.
            await asyncio.sleep(0)
        value = operation.response.validate_python(await _parsed(operation, _decoded(raw, redaction)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = sanitize(f"{where or 'the body'}: {first['msg']}", 200)
    except ValueError as error:
        problem = sanitize(error, 200)
    except RecursionError:
        problem = "nested too deeply"
    else:
        found = getattr(value, "id", None)
        if operation.expected_id is None or operation.expected_id.casefold() == str(found).casefold():
            return Response(value, service_time)
        # Another post's state would be taken for this post's.
        problem = sanitize(f"id is {found!r}, not the requested {operation.expected_id!r}", 200)
    # Raised here and not inside ``except``: the cause would carry the response along into logs.
    raise OctosparkAnswerError(
        f"{operation.name} ({operation.about}): the service answered {raw.status}, but the response cannot be "
        f"read ({redaction.of_text(problem)}). {_ADVICE_ON_RESPONSE}",
        operation=operation.name,
        target=operation.about,
        status=raw.status,
        request_id=_request_id(raw, redaction),
    )


async def _parsed(operation: Operation[Any], body: bytes) -> Any:
    if not operation.is_list_of_texts:
        return from_json(body)
    await asyncio.sleep(0)
    return await parse_in_slices(body.decode())


def _error(operation: Operation[Any], raw: RawResponse, now: datetime, redaction: Redaction) -> OctosparkError:
    kind = _BY_STATUS.get(raw.status)
    if kind is None:
        kind = OctosparkRequestError if 400 <= raw.status < 500 else OctosparkServerError
    said = error_message(raw, redaction)
    try:
        phrase = HTTPStatus(raw.status).phrase
    except ValueError:
        phrase = "no status that HTTP knows"
    if without_stop(said).casefold() == phrase.casefold():
        said = ""
    parts = [f"{operation.name} ({operation.about}): the service answered {raw.status} {phrase}"]
    if said:
        parts.append(f": {said}")
    parts.append("." if not said.endswith((".", "!", "?")) else "")
    retry_after = parse_retry_after(raw.headers.get("retry-after"), parse_http_date(raw.headers.get("date")) or now)
    if retry_after is not None:
        parts.append(f" It asks to wait {retry_after:.0f} s.")
    parts.append(f" {_ADVICE_ON_REDIRECT if 300 <= raw.status < 400 else _ADVICE[kind]}")
    request_id = _request_id(raw, redaction)
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


def error_message(raw: RawResponse, redaction: Redaction) -> str:
    """Return the message of an error's body as one sanitized line of at most 300 characters, or ''.

    Reads JSON with ``message``, ``error``, ``error.message``, ``detail`` or similar (the shape is not documented), plain
    text, and the title of an HTML page.
    """
    try:
        text = _decoded(raw, redaction).decode("utf-8-sig", "replace").strip()
    except ValueError:
        return ""
    if text[:1] in {"{", "["}:
        try:
            found = _said(from_json(text))
        except (ValueError, RecursionError):
            found = None
        if found:
            # Once more: JSON can write any character in two ways.
            return sanitize(redaction.of_text(found))
    if text[:1] == "<":
        title = re.search(r"<title[^>]{0,100}>([^<]{0,500})", text[:20_000], re.IGNORECASE)
        return sanitize(unescape(title.group(1))) if title else ""
    return sanitize(text)


def _said(body: object) -> str | None:
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return "; ".join(filter(None, (_said(entry) for entry in body[:5]))) or None
    if not isinstance(body, dict):
        return None
    for key in ("message", "error", "error_description", "detail", "errors", "msg", "title"):
        found = _said(body.get(key))
        if found:
            return found
    return None


def _decoded(raw: RawResponse, redaction: Redaction) -> bytes:
    encoding = raw.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        body = raw.body
    elif encoding in {"gzip", "x-gzip", "deflate"}:
        body = _decompressed(raw.body)
    else:
        raise ValueError(f"content encoding {redaction.of_text(encoding)!r:.40} was not asked for")
    # Each value but the first of an object or a list comes after one of these.
    if body.count(b",") > MAX_RESPONSE_VALUES:
        raise ValueError(f"it holds more than {MAX_RESPONSE_VALUES} values")
    return redaction.of_bytes(body)


def _decompressed(body: bytes) -> bytes:
    machine = zlib.decompressobj(wbits=47)
    try:
        whole = machine.decompress(body, MAX_RESPONSE_BYTES)
    except zlib.error:
        whole = None
    if whole is None:
        raise ValueError("its compression is broken")
    if machine.unconsumed_tail:
        raise ValueError(f"it is longer than {MAX_RESPONSE_BYTES} bytes")
    if not machine.eof:
        raise ValueError("it is cut off")
    return whole


def _request_id(raw: RawResponse, redaction: Redaction) -> str | None:
    for name in ("x-request-id", "request-id", "x-correlation-id"):
        value = raw.headers.get(name, "")
        # An id is short and plain; anything else could carry a secret or forge a log line.
        if re.fullmatch(r"[A-Za-z0-9_.:-]{1,80}", value) and redaction.of_text(value) == value:
            return value
    return None


def parse_http_date(text: str | None) -> datetime | None:
    """Return an HTTP date as aware UTC, or None if it is invalid."""
    if not text:
        return None
    try:
        instant = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    try:
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except OverflowError:
        return None


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds of a ``Retry-After``, from 0 to ``MAX_RETRY_AFTER``, or None if it is invalid."""
    if not text:
        return None
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,400}(\.[0-9]{1,20})?", text):
        seconds = float(text)
    else:
        instant = parse_http_date(text)
        if instant is None:
            return None
        seconds = (instant - now).total_seconds()
    return min(MAX_RETRY_AFTER, max(0.0, seconds))
