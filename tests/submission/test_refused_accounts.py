"""An account that must be reconnected: named by its own status, not retried, and sent after a clear."""

from __future__ import annotations

import pytest

from airflow_provider_octospark.exceptions import OctosparkPublishFailedError, OctosparkPublishRetryableError
from tests.submission.harness import Bench, Job, Moment, Task


def reads_of_accounts(bench: Bench) -> int:
    return sum("/social-accounts/" in request["path"] for request in bench.service.requests())


@pytest.mark.parametrize("status", ["refresh_needed", "disconnected", "disabled"])
def test_the_outcome_says_what_to_do(bench: Bench, status: str) -> None:
    account = bench.service.account_id("linkedin")
    bench.service.set_account_status(account, status)  # type: ignore[arg-type]
    task = Task(bench, Job.schedule_multi(bench), retries=3)
    task.finish()
    [refused] = [outcome for outcome in task.tries[-1].outcomes if outcome.state == "failed"]
    assert (refused.provider, refused.error_category) == ("linkedin", "auth")
    assert type(task.tries[-1].error) is OctosparkPublishFailedError
    assert f"status is {status}" in str(task.tries[-1].error)
    assert "Reconnect the account in Octospark, then clear the task." in str(task.tries[-1].error)
    assert len(task.tries) == 1, "no retry can change that"
    assert reads_of_accounts(bench) == 1


def test_it_is_read_once_for_all_posts_of_a_batch(bench: Bench) -> None:
    bench.service.set_account_status(bench.service.account_id("x"), "refresh_needed")
    task = Task(bench, Job.batch(bench, posts=4), retries=1)
    task.finish()
    assert {outcome.error_category for outcome in task.tries[-1].outcomes} == {"auth"}
    assert reads_of_accounts(bench) == 1


def test_a_store_that_fails_then_does_not_end_the_task(bench: Bench) -> None:
    """The refusal is on record; only its reason is not."""
    bench.service.set_account_status(bench.service.account_id("linkedin"), "refresh_needed")
    task = Task(bench, Job.schedule_multi(bench), retries=0)

    def fail(moment: Moment) -> None:
        if moment.name == "before set octospark" and reads_of_accounts(bench):
            raise OSError("no supervisor")

    task.run(fail)
    assert type(task.tries[-1].error) is OctosparkPublishRetryableError


def test_an_account_that_cannot_be_read_changes_nothing(bench: Bench) -> None:
    bench.service.set_account_status(bench.service.account_id("linkedin"), "refresh_needed")
    bench.fault("get-social-account", "status", status=404, times=9)
    task = Task(bench, Job.schedule_multi(bench), retries=1)
    task.run()
    assert type(task.tries[-1].error) is OctosparkPublishRetryableError
    [refused] = [outcome for outcome in task.tries[-1].outcomes if outcome.state == "failed"]
    assert (refused.provider, refused.error_category) == (None, None)


def test_a_batch_names_the_accounts_that_will_refuse_before_it_sends(bench: Bench) -> None:
    bench.service.set_account_status(bench.service.account_id("x"), "refresh_needed")
    task = Task(bench, Job.batch(bench, posts=4), retries=1)
    task.finish()
    [warning] = [line for line in task.tries[0].log if "of this batch" in line]
    assert "The x account 'Northwind Data'" in warning
    assert "will refuse 4 posts" in warning
    assert "Reconnect the account in Octospark." in warning
    paths = [request["path"] for request in bench.service.requests()]
    lists = [number for number, path in enumerate(paths) if path.endswith("/social-accounts")]
    sent = [number for number, path in enumerate(paths) if path.endswith("/schedule-multi")]
    assert len(lists) == 1
    assert len(sent) == 4
    assert lists[0] < min(sent)


def test_a_retry_warns_only_of_what_it_will_send(bench: Bench) -> None:
    task = Task(bench, Job.batch(bench, posts=4), retries=1)
    bench.fault("schedule-multi", "status", status=429, headers={"Retry-After": "3600"}, skip=1, times=3)
    task.run()
    bench.service.set_account_status(bench.service.account_id("x"), "refresh_needed")
    task.retry()
    left = 4 - len(bench.service.submissions())
    assert 0 < left < 4
    [warning] = [line for line in task.tries[-1].log if "of this batch" in line]
    assert f"will refuse {left} posts" in warning


def test_a_batch_does_not_need_the_list_of_accounts(bench: Bench) -> None:
    bench.fault("list-social-accounts", "status", status=404, times=9)
    task = Task(bench, Job.batch(bench, posts=4), retries=1)
    task.finish()
    assert task.tries[-1].error is None
    assert len(bench.service.submissions()) == 4
