"""What was edited after its approval is not sent."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator
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


def test_a_template_that_renders_to_nothing_does_not_switch_the_check_off() -> None:
    operator = OctosparkPostNowOperator(
        task_id="publish", post_id="{{ p }}", social_account_id="{{ a }}", content_hash="{{ h }}"
    )
    operator.content_hash = None
    with pytest.raises(OctosparkArgumentError, match="content_hash is empty"):
        operator.require_content_hash()
