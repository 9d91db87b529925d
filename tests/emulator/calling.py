"""A client of the emulator that hides nothing: it returns responses as they came."""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Any, Final, Self

import httpx

from airflow_provider_octospark.emulator import Emulator

_TLS: Final = ssl.create_default_context()
"""Never used, as all is plain HTTP; but a client that makes its own takes 20 ms for it."""


def client(base_url: str, timeout: float = 5.0) -> httpx.Client:
    """A client without a token."""
    return httpx.Client(base_url=base_url, timeout=timeout, trust_env=False, verify=_TLS)


class Caller:
    """Calls the public API with the right token, and the control without."""

    def __init__(self, emulator: Emulator, timeout: float = 5.0) -> None:
        self.team = f"/v1/teams/{emulator.team_id}"
        self.http = client(emulator.base_url, timeout)
        self.http.headers["Authorization"] = f"Bearer {emulator.token}"
        self.tokenless = client(emulator.base_url, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.http.close()
        self.tokenless.close()

    def get_post(self, post_id: str) -> httpx.Response:
        """Get a post."""
        return self.http.get(f"{self.team}/posts/{post_id}")

    def latest(self, post_id: str) -> dict[str, Any]:
        """The latest scheduledPost of a post, which must be there."""
        scheduled: dict[str, Any] | None = self.get_post(post_id).json()["latestScheduledPost"]
        assert scheduled is not None
        return scheduled

    def post_now(self, post_id: str, account_id: str, **fields: Any) -> httpx.Response:
        """Post now."""
        body = {"socialAccountId": account_id, **fields}
        return self.http.post(f"{self.team}/posts/{post_id}/post-now", json=body)

    def schedule_multi(self, post_id: str, account_ids: list[str], scheduled_at: str, **fields: Any) -> httpx.Response:
        """Schedule on several accounts."""
        body = {"socialAccountIds": account_ids, "scheduledAt": scheduled_at, **fields}
        return self.http.post(f"{self.team}/posts/{post_id}/schedule-multi", json=body)

    def move_to_draft(self, post_id: str) -> httpx.Response:
        """Move a post to draft."""
        return self.http.post(f"{self.team}/posts/{post_id}/move-to-draft")

    def control(self, what: str, order: Any) -> httpx.Response:
        """A control call that changes something; it needs no token."""
        return self.tokenless.post(f"/_emulator/{what}", json=order)

    def listed(self, what: str) -> list[dict[str, Any]]:
        """What a control call lists."""
        entries: list[dict[str, Any]] = self.tokenless.get(f"/_emulator/{what}").json()["data"]
        return entries
