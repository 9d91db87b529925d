"""Records that cannot be believed, and what a user decides: never adopted, never ignored.

Complete for the forms of a bad page that are listed here; each is met by a first and by a later try.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_octospark.exceptions import OctosparkUnknownError
from airflow_provider_octospark.outcomes import DETAILS
from airflow_provider_octospark.submission.journal import PAGE_KEY
from airflow_provider_octospark.submission.rules import Rules
from tests.submission.harness import Bench, Job, Task, kill

Spoil = Callable[[dict[str, Any]], Any]


def _with(**changes: Any) -> Spoil:
    """Change fields of the page's only record."""
    return lambda page: {**page, "records": [{**page["records"][0], **changes}]}


def _without(field: str) -> Spoil:
    return lambda page: {
        **page,
        "records": [{name: value for name, value in page["records"][0].items() if name != field}],
    }


def _twice(page: dict[str, Any]) -> Any:
    record = page["records"][0]
    return {**page, "records": [record, {**record, "social_account_id": record["social_account_id"].upper()}]}


def _deep(_: dict[str, Any]) -> Any:
    nested: list[Any] = []
    for _step in range(300):
        nested = [nested]
    return {"format": 1, "records": nested}


BAD_PAGES: dict[str, Spoil] = {
    "a text": lambda page: json.dumps(page),
    "a text that is cut short": lambda page: json.dumps(page)[:-20],
    "a number": lambda _: 7,
    "a list": lambda page: [page],
    "an empty object": lambda _: {},
    "a list of records": lambda page: page["records"],
    "a newer format": lambda page: {**page, "format": 2},
    "no format": lambda page: {"records": page["records"]},
    "a format that is a text": lambda page: {**page, "format": "1"},
    "a format that is true": lambda page: {**page, "format": True},
    "no records": lambda _: {"format": 1},
    "records that are null": lambda _: {"format": 1, "records": None},
    "a field more": lambda page: {**page, "extra": 1},
    "nested deeply": _deep,
    "two records of one target": _twice,
    "a record that is a text": lambda page: {**page, "records": ["sent"]},
    "a record that is empty": lambda page: {**page, "records": [{}]},
    "a record with a field more": _with(priority=1),
    "a record without its post": _without("post_id"),
    "a record of an unknown state": _with(state="prepared"),
    "a record with a state of another type": _with(state=["sent"]),
    "a record without its attempt": _with(request=None),
    "a record without its fence": _with(fenced_at=None),
    "a record whose fence is no time": _with(fenced_at="yesterday"),
    "a record whose fence has no zone": _with(fenced_at="2026-03-02T09:00:00"),
    "a record with nothing to compare with": _with(baseline=None, since=None),
    "a record whose baseline is a text": _with(baseline="none"),
    "a record whose baseline is cut short": _with(baseline={"scheduled_post_id": None}),
    "a record accepted without an outcome": _with(state="answered", outcome=None),
    "a record with an outcome that is cut short": _with(state="answered", outcome={"state": "published"}),
    "a record with an unknown end": _with(
        state="answered", outcome={"team_id": "t", "post_id": "p", "social_account_id": "a", "state": "done"}
    ),
    "a record with a number of tries that is a text": _with(try_number="1"),
}


def killed_after(bench: Bench, point: str, job: Job | None = None, **options: Any) -> Task:
    """A task whose first try was killed at a point of that name."""
    task = Task(bench, job or Job.post_now(bench), **options)

    def at_point(moment: Any) -> None:
        if moment.name == point:
            kill(moment)

    task.run(at_point)
    assert task.tries[0].state == "killed"
    return task


def is_unknown(task: Task) -> bool:
    """Whether the task ended as unknown, without a retry, and with a note that a user can act on."""
    last = task.tries[-1]
    assert isinstance(last.error, OctosparkUnknownError)
    assert task.state == "failed"
    assert task.state_store is not None
    for note in last.notes:
        account = next(each.lower() for each in task.job.accounts if each in note)
        before, after = task.state_store.split("{key}")
        assert re.search(
            rf"PUT {re.escape(before)}octospark\.decision\.{account}\.[0-9a-f]{{8}}{re.escape(after)} ", note
        )
        assert '{"value": {"decision": "accepted"}} or {"value": {"decision": "not_accepted"}}' in note
        assert task.state_store.replace("{key}", PAGE_KEY) in note
        assert "Look at the post" in note
        assert "and clear it" in note
    return bool(last.notes)


@pytest.mark.parametrize("form", BAD_PAGES)
def test_a_bad_page_on_a_later_try(bench: Bench, form: str) -> None:
    """Nothing is sent, and the page stays for a user to look at."""
    task = killed_after(bench, "after submission")
    bad = BAD_PAGES[form](task.table.read(PAGE_KEY))
    task.table.write(PAGE_KEY, bad)
    task.finish()
    bench.settle()
    assert task.ends == ["unknown"]
    assert is_unknown(task)
    assert "cannot be read" in task.tries[-1].notes[0]
    assert task.count()[0].accepted == 1
    assert task.table.read(PAGE_KEY) == bad
    # A clear alone changes nothing.
    for shows in (True, False):
        task.clear(shows=shows)
        task.finish()
        assert task.ends == ["unknown"]
    assert task.count()[0].accepted == 1


@pytest.mark.parametrize("decision", ["accepted", "not_accepted"])
@pytest.mark.parametrize("form", BAD_PAGES)
def test_a_bad_page_and_a_decision(bench: Bench, form: str, decision: str) -> None:
    """The next try obeys, and its page can be read again."""
    task = killed_after(bench, "after submission" if decision == "accepted" else "before submission")
    task.table.write(PAGE_KEY, BAD_PAGES[form](task.table.read(PAGE_KEY)))
    task.finish()
    task.decide(task.job.accounts[0], {"decision": decision})
    task.clear()
    task.finish()
    bench.settle()
    assert task.state == "success"
    assert task.count()[0].accepted == 1
    task.clear()
    task.finish()
    assert task.state == "success"
    assert task.count()[0].accepted == 1


def test_a_bad_page_on_a_first_try(bench: Bench) -> None:
    """Whatever wrote it, it is not ours to ignore."""
    task = Task(bench, Job.post_now(bench))
    task.table.write(PAGE_KEY, {"format": 2, "records": []})
    task.finish()
    assert is_unknown(task)
    assert not [request for request in bench.service.requests() if request["method"] == "POST"]


def test_a_bad_page_of_several_targets_needs_a_decision_for_each(bench: Bench) -> None:
    """Until then nothing is sent, not even for those that are decided."""
    task = killed_after(bench, "before submission", Job.schedule_multi(bench))
    task.table.write(PAGE_KEY, {"format": 2})
    task.finish()
    assert task.ends == ["unknown"] * 3
    for done, account in enumerate(task.job.accounts):
        assert [count.accepted for count in task.count()] == [0, 0, 0]
        assert task.ends.count("unknown") == 3 - done
        task.decide(account, {"decision": "not_accepted"})
        task.clear()
        task.finish()
    assert task.state == "success"
    assert [count.accepted for count in task.count()] == [1, 1, 1]


@pytest.mark.parametrize(
    "garbage",
    [
        7,
        "",
        [],
        {},
        True,
        "yes",
        {"decision": None},
        {"decision": ["accepted"]},
        {"decision": "ACCEPTED"},
        {"accepted": True},
    ],
)
def test_a_decision_that_is_none(bench: Bench, garbage: Any) -> None:
    """It is not obeyed, and the log says what to write."""
    bench.fault("post-now", "reset")
    task = Task(bench, Job.post_now(bench, rules=Rules(settle_time=None)))
    task.finish()
    task.decide(task.job.accounts[0], garbage)
    task.clear()
    task.finish()
    assert task.ends == ["unknown"]
    assert task.count()[0].accepted == 0
    said = any('write {"decision": "accepted"} or {"decision": "not_accepted"}' in line for line in task.tries[-1].log)
    assert said == (garbage not in ({}, {"decision": None}, {"accepted": True}))


def test_a_decision_is_for_one_request_only(bench: Bench) -> None:
    """What a user said of one request is never taken for what they would say of the next."""
    bench.fault("post-now", "reset", times=2)
    task = Task(bench, Job.post_now(bench, rules=Rules(settle_time=None)))
    task.finish()
    first = task.decide(task.job.accounts[0], {"decision": "not_accepted"})
    task.clear()
    task.finish()
    posts = [request for request in bench.service.requests() if request["method"] == "POST"]
    assert len(posts) == 2
    assert task.ends == ["unknown"]
    task.clear()
    task.finish()
    assert task.ends == ["unknown"]
    assert task.count()[0].accepted == 0
    second = task.decide(task.job.accounts[0], {"decision": "not_accepted"})
    assert first != second
    task.clear()
    task.finish()
    assert task.state == "success"
    assert task.count()[0].accepted == 1


def test_a_decision_while_it_is_looked_for(bench: Bench) -> None:
    """`not_sent` is not obeyed before `settle_time` is over: nobody can know until then that the request will not come."""
    bench.fault("post-now", "late", seconds=600.0)
    task = Task(bench, Job.post_now(bench))
    assert task.start().state == "deferred"
    request = task.table.read(PAGE_KEY)["records"][0]["request"]
    task.table.write(f"octospark.decision.{task.job.accounts[0]}.{request}", {"decision": "not_accepted"})
    task.finish()
    assert task.state == "success"
    assert task.count()[0].accepted == 1


def test_what_a_person_says_was_sent_stays_so(bench: Bench) -> None:
    """Neither a retry nor a clear submits it again, and waiting for it polls for what was created since."""
    bench.fault("post-now", "late", seconds=3600.0)
    task = Task(bench, Job.post_now(bench, wait=True, rules=Rules(settle_time=None)))
    task.finish()
    assert task.ends == ["unknown"]
    bench.service.advance(3600)
    task.decide(task.job.accounts[0], {"decision": "accepted"})
    for shows in (True, False):
        task.clear(shows=shows)
        task.finish()
        assert task.state == "success"
        assert task.ends == ["published"]
        assert task.count()[0].accepted == 1


# What only informs a user


def test_details_are_reported_and_neither_recorded_nor_compared(bench: Bench) -> None:
    task = Task(bench, Job.post_now(bench, account=bench.service.account_id("tiktok"), wait=True))
    task.start()
    [before] = bench.service.scheduled_posts()
    bench.service.advance(4)
    [shown] = bench.service.scheduled_posts()
    assert (task.state, before["status"], shown["status"]) == ("deferred", "publishing", "publishing")
    assert before["updatedAt"] != shown["updatedAt"]
    task.clear(shows=False)
    reads_again = task.start()
    assert "before set octospark" not in reads_again.points.names
    assert not task.table.read(PAGE_KEY)["records"][0]["outcome"].keys() & set(DETAILS)
    task.finish()
    [outcome] = task.tries[-1].outcomes
    [shown] = bench.service.scheduled_posts()
    assert (outcome.state, outcome.upload_progress) == ("published", 1.0)
    assert (outcome.workflow_id, outcome.created_at) == (shown["workflowId"], shown["createdAt"])
    assert (outcome.updated_at, outcome.provider_status) == (
        shown["updatedAt"],
        shown["providerPublishState"]["providerStatus"],
    )


# Records of other targets


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("state", ["unsent", "in_doubt", "answered"])
def test_a_record_of_another_target(bench: Bench, state: str, mapped: bool) -> None:
    """Another account stands in the parameters than in the record: a template or a mapped list has changed.

    The record of an unmapped task is whole, so what is not on it was never sent.
    """
    points = {"unsent": "before request", "in_doubt": "before submission", "answered": "after submission"}
    task = Task(bench, Job.post_now(bench), map_index=3 if mapped else -1)

    def stop(moment: Any) -> None:
        if moment.name == points[state] and state != "answered":
            kill(moment)

    task.run(stop)
    task.job = replace(task.job, accounts=(bench.service.account_id("linkedin"),))
    task.clear()
    task.finish()
    bench.settle()
    if not mapped:
        assert task.state == "success"
        assert task.count()[0].accepted == 1
        return
    assert is_unknown(task)
    assert "has changed between tries" in task.tries[-1].notes[0]
    assert task.count()[0].accepted == 0
    for _ in range(2):
        task.clear()
        task.finish()
        assert task.ends == ["unknown"]
    task.decide(task.job.accounts[0], {"decision": "not_accepted"})
    task.clear()
    task.finish()
    assert task.state == "success"
    assert task.count()[0].accepted == 1


def test_another_target_that_was_sent_by_another_task_instance(bench: Bench) -> None:
    """As decided: carried on, not sent."""
    task = Task(bench, Job.post_now(bench), map_index=0)
    task.finish()
    task.job = replace(task.job, accounts=(bench.service.account_id("linkedin"),))
    task.clear()
    task.finish()
    task.decide(task.job.accounts[0], {"decision": "accepted"})
    for _ in range(2):
        task.clear()
        task.finish()
        assert task.state == "success"
        assert task.count()[0].accepted == 0


def test_a_mapped_list_changes_order(bench: Bench) -> None:
    """Two mapped tasks change places after the first has posted: neither posts what the other may have."""
    accounts = [bench.service.account_id("x"), bench.service.account_id("linkedin")]
    tasks = [
        Task(bench, Job.post_now(bench, post=place, account=account), map_index=place, name=f"mapped {place}")
        for place, account in enumerate(accounts)
    ]
    tasks[0].finish()
    bench.fault("get-post", "status", status=401)
    tasks[1].finish()
    assert tasks[1].state == "failed"
    first, second = (task.job for task in tasks)
    for task, job in zip(tasks, [second, first], strict=True):
        task.job = job
        task.clear()
        task.finish()
        assert is_unknown(task)
    bench.settle()
    assert len(bench.service.submissions()) == 1


def test_a_mapped_list_grows(bench: Bench) -> None:
    """What stands where it stood is carried on; what is new is sent."""
    accounts = [bench.service.account_id(each) for each in ("x", "linkedin", "threads")]
    tasks = [
        Task(bench, Job.post_now(bench, account=account), map_index=place, name=f"mapped {place}")
        for place, account in enumerate(accounts)
    ]
    for task in tasks[:2]:
        task.finish()
    for task in tasks:
        task.clear()
        task.finish()
        assert task.state == "success"
        assert task.count()[0].accepted == 1


def test_accounts_are_added_to_and_taken_from_one_task(bench: Bench) -> None:
    """What was sent is carried on, and what is new is sent, also in the place of another."""
    one, two, three, four = (each["id"] for each in bench.service.social_accounts[:4])
    task = Task(bench, Job.schedule_multi(bench, accounts=[one, two]))
    for accounts in [(one, two), (three, two, one), (one, two, three)]:
        task.job = replace(task.job, accounts=accounts)
        task.clear()
        task.finish()
        assert task.state == "success"
        assert [count.accepted for count in task.count()] == [1] * len(accounts)
    for accounts, submissions in [((two,), 3), ((one, four), 4), ((one, four), 4)]:
        task.job = replace(task.job, accounts=accounts)
        task.clear()
        task.finish()
        assert task.ends == ["pending"] * len(accounts)
        assert len(bench.service.submissions()) == submissions


def test_a_target_in_doubt_is_not_forgotten_when_it_is_taken_off_the_list(bench: Bench) -> None:
    """Its request may have left: the task looks for it, and is unknown where it cannot be found."""
    one, two, three = (each["id"] for each in bench.service.social_accounts[:3])
    task = Task(bench, Job.schedule_multi(bench, accounts=[one, two], accounts_per_call=1))
    bench.fault("schedule-multi", "no_answer", when="before")
    task.start()
    assert task.state == "deferred"
    task.clear()
    task.job = replace(task.job, accounts=(two,))
    task.start()
    bench.service.user_action("post_now", task.job.post_id, social_account_id=three)
    task.finish()
    assert isinstance(task.tries[-1].error, OctosparkUnknownError)
    assert [outcome.social_account_id for outcome in task.tries[-1].outcomes] == [two, one]
    assert task.ends == ["pending", "unknown"]
    assert one in task.tries[-1].notes[0]


def test_a_list_that_grows_while_the_task_is_deferred(bench: Bench) -> None:
    """Its time is past when the wait is over: the task fails, and does not keep silent about it."""
    task = Task(bench, Job.schedule_multi(bench, accounts=1, wait=True))
    task.start()
    assert task.state == "deferred"
    task.job = replace(task.job, more_posts=(bench.service.posts[1]["id"],))
    task.finish()
    assert (task.state, task.ends) == ("failed", ["published", "failed"])
    assert "in the past" in str(task.tries[-1].error)


def test_a_list_that_grows_by_what_is_still_to_come(bench: Bench) -> None:
    """As before, but the new target is published at once."""
    task = Task(bench, Job.post_now(bench, wait=True))
    task.start()
    assert task.state == "deferred"
    task.job = replace(task.job, more_posts=(bench.service.posts[1]["id"],))
    task.finish()
    assert (task.state, task.ends) == ("success", ["published", "published"])
    assert [count.accepted for count in task.count()] == [1, 1]


def test_a_template_that_renders_differently_after_a_deferral_submits_nothing_more(bench: Bench) -> None:
    """The task waits for one post, and its template names another one when it resumes."""
    task = Task(bench, Job.post_now(bench, wait=True))
    task.start()
    first = task.job.post_id
    task.job = replace(task.job, post_id=bench.service.posts[1]["id"])
    task.finish()
    assert (task.state, task.ends) == ("success", ["published"])
    assert [each["post_id"] for each in bench.service.submissions()] == [first]


def test_a_refusal_beside_a_doubt_concludes_every_target(bench: Bench) -> None:
    """With "fail" the doubt is reported, and what was left to send is reported as not sent."""
    job = Job.schedule_multi(bench, accounts_per_call=2, rules=Rules(if_already_submitted="fail"))
    task = Task(bench, job)

    def stop(moment: Any) -> None:
        if moment.name == "after submission":
            kill(moment)

    task.run(stop)
    task.finish()
    assert task.state == "failed"
    assert isinstance(task.tries[-1].error, OctosparkUnknownError)
    assert task.ends == ["unknown", "pending", "failed"]


def test_ids_in_either_case_of_letters_are_one_target(bench: Bench) -> None:
    """A template that writes an id in capitals makes no second target of it."""
    task = Task(bench, Job.post_now(bench))
    task.finish()
    task.job = replace(
        task.job,
        accounts=(task.job.accounts[0].upper(),),
        post_id=task.job.post_id.upper(),
        team_id=task.job.team_id.upper(),
    )
    task.clear()
    task.finish()
    assert task.state == "success"
    assert len(bench.service.submissions()) == 1


# Lost records


def test_the_record_of_several_accounts_is_lost(bench: Bench) -> None:
    """The service shows its latest submission only; of the others nobody can tell."""
    task = Task(bench, Job.schedule_multi(bench))
    task.finish()
    task.table.lose()
    task.clear()
    task.finish()
    bench.settle()
    assert task.ends == ["unknown", "unknown", "pending"]
    assert is_unknown(task)
    assert [count.accepted for count in task.count()] == [1, 1, 1]


def test_the_record_is_lost_while_in_doubt(bench: Bench) -> None:
    """A clear on a later Airflow takes the record away, and the request is still under way."""
    bench.fault("post-now", "late", seconds=700.0)
    task = Task(bench, Job.post_now(bench))
    task.start()
    task.table.lose()
    task.clear()
    task.finish()
    bench.settle()
    assert task.state == "success"
    assert task.count()[0].accepted == 1


def test_the_record_is_lost_between_two_looks(bench: Bench) -> None:
    """A resumption is no first try, whatever its number says."""
    bench.fault("post-now", "late", seconds=700.0)
    task = Task(bench, Job.post_now(bench))
    task.start()
    task.table.lose()
    task.finish()
    bench.settle()
    assert len(task.tries) == 1
    assert task.state == "success"
    assert task.count()[0].accepted == 1


def test_the_record_is_lost_and_last_weeks_post_is_there(bench: Bench) -> None:
    """What was published before this run was due is not this run's."""
    job = Job.post_now(bench)
    bench.service.user_action("post_now", job.post_id, social_account_id=job.accounts[0])
    bench.service.advance(7 * 86_400)
    task = killed_after(bench, "before submission", job)
    task.table.lose()
    task.finish()
    bench.settle()
    count = task.count()[0]
    assert (task.state, count.accepted, count.on_target) == ("success", 1, 2)


@pytest.mark.parametrize("hides", ["another account", "a change of what was there"])
def test_the_record_is_lost_and_something_is_in_the_way(bench: Bench, hides: str) -> None:
    """What happened on the post since the run was due may hide a submission of ours: unknown."""
    job = Job.schedule_multi(bench, accounts=1)
    bench.service.configure(latest="updated")
    old = Task(bench, Job.schedule_multi(bench, accounts=[bench.service.account_id("threads")]), name="other")
    old.finish()
    bench.service.advance(60)
    task = killed_after(bench, "after submission", job)
    task.table.lose()
    bench.service.advance(60)
    if hides == "another account":
        bench.service.user_action("post_now", job.post_id, social_account_id=bench.service.account_id("linkedin"))
    else:
        bench.service.user_action("reschedule", job.post_id, social_account_id=old.job.accounts[0])
    task.finish()
    bench.settle()
    assert task.ends == ["unknown"]
    assert task.count()[0].accepted == 1


@pytest.mark.parametrize("trouble", ["before submission", "during submission", "after submission"])
def test_without_a_store(bench: Bench, trouble: str) -> None:
    """Before Airflow 3.3: every later try falls back on time, and a deferral carries what the try knows."""
    task = killed_after(bench, trouble, has_store=False)
    task.finish()
    bench.settle()
    assert task.state == "success"
    assert task.count()[0].accepted == 1
    task.clear()
    task.finish()
    assert task.count()[0].accepted == 1


def test_without_a_store_a_try_knows_what_it_did_before_it_deferred(bench: Bench) -> None:
    """A reset connection, a deferral, and the same try goes on: nothing is lost in between."""
    bench.fault("post-now", "reset", when="after")
    bench.fault("get-post", "status", status=500, skip=1, times=2)
    task = Task(bench, Job.post_now(bench), has_store=False)
    task.finish()
    assert len(task.tries) == 1
    assert task.state == "success"
    assert task.count()[0].accepted == 1
    assert not any("no record" in line for line in task.tries[0].log)
