"""The kinds of tasks that chaos befalls, and the times that all of it is tuned to. The DAG file makes a DAG of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

TASK_ID: Final = "publish"
RETRIES: Final = 3

HEARTBEAT_TIMEOUT: Final = 20
"""Seconds without a heartbeat after which Airflow takes a task for dead; by default it is 300."""

SUBMIT_TIMEOUT: Final = 5.0
SETTLE_TIME: Final = 67.0
"""Just more than the shortest that goes with the above: a minute longer than it."""

PATIENT_CONN_ID: Final = "octospark_patient"
PATIENT_SUBMIT_TIMEOUT: Final = 14.0
PATIENT_SETTLE: Final = 76.0
"""For tasks whose ``execution_timeout`` is to strike first."""

EXECUTION_TIMEOUT: Final = 6.0

HIDDEN_TIMEOUT: Final = 10.0
"""How long a publication that others hide is waited for after its time."""

Call = Literal["post now", "one call", "one by one"]
Waits = Literal["no", "deferred", "staying"]


@dataclass(frozen=True)
class Shape:
    """A kind of task.

    :param call: post-now; schedule-multi in one call; or with ``accounts_per_call=1``.
    :param waits: whether the task waits until all is published, and where.
    :param hurried: whether ``execution_timeout`` strikes a submission that takes its time.
    """

    call: Call
    waits: Waits
    hurried: bool = False

    @property
    def dag_id(self) -> str:
        """The id of its DAG, which has one task."""
        words = ["chaos", self.call, "waits", self.waits, *(["hurried"] if self.hurried else [])]
        return "_".join(words).replace(" ", "_")

    @property
    def settle_time(self) -> float:
        """In seconds."""
        return PATIENT_SETTLE if self.hurried else SETTLE_TIME


CALLS: Final[tuple[Call, ...]] = ("post now", "one call", "one by one")
WAITS: Final[tuple[Waits, ...]] = ("no", "deferred", "staying")
SHAPES: Final = (
    *(Shape(call, waits) for call in CALLS for waits in WAITS),
    *(Shape(call, "no", hurried=True) for call in CALLS),
)
