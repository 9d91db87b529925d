"""What the emulator's lists hold has exported, documented shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_type_hints

import pytest
from pydantic import ConfigDict, TypeAdapter, with_config

import airflow_provider_octospark.emulator as package
from airflow_provider_octospark.emulator import Emulator
from tests.docs.docstrings import fields
from tests.emulator.calling import Caller

SHAPES: dict[str, Callable[[Emulator], list[Any]]] = {
    "SubmissionEntry": lambda emulator: emulator.submissions(),
    "PublicationEntry": lambda emulator: emulator.publications(),
    "RequestEntry": lambda emulator: emulator.requests(),
    "ScheduledPostResponse": lambda emulator: emulator.scheduled_posts(),
}


@pytest.mark.parametrize("name", SHAPES)
def test_each_entry_has_the_exported_shape(name: str, emulator: Emulator, caller: Caller, post_id: str, x: str) -> None:
    assert name in package.__all__
    shape = getattr(package, name)
    caller.post_now(post_id, x)
    emulator.script("fail", post_id=post_id)
    caller.post_now(post_id, x)
    emulator.fault("get-post", "status", status=503)
    caller.get_post(post_id)
    emulator.advance_until_idle()
    entries = SHAPES[name](emulator)
    assert entries
    adapter = TypeAdapter(with_config(ConfigDict(extra="forbid", strict=True))(shape))
    for entry in entries:
        assert adapter.validate_python(entry) == entry
        assert list(entry) == list(get_type_hints(shape))


@pytest.mark.parametrize("name", SHAPES)
def test_each_key_is_documented(name: str) -> None:
    shape = getattr(package, name)
    assert list(fields(shape)) == list(get_type_hints(shape))
