"""Run the emulator: `python -m airflow_provider_octospark.emulator [--host 127.0.0.1] [--port 0] [--json]`."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_octospark.emulator import Emulator


def main(arguments: list[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit code.

    Once connections are accepted, print in a terminal what a user needs. With `--json`, and where stdout is no terminal, print one
    line of JSON: `base_url`, `token`, `team_id`, `posts`, `social_accounts` and `connection`.
    """
    asked_to_end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_end.set())

    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_octospark.emulator",
        description="A local emulator of the Octospark API. Prints how to reach it when it is ready.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--json", action="store_true", help="print one line of JSON, also in a terminal")
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
        is_for_program = options.json or not sys.stdout.isatty()
        print(_for_program(emulator) if is_for_program else _for_user(emulator), flush=True)
        asked_to_end.wait()
    finally:
        emulator.stop()
    return 0


def _for_program(emulator: Emulator) -> str:
    ready: dict[str, Any] = {
        "base_url": emulator.base_url,
        "token": emulator.token,
        "team_id": emulator.team_id,
        "posts": emulator.posts,
        "social_accounts": emulator.social_accounts,
        "connection": emulator.connection,
    }
    return json.dumps(ready)


def _for_user(emulator: Emulator) -> str:
    return f"""The Octospark emulator is ready. Ctrl-C ends it.

  Page      {emulator.base_url}/
  API       {emulator.base_url}
  API key   {emulator.token}
  Team      {emulator.team_id}
  Post      {emulator.posts[0]["id"]}
  Account   {emulator.account_id("x")}

Make it Airflow's connection in another terminal:

  export AIRFLOW_CONN_OCTOSPARK_DEFAULT={shlex.quote(emulator.connection)}
"""


def _complain(message: str) -> int:
    print(f"octospark emulator: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
