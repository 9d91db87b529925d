"""The link from a task to the published post, as Airflow 3 asks for it in the task and Airflow 2 in its webserver."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_octospark.links import octospark as links
from airflow_provider_octospark.links.octospark import OctosparkPublishedPostLink, published_url_of

URL = "https://x.com/i/web/status/1900000000000000001"


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ({"url": URL}, URL),
        ({"url": None}, ""),
        ({}, ""),
        ([{"url": None}, {"url": URL}, {"url": "https://other.example"}], URL),
        ([], ""),
        (None, ""),
        ("text", ""),
        ([1, None, [{"url": URL}]], ""),
        ({"url": 7}, ""),
    ],
)
def test_the_first_address_of_an_outcome_or_a_list(value: object, url: str) -> None:
    assert published_url_of(value) == url


@pytest.mark.parametrize(("known", "url"), [(None, ""), ("", ""), (URL, URL)])
def test_the_operator_itself_is_asked_and_not_xcom(
    known: str | None, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "XCom", None)
    operator: Any = SimpleNamespace(published_url=known, defer=None)
    assert OctosparkPublishedPostLink().get_link(operator, ti_key=None) == url  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "url"), [({"url": URL}, URL), ([{"url": URL}], URL), (None, "")])
def test_what_is_made_of_the_serialized_dag_reads_the_task_s_xcom(
    value: object, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def get_value(*, ti_key: Any, key: str) -> object:
        asked.append((ti_key, key))
        return value

    monkeypatch.setattr(links, "XCom", SimpleNamespace(get_value=get_value))
    serialized: Any = SimpleNamespace(defer=None)
    assert OctosparkPublishedPostLink().get_link(serialized, ti_key="this task") == url  # type: ignore[arg-type]
    assert asked == [("this task", "return_value")]
