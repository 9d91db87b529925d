"""The operators in whole runs of DAGs: what goes out, what is pushed, what is retried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.exceptions import (
    OctosparkAlreadySubmittedError,
    OctosparkArgumentError,
    OctosparkAuthError,
    OctosparkCancelledError,
    OctosparkError,
    OctosparkNotFoundError,
    OctosparkPublishFailedError,
    OctosparkPublishRetryableError,
    OctosparkServerError,
    OctosparkTooLateError,
    OctosparkUnknownError,
)
from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator, OctosparkScheduleMultiOperator
from airflow_provider_octospark.sensors.octospark import OctosparkPostSensor
from tests.airflow.conftest import Recorder
from tests.system.dag_runs import RunDag

pytestmark = pytest.mark.slow

QUICK: dict[str, Any] = {"poll_interval": 0.05, "poll_backoff": 0.0, "hidden_timeout": 0.5, "publish_timeout": 60.0}
RETRIES: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(0)}
LINK = "_link_OctosparkPublishedPostLink"
NOWHERE = "00000000-0000-4000-8000-000000000000"


class Prepared:
    """Prepared posts, by the name of the task that is to publish them, and what the ledger says of each."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._posts: dict[str, str] = {}

    def post(self, name: str, **scenario: Any) -> str:
        """Make a post that is published quickly, or fares as told."""
        post_id = self._posts[name] = self._emulator.add_post(name)
        scripted: dict[str, Any] = {"scenario": "slow", "seconds": 0.05, "post_id": post_id}
        self._emulator.script(**scripted | scenario)
        return post_id

    def counts(self) -> dict[str, tuple[int, int]]:
        """How many submissions of each post were accepted, and how many publications went out in the end."""
        self._emulator.advance_until_idle()
        submissions = Counter(each["post_id"] for each in self._emulator.submissions())
        publications = Counter(each["post_id"] for each in self._emulator.publications())
        return {name: (submissions[post_id], publications[post_id]) for name, post_id in self._posts.items()}


@pytest.fixture
def prepared(emulator: Emulator, soon: None) -> Prepared:
    """Posts of the test's own."""
    return Prepared(emulator)


def by_task(states: Mapping[tuple[str, int], str]) -> dict[str, str]:
    """States of unmapped tasks."""
    return {task_id: state for (task_id, _), state in states.items()}


def counts(total: int, *, failed: int = 0, unknown: int = 0) -> dict[str, int]:
    """The XCom `outcome`: what is unknown counts as neither."""
    return {
        "totalCount": total,
        "successCount": total - failed - unknown,
        "failureCount": failed,
        "unknownCount": unknown,
    }


def test_post_now_waiting_or_not_and_deferred_or_not(
    emulator: Emulator, prepared: Prepared, run_dag: RunDag, recorder: Recorder, pushed: list[Any]
) -> None:
    cases = {
        f"{'waits' if waits else 'goes_on'}_{'deferred' if deferrable else 'itself'}": (waits, deferrable)
        for waits in (True, False)
        for deferrable in (True, False)
    }
    account = emulator.account_id("x")
    with DAG("post_now", schedule=None, default_args=recorder.default_args()) as dag:
        for name, (waits, deferrable) in cases.items():
            OctosparkPostNowOperator(
                task_id=name,
                post_id=prepared.post(name, seconds=0.3),
                social_account_id=account,
                wait_for_completion=waits,
                deferrable=deferrable,
                **QUICK,
            )
        # What a task without XComs does is the same.
        OctosparkPostNowOperator(
            task_id="silent",
            post_id=prepared.post("silent"),
            social_account_id=account,
            wait_for_completion=True,
            do_xcom_push=False,
            **QUICK,
        )
        OctosparkPostNowOperator(
            task_id="dry",
            post_id=prepared.post("dry"),
            social_account_id=account,
            dry_run=True,
            wait_for_completion=True,
        )
    run = run_dag(dag)
    assert set(by_task(run.states()).values()) == {"success"}
    assert prepared.counts() == dict.fromkeys((*cases, "silent"), (1, 1)) | {"dry": (0, 0)}
    submitted = {each["post_id"]: each for each in emulator.submissions()}
    published = {each["post_id"]: each for each in emulator.publications()}
    for name, (waits, _) in cases.items():
        outcome = run.xcom(name)
        assert outcome["scheduled_post_id"] == submitted[outcome["post_id"]]["scheduled_post_id"]
        assert (outcome["social_account_id"], outcome["provider"]) == (account, "x")
        if waits:
            platform_post_id = published[outcome["post_id"]]["platform_post_id"]
            assert (outcome["state"], outcome["reason"]) == ("published", None)
            assert outcome["platform_post_id"] == platform_post_id
            assert run.xcom(name, key=LINK) == outcome["url"] == f"https://x.com/i/web/status/{platform_post_id}"
        else:
            assert (outcome["state"], outcome["status"], outcome["url"]) == ("pending", "publishing", None)
            assert run.xcom(name, key=LINK) == ""
    assert run.xcom("silent") is None
    assert run.xcom("silent", key=LINK).startswith("https://x.com/")
    assert (run.xcom("dry")["state"], run.xcom("dry")["reason"]) == ("pending", "dry_run")
    assert sorted(pushed) == sorted((name, -1, 1, "return_value") for name in (*cases, "dry"))


def test_what_fails_is_retried_only_where_that_can_help(
    emulator: Emulator, prepared: Prepared, run_dag: RunDag, recorder: Recorder, pushed: list[Any]
) -> None:
    transient = {"scenario": "fail", "error_category": "transient", "error_message": "The platform was busy"}
    scenarios: dict[str, dict[str, Any]] = {
        "once_transient": {**transient, "times": 1},
        "once_transient_deferred": {**transient, "times": 1},
        "once_rate_limited": {"scenario": "fail", "error_category": "rate_limited", "times": 1},
        "always_transient": transient,
        "not_resubmitted": {**transient, "times": 1},
        "validation": {"scenario": "fail", "error_category": "validation"},
        "permanent": {"scenario": "fail", "error_category": "permanent"},
        "cancelled": {"scenario": "cancel"},
        "but_live": {"scenario": "fail_but_live"},
    }
    more: dict[str, dict[str, Any]] = {
        "once_transient_deferred": {"deferrable": True},
        "not_resubmitted": {"resubmit_failed": False},
    }
    with DAG("failures", schedule=None, default_args=recorder.default_args()) as dag:
        for name, scenario in scenarios.items():
            OctosparkPostNowOperator(
                task_id=name,
                post_id=prepared.post(name, **scenario),
                social_account_id=emulator.account_id("x"),
                wait_for_completion=True,
                **QUICK,
                **RETRIES,
                **more.get(name, {}),
            )
    run = run_dag(dag)
    ended = Counter((task_id, state) for task_id, _, _, state in recorder.ends)
    once = {"once_transient", "once_transient_deferred", "once_rate_limited"}
    assert prepared.counts() == {
        **dict.fromkeys(once, (2, 1)),
        "always_transient": (3, 0),
        "not_resubmitted": (1, 0),
        "validation": (1, 0),
        "permanent": (1, 0),
        "cancelled": (1, 0),
        "but_live": (1, 1),
    }
    for name in scenarios:
        if name in once:
            assert ended[name, "success"] == ended[name, "up_for_retry"] == 1
        else:
            assert ended[name, "failed"] == 1
            assert ended[name, "up_for_retry"] == (2 if name == "always_transient" else 0)
    kinds: dict[str, type[OctosparkError]] = {
        "once_transient": OctosparkPublishRetryableError,
        "always_transient": OctosparkPublishRetryableError,
        "not_resubmitted": OctosparkPublishFailedError,
        "validation": OctosparkPublishFailedError,
        "cancelled": OctosparkCancelledError,
        "but_live": OctosparkUnknownError,
    }
    for name, kind in kinds.items():
        assert {type(error) for error in recorder.errors[name, -1]} == {kind}
    assert "The platform was busy" in str(recorder.errors["always_transient", -1][-1])
    assert run.xcom("once_transient")["state"] == "published"
    assert run.xcom("always_transient")["error_category"] == "transient"
    assert (run.xcom("but_live")["state"], run.xcom("but_live")["reason"]) == ("unknown", "in_doubt")
    assert Counter(pushed) == Counter(
        (task_id, -1, try_number, "return_value") for task_id, _, try_number, _ in recorder.ends
    )


def test_what_cannot_be_sent(emulator: Emulator, prepared: Prepared, run_dag: RunDag, recorder: Recorder) -> None:
    account, an_hour_ago = emulator.account_id("x"), emulator.now() - timedelta(hours=1)
    names = ("no_account", "disabled", "forbidden", "soon_again", "down", "by_somebody", "past", "past_is_skipped")
    posts = {name: prepared.post(name) for name in names} | {"no_post": NOWHERE}
    arguments: dict[str, dict[str, Any]] = {
        "no_account": {"social_account_id": NOWHERE},
        "disabled": {"social_account_id": emulator.account_id("x", "disabled")},
        "by_somebody": {
            "pre_execute": lambda _: emulator.user_action("post_now", posts["by_somebody"], social_account_id=account)
        },
        "past_is_skipped": {"if_late": "skip"},
    }
    with DAG("not_sent", schedule=None, default_args=recorder.default_args() | RETRIES) as dag:
        for name, post_id in posts.items():
            more = arguments.get(name, {})
            if name.startswith("past"):
                OctosparkScheduleMultiOperator(
                    task_id=name, post_id=post_id, social_account_ids=[account], scheduled_at=an_hour_ago, **more
                )
                continue
            common: dict[str, Any] = {"social_account_id": account, "wait_for_completion": True, **QUICK}
            OctosparkPostNowOperator(task_id=name, post_id=post_id, **common | more)
    emulator.fault("post-now", "status", status=403, body={"message": "Not on your plan"}, post_id=posts["forbidden"])
    emulator.fault("post-now", "status", status=429, headers={"Retry-After": "0"}, post_id=posts["soon_again"])
    # What cannot be read is not sent either.
    emulator.fault("get-post", "status", status=500, post_id=posts["down"])
    run = run_dag(dag)

    ends = {(task_id, state) for task_id, _, _, state in recorder.ends}
    assert by_task(run.states()) == {
        "no_post": "failed", "no_account": "failed", "disabled": "failed", "forbidden": "failed",
        "soon_again": "success", "down": "success", "by_somebody": "failed", "past": "failed", "past_is_skipped": "skipped",
    }  # fmt: skip
    assert {task_id for task_id, state in ends if state == "up_for_retry"} == {"down"}
    assert prepared.counts() == {
        "no_account": (0, 0), "disabled": (1, 0), "forbidden": (0, 0), "soon_again": (1, 1), "down": (1, 1),
        "by_somebody": (1, 1), "past": (0, 0), "past_is_skipped": (0, 0),
    }  # fmt: skip
    assert isinstance(recorder.error("no_post"), OctosparkNotFoundError)
    assert isinstance(recorder.error("no_account"), OctosparkNotFoundError)
    assert isinstance(recorder.error("disabled"), OctosparkPublishFailedError)
    assert "ACCOUNT_DISABLED" in str(recorder.error("disabled"))
    assert "Not on your plan" in str(recorder.error("forbidden"))
    assert isinstance(recorder.error("down"), OctosparkServerError)
    assert isinstance(recorder.error("by_somebody"), OctosparkAlreadySubmittedError)
    assert isinstance(recorder.error("past"), OctosparkTooLateError)
    for name in ("no_post", "no_account", "forbidden", "by_somebody"):
        assert (run.xcom(name)["state"], run.xcom(name)["reason"]) == ("failed", "not_sent")
    for name in ("past", "past_is_skipped"):
        assert run.xcom(name) == []
        assert [each["reason"] for each in run.xcom(name, key="accounts")] == ["late"]
        assert run.xcom(name, key="outcome") == counts(1, failed=1)


def test_schedule_multi_and_its_partial_failures(
    emulator: Emulator, prepared: Prepared, run_dag: RunDag, recorder: Recorder, pushed: list[Any]
) -> None:
    x, threads = emulator.account_id("x"), emulator.account_id("threads")
    lapsed = emulator.account_id("linkedin", "refresh_needed")
    gone = emulator.account_id("instagram", "disconnected")
    good, mixed, bad = [x, threads], [x, lapsed, threads, gone], [lapsed, gone]
    soon = emulator.now() + timedelta(days=1)
    tasks: tuple[tuple[str, list[str], dict[str, Any]], ...]
    tasks = (
        ("good", good, {}),
        ("mixed", mixed, {"retries": 1, "retry_delay": timedelta(0)}),
        ("mixed_one_by_one", mixed, {"accounts_per_call": 1}),
        ("mixed_tolerated", mixed, {"partial_failure": "succeed"}),
        ("bad_tolerated", bad, {"partial_failure": "succeed"}),
        ("silent", mixed, {"do_xcom_push": False}),
        ("dry", mixed, {"dry_run": True}),
    )
    with DAG("schedule_multi", schedule=None, default_args=recorder.default_args()) as dag:
        for name, accounts, more in tasks:
            OctosparkScheduleMultiOperator(
                task_id=name,
                post_id=prepared.post(name),
                social_account_ids=accounts,
                scheduled_at=soon,
                **more,
            )
    run = run_dag(dag)
    assert by_task(run.states()) == {
        "good": "success", "mixed": "failed", "mixed_one_by_one": "failed", "mixed_tolerated": "success",
        "bad_tolerated": "failed", "silent": "failed", "dry": "success",
    }  # fmt: skip
    for name in ("mixed", "mixed_one_by_one", "mixed_tolerated"):
        scheduled = run.xcom(name)
        assert [each["social_account_id"] for each in scheduled] == [x, threads]
        assert {(each["state"], each["status"]) for each in scheduled} == {("pending", "scheduled")}
        every = run.xcom(name, key="accounts")
        assert [(each["social_account_id"], each["state"]) for each in every] == [
            (x, "pending"), (lapsed, "failed"), (threads, "pending"), (gone, "failed"),
        ]  # fmt: skip
        assert "refresh_needed" in every[1]["error_message"]
        assert run.xcom(name, key="outcome") == counts(4, failed=2)
    assert run.xcom("good", key="outcome") == counts(2)
    assert run.xcom("good", key="accounts") == run.xcom("good")
    assert run.xcom("bad_tolerated") == []
    assert run.xcom("silent") is run.xcom("silent", key="accounts") is run.xcom("silent", key="outcome") is None
    assert {each["reason"] for each in run.xcom("dry")} == {"dry_run"}
    assert "Of 4 targets: 2 failed." in str(recorder.errors["mixed", -1][-1])
    keys = ("accounts", "outcome", "return_value")
    assert Counter(pushed) == Counter(
        (task_id, -1, try_number, key)
        for task_id, _, try_number, _ in recorder.ends
        for key in keys
        if task_id != "silent"
    )
    # No retry can connect an account again.
    assert [end[2:] for end in recorder.ends if end[0] == "mixed"] == [(1, "failed")]
    assert run.xcom("mixed", key="accounts")[1]["error_category"] == "auth"
    calls = Counter(each["path"].split("/")[5] for each in emulator.requests() if each["method"] == "POST")
    assert [calls[run.xcom(name)[0]["post_id"]] for name in ("good", "mixed", "mixed_one_by_one")] == [1, 1, 4]
    per_account = Counter(each["social_account_id"] for each in emulator.submissions())
    assert per_account == {x: 5, threads: 5}
    nowhere = dict.fromkeys(("bad_tolerated", "dry"), (0, 0))
    twice = dict.fromkeys(("good", "mixed", "mixed_one_by_one", "mixed_tolerated", "silent"), (2, 2))
    assert prepared.counts() == nowhere | twice


@pytest.mark.parametrize("deferrable", [True, False])
def test_schedule_multi_waits_for_all_and_says_what_it_could_not_see(
    deferrable: bool, emulator: Emulator, prepared: Prepared, run_dag: RunDag, recorder: Recorder
) -> None:
    x, threads, lapsed = (
        emulator.account_id("x"),
        emulator.account_id("threads"),
        emulator.account_id("linkedin", "refresh_needed"),
    )
    with DAG(f"schedule_and_wait_{deferrable}", schedule=None, default_args=recorder.default_args()) as dag:
        OctosparkScheduleMultiOperator(
            task_id="wait",
            post_id=prepared.post("wait"),
            social_account_ids=[x, lapsed, threads],
            scheduled_at="{{ (macros.datetime.now(macros.dateutil.tz.UTC) + macros.timedelta(seconds=10)).isoformat() }}",
            wait_for_completion=True,
            deferrable=deferrable,
            partial_failure="succeed",
            **QUICK,
        )
    run = run_dag(dag)
    assert by_task(run.states()) == {"wait": "success"}
    ends = {each["social_account_id"]: (each["state"], each["reason"]) for each in run.xcom("wait", key="accounts")}
    assert ends == {x: ("unknown", "not_observable"), lapsed: ("failed", None), threads: ("published", None)}
    assert [each["social_account_id"] for each in run.xcom("wait")] == [x, threads]
    assert run.xcom("wait", key="outcome") == counts(3, failed=1, unknown=1)
    assert prepared.counts() == {"wait": (2, 2)}


@pytest.mark.slow
@pytest.mark.parametrize("deferrable", [False, True])
def test_what_went_wrong_beside_a_published_post_is_a_warning(
    deferrable: bool,
    emulator: Emulator,
    prepared: Prepared,
    run_dag: RunDag,
    recorder: Recorder,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with DAG("beside", schedule=None, default_args=recorder.default_args()) as dag:
        OctosparkPostNowOperator(
            task_id="publish",
            post_id=prepared.post("beside", scenario="publish_with_error"),
            social_account_id=emulator.account_id("x"),
            wait_for_completion=True,
            deferrable=deferrable,
            **QUICK,
        )
    run = run_dag(dag)
    outcome = run.xcom("publish")
    assert run.state == "success"
    assert outcome["state"] == "published"
    assert "FIRST_COMMENT_FAILED" in outcome["error_message"]
    assert "is out, but the service reports a problem: publishResults.firstComment" in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "state", "reason"),
    [
        ({}, "unknown", "recurred"),
        ({"performance": "published"}, "published", None),
        ({"next_occurrence": "at_its_time"}, "published", None),
    ],
    ids=str,
)
def test_a_recurring_post_is_waited_for(
    settings: dict[str, Any],
    state: str,
    reason: str | None,
    emulator: Emulator,
    prepared: Prepared,
    run_dag: RunDag,
    recorder: Recorder,
) -> None:
    """The next occurrence hides what is waited for as soon as that is out, unless it appears later."""
    emulator.configure(**settings)
    with DAG("recurring", schedule=None, default_args=recorder.default_args()) as dag:
        for deferrable in (True, False):
            OctosparkPostNowOperator(
                task_id=f"publish_{deferrable}",
                post_id=prepared.post(str(deferrable)),
                social_account_id=emulator.account_id("x"),
                recurrence_interval_days=7,
                wait_for_completion=True,
                deferrable=deferrable,
                **QUICK,
            )
    run = run_dag(dag)
    for deferrable in (True, False):
        outcome = run.xcom(f"publish_{deferrable}")
        assert (outcome["state"], outcome["reason"]) == (state, reason)
    assert len(emulator.submissions()) == 2


@pytest.mark.parametrize("native", [True, False])
def test_mapped_tasks_and_what_they_hand_on(
    native: bool, emulator: Emulator, prepared: Prepared, run_dag: RunDag, recorder: Recorder
) -> None:
    x, threads, tiktok = (emulator.account_id("x"), emulator.account_id("threads"), emulator.account_id("tiktok"))
    targets: list[dict[str, Any]] = [
        {"post_id": prepared.post("first"), "social_account_ids": [x], "platform_settings": {"a": 1}},
        {"post_id": prepared.post("second"), "social_account_ids": f'["{tiktok}"]', "platform_settings": None},
        {
            "post_id": prepared.post("third"),
            "social_account_ids": "{{ params.third }}",
            "platform_settings": '{"b": "{{ run_id }}"}',
        },
    ]
    now, unmapped = prepared.post("now"), prepared.post("unmapped")
    soon = "{{ (macros.datetime.now(macros.dateutil.tz.UTC) + macros.timedelta(seconds=10)).isoformat() }}"
    with DAG(
        f"mapped_{native}",
        schedule=None,
        default_args=recorder.default_args(),
        render_template_as_native_obj=native,
        params={"third": [threads], "now": now},
    ) as dag:

        @task
        def plan() -> list[dict[str, Any]]:
            return targets

        schedule = OctosparkScheduleMultiOperator.partial(task_id="schedule", scheduled_at=soon).expand_kwargs(plan())
        OctosparkPostSensor(task_id="wait_for_all", publication=schedule.output, deferrable=True, **QUICK)
        OctosparkPostSensor.partial(task_id="wait_for_each", deferrable=False, **QUICK).expand(
            publication=schedule.output
        )
        OctosparkPostSensor(
            task_id="wait_for_text", publication="{{ ti.xcom_pull(task_ids='schedule', map_indexes=1) | tojson }}", **QUICK
        ).set_upstream(schedule)  # fmt: skip
        at_once = OctosparkPostNowOperator.partial(task_id="at_once", post_id="{{ params.now }}").expand(
            social_account_id=[x]
        )
        OctosparkPostSensor(task_id="wait_for_now", publication=at_once.output, **QUICK)
        together = OctosparkScheduleMultiOperator(
            task_id="together", post_id=unmapped, social_account_ids=[x], scheduled_at=soon
        )
        OctosparkPostSensor.partial(task_id="wait_for_one", **QUICK).expand(publication=together.output)
    run = run_dag(dag)
    assert set(run.states().values()) == {"success"}
    assert prepared.counts() == dict.fromkeys(("first", "second", "third", "now", "unmapped"), (1, 1))
    posts = [target["post_id"] for target in targets]
    for n, post_id in enumerate(posts):
        [outcome] = run.xcom("schedule", map_index=n)
        assert (outcome["post_id"], outcome["state"]) == (post_id, "pending")
        [seen] = run.xcom("wait_for_each", map_index=n)
        assert (seen["post_id"], seen["state"]) == (post_id, "published")
        assert seen["scheduled_post_id"] == outcome["scheduled_post_id"]
        # Instagram, Threads and the like have ids that tell no address.
        assert run.xcom("wait_for_each", key=LINK, map_index=n) == (seen["url"] or "")
    assert [each["post_id"] for each in run.xcom("wait_for_all")] == posts
    assert {each["state"] for each in run.xcom("wait_for_all")} == {"published"}
    assert [each["post_id"] for each in run.xcom("wait_for_text")] == posts[1:2]
    assert [each["post_id"] for each in run.xcom("wait_for_now")] == [now]
    # Mapped over the list of an unmapped task, each sensor has one outcome, and returns one.
    assert run.xcom("wait_for_one", map_index=0)["post_id"] == unmapped
    settings = {each["contentItemId"]: each["platformSettings"] for each in emulator.scheduled_posts()}
    assert settings[posts[0]] == {"a": 1}
    assert settings[posts[1]] == {}
    assert settings[posts[2]] == {"b": run.dag_run.run_id}


def test_a_mapped_try_that_ends_while_its_templates_are_rendered_has_sent_nothing(
    emulator: Emulator, prepared: Prepared, run_dag: RunDag, recorder: Recorder
) -> None:
    """Its record shows that; without one, ``settle_time=None`` would make the next try unknown."""
    post_id = prepared.post("mapped")
    with DAG("mapped_templates", schedule=None, default_args=recorder.default_args()) as dag:
        OctosparkPostNowOperator.partial(
            task_id="publish",
            post_id=post_id,
            team_id="{{ params.none.here if ti.try_number == 1 else '' }}",
            settle_time=None,
            retries=1,
            retry_delay=timedelta(0),
        ).expand(social_account_id=[emulator.account_id("x")])
    run_dag(dag)
    assert [state for *_, state in recorder.ends] == ["up_for_retry", "success"]
    assert prepared.counts() == {"mapped": (1, 1)}


def test_two_operators_in_one_task_are_refused(
    emulator: Emulator, prepared: Prepared, run_dag: RunDag, recorder: Recorder
) -> None:
    posts = [prepared.post("first"), prepared.post("second")]
    account = emulator.account_id("x")
    with DAG("two_in_one", schedule=None, default_args=recorder.default_args()) as dag:

        @task
        def publish(**context: Any) -> None:
            given: Any = context
            for number, post_id in enumerate(posts):
                OctosparkPostNowOperator(task_id=f"post_{number}", post_id=post_id, social_account_id=account).execute(
                    given
                )

        publish()
    run_dag(dag)
    error = recorder.error("publish")
    assert isinstance(error, OctosparkArgumentError)
    assert "Use one task for each, or OctosparkScheduleBatchOperator" in str(error)
    assert prepared.counts() == {"first": (1, 1), "second": (0, 0)}


def test_an_unusable_answer_to_the_look_before_sending_stops_it(
    emulator: Emulator, prepared: Prepared, run_dag: RunDag, recorder: Recorder
) -> None:
    with DAG("auth", schedule=None, default_args=recorder.default_args() | RETRIES) as dag:
        OctosparkPostNowOperator(
            task_id="revoked", post_id=prepared.post("revoked"), social_account_id=emulator.account_id("x")
        )
    emulator.rotate_token()
    run = run_dag(dag)
    assert by_task(run.states()) == {"revoked": "failed"}
    assert isinstance(recorder.error("revoked"), OctosparkAuthError)
    assert [each["method"] for each in emulator.requests()] == ["GET"]
    assert prepared.counts() == {"revoked": (0, 0)}
