"""The fault table as a page of the documentation: writing it, and reading its rows back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tests.api.cells import LONG, SHORT, Result

PAGE = Path(__file__).parents[2] / "docs" / "fault-table.md"
WRITE = "OCTOSPARK_WRITE_FAULT_TABLE"
"""The variable of the environment that asks for the page to be written."""

_HEAD = f"""# Fault table

What a caller gets when something goes wrong on the wire. Every fault was done to every operation by a real server on
loopback, once through the asynchronous client and once through the blocking one; both behaved alike, or the test that
writes this page fails. {{cells}} calls in all.

*Requests* counts the whole requests that reached the server. A request that may be repeated is repeated after a broken
connection, 429, 502, 503 and 504, within its time budget; a submission is sent once, whatever happens. *Longest* is the
time of the slowest of these calls.

The delays between repetitions are set such that there is time for one repetition. Calls that end by a timeout ran with
`timeout` and `submit_timeout` of {SHORT:g} s, and as much to connect; all others with {LONG:g} s. A read with all its
repetitions may take twice its timeout, a submission its timeout and the time to connect.

Written by `{WRITE}=1 python -m pytest tests/api/test_fault_table.py`; the same test, without
the variable, checks that this page is true. Seconds differ from machine to machine and are not compared.

| Fault | Requests that may be repeated | Submissions | Longest |
| --- | --- | --- | --- |
"""


def render(results: Sequence[Result]) -> str:
    """Return the page."""
    rows = []
    for title in dict.fromkeys(result.fault.title for result in results):
        mine = [result for result in results if result.fault.title == title]
        reads = _outcomes([result for result in mine if not result.call.submits])
        submissions = _outcomes([result for result in mine if result.call.submits])
        longest = max(result.seconds for result in mine)
        rows.append(f"| {_cell(title)} | {reads} | {submissions} | {longest:.1f} s |")
    return _HEAD.format(cells=len(results)) + "\n".join(rows) + "\n"


def rows_of(page: str) -> list[str]:
    """Return a page's rows without their times, and its other lines as they are."""
    return [re.sub(r"\| \d+\.\d s \|$", "|", line) for line in page.splitlines()]


def _outcomes(results: Sequence[Result]) -> str:
    """What these calls came to: what most did, then each exception with its operations."""
    kinds: dict[str, list[str]] = {}
    for result in results:
        requests = {0: "no request", 1: "1 request"}.get(result.requests, f"{result.requests} requests")
        operations = kinds.setdefault(f"{result.gets}, {requests}", [])
        if result.call.name not in operations:
            operations.append(result.call.name)
    usual, *others = sorted(kinds, key=lambda kind: -len(kinds[kind]))
    return "; ".join([_cell(usual), *(_cell(f"but {', '.join(kinds[kind])}: {kind}") for kind in others)])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("[", "\\[").replace("{", "\\{")
