"""`python -m tests.chaos`: random histories of real kills, and the count of those that kept what is promised."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Sequence

from tests.chaos.plans import Plan, random_plan
from tests.chaos.runs import Judged, judge_all, live_all
from tests.chaos.world import open_world
from tests.system.console import Console, end_in_order, print_failure
from tests.system.stack import StackError

AT_ONCE = 10
"""More than Airflow runs at once: most of them wait most of the time."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="makes the same plans again (default: a new one)")
    parser.add_argument("--histories", type=int, default=60, help="at most so many (default: %(default)s)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=6.0,
        help="begin no new history after so many minutes (default: %(default)s); the last ones take some more",
    )
    parser.add_argument("--only", type=int, default=None, help="only the history of this number")
    return parser.parse_args()


def _plans(options: argparse.Namespace, seed: int) -> Iterator[Plan]:
    deadline = time.monotonic() + 60 * options.minutes
    numbers = range(options.histories) if options.only is None else [options.only]
    for number in numbers:
        if time.monotonic() > deadline:
            return
        yield random_plan(seed, number)


def _print(judged: Sequence[Judged]) -> int:
    """Print every history and the counts; return how many have failed."""
    for each in sorted(judged, key=lambda each: int(each.history.plan.name.rpartition("-")[2])):
        print(each.summary)
        for problem in each.problems:
            print(f"    FAILED: {problem}")
    failed = sum(bool(each.problems) for each in judged)
    print(f"{len(judged) - failed} passed, {failed} failed", flush=True)
    return failed


def main() -> int:
    """Run; the exit code is 0 only if every history kept what is promised."""
    signal.signal(signal.SIGTERM, end_in_order)
    options = _options()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    say = Console()
    say(f"seed {seed}; --seed {seed} makes the same plans, though not the same timing")
    try:
        with open_world(say) as world:
            judged = judge_all(world, live_all(world, _plans(options, seed), at_once=AT_ONCE, say=say))
            failed = _print(judged)
            if failed:
                world.stack.keep_home = True
                print(f"the logs are in {world.stack.home / 'logs'}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\ninterrupted; everything has been ended")
        return 130
    except (StackError, TimeoutError) as error:
        print_failure(error)
        return 1
    return 1 if failed or not judged else 0


if __name__ == "__main__":
    sys.exit(main())
