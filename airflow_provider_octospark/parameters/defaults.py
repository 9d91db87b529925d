"""Defaults and choices of parameters, shared by operators, sensor and the layers below.

Imports almost nothing, because parsing a DAG file imports this module.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

CONN_ID = "octospark_default"
"""The connection's default id."""

RETURN_KEY = "return_value"
"""The XCom key of a task's return value. Airflow's own constant moves between versions."""

PUBLISH_TIMEOUT = timedelta(hours=24)
"""How long after its time a publication is waited for; then its outcome is unknown."""

HIDDEN_TIMEOUT = timedelta(minutes=15)
"""How long after its time a publication may be hidden by a newer one of the same post; then its outcome is unknown."""

POLL_INTERVAL = 4.0
"""Shortest pause between two polls, in seconds."""

POLL_BACKOFF = 0.8
"""Growth of the pause: it is multiplied with the square root of the seconds since the publication was due."""

SETTLE_TIME = timedelta(minutes=15)
"""Time within which a request takes effect and its submission shows on the post: an assumption, see docs/exactly-once.md."""

COLLECTED_AFTER = timedelta(hours=24)
"""How long after its scheduled time a publication is measured."""

COLLECT_TIMEOUT = timedelta(hours=24)
"""How long to wait from then on for the service to collect the counts."""

COLLECT_INTERVAL = 300.0
"""Pause between two reads of a performance, in seconds; the service collects a few times in a week."""

IfNotPublished = Literal["fail", "skip"]
"""What happens to a task that measures if a publication failed."""

IfSubmitted = Literal["reattach", "resubmit", "fail"]
"""What a later try does with a target that was submitted already."""

IfLate = Literal["fail", "skip", "now"]
Repeats = Literal["refuse", "other_runs", "allow"]
"""What happens to a target that is too late to submit."""

IfBadItems = Literal["fail", "skip"]
"""What happens to a batch with unusable items."""

IfEmpty = Literal["fail", "skip"]
"""What happens to an empty batch."""

PartialFailure = Literal["fail", "succeed"]
"""What happens to a task if some of its targets, but not all, failed or are unknown."""

PAGE_SIZE = 50
"""How many targets of a batch share a page of the record; a page is always written whole."""
