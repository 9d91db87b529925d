"""The one rule for trying again: which errors are transient, and how long to wait for that."""

from __future__ import annotations

import random

from airflow_provider_octospark.exceptions import (
    OctosparkAnswerError,
    OctosparkError,
    OctosparkNetworkError,
    OctosparkRateLimitError,
    OctosparkServerError,
)

FIRST_DELAY = 0.5
DELAY_GROWTH = 2.0
LONGEST_DELAY = 60.0


def is_transient(error: BaseException) -> bool:
    """Whether the same request may well succeed a little later.

    Broken connections, rate limits and errors of the server pass; what the service refused does not. A response
    that cannot be read passes too, except to the reader of that one answer, who must not repeat a submission.
    """
    return isinstance(
        error, OctosparkNetworkError | OctosparkRateLimitError | OctosparkServerError | OctosparkAnswerError
    )


def is_repeatable_at_once(error: BaseException) -> bool:
    """Whether a *safe* request is worth repeating within its own time budget.

    As :func:`is_transient`, but of the statuses only 429, 502, 503 and 504, which say that nobody answered yet.
    """
    if isinstance(error, OctosparkServerError):
        return error.status in {502, 503, 504}
    return isinstance(error, OctosparkNetworkError | OctosparkRateLimitError)


def delay_after(error: BaseException, failures: int) -> float:
    """Return the seconds to wait after the ``failures``-th failure in a row (1, 2, …).

    Doubles from 0.5 s up to 60 s, of which a random half is taken off so that many do not come back together;
    never less than the service's ``Retry-After``.
    """
    backoff = min(LONGEST_DELAY, FIRST_DELAY * DELAY_GROWTH ** min(failures - 1, 16))
    jittered = backoff * random.uniform(0.5, 1.0)  # noqa: S311
    asked = error.retry_after if isinstance(error, OctosparkError) else None
    return max(jittered, asked or 0.0)
