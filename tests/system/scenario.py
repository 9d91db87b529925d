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
LOST = "demo_lost_response"
KILLED = "demo_killed_task"
# A DAG that reports fails if one of its targets did, or is unknown.
RUN_STATES = {ANNOUNCE: "success", LOST: "success", KILLED: "success", CAMPAIGN: "failed", EVERYWHERE: "failed"}
EXAMPLES = (ANNOUNCE, CAMPAIGN, EVERYWHERE)

TITLES = {
    ANNOUNCE: "post now",
    LOST: "lost response",
    KILLED: "killed task",
    CAMPAIGN: "campaign",
    EVERYWHERE: "two accounts",
}
"""What the demo calls each run."""

REASONS = {
    ANNOUNCE: "publishes a post at once, waits until it is out, and uses its link",
    LOST: "the connection breaks after Octospark has accepted the post, before it answers",
    KILLED: "SIGKILL ends the task's process in the middle of its request",
    CAMPAIGN: "schedules five posts, waits for each, reports; one account has to be reconnected",
    EVERYWHERE: "one post on two accounts: Octospark shows the state of the latest submission only",
}
"""Why each run is part of the demo."""

# An upload takes a platform half a minute and more; here it is only to be seen that it is waited for.
UPLOAD_SECONDS = 8.0
# Longer than it takes to find the process and to kill it; shorter than the time that a request has.
HELD_SECONDS = 25.0

SCRIPTED_ERROR = {
    "errorCategory": "validation",
    "errorCode": "ASPECT_RATIO",
    "errorMessage": "The video is neither square nor upright",
}

End = Literal["published", "failed", "unknown"]


@dataclass(frozen=True)
class Target:
    """A post on an account, and its end as the scenario scripts it.

    :param state: what Airflow must find out.
    :param goes_out: whether the emulator truly publishes it; an unknown one may well be out.
    """

    dag_id: str
    post_id: str
    social_account_id: str
    provider: str
    state: End
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
        [refused] = [each for each in accounts if each["status"] == "refresh_needed"]
        posts = (post["id"] for post in emulator.posts)

        def target(dag_id: str, post_id: str, provider: str, end: End = "published") -> Target:
            return Target(dag_id, post_id, connected[provider], provider, end, goes_out=end != "failed")

        campaign = [target(CAMPAIGN, next(posts), provider) for provider in ("youtube", "tiktok", "threads")]
        self._rejected = target(CAMPAIGN, next(posts), "instagram", "failed")
        unconnected = Target(CAMPAIGN, next(posts), refused["id"], refused["provider"], "failed", goes_out=False)
        everywhere = next(posts)
        self._lost = target(LOST, next(posts), "threads")
        self._killed = target(KILLED, next(posts), "linkedin")
        self._connected = connected
        self.targets: Sequence[Target] = [
            target(ANNOUNCE, next(posts), "x"),
            self._lost,
            self._killed,
            *campaign,
            self._rejected,
            unconnected,
            # The service shows the submission that was made last: of these, only Facebook can be watched.
            target(EVERYWHERE, everywhere, "x", "unknown"),
            target(EVERYWHERE, everywhere, "facebook"),
        ]

    def script(self, control: EmulatorControl) -> None:
        """Tell the emulator how these targets will fare."""
        for provider in ("youtube", "tiktok"):
            control.script("slow", social_account_id=self._connected[provider], seconds=UPLOAD_SECONDS)
        control.script("fail", post_id=self._rejected.post_id, seconds=UPLOAD_SECONDS, **SCRIPTED_ERROR)

    def interrupt(self, control: EmulatorControl) -> None:
        """Let the responses to two requests get lost after both were accepted: one at once, one by waiting."""
        after = {"operation": "post-now", "when": "after"}
        control.fault({**after, "fault": "reset", "post_id": self._lost.post_id})
        control.fault({**after, "fault": "delay", "post_id": self._killed.post_id, "seconds": HELD_SECONDS})

    def confs(self, *, everywhere_after: timedelta, campaign_after: timedelta) -> dict[str, dict[str, Any]]:
        """The configuration of each DAG's run, with the times of what is scheduled reckoned from now."""
        now = datetime.now(UTC)
        everywhere = self.of(EVERYWHERE)
        one_target = {
            each.dag_id: {"post_id": each.post_id, "social_account_id": each.social_account_id}
            for dag_id in (ANNOUNCE, LOST, KILLED)
            for each in self.of(dag_id)
        }
        return one_target | {
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
            },
        }

    def of(self, dag_id: str) -> list[Target]:
        """The targets of a DAG."""
        return [each for each in self.targets if each.dag_id == dag_id]
