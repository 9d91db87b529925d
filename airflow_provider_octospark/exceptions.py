"""The exceptions of this provider, and whether Airflow retries them.

A class that is *not* retried is an :class:`~airflow.exceptions.AirflowFailException`, so Airflow fails the task at once.
For every other class the task's ``retries`` apply.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from airflow.providers.common.compat.sdk import AirflowSkipException as AirflowSkipException


class OctosparkError(AirflowException):
    """Base of all exceptions of this provider. Airflow may retry it unless a subclass says otherwise.

    :param message: what was tried, what the response was and what to do next; without secrets.
    :param operation: name of the API operation, for example ``post-now``.
    :param target: the team, post and account, for example ``team 3c90… post 77a1…``.
    :param status: HTTP status of the response, if there was one.
    :param request_id: the service's id of the request, if it sent one.
    :param retry_after: seconds that the service asked to wait, if it did.
    """

    def __init__(
        self,
        message: str = "",
        *,
        operation: str | None = None,
        target: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        # Only the message goes into ``args``: pickle rebuilds an exception from ``args`` and then restores
        # ``__dict__``, so an exception with one positional argument survives the trip between processes.
        super().__init__(message)
        self.operation = operation
        self.target = target
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after


class OctosparkFailError(OctosparkError, AirflowFailException):
    """Base of the errors that a retry cannot solve. Not retried."""


class OctosparkSettingsError(OctosparkFailError):
    """The Airflow connection is missing or one of its fields is unusable. Not retried."""


class OctosparkArgumentError(OctosparkFailError, ValueError):
    """A parameter of an operator, sensor or hook method is unusable; nothing was sent. Not retried."""


class OctosparkContentChangedError(OctosparkFailError):
    """The post was edited since ``content_hash`` was taken, so nothing was sent. Not retried."""


class OctosparkVersionError(OctosparkFailError):
    """This version of Airflow does not support the feature. Not retried."""


class OctosparkRequestError(OctosparkFailError):
    """The service refused the request as malformed or unfit (4xx without a class of its own). Not retried."""


class OctosparkAuthError(OctosparkFailError):
    """401: the API key is missing, unknown, expired or revoked. Not retried."""


class OctosparkPermissionError(OctosparkFailError):
    """403: the API key is valid but may not do this. Not retried."""


class OctosparkNotFoundError(OctosparkFailError):
    """404: no such team, post or account, or the key cannot see it. Not retried."""


class OctosparkConflictError(OctosparkFailError):
    """409: the request conflicts with the present state. Not retried."""


class OctosparkRateLimitError(OctosparkError):
    """429: too many requests; ``retry_after`` is the time to wait, if the service gave one. May be retried."""


class OctosparkServerError(OctosparkError):
    """5xx, 408, or a status that the API does not document. May be retried."""


class OctosparkNetworkError(OctosparkError):
    """The connection broke or timed out. May be retried."""


class OctosparkConnectError(OctosparkNetworkError):
    """No connection was established (DNS, refused, TLS, proxy, connect timeout), so nothing was sent. May be retried."""


class OctosparkHeldUpError(OctosparkNetworkError):
    """The process was held up between its fence and the first byte, so the request was not sent. May be retried."""


class OctosparkHaltedError(OctosparkError):
    """Nothing may be submitted now, so nothing was sent. May be retried."""


class OctosparkStoppedError(OctosparkHaltedError):
    """Airflow told the task to stop. May be retried: the retry sends what is left."""


class OctosparkReadOnlyError(OctosparkHaltedError):
    """The connection's extra has ``"read_only": true``, so nothing is submitted through it. May be retried."""


class OctosparkInterruptedError(OctosparkError):
    """Airflow told the task to stop while it waited for a response. May be retried: the retry reconciles."""


class OctosparkAnswerError(OctosparkError):
    """The response is invalid: truncated, not JSON, too large, or of another shape. May be retried."""


class OctosparkStateStoreError(OctosparkError):
    """Airflow's task state store could not be read or written. May be retried: the next try reconciles."""


class OctosparkAlreadySubmittedError(OctosparkFailError):
    """The target has a submission already, and the parameters allow no other. Not retried."""


class OctosparkTooLateError(OctosparkFailError):
    """The time to publish has passed, so nothing was sent. Not retried."""


class OctosparkPublishFailedError(OctosparkFailError):
    """Octospark reports that publishing failed, for a reason that a retry cannot solve. Not retried."""


class OctosparkPublishRetryableError(OctosparkError):
    """Octospark reports that publishing failed for a transient reason. May be retried: the retry submits again."""


class OctosparkCancelledError(OctosparkFailError):
    """A user cancelled the publication or moved the post back to draft. Not retried."""


class OctosparkUnknownError(OctosparkFailError):
    """It is not known whether the post is, or will be, live. Not retried: check the post before you publish it again."""


class OctosparkNotMeasuredError(OctosparkFailError):
    """There are no numbers of a publication; the message says why. Not retried: clear the task to measure again."""


class OctosparkProtocolError(OctosparkError):
    """This version of the provider cannot read the trigger's event. May be retried."""
