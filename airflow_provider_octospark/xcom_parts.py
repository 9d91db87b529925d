"""JSON values that are too long for a deferral, kept in parts in the task's own XComs.

On MySQL, Airflow stores the arguments of a trigger in a column of 65,535 bytes. A longer value stays in XComs of the task
instance, and the arguments name them. A trigger can read and write single XComs, but has no task state store. Airflow deletes
the XComs of a task instance when a try starts, and not when a task resumes after a deferral.

Source: ``ti_run`` in ``airflow/api_fastapi/execution_api/routes/task_instances.py`` of Airflow 3.3, and
``_execute_task_with_callbacks`` in ``airflow/models/taskinstance.py`` of Airflow 2.11.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Self

from asgiref.sync import sync_to_async

from airflow_provider_octospark.airflow_compat import TaskName, read_xcom, triggers_have_xcoms, write_xcom

MOST_INLINE = 16_384
"""Maximum length of a value's JSON that a deferral carries itself, in bytes. Two of these, as Airflow serializes and encrypts
them, fill 49,000 bytes."""

PART = 100_000
"""Length of the JSON in one XCom, in bytes."""

_FIELD = "xcom_parts"


@dataclass(frozen=True)
class XComParts:
    """A value that is in XComs ``{key}_0``, ``{key}_1`` and so on of a task instance.

    :param map_index: -1 for a task that is not mapped.
    :param count: how many XComs there are.
    :param digest: the SHA-256 of the whole, so that the parts of another value are not taken for it.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    key: str
    count: int
    digest: str

    @classmethod
    def of(cls, value: object) -> Self | None:
        """Return the parts that a value names, or None if it is the value itself.

        :raises ValueError: if it names parts, but not completely.
        """
        fields = value.get(_FIELD) if isinstance(value, Mapping) else None
        if fields is None:
            return None
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f"{_FIELD} is unusable: {error}") from None

    def as_json(self) -> dict[str, Any]:
        """Return what stands in place of the value."""
        return {_FIELD: asdict(self)}

    def read(self) -> Any:
        """Return the value.

        :raises ValueError: if an XCom is gone, or belongs to another value.
        """
        texts = [read_xcom(self, f"{self.key}_{number}") for number in range(self.count)]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"an XCom {self.key}_… of task {self.task_id} is gone")
        text = "".join(texts)
        if _digest(text) != self.digest:
            raise ValueError(f"the XComs {self.key}_… of task {self.task_id} hold another value")
        return json.loads(text)


def fitting(value: Any, key: str, task: TaskName) -> Any:
    """Return a value if it is short; else write it to XComs of a task and return what names them. Blocks.

    :param value: JSON primitives.
    :param key: the XComs' key without a number; an earlier value of the same key is overwritten.
    """
    text = json.dumps(value, separators=(",", ":"))
    if len(text) <= MOST_INLINE or not triggers_have_xcoms():
        return value
    starts = range(0, len(text), PART)
    for number, start in enumerate(starts):
        write_xcom(task, f"{key}_{number}", text[start : start + PART])
    map_index = -1 if task.map_index is None else task.map_index
    parts = XComParts(task.dag_id, task.run_id, task.task_id, map_index, key, len(starts), _digest(text))
    return parts.as_json()


def whole(value: Any) -> Any:
    """Return the value that :func:`fitting` has returned or has put away. Blocks.

    :raises ValueError: if it cannot be read.
    """
    parts = XComParts.of(value)
    return value if parts is None else parts.read()


async def afitting(value: Any, key: str, task: TaskName) -> Any:
    """Like :func:`fitting`, in a triggerer."""
    return await sync_to_async(fitting)(value, key, task)


async def awhole(value: Any) -> Any:
    """Like :func:`whole`, in a triggerer."""
    return value if XComParts.of(value) is None else await sync_to_async(whole)(value)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
