"""The OpenAPI description, and that the emulator keeps to it whatever it is sent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.emulator.service.operations import OPERATION_NAMES, PATHS, called
from tests.emulator.calling import Caller
from tests.emulator.test_routes import REQUIRED

EXAMPLES = 3
"""Random requests for each operation, besides those that cover its limits one by one."""

LEFT_OUT = "^/_emulator/(faults|performance|reset|submissions|publications|requests|scheduled-posts)$"
"""The first asks for 5xx, the second for counts that are none, the third forgets what was answered, and the lists take nothing."""


def description(caller: Caller) -> dict[str, Any]:
    """The OpenAPI description, which needs no token."""
    content: dict[str, Any] = caller.tokenless.get("/openapi.json").json()
    return content


def test_it_has_all_operations(caller: Caller) -> None:
    paths = description(caller)["paths"]
    for name, (method, path) in PATHS.items():
        operation = paths[path][method.lower()]
        assert operation["operationId"] == name
        assert operation["responses"].keys() == {"200", "400", "401", "404"}


def test_it_requires_what_the_seed_pages_require(caller: Caller) -> None:
    schemas = description(caller)["components"]["schemas"]
    assert set(schemas["ScheduledPostResponse"]["required"]) == REQUIRED
    assert schemas["ScheduleMultiResponse"]["required"] == ["data", "outcome"]
    assert schemas["PostNowRequest"]["required"] == ["socialAccountId"]
    assert sorted(schemas["ScheduleMultiRequest"]["required"]) == ["scheduledAt", "socialAccountIds"]
    interval = schemas["PostNowRequest"]["properties"]["recurrenceIntervalDays"]
    assert (interval["type"], interval["minimum"], interval["maximum"]) == ("integer", 1, 365)


def test_it_is_kept_to(emulator: Emulator, tmp_path: Path) -> None:
    """schemathesis against a running emulator: no 5xx, and every response fits the description.

    Left out: that whatever fits the description is taken, since it cannot say what a time zone is or
    that of two fields one is needed.
    """
    post_id, account_id = emulator.posts[0]["id"], emulator.account_id("x")
    # A published post has a performance, whatever the settings are changed to.
    emulator.user_action("post_now", post_id, social_account_id=account_id)
    emulator.advance_until_idle()
    config = tmp_path / "schemathesis.toml"
    config.write_text(
        f"""
headers = {{ Authorization = "Bearer {emulator.token}" }}

[parameters]
"path.teamId" = "{emulator.team_id}"
"path.postId" = "{post_id}"
"path.socialAccountId" = "{account_id}"
"body.socialAccountId" = "{account_id}"
"""
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
            *("run", f"{emulator.base_url}/openapi.json", "--no-color", "--seed", "1"),
            *("--phases", "coverage,fuzzing", "--max-examples", str(EXAMPLES)),
            *("--checks", "all", "--exclude-checks", "positive_data_acceptance,allow_header_conformance"),
            *("--exclude-path-regex", LEFT_OUT, "--workers", "1"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    requests = emulator.requests()
    assert [each for each in requests if (each["status"] or 500) >= 500] == []
    reached = {
        call.name
        for each in requests
        if each["status"] == 200 and (call := called(each["method"], each["path"])) is not None
    }
    assert reached == set(OPERATION_NAMES)
