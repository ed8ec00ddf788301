"""Interruption: stop a client at any of its commands, to kill its owner there or to let others move on first."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from collector import disk
from collector.connections import Redis

Happening = Callable[[], None]


class Killed(BaseException):
    """The process is gone at this point: nothing of it runs on, not even an `except Exception`."""


class _Fuse:
    """Lets something happen before or after the n-th step, once."""

    def __init__(self, at: int, before: bool, happening: Happening) -> None:
        self._left = at
        self._before = before
        self._happening = happening

    def __call__(self, step: Callable[[], Any]) -> Any:
        self._left -= 1
        if self._left == 0 and self._before:
            self._happening()
        done = step()
        if self._left == 0 and not self._before:
            self._happening()
        return done


_fuses: list[_Fuse] = []


@contextmanager
def interrupted(client: Redis, at: int, before: bool, happening: Happening) -> Iterator[None]:
    """Within, `happening` runs before or after the client's `at`-th step, if it comes that far.

    A step is a command that goes to the server, or a file or folder that goes to the disk: what is done in between
    nobody else can see. When `happening` raises Killed after a command, its answer is lost.
    """
    fuse = _Fuse(at, before, happening)
    send = client.execute_command
    client.execute_command = lambda *args, **options: fuse(lambda: send(*args, **options))
    _fuses.append(fuse)
    try:
        yield
    finally:
        _fuses.remove(fuse)
        client.execute_command = send


@contextmanager
def files_are_steps() -> Iterator[None]:
    """Within, what reaches the disk is a step of whoever is interrupted last; nothing is synced, to be quick."""
    sync = disk.sync
    disk.sync = lambda path: _fuses[-1](lambda: None) if _fuses else None
    try:
        yield
    finally:
        disk.sync = sync
