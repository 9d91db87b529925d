"""Text of unknown origin, made safe to show."""

from __future__ import annotations

import base64
import json
import pickle
import unicodedata
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_octospark.api.text import Redaction, Secret, sanitize
from tests.api.calls import KEY
from tests.api.leaks import found_in, written_forms

keys = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60)


@given(st.text(), st.integers(1, 400))
def test_plain_gives_one_harmless_line(text: str, limit: int) -> None:
    line = sanitize(text, limit)
    assert len(line) <= limit
    assert line.isprintable()
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} for c in line)


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=100))
def test_plain_leaves_what_is_harmless(text: str) -> None:
    assert sanitize(text) == text


def test_a_text_of_megabytes_is_cut_before_it_is_looked_at() -> None:
    assert sanitize("a" * 50_000_000) == "a" * 299 + "…"


@given(keys, st.text(max_size=20), st.text(max_size=20))
def test_a_secret_is_taken_out_in_each_form(key: str, before: str, after: str) -> None:
    redaction = Redaction(key)
    forms = [
        key,
        quote(key, safe=""),
        quote_plus(key),
        json.dumps(key),
        json.dumps({"a": f"Bearer {key}"}),
        json.dumps(key).replace("/", "\\/"),
    ]
    for form in forms:
        text = before + form + after
        assert key not in redaction.of_text(text)
        assert form.strip('"') not in redaction.of_text(text)
        assert key.encode() not in redaction.of_bytes(text.encode("utf-8", "replace"))


@given(keys, st.binary(max_size=20), st.binary(max_size=20))
def test_a_secret_is_taken_out_of_base64_at_each_offset(key: str, before: bytes, after: bytes) -> None:
    redaction = Redaction(key)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        left = redaction.of_bytes(encode(before + key.encode() + after))
        for name, form in written_forms(key).items():
            assert "base64" not in name or form not in left, name


@given(st.text())
def test_a_text_without_the_secret_is_left_alone(text: str) -> None:
    assert Redaction(KEY).of_text(text) == text


@pytest.mark.parametrize("short", ["", "a", "status", "1234567"])
def test_what_is_too_short_to_be_a_secret_is_left_alone(short: str) -> None:
    assert Redaction(short).of_text(f'{{"status": "{short}"}}') == f'{{"status": "{short}"}}'


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(KEY)
    assert found_in(KEY, repr([secret, {"token": secret}])) == []
    assert f"Bearer {secret}" == f"Bearer {KEY}"
    assert pickle.loads(pickle.dumps(secret)) == KEY  # noqa: S301 - our own bytes
    assert (secret == KEY, hash(secret) == hash(KEY)) == (True, True)
