"""What the demo publishes where, how the emulator is told to let it fare, and how each target must end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from tests.system.emulated import EmulatorControl

ANNOUNCE = "octospark_announce"
CAMPAIGN = "octospark_campaign"
EVERYWHERE = "octospark_everywhere"
# The summary of a campaign fails if one of its targets did.
RUN_STATES = {EVERYWHERE: "failed", ANNOUNCE: "success", CAMPAIGN: "failed"}

# An upload takes a platform half a minute and more; here it is only to be seen that it is waited for.
UPLOAD_SECONDS = 8.0

SCRIPTED_ERROR = {
    "errorCategory": "validation",
    "errorCode": "ASPECT_RATIO",
    "errorMessage": "The video is neither square nor upright",
}


@dataclass(frozen=True)
class Target:
    """A post on an account, and its end as the scenario scripts it.

    :param end: what Airflow must find out.
    :param goes_out: whether the emulator truly publishes it; an unknown one may well be out.
    """

    dag_id: str
    post_id: str
    social_account_id: str
    provider: str
    state: Literal["published", "failed", "unknown"]
    goes_out: bool

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all other targets."""
        return self.post_id, self.social_account_id


class Emulated(Protocol):
    """An emulator, in this process or in one of its own."""

    @property
    def posts(self) -> list[dict[str, str]]:
        """The prepared posts: `id` and `title`."""

    @property
    def social_accounts(self) -> list[dict[str, str]]:
        """The accounts: `id`, `provider`, `displayName`, `status`."""


class Scenario:
    """The targets of one demo, on the posts and accounts of one emulator."""

    def __init__(self, emulator: Emulated) -> None:
        accounts = emulator.social_accounts
        connected = {each["provider"]: each["id"] for each in accounts if each["status"] == "connected"}
        lapsed = {each["provider"]: each["id"] for each in accounts if each["status"] == "refresh_needed"}
        posts = (post["id"] for post in emulator.posts)
        self._connected = connected

        def target(
            dag_id: str, post_id: str, provider: str, end: Literal["published", "failed", "unknown"] = "published"
        ) -> Target:
            return Target(dag_id, post_id, connected[provider], provider, end, goes_out=end != "failed")

        announced = target(ANNOUNCE, next(posts), "x")
        campaign = [
            target(CAMPAIGN, next(posts), provider) for provider in ("youtube", "tiktok", "threads", "linkedin")
        ]
        self._rejected = target(CAMPAIGN, next(posts), "instagram", "failed")
        everywhere = next(posts)
        # The service shows the submission that was made last: of these, only YouTube can be watched.
        hidden = [
            target(EVERYWHERE, everywhere, provider, "unknown")
            for provider in ("x", "threads", "instagram", "facebook", "tiktok")
        ]
        shown = target(EVERYWHERE, everywhere, "youtube")
        [(provider, account_id)] = lapsed.items()
        unschedulable = Target(EVERYWHERE, everywhere, account_id, provider, "failed", goes_out=False)
        self.targets: Sequence[Target] = [announced, *campaign, self._rejected, *hidden, unschedulable, shown]

    def script(self, control: EmulatorControl) -> None:
        """Tell the emulator how these targets will fare."""
        for provider in ("youtube", "tiktok"):
            control.script("slow", social_account_id=self._connected[provider], seconds=UPLOAD_SECONDS)
        control.script("fail", post_id=self._rejected.post_id, seconds=UPLOAD_SECONDS, **SCRIPTED_ERROR)

    def confs(self, *, everywhere_after: timedelta, campaign_after: timedelta) -> dict[str, dict[str, Any]]:
        """The configuration of each DAG's run, with the times of what is scheduled reckoned from now."""
        now = datetime.now(UTC)
        [announced] = self.of(ANNOUNCE)
        everywhere = self.of(EVERYWHERE)
        return {
            ANNOUNCE: {"post_id": announced.post_id, "social_account_id": announced.social_account_id},
            CAMPAIGN: {
                "scheduled_at": (now + campaign_after).isoformat(timespec="seconds"),
                "targets": [
                    {"post_id": each.post_id, "social_account_id": each.social_account_id} for each in self.of(CAMPAIGN)
                ],
            },
            EVERYWHERE: {
                "post_id": everywhere[0].post_id,
                "social_account_ids": [each.social_account_id for each in everywhere],
                "scheduled_at": (now + everywhere_after).isoformat(timespec="seconds"),
                "platform_settings_by_social_account_id": {
                    self._connected["youtube"]: {"title": "Everywhere at once", "privacyStatus": "public"},
                    self._connected["tiktok"]: {"privacyLevel": "PUBLIC_TO_EVERYONE"},
                },
            },
        }

    def of(self, dag_id: str) -> list[Target]:
        """The targets of a DAG."""
        return [each for each in self.targets if each.dag_id == dag_id]
