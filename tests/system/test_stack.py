"""What a failed start of Airflow says. That a start succeeds, the demo shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.processes import session_members
from tests.system.stack import AirflowStack, StackError

pytestmark = pytest.mark.slow


def test_a_failed_start_shows_the_end_of_the_log_and_where_the_rest_is(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "airflow.db"
    home = tmp_path / "home"
    stack = AirflowStack(tmp_path, home=home, env={"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{nowhere}"})
    with (
        pytest.raises(StackError, match=r"(?s)db migrate ended with exit code.*unable to open database") as failure,
        stack,
    ):
        pytest.fail("it started without a database")
    assert failure.value.__notes__ == [f"all logs: {home / 'logs'}"]
    assert session_members([stack.processes.pid("db-migrate")]) == []
