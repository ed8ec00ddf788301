"""Ports for servers that tests stop and start again, which nobody takes meanwhile."""

import contextlib
import fcntl
import random
import socket
import tempfile
from pathlib import Path
from typing import TextIO

# Below those that a system hands out for outgoing connections, which begin at 32,768 on Linux. Each process that tests
# has a range to itself: a server that is down holds no port, and another's must not pass for it.
FIRST, EACH, RANGES = 10_000, 1_400, 16


def _claim() -> tuple[int, TextIO]:
    """A range that no other process holds, and the lock on it."""
    for side in range(RANGES):
        lock = (Path(tempfile.gettempdir()) / f"collector-tests-ports-{side}").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
        else:
            return side, lock
    raise RuntimeError(f"{RANGES} processes test here already, and there are no more ports for tests")


_side, _lock = _claim()
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
