"""The emulator as a process of its own, and its control over HTTP."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.system.processes import ProcessFamily, calm_environment

_START_TIMEOUT = 60.0
_NAME = "emulator"


class EmulatorControl:
    """What the demo and the tests ask of the emulator's `/_emulator/` paths, which need no token."""

    def __init__(self, base_url: str) -> None:
        # A proxy of the user's environment has no business with a server on this machine.
        self._client = httpx.Client(base_url=base_url, timeout=30, trust_env=False)

    def script(self, scenario: str, **rule: Any) -> None:
        """Say how a post (`post_id`) or an account (`social_account_id`) will fare."""
        self._post("script", {"scenario": scenario, **rule})

    def clock(self, **change: float) -> None:
        """Move its time on by `advance_seconds`, or `until_idle`, or let it run at a `factor`."""
        self._post("clock", change)

    def add_post(self, title: str) -> str:
        """Prepare a further post and return its id."""
        return str(self._post("posts", {"title": title})["id"])

    def fault(self, fault: Mapping[str, Any]) -> None:
        """Let something go wrong; see `emulator/faults.py` for the fields."""
        self._post("faults", [dict(fault)])

    def faults(self) -> list[dict[str, Any]]:
        """The faults that have not struck yet."""
        return self._get("faults")

    def user_action(self, action: str, post_id: str, **details: str) -> None:
        """Do what a user does in the app meanwhile, such as `post_now` on a `social_account_id`."""
        self._post("user-action", {"action": action, "post_id": post_id, **details})

    def submissions(self) -> list[dict[str, Any]]:
        """The submissions that it accepted."""
        return self._get("submissions")

    def publications(self) -> list[dict[str, Any]]:
        """What truly went out."""
        return self._get("publications")

    def requests(self) -> list[dict[str, Any]]:
        """Return each call that it has received."""
        return self._get("requests")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _get(self, what: str) -> list[dict[str, Any]]:
        response = self._client.get(f"/_emulator/{what}")
        response.raise_for_status()
        entries: list[dict[str, Any]] = response.json()["data"]
        return entries

    def _post(self, what: str, body: Any) -> Any:
        response = self._client.post(f"/_emulator/{what}", json=body)
        if response.is_error:
            raise RuntimeError(f"{what} {body}: {response.status_code} {response.text}")
        return response.json()


class EmulatorProcess:
    """`python -m airflow_provider_octospark.emulator` from entering to leaving the context."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="octospark-emulator-")
        self._family: ProcessFamily | None = None
        self._card: dict[str, Any] = {}

    def __enter__(self) -> Self:
        folder = Path(self._folder.name)
        self._family = ProcessFamily(folder)
        try:
            command = [sys.executable, "-m", "airflow_provider_octospark.emulator"]
            self._family.start(_NAME, command, calm_environment(), folder)
            self._card = self._read_card(self._family)
            self.control = EmulatorControl(self.base_url)
        except BaseException:
            self._family.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.control.close()
        if self._family is not None:
            self._family.close()
        self._folder.cleanup()

    @property
    def base_url(self) -> str:
        """Where it listens; in a browser, the page for people."""
        return str(self._card["base_url"])

    @property
    def connection(self) -> str:
        """The value for `AIRFLOW_CONN_OCTOSPARK_DEFAULT`."""
        return str(self._card["connection"])

    @property
    def posts(self) -> list[dict[str, str]]:
        """The prepared posts: `id` and `title`."""
        posts: list[dict[str, str]] = self._card["posts"]
        return posts

    @property
    def social_accounts(self) -> list[dict[str, str]]:
        """The accounts: `id`, `provider`, `displayName`, `status`."""
        accounts: list[dict[str, str]] = self._card["social_accounts"]
        return accounts

    @staticmethod
    def _read_card(family: ProcessFamily) -> dict[str, Any]:
        """The one line of JSON that it prints as soon as it accepts connections."""
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            for line in family.log_file(_NAME).read_text().splitlines(keepends=True):
                if line.startswith("{") and line.endswith("\n"):
                    card: dict[str, Any] = json.loads(line)
                    return card
            if family.exit_code(_NAME) is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"the emulator did not start:\n{family.log_tail(_NAME)}")
