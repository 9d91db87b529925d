"""The defaults and choices that operators, sensor and the layers below share.

Imports next to nothing: whoever parses a DAG file pays for what its operators import.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

CONN_ID = "octospark_default"
"""The connection's default id."""

RETURN_KEY = "return_value"
"""The XCom of what a task returns. Where Airflow has a name for this key differs between its versions."""

PUBLISH_TIMEOUT = timedelta(hours=24)
"""How long after its time a publication is given up as unknown."""

HIDDEN_TIMEOUT = timedelta(minutes=15)
"""How long after its time a publication may be hidden by a newer one of the same post."""

POLL_INTERVAL = 4.0
"""Shortest pause between two polls, in seconds."""

POLL_BACKOFF = 0.8
"""Growth of the pause with the square root of the seconds since it was due."""

SETTLE_TIME = timedelta(minutes=15)
"""Time within which a request takes effect and its submission shows on the post: an assumption, see docs/exactly-once.md."""

IfSubmitted = Literal["reattach", "resubmit", "fail"]
"""What a later try does with a target that was submitted and is not free."""

IfLate = Literal["fail", "skip"]
"""What becomes of what is too late to be submitted."""

IfBadItems = Literal["fail", "skip"]
"""What becomes of a batch of which some items are unusable."""

IfEmpty = Literal["fail", "skip"]
"""What becomes of a batch without items."""

PartialFailure = Literal["fail", "succeed"]
"""What becomes of a task of whose targets some, but not all, failed or are unknown."""

PAGE_SIZE = 50
"""How many targets of a batch share a page of the record; a page is always written whole."""
