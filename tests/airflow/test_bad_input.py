"""What cannot be right is refused before anything is sent, by its name, and is not retried."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.exceptions import OctosparkArgumentError, OctosparkError
from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator, OctosparkScheduleMultiOperator
from airflow_provider_octospark.sensors.octospark import OctosparkPostSensor
from tests.airflow.conftest import Recorder
from tests.system.dag_runs import RunDag

pytestmark = pytest.mark.slow

POST = "77a1b2c3-0d44-4b50-9999-8dd25736052b"
A = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
NEXT_YEAR = f"{date.today().year + 1}-05-17T09:00:00"  # noqa: DTZ011
PUBLICATION = {"team_id": "t", "post_id": POST, "social_account_id": A, "state": "pending"}
NOT_AN_ID = ("", "  ", "{{ none }}", None, "a/b", "a?b", "a#b", "..", "x/../y")

Kind = Literal["now", "multi", "sensor"]


@dataclass(frozen=True)
class Bad:
    """A task that cannot be right.

    :param named: what its error must name.
    """

    kind: Kind
    named: str
    arguments: dict[str, Any] = field(default_factory=dict)
    connection: str = "octospark_default"


CASES = [
    *(Bad("now", "post_id is", {"post_id": value}) for value in NOT_AN_ID),
    *(Bad("now", "social_account_id is", {"social_account_id": value}) for value in (*NOT_AN_ID[:3], "post_1", A[:-1])),
    *(Bad("now", "team_id is", {"team_id": value}) for value in ("a/b", "..")),
    Bad("now", "team_id is not set", connection="no_team"),
    *(Bad("now", "recurrence_interval_days is", {"recurrence_interval_days": value}) for value in (0, 366, 1.5, "x")),
    Bad("now", "recurrence_ends_at", {"recurrence_ends_at": NEXT_YEAR}),
    Bad("now", "set recurrence_interval_days", {"recurrence_ends_at": f"{NEXT_YEAR}Z"}),
    Bad("now", "platform_settings is", {"platform_settings": "["}),
    Bad("now", "first_comment is", {"first_comment": ["text"]}),
    Bad("now", "engagement_comment_trigger is", {"engagement_comment_trigger": 7}),
    Bad("now", "repost_after is", {"repost_after": "tomorrow"}),
    Bad("now", "settle_time is", {"settle_time": timedelta(minutes=5)}),
    Bad("now", "settle_time is", {"settle_time": "5"}),
    Bad("now", "if_already_submitted is", {"if_already_submitted": "always"}),
    Bad("now", "if_late is", {"if_late": "never"}),
    Bad("now", "max_lateness is", {"max_lateness": 0}),
    Bad("now", "publish_timeout is", {"publish_timeout": "1 h"}),
    Bad("now", "hidden_timeout is", {"hidden_timeout": -1}),
    Bad("now", "poll_interval is", {"poll_interval": 0}),
    Bad("now", "poll_backoff is", {"poll_backoff": "quick"}),
    *(
        Bad("multi", "social_account_ids", {"social_account_ids": value})
        for value in ([], None, "[", "", [A, A], [A, A.upper()], [A, None], f"{A},{A}", "{{ none }}")
    ),
    *(
        Bad("multi", "scheduled_at", {"scheduled_at": value})
        for value in ("2020-01-01T00:00:00Z", NEXT_YEAR, "soon", "", None, "2030-05-17", 1_900_000_000, "{{ none }}")
    ),
    Bad("multi", "does not exist in Europe/Berlin", {"scheduled_at": "2030-03-31T02:30:00", "timezone": "Europe/Berlin"}),
    Bad("multi", "exists twice in Europe/Berlin", {"scheduled_at": "2030-10-27T02:30:00", "timezone": "Europe/Berlin"}),
    Bad("multi", "timezone 'Mars/Olympus'", {"timezone": "Mars/Olympus"}),
    Bad("multi", "the end must be after the start", {"recurrence_interval_days": 7, "recurrence_ends_at": "2020-01-01T00:00:00Z"}),
    Bad("multi", "platform_settings_by_social_account_id", {"platform_settings_by_social_account_id": {POST: {}}}),
    Bad("multi", "platform_settings_by_social_account_id", {"platform_settings_by_social_account_id": "["}),
    Bad("multi", "partial_failure is", {"partial_failure": "ignore"}),
    Bad("multi", "accounts_per_call is", {"accounts_per_call": 0}),
    Bad("sensor", "Neither publication nor post_id", {"publication": None}),
    Bad("sensor", "Both publication and post_id", {"post_id": POST}),
    Bad("sensor", "Both publication and scheduled_post_id", {"scheduled_post_id": POST}),
    Bad("sensor", "publication is an empty list", {"publication": []}),
    Bad("sensor", "publication is an empty list", {"publication": [[], []]}),
    Bad("sensor", "publication holds 'text'", {"publication": "text"}),
    Bad("sensor", "publication holds 7", {"publication": [7]}),
    Bad("sensor", "publication holds {}", {"publication": {}}),
    Bad("sensor", "publication.post_id is", {"publication": PUBLICATION | {"post_id": "a/b"}}),
    Bad("sensor", "post_id is", {"publication": None, "post_id": "a/b"}),
    Bad("sensor", "social_account_id is", {"publication": None, "post_id": POST, "social_account_id": "x"}),
    Bad("sensor", "scheduled_post_id is", {"publication": None, "post_id": POST, "scheduled_post_id": ".."}),
    Bad("sensor", "since", {"publication": None, "post_id": POST, "since": NEXT_YEAR}),
    Bad("sensor", "partial_failure is", {"partial_failure": "ignore"}),
    Bad("sensor", "publish_timeout is", {"publish_timeout": 0, "mode": "reschedule"}),
    Bad("sensor", "timeout is", {"timeout": timedelta(0)}),
    # Not even a task that may fail softly hides a mistake.
    Bad("sensor", "poll_interval is", {"poll_interval": -1, "soft_fail": True}),
    Bad("sensor", "poll_interval is", {"poll_interval": "x", "deferrable": True, "never_fail": True}),
    Bad("sensor", "team_id is not set", {"publication": None, "post_id": POST}, connection="no_team"),
    Bad("now", "no connection 'never_made'", connection="never_made"),
    Bad("multi", "no connection 'never_made'", connection="never_made"),
    Bad("now", "password is empty", connection="no_password"),
    Bad("now", "allow_http", connection="in_clear"),
    Bad("now", "extra is not JSON", connection="no_json"),
]  # fmt: skip


@pytest.fixture
def connections(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections with one mistake each."""
    good = json.loads(emulator.connection)
    for name, mistake in {
        "no_team": {"extra": {}},
        "no_password": {"password": ""},
        "in_clear": {"host": "http://octospark.example"},
        "no_json": {"extra": "team_id: t"},
    }.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(good | mistake))


def task_of(number: int, bad: Bad) -> None:
    """Make the task."""
    arguments: dict[str, Any] = {"post_id": POST, "social_account_id": A}
    operator: Any = OctosparkPostNowOperator
    if bad.kind == "multi":
        operator = OctosparkScheduleMultiOperator
        arguments = {"post_id": POST, "social_account_ids": [A], "scheduled_at": f"{NEXT_YEAR}Z"}
    elif bad.kind == "sensor":
        operator, arguments = OctosparkPostSensor, {"publication": PUBLICATION}
    operator(
        task_id=f"bad_{number}",
        octospark_conn_id=bad.connection,
        retries=2,
        retry_delay=timedelta(0),
        **arguments | bad.arguments,
    )


def test_every_mistake_is_refused_by_its_name(
    emulator: Emulator, connections: None, run_dag: RunDag, recorder: Recorder
) -> None:
    """When the DAG is parsed, or before the task sends anything."""
    refused: dict[int, OctosparkArgumentError] = {}
    with DAG("bad_input", schedule=None, default_args=recorder.default_args()) as dag:
        for number, bad in enumerate(CASES):
            try:
                task_of(number, bad)
            except OctosparkArgumentError as mistake:
                refused[number] = mistake
    run = run_dag(dag)
    assert set(run.states().values()) == {"failed"}
    assert sorted(recorder.ends) == sorted((f"bad_{number}", -1, 1, "failed") for number in range(len(CASES)))
    # A task that was added to its DAG before it was refused says the same when it runs, as one of ``expand()`` does.
    for number, told in refused.items():
        assert str(told) == f"Task 'bad_{number}': {recorder.error(f'bad_{number}')}"
    at_parsing = {CASES[number].named for number in refused}
    assert at_parsing >= {
        "partial_failure is",
        "settle_time is",
        "poll_interval is",
        "social_account_id is",
        "if_late is",
    }
    assert at_parsing >= {"Neither publication nor post_id", "scheduled_at", "accounts_per_call is", "timeout is"}
    for number, bad in enumerate(CASES):
        error = recorder.error(f"bad_{number}")
        assert isinstance(error, OctosparkError), (bad, error)
        assert isinstance(error, AirflowFailException), (bad, error)
        assert bad.named in str(error), (bad, error)
        assert emulator.token not in str(error)
    assert emulator.submissions() == []
    assert emulator.requests() == []


def test_the_ends_of_what_is_allowed(emulator: Emulator, run_dag: RunDag, recorder: Recorder) -> None:
    accounts = [emulator.account_id("x"), emulator.account_id("threads")]
    at = datetime.fromisoformat(f"{NEXT_YEAR}+00:00")
    good: dict[str, dict[str, Any]] = {
        "native": {"social_account_ids": tuple(accounts), "scheduled_at": at, "recurrence_interval_days": 1},
        "texts": {
            "social_account_ids": f" {accounts[0]} , {accounts[1]} ",
            "scheduled_at": f"{NEXT_YEAR}Z",
            "recurrence_interval_days": "365",
            "recurrence_ends_at": "",
            "timezone": "{{ '' }}",
            "team_id": "{{ none }}",
            "first_comment": '{"text": "First!"}',
        },
        "local": {
            "social_account_ids": json.dumps(accounts),
            "scheduled_at": f"{date.today().year + 1}-05-17 11:00",  # noqa: DTZ011
            "timezone": "Europe/Berlin",
            "recurrence_ends_at": f"{date.today().year + 2}-05-17 11:00",  # noqa: DTZ011
            "recurrence_interval_days": 7.0,
            "platform_settings_by_social_account_id": {accounts[0].upper(): {"a": 1}},
        },
    }
    with DAG("good_input", schedule=None, default_args=recorder.default_args()) as dag:
        for name, arguments in good.items():
            OctosparkScheduleMultiOperator(task_id=name, post_id=emulator.add_post(name), **arguments)
    run = run_dag(dag)
    assert set(run.states().values()) == {"success"}
    assert len(emulator.submissions()) == 2 * len(good)
    scheduled = {each["contentItemId"]: each for each in emulator.scheduled_posts()}
    assert {datetime.fromisoformat(each["scheduledAt"]) for each in emulator.scheduled_posts()} == {at}
    by_name = {name: scheduled[run.xcom(name)[0]["post_id"]]["timezone"] for name in good}
    assert by_name == {"native": None, "texts": None, "local": "Europe/Berlin"}
    settings = [each["platformSettings"] for each in emulator.scheduled_posts() if each["platformSettings"]]
    assert settings == [{"a": 1}]
