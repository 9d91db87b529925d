"""The retry rule: which errors are transient, and how long to wait before the next attempt."""

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
    """Whether the same request may succeed later.

    Broken connections, rate limits, server errors and unreadable responses are transient; a refused request is not. A
    submission with an unreadable response is in doubt and must not be repeated.
    """
    return isinstance(
        error, OctosparkNetworkError | OctosparkRateLimitError | OctosparkServerError | OctosparkAnswerError
    )


def is_repeatable_at_once(error: BaseException) -> bool:
    """Whether a *safe* request is worth repeating within its own time budget.

    Like :func:`is_transient`, but only for the statuses 429, 502, 503 and 504, which say that the service has not
    processed the request.
    """
    if isinstance(error, OctosparkServerError):
        return error.status in {502, 503, 504}
    return isinstance(error, OctosparkNetworkError | OctosparkRateLimitError)


def delay_after(error: BaseException, failures: int) -> float:
    """Return the seconds to wait after the ``failures``-th failure in a row (1, 2, …).

    The delay doubles from 0.5 s to 60 s. Up to half of it is removed at random, so that many clients do not return
    together. It is never shorter than the service's ``Retry-After``.
    """
    backoff = min(LONGEST_DELAY, FIRST_DELAY * DELAY_GROWTH ** min(failures - 1, 16))
    jittered = backoff * random.uniform(0.5, 1.0)  # noqa: S311
    asked = error.retry_after if isinstance(error, OctosparkError) else None
    return max(jittered, asked or 0.0)
