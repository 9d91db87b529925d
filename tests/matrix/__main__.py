"""Run the core of the suite on each version of Airflow, against the wheel and not against the source tree."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.matrix.environments import ENVIRONMENTS, ROOT, Environment, build_wheel, has_python, prepare

# What a version can break: everything that reaches Airflow, and what the oldest dependencies can break.
CORE = (
    "tests/hooks",
    "tests/links",
    "tests/parameters",
    "tests/tasks",
    "tests/submission/test_batch.py",
    "tests/test_airflow_compat.py",
    "tests/test_cancellation.py",
    "tests/test_platform_urls.py",
    "tests/test_xcom_parts.py",
    "tests/matrix/core",
    "tests/packaging/test_info.py",
    "tests/packaging/test_form.py",
    "tests/system/test_examples.py",
)
STAGED = ("tests", "example_dags", "docs", "pyproject.toml", "README.md")


def stage(folder: Path) -> None:
    """Copy the tests without the package, so that they can only find the installed one."""
    for name in STAGED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)


def run(environment: Environment, folder: Path, arguments: list[str]) -> int:
    """Run the core in an environment; return pytest's exit code."""
    core = arguments or CORE
    command = [str(environment.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses", "2"]
    env = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run([*command, "--dist", "loadfile", *core], cwd=folder, env=env).returncode


def main() -> int:
    """Run the matrix; the exit code is 0 only if every environment passed."""
    names = [environment.name for environment in ENVIRONMENTS]
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="of these environments only")
    parser.add_argument(
        "--python", default=f"{sys.version_info.major}.{sys.version_info.minor}", help="default: this one"
    )
    parser.add_argument("--prepare", action="store_true", help="make the environments and run nothing")
    parser.add_argument("arguments", nargs="*", help="for pytest, after --; default: the core of the suite")
    options = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory(prefix="octospark-matrix-") as temporary:
        folder = Path(temporary)
        wheel = build_wheel(folder / "dist")
        stage(folder)
        for environment in ENVIRONMENTS:
            if environment.name not in options.only:
                continue
            if environment.interpreter is not None and not has_python(environment.interpreter):
                print(
                    f"== Airflow {environment.name}: skipped, Python {environment.interpreter} is not installed",
                    flush=True,
                )
                continue
            begin = time.monotonic()
            prepare(environment, wheel, options.python)
            print(f"== Airflow {environment.name}: ready after {time.monotonic() - begin:.0f} s", flush=True)
            if options.prepare:
                continue
            code = run(environment, folder, options.arguments)
            print(
                f"== Airflow {environment.name}: {'FAILED' if code else 'passed'}, {time.monotonic() - begin:.0f} s",
                flush=True,
            )
            failed += [environment.name] if code else []
    if failed:
        print(f"matrix: failed on Airflow {', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
