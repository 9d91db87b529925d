"""Whether a request has left this process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Self

from airflow_provider_octospark.api.operations import Operation
from airflow_provider_octospark.api.transport import httpx
from airflow_provider_octospark.exceptions import OctosparkHeldUpError


class Departure:
    """Record whether a request has started to leave, and stop it if that is too late.

    httpcore calls :meth:`trace` at each step of a request (httpx documentation, 'Extensions', "trace").

    A context manager around the request: httpcore forgets a connection whose TLS handshake is cancelled, so that it would
    stay open for as long as the event loop runs; it is closed here.
    """

    def __init__(self, operation: Operation[Any], leave_by: datetime | None, now: Callable[[], datetime]) -> None:
        self._operation = operation
        self._leave_by = leave_by
        self._now = now
        self._traced = False
        self._begun = False
        self._unfinished: Any = None
        self.handed_over = False
        """Whether the HTTP library has the request."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        unfinished, self._unfinished = self._unfinished, None
        if unfinished is not None:
            await unfinished.aclose()

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take in a step of the request.

        :raises OctosparkHeldUpError: if the request is about to leave too late.
        """
        self._traced = True
        if event.endswith("connect_tcp.complete"):
            self._unfinished = info.get("return_value")
        elif event.endswith("start_tls.complete"):
            self._unfinished = None
        if not event.endswith("send_request_headers.started"):
            return
        if getattr(info.get("request"), "method", None) == b"CONNECT":
            return  # This goes to the proxy; the request itself follows.
        if self._leave_by is not None and self._now() > self._leave_by:
            operation = self._operation
            raise OctosparkHeldUpError(
                f"{operation.name} ({operation.about}): not sent, because this process was held up until after "
                f"{self._leave_by.isoformat()}.",
                operation=operation.name,
                target=operation.about,
            )
        self._begun = True
        self._unfinished = None
        if not self._operation.submits:
            # Nothing more is needed of a read, and each further step would cost it time.
            getattr(info.get("request"), "extensions", {}).pop("trace", None)

    def never_left(self, error: BaseException | None) -> bool:
        """Whether it is certain that no byte of the request has left."""
        if not self.handed_over:
            return True
        if self._traced:
            return not self._begun
        return isinstance(
            error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.UnsupportedProtocol
        )
