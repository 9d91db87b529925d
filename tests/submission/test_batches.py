"""Many posts in one task: killed at every point, with a list that changes, pages that get lost, and a service in trouble.

A batch of four posts that leave two at a time, each pair on a page of its own, is killed at every point (complete), and
killed again at every sixth point of what the next try does, at other ones each time (sampled).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_octospark.exceptions import (
    OctosparkAuthError,
    OctosparkError,
    OctosparkRateLimitError,
    OctosparkUnknownError,
)
from airflow_provider_octospark.submission.announcements import Announcement
from airflow_provider_octospark.submission.concurrency import ConcurrencyLimit
from airflow_provider_octospark.submission.journal import PAGE_KEY, Journal, MemoryStore, page_key
from airflow_provider_octospark.submission.records import Record
from airflow_provider_octospark.submission.rules import Rules
from tests.sampling import IS_COMPLETE
from tests.submission.harness import Bench, Job, Moment, Task, kill


def check(task: Task, story: str) -> None:
    """Every target is out once, and known to be."""
    task.bench.settle()
    counts = task.count()
    assert [count.accepted for count in counts] == [1] * len(counts), f"{story}: {task.tries[-1].log}"
    assert [count.on_target for count in counts] == [1] * len(counts), story
    assert task.state == "success", f"{story}: {task.tries[-1].error}"
    assert set(task.ends) <= {"pending", "published"}, story


def test_two_kills_in_a_row(bench: Bench) -> None:
    def begin(first: int) -> Task:
        bench.reset()
        task = Task(bench, Job.batch(bench))
        task.run({first: kill})
        return task

    untouched = begin(-1)
    check(untouched, "no kill")
    names = untouched.tries[-1].points.names
    # Two waves, each with a fence and a response; before the second one, the first page tells that there is another.
    assert names.count("before submission") == 2
    assert names.count("before set octospark") == 1 + 2 + 1
    assert names.count("before set octospark.1") == 2
    for first in range(len(names)):
        task = begin(first)
        killed_at = task.tries[0].points.names[-1]
        task.finish()
        check(task, f"killed at {first} ({killed_at})")
        step = 6 if IS_COMPLETE else 24
        for second in range(first % step, len(task.tries[-1].points.names), step):
            twice = begin(first)
            twice.retry({second: kill})
            twice.finish()
            check(twice, f"killed at {first} ({killed_at}) and at {second}")


@pytest.mark.parametrize("gone", [PAGE_KEY, page_key(1)])
def test_a_page_that_gets_lost_is_not_an_empty_one(bench: Bench, gone: str) -> None:
    task = Task(bench, Job.batch(bench))
    task.run({len_before(bench, "after submission", 2): kill})
    task.table.lose(gone)
    task.finish()
    check(task, f"{gone} is lost")


def len_before(bench: Bench, name: str, times: int) -> int:
    """The number of the point at which something is done for the so-manieth time."""
    bench.reset()
    task = Task(bench, Job.batch(bench))
    task.run()
    names = task.tries[-1].points.names
    bench.reset()
    return [index for index, each in enumerate(names) if each == name][times - 1]


def test_a_page_that_cannot_be_read_keeps_all_that_may_be_on_it_from_being_sent(bench: Bench) -> None:
    task = Task(bench, Job.batch(bench, posts=6))
    task.run({len_before(bench, "before submission", 2) + 1: kill})
    task.table.write(page_key(1), {"format": 99, "records": []})
    task.retry()
    assert task.ends == ["pending", "pending", "unknown", "unknown", "unknown", "unknown"]
    assert isinstance(task.tries[-1].error, OctosparkUnknownError)
    # Each is decided by itself, although all are of the same account.
    keys = {note.split("octospark.decision.")[1].split()[0] for note in task.tries[-1].notes}
    assert len(keys) == 4
    bench.settle()
    assert [count.accepted for count in task.count()][4:] == [0, 0]


@pytest.mark.parametrize("change", ["shorter", "longer", "turned round", "another first"])
def test_a_list_that_changes_between_tries(bench: Bench, change: str) -> None:
    task = Task(bench, Job.batch(bench))
    task.run({len_before(bench, "after submission", 1): kill})
    ids = [post["id"] for post in bench.service.posts]
    posts = {
        "shorter": ids[1:4],
        "longer": ids[:6],
        "turned round": ids[3::-1],
        "another first": [ids[5], *ids[:4]],
    }[change]
    before = task.job
    task.job = replace(before, post_id=posts[0], more_posts=tuple(posts[1:]))
    task.finish()
    check(task, change)
    task.job = before
    assert all(count.accepted <= 1 for count in task.count())
    if change == "shorter":
        assert any("not asked for any more" in line for line in task.tries[-1].log)


def test_a_clear_sends_nothing_again(bench: Bench) -> None:
    task = Task(bench, Job.batch(bench))
    task.run()
    task.clear()
    task.finish()
    check(task, "cleared")


def test_a_rate_limit_slows_a_batch_and_does_not_fail_it(bench: Bench) -> None:
    limit = {"status": 429, "headers": {"Retry-After": "1"}}
    task = Task(bench, Job.batch(bench, posts=6, at_once=4))
    bench.fault("schedule-multi", "status", times=3, **limit)
    bench.fault("get-post", "status", times=2, skip=6, **limit)
    task.run()
    check(task, "429")
    assert task.try_number == 1


def test_a_service_that_never_has_enough_is_left_alone_after_a_while(bench: Bench) -> None:
    task = Task(bench, Job.batch(bench, posts=6), retries=0)
    bench.fault("schedule-multi", "status", status=429, times=1000)
    task.run()
    assert isinstance(task.tries[-1].error, OctosparkRateLimitError)
    assert [outcome.reason for outcome in task.tries[-1].outcomes] == ["not_sent"] * 6
    assert sum(each["path"].endswith("schedule-multi") for each in bench.service.requests()) <= 10


def test_a_key_that_is_refused_is_not_tried_on_every_post(bench: Bench) -> None:
    task = Task(bench, Job.batch(bench, posts=6))
    bench.fault("get-post", "status", status=401, times=1000)
    task.run()
    assert isinstance(task.tries[-1].error, OctosparkAuthError)
    assert sum("/posts/" in request["path"] for request in bench.service.requests()) == 2


def test_one_bad_post_does_not_hold_up_the_others(bench: Bench) -> None:
    task = Task(bench, Job.batch(bench))
    bench.fault("get-post", "status", status=404, times=1)
    task.run()
    assert sorted(task.ends) == ["failed", "pending", "pending", "pending"]
    assert isinstance(task.tries[-1].error, OctosparkError)
    bench.settle()
    assert sum(count.accepted for count in task.count()) == 3


def test_a_service_that_answers_nothing_is_sent_no_more_than_it_has(bench: Bench) -> None:
    task = Task(bench, Job.batch(bench, posts=6))
    bench.fault("schedule-multi", "late", seconds=600, times=2)
    task.start()
    # All that left is in doubt: nothing more leaves before that is looked into.
    assert task.state == "deferred"
    assert sum(each["path"].endswith("schedule-multi") for each in bench.service.requests()) == 2
    task.finish()
    check(task, "no answers")


def two_accounts(bench: Bench, **options: Any) -> Job:
    """Three posts to two accounts each, one post at a time, each on a page of its own."""
    job = Job.batch(bench, posts=3, at_once=1, **options)
    return replace(job, accounts=tuple(each["id"] for each in bench.service.social_accounts[:2]))


def spoil(task: Task, number: int) -> None:
    """Make a page one that cannot be read."""
    task.table.write(page_key(number), {"format": 99, "records": []})


def decide(task: Task, decision: Callable[[str], str]) -> None:
    """Decide about each target of which the latest try left a note, by its post."""
    for note in task.tries[-1].notes:
        key, post = re.search(r"octospark\.decision\.[^\s?]+", note), re.search(r"whether post (\S+)", note)
        assert key is not None
        assert post is not None
        task.table.write(key[0], {"decision": decision(post[1])})


def kill_at(name: str, times: int) -> Callable[[Moment], None]:
    """Kill a process when it is somewhere for the so-manieth time."""
    seen = 0

    def act(moment: Moment) -> None:
        nonlocal seen
        seen += moment.name == name
        if moment.name == name and seen == times:
            kill(moment)

    return act


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_decision_about_an_unreadable_page_is_obeyed_once(bench: Bench, deferrable: bool) -> None:
    task = Task(bench, two_accounts(bench, deferrable=deferrable))
    task.run(kill_at("before submission", 3))
    spoil(task, 1)
    task.retry()
    second = task.job.posts[1]
    assert task.ends == ["pending", "pending", "unknown", "unknown", "unknown", "unknown"] or deferrable
    decide(task, lambda post: "accepted" if post == second else "not_accepted")
    for _ in range(3):
        task.clear()
        task.finish()
    bench.settle()
    assert [count.accepted for count in task.count()] == [1] * 6


def test_an_unreadable_page_is_left_as_it_is_though_the_list_changes(bench: Bench) -> None:
    for number in (0, 1, 2):
        bench.reset()
        task = Task(bench, two_accounts(bench, deferrable=False))
        task.run()
        spoil(task, number)
        spoilt = task.table.read(page_key(number))
        whole = task.job
        extra = bench.service.posts[5]["id"]
        for more in ((), (whole.posts[1], extra)):
            task.job = replace(whole, more_posts=more)
            task.clear()
            task.finish()
            decide(task, lambda post, extra=extra: "not_accepted" if post == extra else "accepted")  # type: ignore[misc]
            task.clear()
            task.finish()
        task.job = whole
        task.clear()
        task.finish()
        # What the user has not decided yet stays unknown, and is not sent.
        assert task.table.read(page_key(number)) == spoilt
        bench.settle()
        assert all(count.accepted == 1 for count in task.count()), number


def test_what_is_in_doubt_beside_an_unreadable_page_is_unknown(bench: Bench) -> None:
    task = Task(bench, Job.batch(bench, deferrable=False))
    bench.fault("schedule-multi", "late", seconds=600, times=1)
    task.run(kill_at("after submission", 2))
    spoil(task, 1)
    task.retry()
    assert task.ends[0] == "unknown"
    assert task.ends[1] == "pending"


def test_what_leaves_beside_a_refused_key_is_not_called_unsent(bench: Bench) -> None:
    for lost in (False, True):
        bench.reset()
        task = Task(bench, Job.batch(bench))
        bench.fault("get-post", "status", status=401, times=1)
        if lost:
            bench.fault("schedule-multi", "late", seconds=60, times=1)
        task.run()
        bench.settle()
        told = dict(zip(task.ends, [count.accepted for count in task.count()], strict=True))
        for end, count in zip(task.ends, [count.accepted for count in task.count()], strict=True):
            assert count == (0 if end == "failed" else 1), told
        assert sorted(task.ends) == ["failed", "failed", "failed", "pending"]


def test_a_deferral_does_not_forget_how_often_something_was_sent(bench: Bench) -> None:
    task = Task(bench, Job.batch(bench), retries=0)
    bench.fault("schedule-multi", "status", status=500, times=1)
    bench.fault("schedule-multi", "status", status=500, times=1, skip=1)
    bench.fault("schedule-multi", "status", status=500, times=10_000, skip=2)
    task.start()
    for _ in range(40):
        if task.state != "deferred":
            break
        task.resume()
    assert task.state == "failed"


def test_a_resumption_does_not_put_more_in_doubt(bench: Bench) -> None:
    task = Task(bench, Job.batch(bench, posts=6), retries=0)
    bench.fault("schedule-multi", "status", status=500, times=10_000)
    settled = bench.now() + timedelta(minutes=14)
    request = task.start()
    while request.until is not None and request.until < settled:
        task.resume()
    assert sum(each["path"].endswith("schedule-multi") for each in bench.service.requests()) == 2


def test_what_a_retry_would_send_is_worth_one(bench: Bench) -> None:
    task = Task(bench, Job.batch(bench, posts=6))
    bench.fault("get-post", "status", status=404, times=1)
    bench.fault("schedule-multi", "status", status=429, times=1000, skip=1)
    task.run()
    assert task.state == "up_for_retry"


def test_what_is_too_late_can_be_skipped_by_itself(bench: Bench) -> None:
    class Late(Job):
        """One whose first post should have been out."""

        def announcements(self, intent: str) -> list[Announcement]:
            first, *others = super().announcements(intent)
            return [replace(first, scheduled_at=bench.now() - timedelta(hours=1)), *others]

    job = Job.batch(bench, rules=Rules(if_late="skip"))
    task = Task(bench, Late(**{each.name: getattr(job, each.name) for each in fields(job)}))
    task.run()
    assert task.state == "success"
    assert [outcome.reason for outcome in task.tries[-1].outcomes] == ["late", None, None, None]


def test_what_leaves_together_is_written_together() -> None:
    class Counting(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.written: list[tuple[str, int]] = []

        def set(self, key: str, value: Any) -> None:
            self.written.append((key, len(value["records"])))
            super().set(key, value)

    store = Counting()
    journal = Journal(store, is_first_try=True, page_size=50)
    for wave in range(10):
        records = [Record(team_id="t", post_id=f"{wave}-{each}", social_account_id="a") for each in range(20)]
        journal.put(records)
        journal.put_surely(records)
    # An empty page, two writes for each wave, and one for each new page.
    assert len(store.written) == 1 + 20 + 4
    assert max(size for _, size in store.written) <= 50
    assert len(Journal(store, is_first_try=False, page_size=50).records) == 200
    assert Journal(store, is_first_try=False, page_size=50).problem is None


def test_more_than_a_page_holds_is_spread_over_several() -> None:
    store = MemoryStore()
    journal = Journal(store, is_first_try=True, page_size=50)
    journal.put([Record(team_id="t", post_id=f"{each}", social_account_id="a") for each in range(120)])
    assert [len(store.get(page_key(number))["records"]) for number in range(3)] == [50, 50, 20]
    again = Journal(store, is_first_try=False, page_size=50)
    assert list(again.records) == list(journal.records)
    assert not again.lost


def test_the_pace_halves_at_a_limit_and_grows_again() -> None:
    concurrency = ConcurrencyLimit(12)
    concurrency.had_enough()
    assert concurrency.concurrency == 6
    for _ in range(10):
        concurrency.had_enough()
    assert concurrency.concurrency == 1
    for _ in range(20):
        concurrency.went_well()
    assert concurrency.concurrency == 12
