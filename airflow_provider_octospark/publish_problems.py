"""Find what went wrong with a post that is out all the same, such as a first comment that failed.

The content of ``publishResults`` is not documented. So this looks for words that the services of such an API use for errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_octospark.api.models import ScheduledPost
from airflow_provider_octospark.api.text import sanitize

DEEPEST = 5
"""How many levels of ``publishResults`` are searched."""

_NAMES = re.compile(r"error|fail(ed|ure)", re.IGNORECASE)
_STATES = frozenset({"failed", "error", "rejected"})


def problem_of(scheduled: ScheduledPost) -> str | None:
    """Return what the service reports as gone wrong with a published post; None if there is nothing.

    :returns: one line of at most 300 characters.
    """
    said = [sanitize(text, 120) for text in (scheduled.error_code, scheduled.error_message) if text]
    if not said:
        said = list(_found(scheduled.publish_results, "publishResults", DEEPEST))[:3]
    return sanitize("; ".join(said)) if said else None


def _found(value: Any, where: str, levels: int) -> Iterator[str]:
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping) or levels == 0:
        return
    for key, entry in value.items():
        place = f"{where}.{sanitize(key, 40)}"
        is_state = isinstance(entry, str) and entry.lower() in _STATES
        if (_NAMES.search(str(key)) and entry) or is_state:
            yield f"{place}: {sanitize(entry, 120)}"
        else:
            yield from _found(entry, place, levels - 1)
