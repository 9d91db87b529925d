"""Every log line and error of the situations in `cases.py`, as a user reads them.

`OCTOSPARK_MESSAGES=FILE` writes them to a file, so that a person can read them whole.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.submission.cases import CASES, Case
from tests.submission.harness import Bench, Killed

WRONG = {
    r"\.\.(?!\.)": "two full stops",
    r"\.[;)](?! )": "a full stop within a sentence",
    r" {2}": "two spaces",
    r"(?<!=)\bNone\b|\bnull\b": "a word of a programming language",
    r"\[\]|\{\}": "an empty list",
    r"\b1 (targets|accounts|posts|requests|tries)\b": "one of many",
    r"\b0 of \d": "nothing of something",
    r"(?<![T\d])\d+:\d\d:\d\d\.\d": "a duration in microseconds",
    r": : |; ;|\(\)": "an empty part",
    r"(\b[A-Z][a-z]+(?: [A-Z][a-z]+)*): \1\b": "the same words twice",
}
"""What no message says, as patterns, and why."""

_IDS = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "<request>"),
    (re.compile(r"\b20\d\d-\d\d-\d\dT[\d:.]+(Z|\+00:00)?"), "<time>"),
)


def messages_of(case: Case, bench: Bench) -> list[str]:
    """Play a situation; return the lines of each try's log, and its error."""
    messages = []
    for each in case.play(bench).tries:
        messages += each.log
        if each.error is not None and not isinstance(each.error, Killed):
            messages.append(str(each.error))
    bench.settle()
    return messages


@pytest.mark.parametrize("case", CASES, ids=[f"{case.group}: {case.situation}" for case in CASES])
def test_a_message_is_a_sentence(bench: Bench, case: Case) -> None:
    """It begins with a capital letter, ends with a full stop, and says nothing that is in ``WRONG``."""
    for message in messages_of(case, bench):
        faults = [why for pattern, why in WRONG.items() if re.search(pattern, message)]
        assert not faults, f"{', '.join(faults)}: {message}"
        assert re.match(r"[A-Z]|(post-now|schedule-multi|get-post) \(", message), message
        assert re.search(r"[.…!?]$|: https://\S+$|Dry run: ", message), message
        if "account" in message and "Request " not in message:
            assert re.search(r"\bpost\b", message, re.IGNORECASE), f"a batch has hundreds of posts: {message}"


@pytest.mark.skipif("OCTOSPARK_MESSAGES" not in os.environ, reason="writes a file for a person to read")
def test_write_them_all(bench: Bench) -> None:
    counts: dict[str, int] = {}
    for case in CASES:
        bench.reset()
        for message in messages_of(case, bench):
            for pattern, name in _IDS:
                message = pattern.sub(name, message)
            counts[message] = counts.get(message, 0) + 1
    Path(os.environ["OCTOSPARK_MESSAGES"]).write_text(
        "".join(f"{count:4} {message}\n" for message, count in counts.items()), encoding="utf-8"
    )
