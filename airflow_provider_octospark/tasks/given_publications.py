"""What a user gives as ``publication``: outcomes, lists of them, and the manifests of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from airflow_provider_octospark.airflow_compat import read_xcom
from airflow_provider_octospark.api.text import shown
from airflow_provider_octospark.exceptions import OctosparkArgumentError
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.parameters import arguments
from airflow_provider_octospark.submission.batch import ManifestParts, is_manifest


def entries_of(publication: object) -> list[object]:
    """Return the outcomes and manifests of ``publication``, in order; none if it is absent.

    :raises OctosparkArgumentError: if it is nested too deeply.
    """
    if arguments.is_absent(publication):
        return []
    try:
        return list(_flattened(arguments.structure(publication)))
    except RecursionError:
        raise OctosparkArgumentError("publication is a list that is nested too deeply.") from None


def outcomes_of_entries(entries: Iterable[object]) -> list[Outcome]:
    """Return the outcomes, also those in the XComs that manifests name.

    :raises OctosparkArgumentError: if an entry is unusable, or an XCom does not exist.
    """
    return [_outcome(each) for entry in entries for each in _expanded(entry)]


def _expanded(entry: object) -> Iterable[object]:
    """Return the outcomes that a manifest names, or anything else alone.

    :raises OctosparkArgumentError: if one of the XComs does not exist.
    """
    if not isinstance(entry, Mapping) or not is_manifest(entry):
        return (entry,)
    found: list[object] = []
    named = ManifestParts.read(entry)
    for key in named.keys:
        part = read_xcom(named, key)
        if not isinstance(part, list):
            raise OctosparkArgumentError(
                f"publication names XCom {key} of task {named.task_id} (run {named.run_id}, DAG {named.dag_id}, map index "
                f"{named.map_index}), which has no such XCom. Clear this task once that one has ended."
            )
        found.extend(part)
    return found


def _outcome(entry: object) -> Outcome:
    try:
        outcome = Outcome.model_validate(entry)
    except ValueError:
        outcome = None
    if outcome is None:
        raise OctosparkArgumentError(
            f"publication holds {shown(entry, 120)}, which is no outcome. Give what OctosparkPostNowOperator or "
            "OctosparkScheduleMultiOperator or OctosparkScheduleBatchOperator returned, for example "
            "publication=schedule.output."
        )
    arguments.required_id(outcome.team_id, "publication.team_id")
    arguments.required_id(outcome.post_id, "publication.post_id")
    return outcome


def _flattened(value: object) -> Iterator[object]:
    """Yield each outcome; a mapped task returns a list of lists."""
    if isinstance(value, Mapping) or not isinstance(value, Iterable) or isinstance(value, str):
        yield value
        return
    for entry in value:
        yield from _flattened(entry)
