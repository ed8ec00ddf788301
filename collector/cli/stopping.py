"""Stopping: an event that signals set."""

import _thread
import signal
import threading


def on(*numbers: signal.Signals) -> threading.Event:
    """An event that any of the signals sets, however often it comes. Those that nobody wants to hear (nohup) stay so.

    A thread of its own sets it. A handler interrupts the main thread anywhere, also where that holds the event's lock
    because it waits or sets, and would then wait for itself for ever. For the same reason no threading.Thread.
    """
    stop = threading.Event()
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: _thread.start_new_thread(stop.set, ()))
    return stop
