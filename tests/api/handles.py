"""What a process holds open."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

_HANDLES = Path("/proc/self/fd")

needs_handles = pytest.mark.skipif(not _HANDLES.exists(), reason="counts open files in /proc")


def connections_to(port: int) -> list[int]:
    """Return the file handles of this process that are connections to a port of this machine."""
    return [number for entry in _HANDLES.iterdir() if _is_connected(number := int(entry.name), port)]


def _is_connected(number: int, port: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(number)) as connection:
            return bool(connection.getpeername()[1:2] == (port,))
    except (OSError, TypeError):
        return False
