"""Cursors of lists that page."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime

Place = tuple[datetime, int]
"""What a list is sorted by. An entry that moves while somebody pages does not change where the next page begins."""


class CursorError(ValueError):
    """A cursor that no page has named."""


def write_cursor(place: Place) -> str:
    """Return the cursor of the page after an entry."""
    return urlsafe_b64encode(f"{place[0].isoformat()} {place[1]}".encode()).decode()


def read_cursor(cursor: str) -> Place:
    """Return the entry after which a page begins.

    :raises CursorError: if it is no cursor.
    """
    try:
        instant, _, order = urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        place = datetime.fromisoformat(instant), int(order)
        if place[0].tzinfo is not None:
            return place
    except ValueError:
        pass
    raise CursorError("cursor: no page has named it.")
