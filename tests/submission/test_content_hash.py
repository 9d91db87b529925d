"""What was edited after its approval is not sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_octospark.api.content import content_hash
from airflow_provider_octospark.api.models import Post
from airflow_provider_octospark.api.operations import get_post
from airflow_provider_octospark.api.sync_client import OctosparkClient
from airflow_provider_octospark.exceptions import (
    OctosparkAnswerError,
    OctosparkArgumentError,
    OctosparkContentChangedError,
)
from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator, OctosparkScheduleMultiOperator
from airflow_provider_octospark.parameters.arguments import optional_hash
from airflow_provider_octospark.submission.announcements import Announcement
from tests.submission.harness import Bench, Job, Task


def hash_of(bench: Bench, post_id: str) -> str:
    with OctosparkClient(bench.settings) as client:
        return content_hash(client.request(get_post(bench.service.team_id, post_id)).value)


@dataclass(frozen=True)
class Approved(Job):
    """A job of which a hash was approved."""

    approved: str = ""

    def announcement(self, intent: str) -> Announcement:
        return replace(Job.announcement(self, intent), content_hash=self.approved)


def approved(bench: Bench, given: str | None = None) -> Task:
    job = Job.post_now(bench)
    return Task(
        bench, Approved(job.kind, job.team_id, job.post_id, job.accounts, approved=given or hash_of(bench, job.post_id))
    )


def test_what_was_approved_is_sent(bench: Bench) -> None:
    task = approved(bench)
    task.finish()
    bench.settle()
    assert (task.state, task.count()[0].accepted) == ("success", 1)


def test_what_was_edited_is_not_sent(bench: Bench) -> None:
    task = approved(bench, "0" * 64)
    task.finish()
    assert type(task.tries[-1].error) is OctosparkContentChangedError
    assert len(task.tries) == 1
    assert (task.state, task.ends, task.count()[0].accepted) == ("failed", ["failed"], 0)


def test_a_post_without_content_proves_nothing(bench: Bench) -> None:
    with pytest.raises(OctosparkAnswerError, match="neither text nor assets"):
        content_hash(Post.model_validate({"id": "p", "title": "Title", "text": "", "assetIds": []}))
    task = approved(bench)
    bench.fault("get-post", "status", status=200, body={"id": task.job.post_id}, times=9)
    task.run()
    assert type(task.tries[-1].error) is OctosparkAnswerError
    assert task.count()[0].accepted == 0


@pytest.mark.parametrize("changed", [{"text": "Another text"}, {"assetIds": ["another asset"]}, {"text": None}])
def test_the_hash_is_of_text_and_assets(changed: dict[str, object]) -> None:
    post = {"id": "p", "title": "Title", "text": "A text", "assetIds": ["a", "b"], "updatedAt": "2026-03-02T09:00:00Z"}
    before = content_hash(Post.model_validate(post))
    assert content_hash(Post.model_validate({**post, "title": "Another", "updatedAt": None})) == before
    assert content_hash(Post.model_validate({**post, **changed})) != before


@pytest.mark.parametrize("wrong", ["", "None", "abc", 7, ["0" * 64], "g" * 64])
def test_what_is_no_hash_is_refused(wrong: object) -> None:
    with pytest.raises(OctosparkArgumentError, match="content_hash is "):
        optional_hash(wrong, "content_hash")


POST: dict[str, Any] = {
    "post_id": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
    "team_id": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
}
ACCOUNT = "550e8400-e29b-41d4-a716-446655440000"
OPERATORS: list[Callable[..., Any]] = [
    lambda **given: OctosparkPostNowOperator(task_id="publish", social_account_id=ACCOUNT, **POST, **given),
    lambda **given: OctosparkScheduleMultiOperator(
        task_id="schedule", social_account_ids=[ACCOUNT], scheduled_at="2030-05-17T09:00:00Z", **POST, **given
    ),
]


@pytest.mark.parametrize("operator", OPERATORS, ids=["post now", "schedule"])
def test_a_template_that_renders_to_nothing_does_not_switch_the_check_off(operator: Callable[..., Any]) -> None:
    hook = SimpleNamespace(team=lambda given: given)
    [announcement] = operator(content_hash="A" * 64).to_submit(hook)
    assert announcement.content_hash == "a" * 64
    assert operator().to_submit(hook)[0].content_hash is None
    for rendered in (None, "", "None"):
        task = operator(content_hash="{{ given }}")
        task.content_hash = rendered
        with pytest.raises(OctosparkArgumentError, match="content_hash is"):
            task.to_submit(hook)
