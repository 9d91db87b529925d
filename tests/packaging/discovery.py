"""What the commands `airflow providers …` print in some environment."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# One process for all of them: starting Airflow takes longer than the commands do.
_COMMANDS = """
import contextlib, io, json, sys
from airflow.__main__ import main

for command in ("list", "hooks", "links", "triggers"):
    sys.argv = ["airflow", "providers", command, "--output", "json"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main()
    # Some versions log to the same stream before they answer.
    rows = json.loads(printed.getvalue()[printed.getvalue().index("[{"):])
    print("ANSWER", json.dumps([command, rows]), flush=True)
"""


def providers(python: str | Path, env: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the commands `list`, `hooks`, `links` and `triggers`."""
    done = subprocess.run(
        [str(python), "-P", "-c", _COMMANDS], env=dict(env), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(
        json.loads(line.removeprefix("ANSWER ")) for line in done.stdout.splitlines() if line.startswith("ANSWER ")
    )


def assert_discovered(found: Mapping[str, list[dict[str, Any]]], version: str) -> None:
    """The provider, its hook, its link and its triggers are among them."""
    [provider] = [row for row in found["list"] if row["package_name"] == "airflow-provider-octospark"]
    assert provider["version"] == version
    assert "Octospark" in provider["description"]
    [hook] = [row for row in found["hooks"] if row["connection_type"] == "octospark"]
    assert hook["class"] == "airflow_provider_octospark.hooks.octospark.OctosparkHook"
    assert hook["conn_id_attribute_name"] == "octospark_conn_id"
    assert hook["package_name"] == "airflow-provider-octospark"
    assert hook["hook_name"] == "Octospark"
    assert "airflow_provider_octospark.links.octospark.OctosparkPublishedPostLink" in _values(found["links"])
    assert "airflow_provider_octospark.triggers.octospark" in _values(found["triggers"])


def _values(rows: list[dict[str, Any]]) -> set[str]:
    return {str(value) for row in rows for value in row.values()}
