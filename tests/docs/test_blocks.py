"""Every code block of the pages is run, or at least read by what it is written for."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from airflow.configuration import conf
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.outcomes import Outcome
from tests.docs.docstrings import fields
from tests.docs.generated import COPIED_TEST
from tests.docs.pages import DOCS, README, ROOT, Block, blocks, blocks_of
from tests.system.dag_runs import RunDag

COPIED = f"```python\n{COPIED_TEST.read_text().strip()}\n```"


def named(given: list[Block]) -> list[Any]:
    return [pytest.param(block, id=block.name) for block in given]


def dags_of(block: Block) -> list[DAG]:
    """Run a block as a module and return the DAGs that it makes."""
    # As a file would be: annotations and tracebacks name it.
    namespace: dict[str, Any] = {"__name__": "block"}
    exec(compile(block.text, block.name, "exec"), namespace)  # noqa: S102 - our own documentation
    return [value for value in namespace.values() if isinstance(value, DAG)]


def test_there_is_no_language_that_nobody_checks() -> None:
    assert {block.language for block in blocks()} <= {"python", "bash", "sh", "json", "ini", "yaml", "dockerfile"}


@pytest.mark.parametrize("block", named(blocks("ini")))
def test_settings_are_known_to_airflow(block: Block) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(block.text)
    known = conf.configuration_description
    for section in parser.sections():
        # Celery's are known to its provider, which is not installed with the other tests.
        if section.startswith("celery"):
            continue
        assert parser[section].keys() <= known[section]["options"].keys(), f"{block.name}: [{section}]"


@pytest.mark.parametrize("block", named(blocks("yaml")))
def test_yaml_can_be_read(block: Block) -> None:
    assert isinstance(yaml.safe_load(block.text), dict)


def test_the_image_is_that_of_the_tested_airflow() -> None:
    makefile = (ROOT / "Makefile").read_text()
    [tested] = re.findall(r"^AIRFLOW_VERSION := (.*)$", makefile, re.MULTILINE)
    for block in blocks("dockerfile"):
        assert block.text.startswith(f"FROM apache/airflow:{tested}\n"), block.name


@pytest.mark.parametrize("block", named(blocks("python")))
def test_python_runs(block: Block, emulator_behind_default: Emulator) -> None:
    if f"```python\n{block.text.strip()}\n```" == COPIED:
        compile(block.text, block.name, "exec")  # it is a test, and runs as one
        return
    dags_of(block)
    assert emulator_behind_default.submissions() == []


def test_the_readmes_first_dag_publishes(emulator_behind_default: Emulator, run_dag: RunDag) -> None:
    [block] = [each for each in blocks_of(README) if each.language == "python"]
    source = block.text.replace("schedule=None):", "schedule=None) as dag:")
    [dag] = dags_of(Block(block.page, "python", block.line, source))
    finished = run_dag(dag)
    assert finished.state == "success"
    assert finished.xcom("publish")["state"] == "published"
    assert len(emulator_behind_default.publications()) == 1


def test_the_readmes_connection_is_that_of_the_emulator(octospark_emulator: Emulator) -> None:
    [block] = [each for each in blocks_of(README) if "AIRFLOW_CONN_OCTOSPARK_DEFAULT" in each.text]
    command = f'{block.text}\nprintf %s "$AIRFLOW_CONN_OCTOSPARK_DEFAULT"'
    printed = subprocess.run(["bash", "-euc", command], capture_output=True, text=True, check=True).stdout
    written, pending = json.loads(printed), json.loads(octospark_emulator.connection)
    # A test's emulator takes any free port.
    assert {**written, "port": None} == {**pending, "port": None}
    assert isinstance(written["port"], int)


def test_the_ids_on_the_pages_are_those_of_the_emulator(octospark_emulator: Emulator) -> None:
    known = {octospark_emulator.team_id, *(each["id"] for each in octospark_emulator.posts)}
    known |= {each["id"] for each in octospark_emulator.social_accounts}
    # In the reference pages' own form, where an id of one's own belongs; and the submission of an example.
    placeholders = {"3c90c3cc-0d44-4b50-8888-8dd25736052a", "0b7e2f9c-6b1e-4f8c-9d51-0d8c1c1f4b11"}
    for block in blocks("python", "bash", "sh", "json"):
        for found in re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", block.text):
            assert found in known | placeholders, f"{block.name}: {found}"


@pytest.mark.parametrize("block", named(blocks("bash", "sh")))
def test_shell_can_be_read(block: Block) -> None:
    done = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_shell_blocks_name_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pyproject = (ROOT / "pyproject.toml").read_text()
    for block in blocks("bash"):
        for line in block.text.splitlines():
            command = line.partition("#")[0].split()
            if command[:1] == ["make"]:
                assert set(command[1:]) <= targets, f"{block.name}: {line}"
            if command[:2] == ["python", "-m"]:
                module = ROOT / command[2].replace(".", "/")
                assert (module / "__main__.py").exists() or module.with_suffix(".py").exists(), line
            for extra in re.findall(r"airflow-provider-octospark\[(\w+)\]", line):
                assert re.search(rf"^{extra} = \[", pyproject, re.MULTILINE), f"{block.name}: {line}"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_ids_are_found_with_the_commands_of_the_set_up(octospark_emulator: Emulator) -> None:
    [block] = [each for each in blocks_of(DOCS / "set-up.md") if "curl" in each.text]
    env = {
        "PATH": os.environ["PATH"],
        "API": octospark_emulator.base_url,
        "OCTOSPARK_KEY": octospark_emulator.token,
        "ORGANIZATION_ID": octospark_emulator.organization_id,
        "TEAM_ID": octospark_emulator.team_id,
        "no_proxy": "*",
    }
    done = subprocess.run(["bash", "-euc", block.text], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    organizations, teams, posts, accounts = map(json.loads, done.stdout.splitlines())
    assert organizations["data"][0]["id"] == octospark_emulator.organization_id
    assert teams["data"][0]["id"] == octospark_emulator.team_id
    assert {post["id"] for post in posts["data"]} == {post["id"] for post in octospark_emulator.posts}
    assert len(accounts["data"]) == len(octospark_emulator.social_accounts)


def test_the_outcome_that_is_shown_is_one() -> None:
    [block] = blocks("json")
    shown = json.loads(block.text)
    assert list(shown) == list(Outcome.model_fields)
    assert Outcome.model_validate(shown).as_json() == shown
    assert list(shown) == list(fields(Outcome)), "the table of the reference page has every field"


@pytest.fixture
def emulator_behind_default(octospark_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    monkeypatch.setenv("AIRFLOW_CONN_OCTOSPARK_DEFAULT", octospark_emulator.connection)
    return octospark_emulator


def test_no_page_tells_of_the_machine_it_was_written_on() -> None:
    for page in [README, *DOCS.glob("*.md")]:
        assert str(Path.home()) not in page.read_text()
        assert str(ROOT) not in page.read_text()
