"""The distributions: what is in them, what the index says of them, and that Airflow finds the provider in the wheel."""

from __future__ import annotations

import email
import email.message
import email.policy
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_octospark
from tests.packaging.discovery import assert_discovered, providers

ROOT = Path(__file__).parents[2]
VERSION = airflow_provider_octospark.__version__


def run(*command: Any, **arguments: Any) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist, and the wheel that is built of it, as an index has them. Needs no network."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, env=environment)
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


@pytest.fixture(scope="module")
def wheel_names(built: dict[str, Path]) -> set[str]:
    return set(zipfile.ZipFile(built["wheel"]).namelist())


def test_they_are_named_as_the_version_says(built: dict[str, Path]) -> None:
    assert built["sdist"].name == f"airflow_provider_octospark-{VERSION}.tar.gz"
    assert built["wheel"].name == f"airflow_provider_octospark-{VERSION}-py3-none-any.whl"


def test_the_index_will_take_them(built: dict[str, Path]) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *built.values())


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel_names: set[str]) -> None:
    package = ROOT / "airflow_provider_octospark"
    source = {
        str(path.relative_to(ROOT))
        for path in package.rglob("*")
        if path.is_file()
        and not any(part == "__pycache__" or part.startswith(".") for part in path.relative_to(package).parts)
    }
    assert {"airflow_provider_octospark/py.typed", "airflow_provider_octospark/emulator/http/page.html"} <= wheel_names
    assert {name for name in wheel_names if ".dist-info/" not in name} == source
    assert {path.rpartition(".")[2] for path in source} <= {"py", "html", "js", "css", "typed"}


def test_the_wheel_carries_its_licence_and_entry_points(wheel_names: set[str], built: dict[str, Path]) -> None:
    info = f"airflow_provider_octospark-{VERSION}.dist-info"
    assert f"{info}/licenses/LICENSE" in wheel_names
    entry_points = zipfile.ZipFile(built["wheel"]).read(f"{info}/entry_points.txt").decode()
    assert "[apache_airflow_provider]" in entry_points
    assert "[pytest11]" in entry_points


def test_the_sdist_can_be_tested_and_holds_no_strays(built: dict[str, Path]) -> None:
    with tarfile.open(built["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    pending = {
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "hatch_build.py",
        "docs/index.md",
        *re.findall(r"!\[[^\]]+\]\((docs/images/[^)]+)\)", (ROOT / "README.md").read_text()),
        "tests/conftest.py",
    }
    assert pending <= names
    assert [name for name in pending if name.endswith(".png")]
    tops = {name.partition("/")[0] for name in names}
    allowed = {"airflow_provider_octospark", "benchmarks", "docs", "example_dags", "tests", ".gitignore", "PKG-INFO"}
    assert tops <= allowed | pending
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".db", ".log"))]


def test_the_description_has_no_link_that_breaks_on_an_index(built: dict[str, Path], tmp_path: Path) -> None:
    """Without a known repository links become text; with one they lead to the files of the release."""
    fields = metadata_of(built["wheel"])
    assert fields.get_all("Project-URL") == ["Homepage, https://octospark.ai"]
    assert re.findall(r"\]\((?!https?://)", str(fields.get_payload())) == []
    environment = {**os.environ, "GITHUB_SERVER_URL": "https://code.example", "GITHUB_REPOSITORY": "us/provider"}
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT, env=environment)
    [wheel] = tmp_path.glob("*.whl")
    fields = metadata_of(wheel)
    assert "Repository, https://code.example/us/provider" in fields.get_all("Project-URL", [])
    links = re.findall(
        r"\]\((?:https://code.example/us/provider/(?:blob|raw)/(v[^/]+)/)?([^)#]+)", str(fields.get_payload())
    )
    files = [path for release, path in links if release]
    assert {release for release, _ in links if release} == {f"v{VERSION}"}
    assert [path for path in files if path.endswith(".png")]
    assert [path for path in files if not (ROOT / path).exists()] == []
    assert all(release or path.startswith("http") for release, path in links)


def metadata_of(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name), policy=email.policy.default)


def test_airflow_finds_the_provider_in_the_wheel(built: dict[str, Path], tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    site_packages = next(venv.glob("lib/python*/site-packages"))
    # All but the provider comes from here. Such a line is only a path: it does not make this folder's own .pth files
    # count, and so not the editable installation of the source tree.
    (site_packages / "airflow.pth").write_text(sysconfig.get_paths()["purelib"])
    zipfile.ZipFile(built["wheel"]).extractall(site_packages)  # noqa: S202 - we made it
    env = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "AIRFLOW_HOME"}}
    env["AIRFLOW_HOME"] = str(tmp_path / "home")
    python = venv / "bin" / "python"
    where = run(python, "-P", "-c", "import airflow_provider_octospark as p; print(p.__file__)", env=env, cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(site_packages)
    assert_discovered(providers(python, env), VERSION)
