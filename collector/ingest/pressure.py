"""Pressure: whether Redis is so full that the edge must not fill it further."""

import asyncio
from typing import Any

from collector import log
from collector.connections import AsyncRedis, Unavailable, memory_async
from collector.metrics import HIGH_WATER
from collector.settings import Settings

LOOK = 1.0  # seconds between looks: at 20 MB/s of events, 10 % above the mark last 5 s in a server of 1 GB


class Pressure:
    """Looks at used and allowed memory now and then. `high`: above the high-water mark when last seen."""

    def __init__(self, client: AsyncRedis, settings: Settings) -> None:
        self._client = client
        self._mark = settings.high_water
        self._log = log.get("edge")
        self.high = False

    async def run(self) -> None:
        """Look for ever; cancel it to stop."""
        while True:
            await asyncio.sleep(LOOK)
            await self.look()

    async def look(self) -> None:
        """Look now; while Redis does not answer, what was seen last stays."""
        try:
            info: dict[str, Any] = await memory_async(self._client)
        except Unavailable:
            return
        limit, used = int(info.get("maxmemory", 0)), int(info["used_memory"])
        high = limit > 0 and used > limit * self._mark
        if high != self.high:
            self._log.warning(
                "Redis is above its high-water mark: events get 503" if high else "Redis has room again",
                used_bytes=used,
                maxmemory_bytes=limit,
            )
        self.high = high
        HIGH_WATER.set(high)
