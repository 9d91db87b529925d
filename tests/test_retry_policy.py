"""What the retry policy decides, and that Airflow and our errors leave it what it needs."""

from __future__ import annotations

import inspect
import json
import pickle
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_octospark import airflow_compat as versions
from airflow_provider_octospark import exceptions
from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.exceptions import (
    OctosparkError,
    OctosparkFailError,
    OctosparkPublishRetryableError,
    OctosparkRateLimitError,
    OctosparkVersionError,
)
from airflow_provider_octospark.hooks.octospark import OctosparkHook
from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator
from airflow_provider_octospark.outcomes import Outcome
from airflow_provider_octospark.retry_policy import OctosparkRetryPolicy
from airflow_provider_octospark.tasks.result import raise_for_outcomes

retry_policy = pytest.importorskip("airflow.sdk.definitions.retry_policy")

ERRORS = [
    cls for cls in vars(exceptions).values() if inspect.isclass(cls) and issubclass(cls, exceptions.OctosparkError)
]


def decide(error: BaseException) -> Any:
    return OctosparkRetryPolicy().evaluate(error, 1, 5)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_it_agrees_with_what_the_errors_say_of_themselves(kind: type[OctosparkError]) -> None:
    """Also of those that carry a wait: no wait makes a refused key good."""
    for error in (kind("told"), kind("told", retry_after=7.0)):
        may_not = issubclass(kind, OctosparkFailError)
        assert decide(error).action.value == ("fail" if may_not else "retry")
        assert ("Not retried" in (kind.__doc__ or "")) == may_not or kind in {OctosparkError, OctosparkFailError}


def test_a_wait_that_was_asked_for_is_kept() -> None:
    for _ in range(50):
        decision = decide(OctosparkRateLimitError("told", retry_after=120.0))
        assert decision.retry_delay == timedelta(seconds=120)
    assert decision.reason == "Octospark asked to wait 120 s"


@pytest.mark.parametrize("retry_after", [None, 0.0])
def test_without_one_the_task_s_own_delay_stands(retry_after: float | None) -> None:
    assert decide(OctosparkRateLimitError("told", retry_after=retry_after)).retry_delay is None


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), TimeoutError()])
def test_of_errors_of_others_it_decides_nothing(error: BaseException) -> None:
    assert decide(error) == retry_policy.RetryDecision.default()


def test_it_survives_being_stored() -> None:
    data = json.loads(json.dumps(OctosparkRetryPolicy().serialize()))
    assert isinstance(OctosparkRetryPolicy.deserialize(data), OctosparkRetryPolicy)


def test_a_dag_with_it_survives_being_stored() -> None:
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("polite", schedule=None) as dag:
        OctosparkPostNowOperator(
            task_id="publish",
            post_id="p",
            social_account_id="3c90c3cc-0d44-4b50-8888-8dd25736052a",
            retry_policy=OctosparkRetryPolicy(),
        )
    stored = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    assert DagSerialization.from_dict(stored).get_task("publish").has_retry_policy


def test_the_wait_survives_the_way_through_airflow() -> None:
    error = pickle.loads(pickle.dumps(OctosparkRateLimitError("told", retry_after=9.0)))  # noqa: S301 - our own
    assert decide(error).retry_delay >= timedelta(seconds=9)


@pytest.mark.parametrize("status", [429, 503])
def test_what_the_service_says_reaches_it(
    octospark_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    connection = json.loads(octospark_emulator.connection)
    connection["extra"]["timeout"] = 1
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", json.dumps(connection))
    octospark_emulator.fault("get-post", "status", status=status, headers={"Retry-After": "90"}, times=9)
    with OctosparkHook() as hook, pytest.raises(OctosparkError) as caught:
        hook.get_post(octospark_emulator.team_id, octospark_emulator.posts[0]["id"])
    assert caught.value.retry_after == 90.0
    assert decide(caught.value).retry_delay >= timedelta(seconds=90)


def test_an_operator_that_was_sent_away_for_some_of_its_targets_says_how_long() -> None:
    cause = OctosparkRateLimitError("told", retry_after=90.0)
    outcomes = [
        Outcome(team_id="t", post_id="p", social_account_id="a", state="published"),
        Outcome(
            team_id="t",
            post_id="p",
            social_account_id="b",
            state="failed",
            reason="not_sent",
            error_category="transient",
        ),
    ]
    for some in (outcomes, outcomes[1:]):
        with pytest.raises((OctosparkRateLimitError, OctosparkPublishRetryableError)) as caught:
            raise_for_outcomes(some, cause=cause)
        assert decide(caught.value).retry_delay >= timedelta(seconds=90)


def test_before_airflow_3_3_it_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "airflow_version", "3.2.2")
    with pytest.raises(OctosparkVersionError, match=r"OctosparkRetryPolicy needs Airflow 3\.3 .* this is 3\.2\.2"):
        OctosparkRetryPolicy()
