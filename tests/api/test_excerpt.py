"""Excerpts of responses: valid JSON of limited size, without the key, that says what is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_octospark.api.excerpt import LIMIT, MOST_RESPONSES, excerpt, excerpts_of
from airflow_provider_octospark.api.models import ScheduledPost, ScheduleMultiResponse
from airflow_provider_octospark.api.text import HIDDEN, Redaction
from tests.api.calls import SCHEDULED_POST

KEY = "octo_live_0123456789"
REDACTION = Redaction(KEY)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(f"a {KEY} b"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("__type") | st.just(KEY), inner),
)


@given(json_values)
def test_whatever_is_received_can_be_stored_without_the_key(value: Any) -> None:
    text = json.dumps(excerpt(value, REDACTION), allow_nan=False, ensure_ascii=False)
    assert KEY not in text
    assert "\0" not in text
    assert '"__type"' not in text
    text.encode()


def test_a_usual_response_is_whole_under_the_names_of_the_service_also_with_unknown_fields() -> None:
    sent = {**SCHEDULED_POST, "boosted": {"by": [1, 2.5, None, True]}}
    assert excerpts_of([ScheduledPost.model_validate(sent)], REDACTION) == [sent]
    several = {"data": [{"socialAccountId": sent["socialAccountId"], "scheduledPost": sent, "hint": "x"}], "more": 1}
    assert excerpts_of([ScheduleMultiResponse.model_validate(several)], REDACTION) == [several]


def test_a_key_in_any_form_that_json_can_write_is_removed() -> None:
    escaped = json.loads('"' + "".join(f"\\u{ord(letter):04x}" for letter in KEY) + '"')
    assert excerpt({escaped: [f"x{escaped}y"]}, REDACTION) == {HIDDEN: [f"x{HIDDEN}y"]}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 5_003, "x" * 5_000 + "[cut: 3 more characters]"),
        (list(range(203)), [*range(200), "[cut: 3 more entries]"]),
        ({str(n): n for n in range(203)}, {str(n): n for n in range(200)} | {"[cut]": "3 more entries"}),
        (float("nan"), "nan"),
        (10**30, "[cut: a number of 100 bits]"),
        ({"__type": 1}, {"(__type)": 1}),
        ("a\0b\ud800", "a\ufffdb\ufffd"),
    ],
    ids=lambda value: f"{value!r:.20}",
)
def test_what_is_cut_says_so(value: Any, shown: Any) -> None:
    assert excerpt(value, REDACTION) == shown


def test_a_large_response_is_cut_to_the_limit() -> None:
    for value in ({str(n): "é" * 4_000 for n in range(100)}, [[["x" * 600] * 60] * 60] * 60):
        shown = excerpt(value, REDACTION)
        assert 1_000 < len(json.dumps(shown)) <= LIMIT
        assert "[cut" in json.dumps(shown)
    many: Any = "x" * 90
    for _ in range(6):
        many = [many] * 12
    assert excerpt(many, REDACTION) == f"[cut: more than {LIMIT} characters]"
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    assert "1 entries that are nested too deeply" in json.dumps(excerpt(deep, REDACTION))


def test_responses_beyond_the_limit_are_counted() -> None:
    one = ScheduledPost.model_validate(SCHEDULED_POST)
    assert excerpts_of([one] * (MOST_RESPONSES + 7), REDACTION)[MOST_RESPONSES:] == ["[cut: 7 more responses]"]
    assert excerpts_of([one], REDACTION, 9) == [SCHEDULED_POST, "[cut: 8 more responses]"]
    assert excerpts_of([one, None], REDACTION) == [SCHEDULED_POST, None]
