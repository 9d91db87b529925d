"""Run the emulator: `python -m airflow_provider_octospark.emulator [--host 127.0.0.1] [--port 0]`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from typing import Any


def main(arguments: list[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit code.

    Print one line of JSON once connections are accepted: `base_url`, `token`, `team_id`, `posts`,
    `social_accounts` and `connection`.
    """
    asked_to_end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_end.set())

    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_octospark.emulator",
        description="A local emulator of the Octospark API. Prints one line of JSON when it is ready.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    options = parser.parse_args(arguments)

    # Imported here, because it takes a second in which a signal must not be lost.
    try:
        from airflow_provider_octospark.emulator import Emulator
    except ModuleNotFoundError as error:
        return _complain(str(error))
    try:
        emulator = Emulator(options.host, options.port).start()
    except (ValueError, OSError, OverflowError) as error:
        return _complain(f"cannot listen on {options.host}, port {options.port}: {error}")
    try:
        ready: dict[str, Any] = {
            "base_url": emulator.base_url,
            "token": emulator.token,
            "team_id": emulator.team_id,
            "posts": emulator.posts,
            "social_accounts": emulator.social_accounts,
            "connection": emulator.connection,
        }
        print(json.dumps(ready), flush=True)
        asked_to_end.wait()
    finally:
        emulator.stop()
    return 0


def _complain(message: str) -> int:
    print(f"octospark emulator: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
