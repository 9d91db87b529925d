"""The virtual environment with the peers, made once and kept in ``.venvs/``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from tests.matrix.environments import uv

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venvs" / "benchmarks"

PEERS = (
    "apache-airflow-providers-http",
    "apache-airflow-providers-dbt-cloud",
    "apache-airflow-providers-databricks",
)
HTTPX2 = ("httpx2", "httpcore2", "truststore")


def peers(say: Callable[[str], None]) -> tuple[Path, Path]:
    """Return an interpreter that has Airflow, the peers and this provider, and a folder with httpx2 alone."""
    airflow = version("apache-airflow")
    python, httpx2 = FOLDER / "bin" / "python", FOLDER / "httpx2"
    ready = FOLDER / f".ready-{airflow}"
    if not ready.exists():
        say(f"installing Airflow {airflow} and the peers into {FOLDER.relative_to(ROOT)}")
        shutil.rmtree(FOLDER, ignore_errors=True)
        uv("venv", "--quiet", "--python", sys.executable, FOLDER)
        pending: list[str | Path] = [f"apache-airflow=={airflow}", *PEERS, "--editable", ROOT]
        uv("pip", "install", "--quiet", "--python", python, *pending)
        uv("pip", "install", "--quiet", "--python", python, "--no-deps", "--target", httpx2, *HTTPX2)
        # As an installation that has run before: compiling is not what is measured.
        subprocess.run([python, "-m", "compileall", "-q", FOLDER / "lib"], check=False, stdout=subprocess.DEVNULL)  # noqa: S603
        ready.touch()
    return python, httpx2
