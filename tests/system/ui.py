"""`make ui`: the demo, left up for a user to look around in until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time

from tests.system.console import Console, end_in_order, how_to_stop, print_failure
from tests.system.demo import EXAMPLE_DAGS, dags_folder, play, services
from tests.system.emulated import EmulatorProcess
from tests.system.stack import AirflowStack, StackError


def main() -> int:
    """Bring everything up, run the scenario once so that there is something to see, and stay."""
    signal.signal(signal.SIGTERM, end_in_order)
    try:
        with dags_folder(EXAMPLE_DAGS.glob("*.py")) as dags, services(Console(), dags) as (emulator, stack):
            _print_addresses(emulator, stack)
            with Console() as say:
                play(emulator, stack, say)
            _print_addresses(emulator, stack)
            while True:
                time.sleep(1)
                stack.check_components()
    except KeyboardInterrupt:
        print("\nall processes have been ended")
        return 0
    except (StackError, TimeoutError) as error:
        print_failure(error)
        return 1


def _print_addresses(emulator: EmulatorProcess, stack: AirflowStack) -> None:
    print(
        f"\nAirflow:  {stack.base_url}  (user {stack.username}, password {stack.password})"
        f"\nEmulator: {emulator.base_url}  (posts, accounts, requests)"
        f"\n{how_to_stop()}\n",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
