"""Take away each guard in turn: `python -m tests.mutation`. Some minutes; ends with `N passed, M failed`."""

from __future__ import annotations

import re
import sys

from tests.mutation.guards import GUARDS
from tests.mutation.trying import try_all, try_with_all


def main() -> int:
    """Print a table, and return 0 if no guard can be missed unnoticed."""
    said = try_with_all()
    whole = re.fullmatch(r"\d+ passed", said) is not None
    print(f"with all guards: {said}", flush=True)
    killed = 0
    concurrency = max(len(guard.name) for guard in GUARDS)
    for verdict in try_all() if whole else ():
        killed += verdict.scenario == "killed"
        remark = "" if verdict.scenario == "killed" else f"  ({verdict.said})"
        print(f"{verdict.guard.name:{concurrency}}  {verdict.guard.test}: {verdict.scenario}{remark}", flush=True)
    passed, failed = killed + whole, len(GUARDS) - killed + (not whole)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
