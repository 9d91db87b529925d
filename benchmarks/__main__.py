"""The benchmark: ``python -m benchmarks``; ``--quick`` for two minutes' worth of it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

GROUPS = ("waiting", "calls", "imports", "startup", "batch")


def main() -> int:
    """Measure, print the table, and tell by the exit code whether all targets were met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the most telling rows, once")
    parser.add_argument("--rounds", type=int, help="how often each case is measured (default 3; quick 1)")
    parser.add_argument("--only", choices=GROUPS, action="append", help="only this group of rows")
    parser.add_argument("--matching", default="", help="only cases whose name contains this")
    parser.add_argument("--json", type=Path, help="where to write all that was measured")
    arguments = parser.parse_args()

    # Before anything is imported that reads them: on a default machine they are not set, and they make TLS cheaper.
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        os.environ.pop(name, None)

    from importlib import import_module

    from benchmarks.environments import peers
    from benchmarks.plan import Plan
    from benchmarks.table import rendered

    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {text}", file=sys.stderr, flush=True)

    python, httpx2_path = peers(say)
    with ExitStack() as stack:
        plan = Plan(arguments.quick, python, httpx2_path, stack)
        groups = [import_module(f"benchmarks.{name}") for name in arguments.only or GROUPS]
        cases = [case for group in groups for case in group.cases(plan) if arguments.matching in case.key]
        plan.run(cases, arguments.rounds or (1 if arguments.quick else 3), say)
        rows = [row for group in groups for row in group.rows(plan) if row.ours.number is not None]
    if arguments.json:
        arguments.json.write_text(json.dumps(plan.results, indent=1))
    print(rendered(rows))
    missed = [row.what for row in rows if row.is_met is False]
    print(
        f"\n{sum(1 for row in rows if row.is_met)} targets met, {len(missed)} missed"
        + "".join(f"\n- {each}" for each in missed)
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
