"""The counters and timers of the tasks in Airflow's metrics; each has the tag ``platform``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow.providers.common.compat.sdk import Stats

from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters.times import parse_instant
from airflow_provider_octospark.submission.records import Record, Target, target_key

UNKNOWN_PLATFORM = "unknown"
"""The tag's value where the platform is not known, as for an account that schedule-multi refused."""


def count_requests(before: Mapping[Target, Record], after: Mapping[Target, Record]) -> None:
    """Count what the responses to requests say: ``octospark.accepted``, or an end, as of an account that is refused.

    A submission that was adopted is not counted: whether an earlier try counted it is not known.

    :param before: the records before the requests.
    :param after: the records after them.
    """
    for key, record in after.items():
        known, outcome = before.get(key), record.outcome
        is_known = known is not None and known.state == "answered" and known.request == record.request
        if outcome is None or record.inferred or is_known:
            continue
        if outcome.scheduled_post_id is not None:
            _count("accepted", outcome)
        count_ended([outcome])


def count_ended(outcomes: Iterable[Outcome]) -> None:
    """Count ends: ``octospark.published`` or ``octospark.failed``, and time how late a publication was.

    ``octospark.delay`` is the time from ``scheduled_at`` to the submission's last change (``updated_at``). The service does
    not tell when a post was published; a submission that is read soon after its publication has not changed since.
    """
    for outcome in outcomes:
        if outcome.state not in {"published", "failed"}:
            continue
        _count(outcome.state, outcome)
        due, changed = parse_instant(outcome.scheduled_at), parse_instant(outcome.updated_at)
        if outcome.state == "published" and due is not None and changed is not None and changed >= due:
            Stats.timing("octospark.delay", changed - due, tags=_tags(outcome))


def count_unknown(outcome: Outcome) -> None:
    """Count an unknown outcome: ``octospark.unknown``."""
    _count("unknown", outcome)


def ended_since(outcomes: Iterable[Outcome], before: Iterable[Outcome]) -> list[Outcome]:
    """Return the outcomes that are final and were not final before, so that none is counted twice."""
    final = {_key(outcome) for outcome in before if outcome.is_final}
    return [outcome for outcome in outcomes if outcome.is_final and _key(outcome) not in final]


def _count(name: str, outcome: Outcome) -> None:
    Stats.incr(f"octospark.{name}", tags=_tags(outcome))


def _tags(outcome: Outcome) -> dict[str, str]:
    return {"platform": outcome.provider or UNKNOWN_PLATFORM}


def _key(outcome: Outcome) -> Target:
    return target_key(outcome.team_id, outcome.post_id, outcome.social_account_id or "")
