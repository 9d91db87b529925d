"""What may become of a publication while somebody waits for it, and what each of it must be called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from airflow_provider_octospark.api.models import ScheduleMultiRequest
from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.exceptions import (
    OctosparkCancelledError,
    OctosparkError,
    OctosparkPublishFailedError,
    OctosparkUnknownError,
)
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.parameters.times import format_instant

QUICK = 0.05
"""Seconds that publishing takes here."""


@dataclass(frozen=True)
class Submitted:
    """A submission that will not begin to live until `begin` says so."""

    emulator: Emulator
    post_id: str
    account_id: str
    provider: str
    scheduled_post_id: str

    def publication(self) -> dict[str, Any]:
        """Its outcome as an operator would have returned it."""
        return {
            "team_id": self.emulator.team_id,
            "post_id": self.post_id,
            "social_account_id": self.account_id,
            "scheduled_post_id": self.scheduled_post_id,
            "state": "pending",
        }

    def begin(self) -> None:
        """Let its time come."""
        self.emulator.user_action("reschedule", self.post_id, scheduled_at=self.emulator.now())


@dataclass(frozen=True)
class Scenario:
    """One thing that may happen.

    :param outcome_state: the outcome's state, with ``reason`` and ``category``.
    :param happens: what happens as soon as somebody waits for the submission.
    :param scripted: the scenario, set before.
    :param faults: what goes wrong when the post is read.
    :param sensor: further arguments of the sensor.
    :param skipped: whether the task of a sensor that waits for it alone is skipped.
    :param alone: whether it is worth a task of its own; others are waited for in lists only.
    """

    name: str
    outcome_state: Literal["published", "failed", "unknown"]
    reason: str | None = None
    category: str | None = None
    happens: Callable[[Submitted], object] = Submitted.begin
    provider: Any = "x"
    scripted: dict[str, Any] = field(default_factory=lambda: {"scenario": "slow", "seconds": QUICK})
    faults: tuple[dict[str, Any], ...] = ()
    sensor: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False
    alone: bool = True

    @property
    def state(self) -> str:
        """How a task ends that waits for this alone."""
        return "skipped" if self.skipped else "success" if self.outcome_state == "published" else "failed"

    @property
    def error(self) -> type[OctosparkError]:
        """What such a task raises if it fails."""
        if self.outcome_state == "unknown":
            return OctosparkUnknownError
        return OctosparkCancelledError if self.reason == "cancelled" else OctosparkPublishFailedError

    def submit(self, emulator: Emulator, hook: OctosparkHook) -> Submitted:
        """Make a post for it, and put it on the schedule of an hour from now."""
        post_id, account_id = emulator.add_post(self.name), emulator.account_id(self.provider)
        request = ScheduleMultiRequest(
            social_account_ids=[account_id], scheduled_at=format_instant(emulator.now() + timedelta(hours=1))
        )
        [row] = hook.schedule_multi(emulator.team_id, post_id, request).data
        assert row.scheduled_post is not None
        emulator.script(post_id=post_id, **self.scripted)
        for fault in self.faults:
            emulator.fault("get-post", post_id=post_id, **fault)
        return Submitted(emulator, post_id, account_id, self.provider, row.scheduled_post.id)


def _fails(category: str) -> dict[str, Any]:
    return {"scenario": "fail", "seconds": QUICK, "error_category": category, "error_code": f"E_{category.upper()}"}


def _hidden_by(provider: Any) -> Callable[[Submitted], object]:
    def happens(submitted: Submitted) -> None:
        submitted.begin()
        account_id = submitted.emulator.account_id(provider)
        submitted.emulator.user_action("post_now", submitted.post_id, social_account_id=account_id)

    return happens


PUBLISHED = Scenario("published at once", "published")
REJECTED = Scenario("failed for good: validation", "failed", category="validation", scripted=_fails("validation"))
SHORT = {"publish_timeout": 1.0}
STUCK = Scenario("stuck", "unknown", "deadline", scripted={"scenario": "stuck"}, sensor=SHORT)
HIDDEN = Scenario("hidden by another account's", "unknown", "not_observable", happens=_hidden_by("linkedin"))

SCENARIOS = (
    PUBLISHED,
    Scenario(
        "published after an upload", "published", provider="youtube", scripted={"scenario": "slow", "seconds": 0.5}
    ),
    Scenario(
        "failed for now: rate limited", "failed", category="rate_limited", scripted=_fails("rate_limited"), alone=False
    ),
    Scenario("failed for now: transient", "failed", category="transient", scripted=_fails("transient")),
    Scenario("failed for good: auth", "failed", category="auth", scripted=_fails("auth"), alone=False),
    REJECTED,
    Scenario("failed for good: permanent", "failed", category="permanent", scripted=_fails("permanent"), alone=False),
    Scenario(
        "cancelled by the service",
        "failed",
        "cancelled",
        scripted={"scenario": "cancel", "seconds": QUICK},
        alone=False,
    ),
    Scenario(
        "cancelled by a user", "failed", "cancelled", happens=lambda it: it.emulator.user_action("cancel", it.post_id)
    ),
    Scenario(
        "moved to draft", "failed", "cancelled", happens=lambda it: it.emulator.user_action("move_to_draft", it.post_id)
    ),
    Scenario("superseded", "unknown", "superseded", happens=_hidden_by("x")),
    HIDDEN,
    Scenario(
        "failed, but live", "unknown", "in_doubt", "transient", scripted={"scenario": "fail_but_live", "seconds": QUICK}
    ),
    Scenario(
        "failed, but live in the platform's state",
        "unknown",
        "in_doubt",
        "transient",
        scripted={"scenario": "fail_but_live", "seconds": QUICK, "shown_in": "state"},
        alone=False,
    ),
    Scenario("deleted", "unknown", "not_observable", faults=({"fault": "status", "status": 404, "times": 10_000},)),
    Scenario("key revoked", "unknown", "access_lost", faults=({"fault": "status", "status": 401, "times": 10_000},)),
    Scenario(
        "service down for a while",
        "published",
        faults=({"fault": "status", "status": 500}, {"fault": "reset"}, {"fault": "truncate"}),
    ),
)

FOR_ONE = (
    STUCK,
    Scenario(
        "soft fail of a proven failure", "failed", category="validation", scripted=_fails("validation"),
        sensor={"soft_fail": True}, skipped=True,
    ),
    Scenario(
        "never fail of a proven failure", "failed", category="validation", scripted=_fails("validation"),
        sensor={"never_fail": True}, skipped=True,
    ),
    Scenario("soft fail of an unknown", "unknown", "deadline", scripted={"scenario": "stuck"}, sensor={**SHORT, "soft_fail": True}),
    Scenario(
        "never fail of an unknown", "unknown", "deadline", scripted={"scenario": "stuck"},
        sensor={**SHORT, "never_fail": True, "silent_fail": True},
    ),
)  # fmt: skip
