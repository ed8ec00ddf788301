"""Presence: what an edge says of itself to whoever minds the installation: its memory and its disk are its own."""

import asyncio
import contextlib

import msgspec

from collector import keys
from collector.clock import Clock
from collector.connections import NAME, AsyncRedis, Unavailable
from collector.ingest.commit import Committer
from collector.ingest.pressure import Pressure
from collector.ingest.spool import Spool

SECONDS = 2.0  # between two words


class Presence:
    """Tells how an edge is. While Redis is away it tells nothing, and its last word grows old: that is one, too."""

    def __init__(
        self, client: AsyncRedis, committer: Committer, spool: Spool | None, pressure: Pressure, clock: Clock
    ) -> None:
        self._client = client
        self._committer = committer
        self._spool = spool
        self._pressure = pressure
        self._clock = clock

    async def run(self) -> None:
        """Tell for ever; cancel it to stop, after which the edge is off the list."""
        try:
            while True:
                await self._tell()
                await asyncio.sleep(SECONDS)
        finally:
            with contextlib.suppress(*Unavailable):
                await self._client.hdel(keys.EDGES, NAME)

    async def _tell(self) -> None:
        said = {
            "at": int(self._clock()),
            "spooled": self._spool.rows if self._spool else 0,
            "away": self._committer.away,
            "full": self._pressure.high,
            "failure": (self._spool.failure or "") if self._spool else "",
        }
        try:
            await self._client.hset(keys.EDGES, NAME, msgspec.json.encode(said))
        except Unavailable:
            return
