"""The test that users copy, run as they do: alone, in a folder of its own, without a home of Airflow's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.generated import COPIED_TEST

pytestmark = pytest.mark.slow


def test_it_passes(tmp_path: Path) -> None:
    shutil.copy(COPIED_TEST, tmp_path)
    # What a user's own Airflow has in the environment is left alone.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST"))}
    environment["AIRFLOW_HOME"] = str(tmp_path / "own")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", COPIED_TEST.name],
        cwd=tmp_path,
        env={**environment, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert not (tmp_path / "own").exists()
