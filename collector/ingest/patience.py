"""Patience: ends the wait for bodies that are too slow, with one timer for all of them."""

import asyncio

Task = asyncio.Task[object]

LOOKS = 10  # in the time that a body has: it may take a tenth longer


class Patience:
    """Watches the tasks that read a body. A timer for each of them took a twentieth of a request's time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: dict[Task, float] = {}
        self._late: set[Task] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Task:
        """The running task has so long from now on, until end()."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None  # noqa: S101 (an ASGI application runs in one)
        self._waiting[task] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds / LOOKS, self._look)
        return task

    def end(self, task: Task) -> None:
        self._waiting.pop(task, None)

    def ended(self, task: Task) -> bool:
        """Whether it was this patience that cancelled the task; if so it may go on, to say so."""
        late = task in self._late
        self._late.discard(task)
        return late and task.uncancel() == 0

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds / LOOKS, self._look) if self._waiting else None
        now = loop.time()
        for task in [task for task, end in self._waiting.items() if end <= now]:
            del self._waiting[task]
            self._late.add(task)
            task.cancel()
