"""A ``retry_policy`` for tasks that talk to Octospark: Airflow 3.3 and newer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_octospark.airflow_compat import require_airflow
from airflow_provider_octospark.api.backoff import delay_after
from airflow_provider_octospark.api.text import sanitize
from airflow_provider_octospark.exceptions import OctosparkError, OctosparkFailError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
else:
    # Older versions of Airflow must be able to import what they cannot use.
    try:
        from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
    except ImportError:
        RetryDecision, RetryPolicy = None, object


class OctosparkRetryPolicy(RetryPolicy):
    """Lets a retry wait for as long as Octospark asked to, and fails at once where a retry cannot help.

    With it, a task that was refused by a rate limit comes back when the limit allows it, and not after its ``retry_delay``:
    no earlier than the service asked. Where the service asked for nothing, ``retry_delay`` stands. The
    policy gives no more retries than the task has. Of errors that are not this provider's it decides nothing.

    Without it, and before Airflow 3.3, the errors alone decide whether there is a retry; only the wait is not as asked.

    .. code-block:: python

        OctosparkPostNowOperator(..., retries=5, retry_policy=OctosparkRetryPolicy())

    :raises OctosparkVersionError: before Airflow 3.3.
    """

    def __init__(self) -> None:
        require_airflow("OctosparkRetryPolicy", 3, 3)

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002 - Airflow's signature
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Decide about one failure; runs in the worker."""
        if not isinstance(exception, OctosparkError):
            return RetryDecision.default()
        if isinstance(exception, OctosparkFailError):
            return RetryDecision.fail(sanitize(exception, 200))
        if not exception.retry_after:
            return RetryDecision.retry(reason=sanitize(exception, 200))
        delay = timedelta(seconds=delay_after(exception, try_number))
        return RetryDecision.retry(delay, f"Octospark asked to wait {exception.retry_after:.0f} s")

    def serialize(self) -> dict[str, Any]:
        """Return what it is made of again: it has no settings."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> OctosparkRetryPolicy:  # noqa: ARG003 - Airflow's signature
        """Make it again."""
        return cls()
