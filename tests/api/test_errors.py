"""The errors: what Airflow may retry, what they carry, and that they survive the way between processes."""

from __future__ import annotations

import inspect
import pickle

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_octospark import exceptions
from airflow_provider_octospark.exceptions import OctosparkError, OctosparkFailError

CLASSES = [kind for _, kind in inspect.getmembers(exceptions, inspect.isclass) if issubclass(kind, OctosparkError)]

FINAL = {kind for kind in CLASSES if AirflowFailException in inspect.getmro(kind)}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_docstring_says_what_airflow_does(kind: type[OctosparkError]) -> None:
    assert issubclass(kind, AirflowException)
    said = " ".join((kind.__doc__ or "").split())
    if kind in FINAL:
        assert "Not retried" in said
        assert issubclass(kind, OctosparkFailError)
    else:
        assert "ay be retried" in said or "may retry it" in said


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_survives_the_way_between_processes(kind: type[OctosparkError]) -> None:
    error = kind(
        "what happened", operation="get-post", target="team t post p", status=418, request_id="r", retry_after=2.5
    )
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is kind
    assert (str(again), again.args) == ("what happened", ("what happened",))
    assert vars(again) == vars(error)
    assert (again.operation, again.target, again.status, again.request_id, again.retry_after) == (
        "get-post",
        "team t post p",
        418,
        "r",
        2.5,
    )


def test_each_cause_has_a_class_of_its_own() -> None:
    names = {kind.__name__.removeprefix("Octospark").removesuffix("Error") for kind in CLASSES}
    causes = "Settings Argument Request Auth Permission NotFound Conflict RateLimit Server Network Answer"
    assert names >= {*causes.split(), "PublishFailed", "Cancelled", "Unknown"}
