"""The environments of the matrix: which Airflow, resolved as of which day.

A version of Airflow that is installed today comes with dependencies that are newer than it, and some of them break it.
So everything is resolved as it was on a day soon after that version came out, as its users' lock files would have it. The
one exception is the provider ``common.compat``, through which this provider reaches all versions alike: a user of this
provider has a version of it that is not older than pyproject.toml says.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venvs"

COMPAT = "apache-airflow-providers-common-compat"
COMPAT_DAY = "2026-11-20"


@dataclass(frozen=True)
class Environment:
    """A virtual environment with one version of Airflow.

    :param name: what it is called on the command line.
    :param airflow: the version of Airflow.
    :param day: everything in it is as new as it was on this day.
    :param more: further requirements.
    :param lowest: whether each dependency that pyproject.toml names is of the lowest version that it allows.
    :param interpreter: the version of Python; None for that of the command line.
    """

    name: str
    airflow: str
    day: str
    more: tuple[str, ...] = ()
    lowest: bool = False
    interpreter: str | None = None

    @property
    def folder(self) -> Path:
        """Where it is kept between runs."""
        return FOLDER / f"airflow-{self.name}"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"


ENVIRONMENTS = (
    Environment("2.11", "2.11.2", "2026-04-01"),
    # Airflow 3.0 shows the forms of connections only where the FAB provider is installed.
    Environment("3.0", "3.0.6", "2025-09-15", ("apache-airflow-providers-fab",)),
    Environment("3.1", "3.1.8", "2026-04-01"),
    Environment("3.2", "3.2.2", "2026-06-20"),
    Environment("3.3", "3.3.2", "2026-11-20"),
    Environment("3.3-httpx2", "3.3.2", "2026-11-20", ("httpx2>=2.7,<3",)),
    Environment("2.11-lowest", "2.11.0", "2025-06-15", lowest=True),
    Environment("3.3-python3.12", "3.3.2", "2026-11-20", interpreter="3.12"),
    Environment("3.3-python3.13", "3.3.2", "2026-11-20", interpreter="3.13"),
)

# What the part of the suite that runs here needs beside the provider itself.
TEST_TOOLS = ("pytest>=8.2", "pytest-xdist>=3.6", "hypothesis>=6.100", "psutil", "jsonschema")


def find_uv() -> str:
    """Return the command `uv`, preferably the one beside this interpreter."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise SystemExit("uv is needed to make environments: pip install uv")
    return found


def uv(*arguments: str | Path) -> None:
    """Run uv; end the program with what it says if it fails."""
    # uv brings certificates of its own and would not trust those of a company's proxy, as pip does.
    env = {"UV_SYSTEM_CERTS": "true", **os.environ}
    done = subprocess.run([find_uv(), *map(str, arguments)], env=env, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"uv {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")


def has_python(version: str) -> bool:
    """Whether an interpreter of this version is installed; none is downloaded."""
    command = [find_uv(), "python", "find", "--no-python-downloads", "--quiet", version]
    return subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0


def build_wheel(folder: Path) -> Path:
    """Build the provider's wheel."""
    uv("build", "--wheel", "--quiet", "--out-dir", folder)
    [wheel] = folder.glob("*.whl")
    return wheel


def prepare(environment: Environment, wheel: Path, python: str) -> None:
    """Make the environment if it is not there as described, and install the wheel into it."""
    requirements = _requirements(environment, wheel)
    dated = ["--exclude-newer", environment.day, "--exclude-newer-package", f"{COMPAT}={COMPAT_DAY}"]
    described = _fingerprint(environment, python)
    marker = environment.folder / "described"
    if not marker.exists() or marker.read_text() != described:
        shutil.rmtree(environment.folder, ignore_errors=True)
        uv("venv", "--quiet", "--python", environment.interpreter or python, environment.folder)
        how = ["--resolution", "lowest-direct"] if environment.lowest else []
        uv("pip", "install", "--quiet", "--python", environment.python, *how, *dated, *requirements)
        marker.write_text(described)
    uv("pip", "install", "--quiet", "--python", environment.python, "--no-deps", "--reinstall", wheel)


def _requirements(environment: Environment, wheel: Path) -> Sequence[str]:
    airflow = f"apache-airflow=={environment.airflow}"
    return [airflow, f"airflow-provider-octospark[emulator] @ {wheel.as_uri()}", *TEST_TOOLS, *environment.more]


def _fingerprint(environment: Environment, python: str) -> str:
    """What the environment was made of; another pyproject.toml may ask for other dependencies."""
    pyproject = (ROOT / "pyproject.toml").read_bytes()
    return f"{environment} {TEST_TOOLS} {COMPAT_DAY} {python} {hashlib.sha256(pyproject).hexdigest()}"
