"""How Airflow's components wait for each other's locks on SQLite, when many histories keep them all busy.

Airflow loads this module (``[database] sql_alchemy_connect_args``) in each of its processes.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

# A logged request to the API server waits for the lock in its event loop, and so keeps a request of a task which holds the
# lock from letting it go. Only giving up ends that; meanwhile all other components must wait longer.
_IN_API_SERVER = 3.0
_ELSEWHERE = 60.0

CONNECT_ARGS: dict[str, Any] = {"timeout": _IN_API_SERVER if "api-server" in sys.argv else _ELSEWHERE}


def make_database(path: Path) -> None:
    """Make an empty database whose readers do not keep its writers waiting."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
