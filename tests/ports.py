"""Ports for servers that tests stop and start again, which nobody takes meanwhile."""

import contextlib
import os
import random
import socket

# Below those that a system hands out for outgoing connections, which begin at 32,768 on Linux. A range for each of
# the processes that test side by side: a server that is down holds no port, and another's must not pass for it.
FIRST, EACH, RANGES = 10_000, 1_400, 16
_side = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % RANGES
# Two runs at once, each with such processes, begin at different places.
_left = random.sample(range(FIRST + _side * EACH, FIRST + (_side + 1) * EACH, 2), EACH // 2)


def free_port() -> int:
    """A port of 127.0.0.1, given out once in this process; so is the one above it, unless that is held meanwhile."""
    while _left:
        port = _left.pop()
        with contextlib.suppress(OSError):
            for each in (port, port + 1):
                socket.create_server(("127.0.0.1", each)).close()
            return port
    raise RuntimeError("no free port is left for tests")
