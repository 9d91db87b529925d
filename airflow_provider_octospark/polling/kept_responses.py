"""The submissions of a wait as they were read last, for a task with ``push_response``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_octospark.api.excerpt import excerpts_of
from airflow_provider_octospark.api.models import ScheduledPost
from airflow_provider_octospark.api.text import Redaction
from airflow_provider_octospark.polling.wait import Wait


def keep_responses(wait: Wait, read: Sequence[ScheduledPost | None] = ()) -> None:
    """Let a wait keep what it reads. Without this it keeps nothing, because thousands of waits share a triggerer.

    :param read: what was read of each publication before the wait, in order; None for nothing (default: of all).
    """
    for number, watch in enumerate(wait.watches):
        watch.keeps_response = True
        watch.response = read[number] if number < len(read) else None


def kept_responses(wait: Wait, token: str) -> list[Any] | None:
    """Return an excerpt of each publication's submission, in order, and null for one that was not read; None if the wait keeps
    nothing.

    :param token: the API key, which is removed.
    """
    if not any(watch.keeps_response for watch in wait.watches):
        return None
    return excerpts_of([watch.response for watch in wait.watches], Redaction(token))
