"""Pressure: whether Redis is so full that the edge must not fill it further."""

import time
from collections.abc import Callable
from typing import Any

from collector.connections import AsyncRedis, Unavailable
from collector.settings import Settings

LOOK = 1.0  # seconds between looks: at 20 MB/s of events, 10 % above the mark last 5 s in a server of 1 GB


class Pressure:
    """Reads used and allowed memory now and then."""

    def __init__(
        self, client: AsyncRedis, settings: Settings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._mark = settings.high_water
        self._clock = clock
        self._looked = float("-inf")
        self._high = False

    async def high(self) -> bool:
        """True above the high-water mark; what was last seen while Redis does not answer."""
        now = self._clock()
        if now - self._looked >= LOOK:
            self._looked = now  # at once: only one request goes to look
            try:
                info: dict[str, Any] = await self._client.info("memory")
            except Unavailable:
                return self._high
            limit = int(info.get("maxmemory", 0))
            self._high = limit > 0 and int(info["used_memory"]) > limit * self._mark
        return self._high
