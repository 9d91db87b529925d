"""The outcome of a target, and the classifier of a submission's status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_octospark.api.models import ScheduledPost
from airflow_provider_octospark.api.text import sanitize, without_stop
from airflow_provider_octospark.platform_urls import published_url
from airflow_provider_octospark.publish_problems import problem_of

State = Literal["pending", "published", "failed", "unknown"]
Reason = Literal[
    "cancelled",
    "dry_run",
    "late",
    "not_sent",
    "in_doubt",
    "superseded",
    "recurred",
    "not_observable",
    "deadline",
    "access_lost",
]


DETAILS = ("created_at", "updated_at", "workflow_id", "timezone", "provider_status", "upload_progress")
"""The fields of an outcome that only inform a user. Nothing is decided by them, so :meth:`Outcome.as_stored` omits them, and
:func:`same_stored` does not compare them."""


class Outcome(BaseModel):
    """The outcome of one target, in the shape of XComs and events. Records and trigger arguments omit the last six fields.

    ``state`` is ``pending`` (accepted, not published yet), ``published``, ``failed`` or ``unknown``; ``reason`` gives
    details, or is None. ``cancellable`` is true for a pending submission that the task instance which returns the outcome
    has made, and that is the only one of its post as far as it knows. The other fields are from the service's last
    response, or None. For a target that was not sent or is in doubt, ``error_message`` says why, and ``error_category``
    whether the reason is transient. For a published target, ``error_message`` says what went wrong beside the post, such as a
    first comment.

    The last six fields are for a user, such as for a ticket to the vendor. They are None if this try, or the trigger of its
    wait, has not read the submission.

    :param team_id: id of the team, a UUID.
    :param post_id: id of the post, a UUID.
    :param social_account_id: id of the account, a UUID; None while a wait without an account has not seen a submission.
    :param scheduled_post_id: id of the submission, a UUID; None if none is known.
    :param provider: the platform.
    :param status: the service's status of the submission.
    :param state: ``pending``, ``published``, ``failed`` or ``unknown``.
    :param reason: why the state is so, where the status does not say it; or None.
    :param scheduled_at: when it is due, ISO 8601.
    :param platform_post_id: the platform's id of the post, once it is out.
    :param url: the public address of the post, where it follows from the platform's id.
    :param error_code: the code of a failure.
    :param error_category: ``rate_limited``, ``transient``, ``auth``, ``validation``, ``permanent``, or one that is new.
    :param error_message: a failure or a problem in words.
    :param cancellable: whether ``cancel_on_kill`` may take it off the schedule.
    :param created_at: when the service accepted it, ISO 8601.
    :param updated_at: when the service changed it last, ISO 8601.
    :param workflow_id: id of the service's own workflow that publishes it. The vendor's support asks for it.
    :param timezone: IANA name of the zone in which a user of Octospark sees the time.
    :param provider_status: the status in the platform's own words.
    :param upload_progress: the part of an upload to the platform that is done, a fraction from 0.0 to 1.0.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    team_id: str
    post_id: str
    social_account_id: str | None
    scheduled_post_id: str | None = None
    provider: str | None = None
    status: str | None = None
    state: State
    reason: Reason | None = None
    scheduled_at: str | None = None
    platform_post_id: str | None = None
    url: str | None = None
    error_code: str | None = None
    error_category: str | None = None
    error_message: str | None = None
    cancellable: bool = False
    # Excluded from dumps, so that no record or trigger argument grows by them.
    created_at: str | None = Field(default=None, exclude=True)
    updated_at: str | None = Field(default=None, exclude=True)
    workflow_id: str | None = Field(default=None, exclude=True)
    timezone: str | None = Field(default=None, exclude=True)
    provider_status: str | None = Field(default=None, exclude=True)
    upload_progress: float | None = Field(default=None, exclude=True, allow_inf_nan=False)

    def as_json(self) -> dict[str, Any]:
        """Return the flat JSON object that goes into XComs and events."""
        return self.as_stored() | {name: getattr(self, name) for name in DETAILS}

    def as_stored(self) -> dict[str, Any]:
        """Return it without :data:`DETAILS`, as it goes into trigger arguments and the task state store."""
        return self.model_dump(mode="json")

    def with_details_of(self, other: Outcome) -> Outcome:
        """Return it with the :data:`DETAILS` of ``other``, an outcome of the same submission, unless it has its own."""
        if any(getattr(self, name) is not None for name in DETAILS):
            return self
        return self.model_copy(update={name: getattr(other, name) for name in DETAILS})

    @property
    def was_scheduled(self) -> bool:
        """Whether the service accepted it, or nothing is sent yet."""
        return self.scheduled_post_id is not None or self.state == "pending"

    @property
    def is_final(self) -> bool:
        """Whether waiting longer cannot change it."""
        return self.state != "pending" or self.reason == "dry_run"


def classify(scheduled: ScheduledPost) -> tuple[State, Reason | None]:
    """Return the state of a submission, and the reason. Only this function and its two neighbours read ``status``.

    The documented final statuses are ``published``, ``failed``, ``cancelled``, and ``draft`` (a user took it off the
    schedule). Every other status is pending. A failure with a platform's post id contradicts itself, so it is unknown
    whether the post is live.
    """
    match scheduled.status:
        case "published":
            return "published", None
        case "failed":
            return ("unknown", "in_doubt") if scheduled.any_platform_post_id else ("failed", None)
        case "cancelled" | "draft":
            return "failed", "cancelled"
        case _:
            return "pending", None


def can_be_taken_back(scheduled: ScheduledPost) -> bool:
    """Whether publishing has not started."""
    return scheduled.status == "scheduled"


def is_under_way(outcome: Outcome) -> bool:
    """Whether the service is publishing it."""
    return outcome.status == "publishing"


def outcome_of(scheduled: ScheduledPost, team_id: str, post_id: str) -> Outcome:
    """Return the outcome of a submission, with all texts sanitized.

    :param team_id: the requested team, which is used instead of the response's.
    :param post_id: the requested post, likewise.
    """
    state, reason = classify(scheduled)
    platform_post_id = _text(scheduled.any_platform_post_id)
    provider = _text(scheduled.provider)
    publish_state = scheduled.provider_publish_state
    progress = publish_state.upload_progress
    return Outcome(
        team_id=team_id,
        post_id=post_id,
        social_account_id=scheduled.social_account_id,
        scheduled_post_id=scheduled.id,
        provider=provider,
        status=_text(scheduled.status),
        state=state,
        reason=reason,
        scheduled_at=_text(scheduled.scheduled_at),
        platform_post_id=platform_post_id,
        url=published_url(provider, platform_post_id) if state == "published" else None,
        error_code=_text(scheduled.error_code or publish_state.failure_code),
        error_category=_text(scheduled.error_category),
        error_message=problem_of(scheduled) if state == "published" else _text(scheduled.error_message),
        created_at=_text(scheduled.created_at),
        updated_at=_text(scheduled.updated_at),
        workflow_id=_text(scheduled.workflow_id),
        timezone=_text(scheduled.timezone),
        provider_status=_text(publish_state.provider_status),
        upload_progress=progress.fraction if progress else None,
    )


def counts_of(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Return the counts of outcomes by the names of the service's answer, and ``unknownCount``.

    An unknown outcome is no failure: a reader that publishes again what has failed would publish it twice.
    """
    unknown = sum(outcome.state == "unknown" for outcome in outcomes)
    failed = sum(outcome.state == "failed" for outcome in outcomes)
    return {
        "totalCount": len(outcomes),
        "successCount": len(outcomes) - unknown - failed,
        "failureCount": failed,
        "unknownCount": unknown,
    }


def same_stored(one: Outcome | None, other: Outcome | None) -> bool:
    """Whether two outcomes are the same, whatever their :data:`DETAILS` are."""
    return one is other or (one is not None and other is not None and one.as_stored() == other.as_stored())


def same_id(one: str | None, other: str | None) -> bool:
    """Whether two ids are the same; UUIDs may come in either case."""
    return one is not None and other is not None and one.lower() == other.lower()


def describe_submission(scheduled: ScheduledPost) -> str:
    """Return a description of a publication's progress, for a log; the upload in steps of ten percent."""
    state = scheduled.provider_publish_state
    parts = [sanitize(scheduled.status, 40)]
    if state.provider_status:
        parts.append(sanitize(state.provider_status, 60))
    if state.polling_reason:
        parts.append(sanitize(state.polling_reason, 120))
    fraction = state.upload_progress.fraction if state.upload_progress else None
    if fraction is not None:
        parts.append(f"upload {int(fraction * 10) * 10} %")
    if state.failure_code:
        parts.append(f"failure code {sanitize(state.failure_code, 60)}")
    return ", ".join(parts)


def describe(outcome: Outcome) -> str:
    """Return an outcome as one line for a user."""
    words = [f"Post {outcome.post_id}"]
    if outcome.provider:
        words.append(f"on {outcome.provider}")
    if outcome.social_account_id:
        words.append(f"account {outcome.social_account_id}")
    ids = [f"team {outcome.team_id}"]
    if outcome.scheduled_post_id:
        ids.append(f"submission {outcome.scheduled_post_id}")
    said = f"{' '.join(words)} ({', '.join(ids)}): {outcome.state}"
    details = [outcome.reason, outcome.error_category, outcome.error_code, outcome.error_message]
    told = "; ".join(without_stop(detail) for detail in details if detail)
    if outcome.state == "unknown" and outcome.platform_post_id:
        told += f"; it may be live as {outcome.platform_post_id}"
    return f"{said} ({told})" if told else said


def _text(value: str | None) -> str | None:
    return sanitize(value) if value is not None else None
