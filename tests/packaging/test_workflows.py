"""The workflows name commands, environments and files that are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

import airflow_provider_octospark
from tests.cluster.servers import DEBIAN_PACKAGES
from tests.matrix.environments import ENVIRONMENTS

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_target_of_make_is_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    steps = [step for job in read(path)["jobs"].values() for step in job["steps"]]
    called = {word for step in steps for word in re.findall(r"^make ([a-z-]+)", step.get("run", ""), re.MULTILINE)}
    assert called
    assert called <= targets
    given = {word for step in steps for word in re.findall(r"^make .*?([A-Z_]+)=", step.get("run", ""), re.MULTILINE)}
    assert given <= set(re.findall(r"\$\((?:if \$\()?([A-Z_]+)\)", (ROOT / "Makefile").read_text()))


def test_ci_runs_the_oldest_and_the_newest_airflow_the_lowest_versions_and_httpx2() -> None:
    named = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["airflow"]["strategy"]["matrix"]["airflow"]
    by_name = {environment.name: environment for environment in ENVIRONMENTS}
    oldest, newest, httpx2, lowest = (by_name[name] for name in named)
    assert oldest == ENVIRONMENTS[0]
    assert newest.airflow == max((each.airflow for each in ENVIRONMENTS), key=lambda each: [*map(int, each.split("."))])
    assert any("httpx2" in requirement for requirement in httpx2.more)
    assert lowest.lowest


def test_ci_tries_the_ui_in_a_browser() -> None:
    steps = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["browser"]["steps"]
    assert "make test-browser" in [step.get("run") for step in steps]


def test_ci_brings_the_servers_of_the_cluster() -> None:
    steps = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["cluster"]["steps"]
    *_, install, test = [step.get("run", "") for step in steps]
    assert install.endswith(" ".join(DEBIAN_PACKAGES.values()))
    assert test == "make test-cluster"


def test_the_release_finds_the_version() -> None:
    source = Path(airflow_provider_octospark.__file__).read_text()
    assert re.findall(r'^__version__ = "(.*)"$', source, re.MULTILINE) == [airflow_provider_octospark.__version__]
