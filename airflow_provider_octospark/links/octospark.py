"""The link from a task to the published post."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

from airflow_provider_octospark.parameters.defaults import RETURN_KEY

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, TaskInstanceKey


def published_url_of(value: object) -> str:
    """Return the first URL in an outcome or a list of outcomes, or ''."""
    for outcome in [value] if isinstance(value, Mapping) else value if isinstance(value, list) else []:
        url = outcome.get("url") if isinstance(outcome, Mapping) else None
        if isinstance(url, str):
            return url
    return ""


class OctosparkPublishedPostLink(BaseOperatorLink):
    """Link to the published post on its platform, if its URL follows from the platform's post id.

    Makes no request and reads no connection. Airflow 3 calls it in the task's process and stores the result in XCom.
    Airflow 2 calls it in the webserver, where it reads the task's XCom.
    """

    name = "Published post"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL, or '' if it is not known."""
        if hasattr(operator, "published_url"):
            # This is the operator itself, not the serialized one of Airflow 2's webserver.
            return operator.published_url or ""
        value: Any = XCom.get_value(ti_key=ti_key, key=RETURN_KEY)
        return published_url_of(value)
