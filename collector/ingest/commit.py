"""Commit: puts the events of many requests on disk in one go, Redis' or the spool's; each waits for its own."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from redis.exceptions import OutOfMemoryError

from collector import log
from collector.connections import Unavailable
from collector.consent import ConsentedEvent
from collector.metrics import APPEND_GROUP, APPEND_SECONDS

GROUP = 500  # events a script call: about 3 ms in the server, which serves nobody else meanwhile
WAITING = 20_000  # events in memory, about 20 MB: a queue of a second or less at the pace of FACTS, then 503

Stored = list[bool | None]
"""For each event: True appended and on disk, False a duplicate, None not known to be stored."""


class Appends(Protocol):
    """What commit needs of stream.append.Appender."""

    async def append(self, group: Sequence[ConsentedEvent]) -> list[bool]: ...


class Spools(Protocol):
    """What commit needs of spool.Spool."""

    failure: str

    @property
    def rows(self) -> int: ...

    async def put(self, group: Sequence[ConsentedEvent]) -> list[bool]: ...

    async def purge(self, group: Sequence[ConsentedEvent]) -> None: ...


class Committer:
    """Groups the events that wait while an append is under way into the next one.

    `away`: Redis did not take the last group, so that the spool takes all until back() is called. Without a spool
    each group tries Redis, and is not stored if that fails.
    """

    def __init__(self, appender: Appends, spool: Spools | None = None, *, away: bool = False) -> None:
        self._appender = appender
        self._spool = spool
        self._log = log.get("spool")
        self.away = away
        self._waiting: deque[tuple[list[ConsentedEvent], asyncio.Future[Stored]]] = deque()
        self._count = 0
        self._running: asyncio.Task[None] | None = None

    async def commit(self, events: list[ConsentedEvent]) -> Stored:
        """Append the events; returns when the fate of each is known. None all over when too many wait."""
        if len(events) <= GROUP:
            return await self._join(events)
        parts = [self._join(events[at : at + GROUP]) for at in range(0, len(events), GROUP)]
        return [stored for part in parts for stored in await part]

    def back(self) -> None:
        """Redis takes events again."""
        if self.away:
            self._log.warning("Redis is back, the spool is drained")
            if self._spool is not None:
                self._spool.failure = ""  # nothing is asked of it any more
        self.away = False

    async def drain(self) -> None:
        """Return when nothing waits."""
        if self._running is not None:
            await self._running

    def _join(self, events: list[ConsentedEvent]) -> asyncio.Future[Stored]:
        future: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        if not events or self._count + len(events) > WAITING:
            future.set_result([None] * len(events))
            return future
        self._waiting.append((events, future))
        self._count += len(events)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return future

    async def _run(self) -> None:
        while self._waiting:
            requests = [self._waiting.popleft()]
            size = len(requests[0][0])
            while self._waiting and size + len(self._waiting[0][0]) <= GROUP:
                requests.append(self._waiting.popleft())
                size += len(requests[-1][0])
            await self._append(requests)
            self._count -= size

    async def _append(self, requests: list[tuple[list[ConsentedEvent], asyncio.Future[Stored]]]) -> None:
        try:
            stored = await self._store([event for events, _ in requests for event in events])
        except Exception as bug:  # the requests must end, and the next group be tried
            for _, future in requests:
                if not future.done():
                    future.set_exception(bug)
            return
        at = 0
        for events, future in requests:
            if not future.done():  # whoever hung up waits no more; the events are on disk all the same
                future.set_result(stored[at : at + len(events)])
            at += len(events)

    async def _store(self, group: list[ConsentedEvent]) -> Stored:
        if self.away and self._spool is not None:
            return await self._put(self._spool, group)
        started = time.perf_counter()
        try:
            appended = await self._appender.append(group)
        except OutOfMemoryError:  # full, not away: a spool would only put off what the sender can do as well
            return [None] * len(group)
        except Unavailable as error:
            if self._spool is None:
                return [None] * len(group)
            self.away = True
            self._log.warning("Redis takes no events, the spool does", error=type(error).__name__)
            return await self._put(self._spool, group)
        APPEND_SECONDS.observe(time.perf_counter() - started)
        APPEND_GROUP.observe(len(group))
        if self._spool is not None and self._spool.rows:
            await self._spool.purge(group)
        return list(appended)

    async def _put(self, spool: Spools, group: list[ConsentedEvent]) -> Stored:
        return [stored or None for stored in await spool.put(group)]
