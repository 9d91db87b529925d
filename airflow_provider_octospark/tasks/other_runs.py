"""Find the run of a DAG in which the same task made a submission."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_octospark.airflow_compat import other_runs_of, xcoms_of_run
from airflow_provider_octospark.api.text import Log, sanitize
from airflow_provider_octospark.outcomes import same_id
from airflow_provider_octospark.parameters.defaults import RETURN_KEY

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

RUNS_ASKED = 20
"""How many other runs are asked. Each costs one request to Airflow, for a batch some more."""


def run_with_submission(context: Context, submission_id: str, log: Log) -> str | None:
    """Return the id of a run in which the same task reports a submission; None if none of the latest runs does.

    A run reports its submissions in the task's XCom ``return_value``, once the task has ended.

    :param submission_id: the submission's id.
    """
    try:
        for run_id in other_runs_of(context, RUNS_ASKED):
            if any(same_id(found, submission_id) for found in _submissions_of(context, run_id)):
                return run_id
    except Exception as error:  # noqa: BLE001 - whatever Airflow raises, the submission is then nobody's that is known
        log.warning(
            "The XComs of other runs could not be read, so it is not known which run made submission %s (%s: %s).",
            submission_id,
            type(error).__name__,
            sanitize(error),
        )
    return None


def _submissions_of(context: Context, run_id: str) -> Iterator[Any]:
    for value in xcoms_of_run(context, run_id, RETURN_KEY):
        yield from _ids_in(value)
        # A batch returns a manifest, which names the XComs with its outcomes.
        for key in value.get("outcomeKeys", ()) if isinstance(value, Mapping) else ():
            for part in xcoms_of_run(context, run_id, key):
                yield from _ids_in(part)


def _ids_in(value: Any) -> Iterator[Any]:
    for outcome in value if isinstance(value, list) else [value]:
        if isinstance(outcome, Mapping):
            yield outcome.get("scheduled_post_id")
