"""What all tests of the operators and the sensor in a real Airflow share."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.triggers import octospark as trigger_module


@pytest.fixture
def emulator(octospark_emulator: Emulator, airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The emulator, in real time, behind the default connection of an Airflow with a database."""
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", octospark_emulator.connection)
    return octospark_emulator


@pytest.fixture
def connect(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that changes the default connection's extra."""

    def change(**extra: Any) -> None:
        connection = json.loads(emulator.connection)
        connection["extra"] |= extra
        monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", json.dumps(connection))

    return change


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let triggers look at once: these tests run no scheduler that would have to see the task defer first."""
    monkeypatch.setattr(trigger_module, "FIRST_POLL_AFTER", timedelta(0))
    monkeypatch.setattr(trigger_module, "FIRST_POLLS_WITHIN", timedelta(milliseconds=50))


@dataclass
class Recorder:
    """How each try of each task ended, as Airflow told it to the task's callbacks."""

    ends: list[tuple[str, int, int, str]] = field(default_factory=list)
    errors: dict[tuple[str, int], list[BaseException]] = field(default_factory=dict)

    def default_args(self) -> dict[str, Any]:
        """What makes a DAG's tasks tell it."""
        return {
            "on_success_callback": self._callback("success"),
            "on_failure_callback": self._callback("failed"),
            "on_retry_callback": self._callback("up_for_retry"),
            "on_skipped_callback": self._callback("skipped"),
        }

    def error(self, task_id: str, map_index: int = -1) -> BaseException:
        """The one error of a task."""
        [error] = self.errors[task_id, map_index]
        return error

    def _callback(self, state: str) -> Callable[[Any], None]:
        def note(context: Any) -> None:
            ti = context["ti"]
            self.ends.append((ti.task_id, ti.map_index, ti.try_number, state))
            if state in {"failed", "up_for_retry"}:
                self.errors.setdefault((ti.task_id, ti.map_index), []).append(context["exception"])

        return note


@pytest.fixture
def recorder() -> Recorder:
    """A recorder for the tasks of one test."""
    return Recorder()


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int, str]]:
    """Each XCom that a task pushes: task, map index, try, key. Airflow's own function does the pushing."""
    from airflow.sdk.execution_time import task_runner

    pushes: list[tuple[str, int, int, str]] = []
    push = task_runner._xcom_push

    def noting(ti: Any, key: str, value: Any, *, mapped_length: int | None = None) -> None:
        pushes.append((ti.task_id, ti.map_index, ti.try_number, key))
        push(ti, key, value, mapped_length=mapped_length)

    monkeypatch.setattr(task_runner, "_xcom_push", noting)
    return pushes
