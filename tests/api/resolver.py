"""A resolver of the tests' own: names under .test, none of which leads off this machine."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.api.certificates import SERVICE_NAME
from tests.api.hostile import LOOPBACK

UNRESOLVABLE = "unresolvable.test"
UNREACHABLE = "unreachable.test"
SLOW = "slow.test"

SLOW_SECONDS = 4.0

# The broadcast address of the loopback net: the kernel says at once that it cannot be reached.
_ADDRESSES = {SERVICE_NAME: LOOPBACK, UNREACHABLE: "127.255.255.255"}


@contextmanager
def own_resolver() -> Iterator[list[str]]:
    """Resolve the tests' names here and addresses as ever; give the list of all other names that were asked for."""
    real = socket.getaddrinfo
    strangers: list[str] = []

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name == SLOW:
            time.sleep(SLOW_SECONDS)
        if name in _ADDRESSES:
            name = _ADDRESSES[name]
        elif name not in {None, "", "localhost", LOOPBACK, "::1"}:
            if name not in {UNRESOLVABLE, SLOW}:
                strangers.append(str(name))
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(name, port, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo
    try:
        yield strangers
    finally:
        socket.getaddrinfo = real
