"""What a try receives of the service: the responses to its requests, and the submissions that it has read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from airflow_provider_octospark.api.excerpt import MOST_RESPONSES, excerpts_of
from airflow_provider_octospark.api.models import Post, ScheduledPost
from airflow_provider_octospark.api.operations import Operation
from airflow_provider_octospark.api.responses import Response
from airflow_provider_octospark.api.text import Redaction
from airflow_provider_octospark.outcomes import Outcome, outcome_of
from airflow_provider_octospark.submission.sending import Api


class ReceivingApi:
    """A client that keeps what it receives.

    :param api: the client that sends.

    ``responses`` has the first responses to submissions, in their order, and ``count`` the number of all.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._read: dict[str, ScheduledPost] = {}
        self.responses: list[BaseModel] = []
        self.count = 0

    def request_all(self, operations: Iterable[Operation[Any]]) -> list[Any]:
        """Send safe operations, and keep the submissions that they show."""
        results = self._api.request_all(operations)
        for result in results:
            post = result.value if isinstance(result, Response) else None
            if isinstance(post, Post) and post.latest_scheduled_post is not None:
                self._read[post.latest_scheduled_post.id.lower()] = post.latest_scheduled_post
        return results

    def submit_all(self, operations: Iterable[Operation[Any]], leave_by: datetime) -> list[Any]:
        """Send submissions, and keep the responses that can be read."""
        results = self._api.submit_all(operations, leave_by)
        received = [result.value for result in results if isinstance(result, Response)]
        self.count += len(received)
        self.responses += received[: MOST_RESPONSES - len(self.responses)]
        return results

    def excerpts(self, outcomes: Iterable[Outcome | None], token: str, is_resumed: bool) -> list[Any] | None:
        """Return excerpts of the responses; if there are none, of the submissions of ``outcomes`` as they were read last.

        :param token: the API key, which is removed.
        :param is_resumed: whether the try continues after a deferral; None is then returned if nothing was received, so that
            what the try received before stays.
        """
        if self.count:
            return excerpts_of(self.responses, Redaction(token), self.count)
        read = self.read_of(outcomes)
        return None if is_resumed and not any(read) else excerpts_of(read, Redaction(token))

    def read_of(self, outcomes: Iterable[Outcome | None]) -> list[ScheduledPost | None]:
        """Return the submission of each outcome as it was read last, or None if it was not."""
        ids = [None if outcome is None else outcome.scheduled_post_id for outcome in outcomes]
        return [None if each is None else self._read.get(each.lower()) for each in ids]

    def with_details(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Return outcomes with the details that were read and that no record keeps."""
        return [
            outcome if read is None else outcome.with_details_of(outcome_of(read, outcome.team_id, outcome.post_id))
            for outcome, read in zip(outcomes, self.read_of(outcomes), strict=True)
        ]
