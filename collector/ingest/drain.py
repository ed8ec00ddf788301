"""Drain: brings what waits in spools to the streams, this process's own and those whose owners are gone."""

import asyncio
import time

from collector import log
from collector.connections import Unavailable
from collector.ingest.commit import GROUP, Committer
from collector.ingest.pressure import Pressure
from collector.ingest.spool import Spool
from collector.metrics import SPOOLED
from collector.settings import Settings
from collector.stream.append import Appender, Packed
from collector.stream.partitions import Installation
from collector.tags import TagCache

LOOK = 0.25  # seconds between looks for Redis: small beside the second or more that its restart takes
ORPHANS = 10.0  # seconds between looks for orphans: a process that ends is most often back sooner, and takes its own


class Drain:
    """Watches for Redis to come back. Events of a spool keep their ids: what is in a stream already is passed over."""

    def __init__(
        self,
        spool: Spool,
        committer: Committer,
        appender: Appender,
        tags: TagCache,
        pressure: Pressure,
        installation: Installation,
        settings: Settings,
    ) -> None:
        self._spool = spool
        self._committer = committer
        self._appender = appender
        self._tags = tags
        self._pressure = pressure
        self._installation = installation
        self._folder = settings.spool
        self._limit = settings.spool_bytes
        self._looked = float("-inf")
        self._log = log.get("spool")

    async def run(self) -> None:
        """Look for ever; cancel it to stop."""
        while True:
            try:
                await self.look()
            except Exception as bug:  # a file that fails must not end the drain of those that do not
                self._log.error("drain failed", error=type(bug).__name__)
                await asyncio.sleep(ORPHANS)
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Bring over what can be, if Redis answers and is the server that these events belong to."""
        if self._committer.away and not await self._tags.ask():
            return
        if self._pressure.high or not self._spool.rows or await self._empty(self._spool):
            self._committer.back()
        if not self._committer.away and time.monotonic() - self._looked > ORPHANS:
            self._looked = time.monotonic()
            await self._take_over()

    async def _empty(self, spool: Spool) -> bool:
        """Whether the spool is empty now."""
        while rows := await spool.take(GROUP):
            if self._pressure.high:
                return False
            partitions = self._installation.partitions
            group: list[Packed] = [(row.spread % partitions, row.mark or "", row.payload) for row in rows]
            try:
                appended = await self._appender.append_packed(group)
            except Unavailable as error:
                self._log.warning("drain waits", error=type(error).__name__)
                return False
            self._committer.back()
            await spool.drop(rows)
            SPOOLED.labels("appended").inc(sum(appended))
            SPOOLED.labels("duplicate").inc(len(appended) - sum(appended))
        return True

    async def _take_over(self) -> None:
        """Empty the spools whose owners are gone."""
        orphans = Spool.orphans(self._folder, self._installation, self._limit)
        while (orphan := await asyncio.to_thread(next, orphans, None)) is not None:
            try:
                await self._empty(orphan)
            finally:
                await orphan.close()
