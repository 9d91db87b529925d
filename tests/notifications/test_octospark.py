"""The notifier, in both colours, against the emulator: it publishes once, says what it did, and never raises."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.notifications.octospark import OctosparkPostNowNotifier
from airflow_provider_octospark.tasks.result import UNKNOWN_PREFIX

Call = Callable[[OctosparkPostNowNotifier, Any], None]


def call(notifier: OctosparkPostNowNotifier, context: Any) -> None:
    """As Airflow calls it for a callback."""
    notifier(context)


def call_async(notifier: OctosparkPostNowNotifier, context: Any) -> None:
    """As Airflow calls it on an event loop."""

    async def main() -> None:
        notifier.context = context
        await notifier

    asyncio.run(main())


@pytest.fixture(params=[call, call_async], ids=["sync", "async"])
def notify(request: pytest.FixtureRequest) -> Call:
    """Both ways to call it."""
    way: Call = request.param
    return way


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture, emulator: Emulator) -> Any:
    """Whatever happens, the key is not in the log."""
    caplog.set_level(logging.DEBUG)
    yield
    said = [record.getMessage() for record in caplog.get_records("call")]
    assert not [line for line in said if emulator.token in line]
    assert [line for line in said if line.startswith(("Octospark: ", UNKNOWN_PREFIX))], "it says what it did"


def context(run_type: str = "manual", due: datetime | None = None, **more: Any) -> dict[str, Any]:
    """The context of a callback of a run that is due now."""
    dag_run = SimpleNamespace(run_type=run_type, run_after=due or datetime.now(UTC), start_date=None)
    return {"dag_run": dag_run, "run_id": "r", "params": {}, **more}


def notifier(emulator: Emulator, **more: Any) -> OctosparkPostNowNotifier:
    given = {"post_id": emulator.posts[0]["id"], "social_account_id": emulator.account_id("x"), **more}
    return OctosparkPostNowNotifier(**given)


def submits(emulator: Emulator) -> int:
    return sum(each["path"].endswith("/post-now") for each in emulator.requests())


def test_it_publishes(emulator: Emulator, notify: Call, caplog: pytest.LogCaptureFixture) -> None:
    notify(notifier(emulator), context())
    [made] = emulator.submissions()
    assert (made["operation"], made["post_id"]) == ("post-now", emulator.posts[0]["id"])
    assert f"Octospark: accepted: Post {made['post_id']}" in caplog.text
    assert made["scheduled_post_id"] in caplog.text


def test_all_parameters_reach_the_service(emulator: Emulator, notify: Call) -> None:
    notify(
        notifier(
            emulator,
            team_id="{{ params.team }}",
            platform_settings={"replyTo": "{{ params.version }}"},
            first_comment='{"text": "{{ params.version }}"}',
            recurrence_interval_days="{{ 7 }}",
            recurrence_ends_at="",
        ),
        context(params={"team": emulator.team_id, "version": "2.4"}),
    )
    [made] = emulator.scheduled_posts(emulator.posts[0]["id"])
    assert made["platformSettings"] == {"replyTo": "2.4"}


@pytest.mark.parametrize("same", [True, False], ids=["same-object", "another-process"])
def test_fired_twice_in_a_row_it_publishes_once(
    emulator: Emulator, notify: Call, same: bool, caplog: pytest.LogCaptureFixture
) -> None:
    now = context()
    first = notifier(emulator)
    notify(first, now)
    notify(first if same else notifier(emulator), now)
    assert submits(emulator) == 1
    assert "publishing nothing more" in caplog.text


def test_it_publishes_for_a_deadline(emulator: Emulator, notify: Call) -> None:
    """A deadline's callback gets its run as a JSON object, and no task."""
    due = datetime.now(UTC)
    alert = {
        "dag_run": {
            "dag_run_id": "manual__1",
            "dag_id": "release",
            "logical_date": None,
            "start_date": due.isoformat(),
            "data_interval_end": None,
            "run_after": due.isoformat().replace("+00:00", "Z"),
            "run_type": "manual",
            "state": "running",
            "conf": {"text": "x"},
        },
        "deadline": {"id": "1", "deadline_time": due},
    }
    one = notifier(emulator, team_id=f"{{{{ '{emulator.team_id}' if dag_run.dag_id == 'release' else 'none' }}}}")
    notify(one, dict(alert))
    notify(one, dict(alert))
    assert submits(emulator) == 1
    assert len(emulator.submissions()) == 1


def test_what_is_unexpected_leaves_a_traceback_without_values(
    emulator: Emulator, notify: Call, caplog: pytest.LogCaptureFixture
) -> None:
    notify(notifier(emulator), {"dag_run": object()})
    [record] = [each for each in caplog.records if each.levelno == logging.DEBUG and "was raised here" in each.message]
    assert "airflow_compat.py" in record.message
    assert submits(emulator) == 0


def test_a_later_run_publishes_again(emulator: Emulator, notify: Call) -> None:
    one = notifier(emulator)
    notify(one, context())
    # Clocks may disagree by two minutes.
    notify(one, context(due=datetime.now(UTC) + timedelta(minutes=3)))
    assert submits(emulator) == 2


def test_what_somebody_else_published_since_is_enough(emulator: Emulator, notify: Call) -> None:
    now = context()
    emulator.user_action("post_now", emulator.posts[0]["id"], social_account_id=emulator.account_id("x"))
    notify(notifier(emulator), now)
    assert submits(emulator) == 0


def test_what_was_published_before_is_not_this_run_s(emulator: Emulator, notify: Call) -> None:
    emulator.user_action("post_now", emulator.posts[0]["id"], social_account_id=emulator.account_id("x"))
    notify(notifier(emulator), context(due=datetime.now(UTC) + timedelta(minutes=3)))
    assert submits(emulator) == 1


def test_another_account_s_publication_is_no_reason(emulator: Emulator, notify: Call) -> None:
    now = context()
    emulator.user_action("post_now", emulator.posts[0]["id"], social_account_id=emulator.account_id("linkedin"))
    notify(notifier(emulator), now)
    assert submits(emulator) == 1


def test_one_notifier_serves_many_runs(emulator: Emulator, notify: Call) -> None:
    """Airflow keeps the object, and its rendering overwrites the templates."""
    one = notifier(emulator, post_id="{{ params.post }}")
    for number in (1, 2, 1):
        notify(one, context(params={"post": emulator.posts[number]["id"]}))
    assert {each["post_id"] for each in emulator.submissions()} == {emulator.posts[n]["id"] for n in (1, 2)}


# In doubt

LOST: dict[str, dict[str, Any]] = {
    "answer lost": {"fault": "reset", "when": "after"},
    "request lost": {"fault": "reset", "when": "before"},
    "cut off": {"fault": "truncate"},
    "unreadable": {"fault": "not_json"},
    "error of the server": {"fault": "status", "status": 502, "when": "after"},
    "conflict": {"fault": "status", "status": 409},
}


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_in_doubt_it_says_unknown_and_sends_nothing_more(
    emulator: Emulator, notify: Call, fault: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    emulator.fault("post-now", **fault)
    one, now = notifier(emulator), context()
    notify(one, now)
    notify(one, now)
    assert submits(emulator) == 1
    [line] = [each for each in caplog.messages if UNKNOWN_PREFIX in each]
    assert emulator.posts[0]["id"] in line
    assert emulator.account_id("x") in line


def test_an_answer_that_was_lost_is_known_again_by_another_process(emulator: Emulator, notify: Call) -> None:
    emulator.fault("post-now", "reset", when="after")
    now = context()
    notify(notifier(emulator), now)
    notify(notifier(emulator), now)
    assert len(emulator.submissions()) == 1
    assert submits(emulator) == 1


def test_no_answer_in_time_is_unknown(
    emulator: Emulator, notify: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connection = json.loads(emulator.connection)
    connection["extra"]["submit_timeout"] = 1
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", json.dumps(connection))
    emulator.fault("post-now", "no_answer", when="after")
    notify(notifier(emulator), context())
    assert UNKNOWN_PREFIX in caplog.text
    assert len(emulator.submissions()) == 1


def test_a_callback_that_is_interrupted_says_unknown(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        emulator.fault("post-now", "no_answer", when="after")
        calling = asyncio.create_task(notifier(emulator).async_notify(context()))  # type: ignore[arg-type]
        while not submits(emulator):  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.01)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling

    asyncio.run(main())
    assert UNKNOWN_PREFIX in caplog.text


def test_what_is_refused_is_not_unknown_and_can_be_sent_later(
    emulator: Emulator, notify: Call, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.fault("post-now", "status", status=429, headers={"Retry-After": "60"})
    one, now = notifier(emulator), context()
    notify(one, now)
    assert UNKNOWN_PREFIX not in caplog.text
    assert "Octospark: published nothing: post-now" in caplog.text
    notify(one, now)
    assert len(emulator.submissions()) == 1


def test_an_account_that_is_not_connected(emulator: Emulator, notify: Call, caplog: pytest.LogCaptureFixture) -> None:
    notify(notifier(emulator, social_account_id=emulator.account_id("x", "disabled")), context())
    assert emulator.publications() == []
    assert [each for each in caplog.records if each.levelno == logging.ERROR]


# Backfills, and what cannot be known


def test_a_backfill_publishes_nothing_unless_allowed(emulator: Emulator, notify: Call) -> None:
    notify(notifier(emulator), context("backfill"))
    assert emulator.requests() == []
    notify(notifier(emulator, allow_backfill=True), context("backfill"))
    assert submits(emulator) == 1


def test_without_a_time_of_the_run_it_publishes_nothing(
    emulator: Emulator, notify: Call, caplog: pytest.LogCaptureFixture
) -> None:
    """Airflow gives some callbacks of a DAG no more than this."""
    notify(notifier(emulator), {"run_id": "r", "reason": "success"})
    assert emulator.requests() == []
    assert "published nothing" in caplog.text


# It never fails a run

WRONG: dict[str, dict[str, Any]] = {
    "no post": {"post_id": None},
    "no id": {"post_id": "a/b"},
    "no uuid": {"social_account_id": "x"},
    "no object": {"platform_settings": "text"},
    "no days": {"recurrence_interval_days": 400},
    "no time": {"recurrence_ends_at": "tomorrow"},
    "no such team": {"team_id": "00000000-0000-4000-8000-000000000000"},
    "no such post": {"post_id": "00000000-0000-4000-8000-000000000000"},
    "no connection": {"octospark_conn_id": "not_there"},
    "no connection id": {"octospark_conn_id": 7},
    "not JSON": {"platform_settings": {"a": object()}},
    "no value in the template": {"post_id": "{{ params.a.b }}"},
    "no template": {"post_id": "{{ oops"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_and_never_raised(
    emulator: Emulator, notify: Call, wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    notify(notifier(emulator, **wrong), context())
    assert submits(emulator) == 0
    [line] = [each.getMessage() for each in caplog.records if "Octospark: published nothing: " in each.getMessage()]
    assert "\n" not in line


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_service_in_trouble_is_told_and_never_raised(
    emulator: Emulator, notify: Call, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.fault("get-post", "status", status=status, times=10)
    notify(notifier(emulator), context())
    assert submits(emulator) == 0
    assert "Octospark: published nothing: get-post" in caplog.text


def test_a_service_that_is_not_there(
    emulator: Emulator, notify: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connection = json.loads(emulator.connection) | {"port": 9}
    connection["extra"]["timeout"] = 1
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", json.dumps(connection))
    notify(notifier(emulator), context())
    assert "Octospark: published nothing: get-post" in caplog.text
