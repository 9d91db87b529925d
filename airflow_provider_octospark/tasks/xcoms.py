"""The XComs of a task: its result, what its operator adds, and the service's responses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_octospark.api.text import Log
from airflow_provider_octospark.parameters.defaults import RETURN_KEY

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

RESPONSE_KEY = "response"
"""The XCom of the service's response with ``push_response``; of several responses, the XComs ``response_0``, and so on."""


class Description(Protocol):
    """What a task's description says of its XComs."""

    @property
    def do_xcom_push(self) -> bool:
        """Whether the task pushes XComs."""

    @property
    def push_response(self) -> bool:
        """Whether they include the service's responses."""


class XComs:
    """Push the XComs of one task.

    :param description: the task's description, which says what is to be pushed.
    """

    def __init__(self, description: Description, context: Context, log: Log) -> None:
        self._context = context
        self.log = log
        self._description = description

    def push(self, values: Mapping[str, Any]) -> None:
        """Push values by their keys."""
        if self._description.do_xcom_push:
            for key, value in values.items():
                self._context["ti"].xcom_push(key=key, value=value)

    def push_before_raising(self, results: Callable[[], tuple[Mapping[str, Any], Any]]) -> None:
        """Push all XComs of a task that is about to raise, so that downstream tasks can read them.

        :param results: returns what the operator adds, and the task's ``return_value``.
        """
        try:
            extra, result = results()
            self.push({**extra, RETURN_KEY: result})
        except Exception:
            # The task's own exception decides whether it is retried; an error of XCom must not replace it.
            self.log.exception("The outcomes could not be pushed to XCom.")

    def push_responses(self, found: Callable[[], Sequence[Any] | None]) -> None:
        """Push responses of the service, if the task is to; null if there are none.

        :param found: returns them, see :func:`~airflow_provider_octospark.api.excerpt.excerpts_of`; None to push nothing.
        """
        if not self._description.push_response:
            return
        try:
            excerpts = found()
            if excerpts is None:
                return
            several = {f"{RESPONSE_KEY}_{number}": each for number, each in enumerate(excerpts)}
            self.push(several if len(several) > 1 else {RESPONSE_KEY: next(iter(excerpts), None)})
        except Exception:
            # They inform a user, and decide nothing.
            self.log.exception("The service's responses could not be pushed to XCom.")
