"""The record of one target, and the page of a task instance's records."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from airflow_provider_octospark.outcomes import Outcome, same_id
from airflow_provider_octospark.parameters.times import parse_instant

FORMAT = 1
"""The version of the stored form."""

Target = tuple[str, str, str]
"""Team, post and account of a target, as :func:`target_key` gives them."""


class _Entry(BaseModel):
    # Strict, so that a page of another version is not misread.
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class Baseline(_Entry):
    """What the post showed directly before a request.

    :param scheduled_post_id: id of its latest submission, or None if it had none.
    :param updated_at: that submission's ``updatedAt``, as the text that came.
    :param service_time: the service's clock (header ``Date``), ISO 8601, or None if it is not known.
    """

    scheduled_post_id: str | None
    updated_at: str | None
    service_time: str | None


class RefusedRequest(_Entry):
    """The marks of a request that the service refused with a status 4xx; fields as in :class:`Record`.

    By public reports, a service may refuse a request after it has passed it on. A submission with these marks may come
    from the request.
    """

    request: str
    fenced_at: str
    baseline: Baseline | None
    scheduled_at: str | None
    status: int


class Record(_Entry):
    """What is known of one target.

    ``unsent``: nothing is out, and a request may be sent. ``in_doubt``: a request may have left; no response is known.
    ``answered``: the service answered; ``outcome`` says what.

    All other fields describe the latest request. They remain if the request was not accepted and the state is ``unsent``
    again, so that a late submission is recognised.

    :param request: names the request; a user's decision refers to it.
    :param try_number: the task's try that made it.
    :param max_tries: the task instance's ``max_tries`` at that time; a clear raises it.
    :param fenced_at: our clock directly before the request was allowed to leave, ISO 8601.
    :param baseline: what the post showed before it; None if the record was lost, and ``run_began_at`` is used instead.
    :param run_began_at: our clock at the run's begin, ISO 8601, where there is no baseline.
    :param scheduled_at: the time that was sent with it, ISO 8601, or None for a post now.
    :param inferred: whether ``outcome`` is not the service's response, but a submission that was adopted, or that a user
        confirmed. It is never recorded as failed, because that proves nothing about the request.
    :param earlier: earlier submissions of the target by this task instance, as they were when they freed the target.
    :param foreign: ids of submissions that a user called somebody else's; they do not keep the target from being sent.
    :param sends: the number of requests in ``try_number`` that got no response.
    :param refused: the earliest request that was refused since the target was last accepted, or None.
    :param other_submission: a submission of the target that this task instance did not make and that was created after the
        run began. Once it was seen the target is not sent, also when a later read no longer shows it.
    """

    team_id: str
    post_id: str
    social_account_id: str
    state: Literal["unsent", "in_doubt", "answered"] = "unsent"
    request: str | None = None
    try_number: int | None = None
    max_tries: int | None = None
    fenced_at: str | None = None
    baseline: Baseline | None = None
    run_began_at: str | None = None
    scheduled_at: str | None = None
    outcome: Outcome | None = None
    inferred: bool = False
    earlier: list[Outcome] = []
    foreign: list[str] = []
    sends: int = 0
    refused: RefusedRequest | None = None
    other_submission: Outcome | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Record:
        if self.state != "unsent" and not (self.request and parse_instant(self.fenced_at)):
            raise ValueError(f"a record in state {self.state!r} without attempt or fence")
        if self.state == "in_doubt" and self.baseline is None and not parse_instant(self.run_began_at):
            raise ValueError("a record in state 'in_doubt' with nothing to compare with")
        if self.state == "answered" and self.outcome is None:
            raise ValueError("a record in state 'answered' without an outcome")
        return self

    @property
    def key(self) -> Target:
        """Names the target; UUIDs may come in either case."""
        return target_key(self.team_id, self.post_id, self.social_account_id)

    @property
    def fence(self) -> datetime:
        """When the request was allowed to leave, by our clock; only for ``in_doubt`` and ``answered``."""
        instant = parse_instant(self.fenced_at)
        assert instant is not None  # noqa: S101 - _is_whole has made sure
        return instant

    @property
    def known_outcome(self) -> Outcome:
        """The service's response; only for ``answered``."""
        assert self.outcome is not None  # noqa: S101 - _is_whole has made sure
        return self.outcome

    @property
    def is_over_refused(self) -> bool:
        """Whether the request in doubt is one that the service refused."""
        return self.state == "in_doubt" and self.refused is not None and self.refused.request == self.request

    @property
    def refused_status(self) -> int | None:
        """The HTTP status with which the service refused a request, if it refused one."""
        return None if self.refused is None else self.refused.status

    def is_foreign(self, scheduled_post_id: str) -> bool:
        """Whether a user called a submission somebody else's."""
        return any(same_id(each, scheduled_post_id) for each in self.foreign)

    def submissions(self) -> list[Outcome]:
        """Return this task instance's submissions of the target: ``earlier``, and ``outcome`` as the latest."""
        return self.earlier if self.outcome is None else [*self.earlier, self.outcome]


class Page(_Entry):
    """One page of the record.

    :param pages: on the first page, how many there are, so that it is noticed if one gets lost.
    :param incomplete: on the first page, whether an earlier record was lost. What is not on the record may then have been
        submitted all the same, also when a later try asks for it again.
    """

    format: int
    records: list[Record]
    pages: int = 1
    incomplete: bool = False

    @field_validator("format")
    @classmethod
    def _is_ours(cls, given: int) -> int:
        if given != FORMAT:
            raise ValueError(f"another version of this provider wrote it: format {given}, not {FORMAT}")
        return given


def target_key(team_id: str, post_id: str, social_account_id: str) -> Target:
    """Return the key of a target."""
    return team_id.lower(), post_id.lower(), social_account_id.lower()
