"""A signal stops a role wherever it comes upon it."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from collector.cli import stopping


@pytest.fixture
def number() -> Iterator[signal.Signals]:
    before = signal.getsignal(signal.SIGUSR1)
    yield signal.SIGUSR1
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.timeout(20)
def test_a_signal_that_comes_while_the_event_is_being_set_or_waited_for_hangs_nothing(
    number: signal.Signals,
) -> None:
    stop = stopping.on(number)
    with stop._cond:  # type: ignore[attr-defined]  # as wait() and set() hold it for a moment
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
    assert stop.wait(10)


def test_what_is_ignored_stays_ignored(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_IGN)
    stop: threading.Event = stopping.on(number)
    os.kill(os.getpid(), number)
    assert not stop.wait(0.1)
