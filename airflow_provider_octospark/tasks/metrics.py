"""The counters and timers of the tasks in Airflow's metrics; each has the tag ``platform``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow.providers.common.compat.sdk import Stats

from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters.times import parse_instant
from airflow_provider_octospark.submission.records import Record, Target, target_key
from airflow_provider_octospark.submission.rules import Run

UNKNOWN_PLATFORM = "unknown"
"""The tag's value where the platform is not known, as for an account that schedule-multi refused."""


def count_requests(outcomes: Iterable[Outcome], records: Mapping[Target, Record], run: Run) -> None:
    """Count what the requests of this try came to: ``octospark.accepted``, or ``octospark.failed`` if refused.

    A submission that was adopted is not counted: whether an earlier try counted it is not known.
    """
    for outcome in outcomes:
        record = records.get(_key(outcome))
        if record is None or record.inferred or record.try_number != run.try_number or record.state != "answered":
            continue
        if outcome.scheduled_post_id is not None:
            _count("accepted", outcome)
        if outcome.is_final:
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


def ended_since(outcomes: Iterable[Outcome], records: Mapping[Target, Record]) -> list[Outcome]:
    """Return the outcomes that are final now and not on the record yet, so that none is counted twice."""
    known = {key: record.outcome for key, record in records.items()}
    return [each for each in outcomes if each.is_final and not ((was := known.get(_key(each))) and was.is_final)]


def _count(name: str, outcome: Outcome) -> None:
    Stats.incr(f"octospark.{name}", tags=_tags(outcome))


def _tags(outcome: Outcome) -> dict[str, str]:
    return {"platform": outcome.provider or UNKNOWN_PLATFORM}


def _key(outcome: Outcome) -> Target:
    return target_key(outcome.team_id, outcome.post_id, outcome.social_account_id or "")
