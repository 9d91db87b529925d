"""The asset events of a task's outlets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AssetAlias

from airflow_provider_octospark.outcomes import Outcome

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

MOST_OUTCOMES = 100
"""Maximum number of outcomes in an asset event. A batch has them in its XComs."""


def event_extra(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the extra of an asset event: the kind of event, the number of outcomes, and the outcomes.

    ``event`` is ``published`` if every target that did not fail is published, ``submitted`` if one is pending, ``dry_run``
    if nothing was sent.
    """
    going = [outcome for outcome in outcomes if outcome.state in {"pending", "published"}]
    if going and all(outcome.state == "published" for outcome in going):
        event = "published"
    else:
        event = "dry_run" if going and all(outcome.reason == "dry_run" for outcome in going) else "submitted"
    return {
        "event": event,
        "totalCount": len(outcomes),
        "outcomes": [outcome.as_json() for outcome in outcomes[:MOST_OUTCOMES]],
    }


def add_to_outlet_events(outlets: Iterable[Any], context: Context, outcomes: Sequence[Outcome]) -> None:
    """Add the outcomes to the events of a task's outlets. Only the process that ends the task can do this.

    The task itself resolves an asset alias, so there is no event to add to.
    """
    values: Any = context
    for outlet in outlets:
        # An asset, or a reference to one by its name or URI.
        if not isinstance(outlet, AssetAlias) and (hasattr(outlet, "uri") or hasattr(outlet, "name")):
            values["outlet_events"][outlet].extra.update(event_extra(outcomes))
