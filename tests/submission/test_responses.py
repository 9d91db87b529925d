"""With ``push_response``, the XComs hold what the service answered in this try."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_octospark.api.excerpt import MOST_RESPONSES
from tests.submission.harness import Bench, Job, Task, kill


def responses(task: Task, number: int = -1) -> dict[str, Any]:
    return {key: each for key, each in task.tries[number].xcoms.items() if key.startswith("response")}


def test_nothing_is_pushed_unless_it_is_asked_for(bench: Bench) -> None:
    task = Task(bench, Job.post_now(bench, wait=True))
    task.finish()
    assert (task.state, responses(task)) == ("success", {})


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("wait", [True, False])
def test_the_response_to_the_request(bench: Bench, wait: bool, deferrable: bool) -> None:
    task = Task(bench, Job.post_now(bench, wait=wait, deferrable=deferrable, push_response=True))
    task.start()
    [accepted] = bench.service.scheduled_posts()
    task.finish()
    [outcome] = task.tries[-1].outcomes
    assert task.state == "success"
    assert responses(task).keys() == {"response"}
    assert responses(task)["response"].keys() == accepted.keys()
    assert responses(task)["response"]["id"] == outcome.scheduled_post_id
    assert responses(task)["response"]["status"] == "publishing", "what the service answered, not what it became"


def test_several_requests_have_an_xcom_each(bench: Bench) -> None:
    one = Task(bench, Job.schedule_multi(bench, push_response=True))
    one.finish()
    assert responses(one).keys() == {"response"}
    assert responses(one)["response"]["outcome"]["totalCount"] == 3
    several = Task(bench, Job.schedule_multi(bench, post=1, accounts_per_call=1, push_response=True), name="several")
    several.finish()
    assert list(responses(several)) == ["response_0", "response_1", "response_2"]
    accounts = [each["data"][0]["socialAccountId"] for each in responses(several).values()]
    assert accounts == list(several.job.accounts)


def test_a_large_batch_says_how_many_are_left_out(bench: Bench) -> None:
    for number in range(MOST_RESPONSES):
        bench.service.add_post(f"Post {number}")
    posts = MOST_RESPONSES + 3
    task = Task(bench, Job.batch(bench, posts=posts, at_once=8, page_size=50, push_response=True))
    task.finish()
    found = list(responses(task).values())
    assert len(found) == MOST_RESPONSES + 1
    assert found[-1] == "[cut: 3 more responses]"


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("wait", [True, False])
def test_a_later_try_has_the_submission_as_it_was_read_last(bench: Bench, wait: bool, deferrable: bool) -> None:
    task = Task(bench, Job.post_now(bench, wait=wait, deferrable=deferrable, push_response=True))
    task.run(
        lambda moment: kill(moment) if moment.name == "after set octospark" and bench.service.submissions() else None
    )
    assert task.tries[0].state == "killed"
    task.finish()
    [shown] = bench.service.scheduled_posts()
    assert len(bench.service.submissions()) == 1
    assert responses(task).keys() == {"response"}
    assert responses(task)["response"]["id"] == shown["id"]
    if wait:
        assert responses(task)["response"] == shown
        assert shown["status"] == "published"


def test_a_later_try_that_reads_no_change_reports_the_details_that_no_record_has(bench: Bench) -> None:
    task = Task(bench, Job.schedule_multi(bench, accounts=1))
    task.finish()
    task.clear(shows=False)
    task.finish()
    [shown] = bench.service.scheduled_posts()
    [outcome] = task.tries[-1].outcomes
    assert (outcome.status, outcome.workflow_id) == ("scheduled", shown["workflowId"])


def test_a_deferral_that_no_triggerer_takes_over_keeps_the_response(bench: Bench) -> None:
    task = Task(bench, Job.schedule_multi(bench, accounts=1, wait=True, push_response=True), retries=0)
    task.start()
    before = responses(task)
    task.resume_without_event("no triggerer took over the wait")
    assert (task.state, responses(task)) == ("failed", before)
    assert before["response"]["data"]


def test_a_request_whose_response_is_lost_has_what_was_read(bench: Bench) -> None:
    bench.fault("post-now", "reset", when="after")
    task = Task(bench, Job.post_now(bench, push_response=True))
    task.finish()
    [shown] = bench.service.scheduled_posts()
    assert responses(task)["response"]["id"] == shown["id"]


def test_a_task_that_submits_nothing_has_none(bench: Bench) -> None:
    bench.fault("get-post", "status", status=404)
    task = Task(bench, Job.post_now(bench, push_response=True))
    task.finish()
    assert task.state == "failed"
    assert responses(task) == {"response": None}


def test_a_response_that_cannot_be_recorded_is_pushed(bench: Bench) -> None:
    task = Task(bench, Job.post_now(bench, push_response=True), retries=0)

    def refuse(moment: Any) -> None:
        if moment.name == "after submission":
            task.table.fail_next("set", 9)

    task.run(refuse)
    assert task.state == "failed"
    assert responses(task)["response"]["id"] == bench.service.scheduled_posts()[0]["id"]
