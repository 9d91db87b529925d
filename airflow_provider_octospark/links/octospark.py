"""The link from a task to the published post."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

from airflow_provider_octospark.parameters.defaults import RETURN_KEY

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, TaskInstanceKey


def published_url_of(value: object) -> str:
    """Return the first address in an outcome or a list of outcomes, or '' where there is none."""
    for outcome in [value] if isinstance(value, Mapping) else value if isinstance(value, list) else []:
        url = outcome.get("url") if isinstance(outcome, Mapping) else None
        if isinstance(url, str):
            return url
    return ""


class OctosparkPublishedPostLink(BaseOperatorLink):
    """Opens the published post on its platform, where the platform's id of the post is enough to know its address.

    Makes no request and reads no connection. Airflow 3 asks in the task's own process, whenever that ends, and keeps
    the response in XCom; Airflow 2 asks in the webserver, where the task's XCom is read.
    """

    name = "Published post"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, or '' where it is not known."""
        if hasattr(operator, "published_url"):
            # The operator itself, not what Airflow 2's webserver makes of the serialized DAG.
            return operator.published_url or ""
        value: Any = XCom.get_value(ti_key=ti_key, key=RETURN_KEY)
        return published_url_of(value)
