"""The results of a try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_provider_octospark.exceptions import OctosparkError
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.records import Record, Target
from airflow_provider_octospark.submission.rules import Rules, Run
from airflow_provider_octospark.submission.steps import Conclusion
from airflow_provider_octospark.submission.transitions import outcome_about


@dataclass(frozen=True)
class Results:
    """The results of a try.

    :param outcomes: one for each target, in the order of the announcements; then one for each target in doubt that is not
        announced any more.
    :param notes: for every target in doubt, what a user should know and do.
    :param error: the first error that kept something from being sent, or None.
    :param resubmission_error: the first error that kept a submission from being repeated whose outcome stands, or None.
    :param is_skip: whether nothing was sent because all of it was too late, and the task is to be skipped for that.
    """

    outcomes: list[Outcome]
    notes: Mapping[Target, str]
    error: OctosparkError | None = None
    resubmission_error: OctosparkError | None = None
    is_skip: bool = False


def results_of(
    announcements: Sequence[Announcement],
    records: Mapping[Target, Record],
    concluded: Mapping[Target, Conclusion],
    rules: Rules,
    run: Run,
) -> Results:
    """Return what a try reports, as far as it is known."""
    outcomes: list[Outcome] = []
    announced: set[Target] = set()
    for announcement in announcements:
        for unsent in announcement.unsent_records():
            announced.add(unsent.key)
            known = records.get(unsent.key, unsent).outcome or outcome_about(unsent, "pending", None)
            outcomes.append(concluded[unsent.key].outcome if unsent.key in concluded else known)
    outcomes += [concluded[key].outcome for key in sorted(concluded.keys() - announced)]
    may_skip = rules.if_late == "skip" or (rules.skip_in_backfill and run.is_backfill)
    errors = [each for each in concluded.values() if each.error is not None]
    return Results(
        outcomes,
        {key: each.note for key, each in concluded.items() if each.note is not None},
        next((each.error for each in errors if not each.refuses_resubmission), None),
        next((each.error for each in errors if each.refuses_resubmission), None),
        is_skip=may_skip and all(outcome.reason == "late" for outcome in outcomes),
    )
