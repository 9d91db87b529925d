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
    # Older versions of Airflow must be able to import this module.
    try:
        from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
    except ImportError:
        RetryDecision, RetryPolicy = None, object


class OctosparkRetryPolicy(RetryPolicy):
    """Wait before a retry as long as Octospark asks, and fail at once if a retry cannot help.

    A task that a rate limit refused is retried after the service's ``Retry-After`` instead of its ``retry_delay``. Without
    a ``Retry-After``, ``retry_delay`` applies. The policy does not change the number of retries, and does not handle errors
    of other providers.

    Without the policy, and before Airflow 3.3, the exceptions decide whether a task is retried, and ``retry_delay`` when.

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
        """Serialize the policy, which has no settings."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> OctosparkRetryPolicy:  # noqa: ARG003 - Airflow's signature
        """Deserialize the policy."""
        return cls()
