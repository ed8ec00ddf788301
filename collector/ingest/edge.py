"""Edge: what every endpoint works with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from collector.clock import Clock, system
from collector.connections import AsyncRedis
from collector.health import Tally
from collector.ingest.commit import Committer
from collector.ingest.drain import Drain
from collector.ingest.patience import Patience
from collector.ingest.presence import Presence
from collector.ingest.pressure import Pressure
from collector.ingest.rates import Rates
from collector.ingest.spool import Spool
from collector.ingest.tagfiles import STATIC, TagFiles
from collector.metrics import AWAY, SPOOL_EVENTS
from collector.settings import Settings
from collector.stream.append import Appender
from collector.stream.partitions import Installation
from collector.tags import TagCache

LAST_WORDS = 3.0  # seconds that a chore has to end, before it is told again


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel chores until they have ended: redis-py may turn a cancellation into an error that a chore survives."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=LAST_WORDS)
    await asyncio.gather(*tasks, return_exceptions=True)


class Edge:
    """The parts of one edge process. They ask Redis when they are used, not when they are made.

    spool: what takes events while Redis is away; None: they get 503. away: whether Redis is, at the start.
    listed: whether it takes events, and so says how it is.
    """

    def __init__(
        self,
        settings: Settings,
        installation: Installation,
        client: AsyncRedis,
        *,
        spool: Spool | None = None,
        away: bool = False,
        listed: bool = True,
        clock: Clock = system,
        static: Path = STATIC,
    ) -> None:
        self.settings = settings
        self.secret = installation.secret
        self.clock = clock
        self.spool = spool
        self.tags = TagCache(client, settings, installation, clock=clock)
        self.tags.away = away
        appender = Appender(client, installation, settings)
        self.committer = Committer(appender, spool, away=away)
        self.patience = Patience(settings.body_timeout)
        self.tally = Tally(client, clock)
        self.pressure = Pressure(client, settings)
        self.rates = Rates(settings)
        self.files = TagFiles(static)
        self.draining = False  # set by whoever stops the process, so that /readyz says so first
        self._chores = [self.tally.run, self.pressure.run]
        if listed:
            self._chores.append(Presence(client, self.committer, spool, self.pressure, clock).run)
        if spool is not None:
            drain = Drain(spool, self.committer, appender, self.tags, self.pressure, installation, settings)
            self._chores.append(drain.run)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Do what goes on beside requests; at the end nothing that was taken waits in memory."""
        if self.spool is not None:
            SPOOL_EVENTS.set_function(lambda: self.spool.rows if self.spool else 0)
            AWAY.set_function(lambda: self.committer.away)
        if not self.committer.away:
            await self.pressure.look()
            await self.tags.ask()  # so that the tags are known, and in the snapshot, before Redis can be away
        tasks = [asyncio.create_task(chore()) for chore in self._chores]
        try:
            yield
        finally:
            await self.committer.drain()
            await _end(tasks)
            if self.spool is not None:
                await self.spool.close()
