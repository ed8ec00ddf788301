"""Starts processes that cannot outlive their parent, kill -9 of it included.

Run as a script it *is* the leash: it ties itself to the parent and becomes the command, under the same pid.
On Linux the kernel sends SIGTERM when the parent is gone. Elsewhere a small watcher does, when a pipe that
only the parent holds open breaks. Nothing is imported beyond the standard library: 40 ms.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1  # linux/prctl.h
WATCH_SECONDS = 0.25
FIRST_FD, LAST_FD = 3, 256
NONE = -1


def start(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    output: IO[bytes] | int | None = None,
    keep: Sequence[int] = (),
    watcher: bool = not sys.platform.startswith("linux"),
) -> subprocess.Popen[bytes]:
    """Start a command on a leash, in a process group of its own, so that a Ctrl-C reaches only the parent.

    output: where its stdout and stderr go; None: ours. keep: file descriptors that it inherits.
    Call it from a thread that lives as long as the process should: Linux ties the child to the thread.
    """
    life, end = os.pipe() if watcher else (NONE, NONE)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(life), *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        env=None if env is None else dict(env),
        pass_fds=[*keep, life] if watcher else keep,
        process_group=0,
    )
    if watcher:
        os.close(life)
        weakref.finalize(process, os.close, end)
    return process


def _hold(parent: int, life: int) -> None:
    """Tie this process to the parent; it ends at once if the parent has gone already."""
    if life == NONE:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    elif os.fork() == 0:
        _watch(life, os.getppid())
    else:
        os.close(life)
    if os.getppid() != parent:
        raise SystemExit(1)


def _watch(life: int, held: int) -> None:
    """End `held` when the pipe breaks, and go when `held` has."""
    os.dup2(life, FIRST_FD)
    os.closerange(FIRST_FD + 1, LAST_FD)  # a lock that the command inherits must end with the command
    while os.getppid() == held:
        if select.select([FIRST_FD], [], [], WATCH_SECONDS)[0]:
            os.kill(held, signal.SIGTERM)
            break
    os._exit(0)


if __name__ == "__main__":
    _hold(int(sys.argv[1]), int(sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606 — becoming the command is the point
