"""Live: the audiences as they are now, for everybody who looks, at the cost of one who does."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool

from collector.audience.registry import Audience, NotFound
from collector.query.engine import Engine

FRESH = 1.0  # seconds for which what was seen is good enough
SPARE = 10  # looking takes this share of the time, so that those who watch never slow those who ask
REST = 300.0  # seconds after which a stream ends; the browser comes again, and is asked who it is
HELD = 60.0  # seconds that nobody asked for an audience, after which it is forgotten here

Row = dict[str, Any]


class Live:
    """Audiences as the API shows them, a second old at most. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[float, int, Row]] = {}
        self._turn = asyncio.Lock()  # one thread at a time for all streams: the others are for those who ask

    def rows(self, audiences: Sequence[Audience]) -> list[Row]:
        with self._lock:
            now = time.monotonic()
            stale = [
                audience
                for audience in audiences
                if (seen := self._seen.get(audience.id)) is None
                or now - seen[0] >= FRESH
                or seen[1] != audience.updated_at
            ]
            fresh = self._engine.describe(stale) if stale else []
            now = time.monotonic()
            self._seen = {key: seen for key, seen in self._seen.items() if now - seen[0] < HELD}
            for audience, row in zip(stale, fresh, strict=True):
                self._seen[audience.id] = (now, audience.updated_at, row)
            return [self._seen[audience.id][2] for audience in audiences]

    def known(self, audience: Audience) -> int | None:
        """The size that was seen last, if it was in the last minute."""
        seen = self._seen.get(audience.id)
        return None if seen is None else seen[2]["size"]

    async def stream(
        self,
        ids: Sequence[str],
        shown: Callable[[Sequence[Audience]], list[Row]],
        stopping: Callable[[], bool],
    ) -> AsyncIterator[bytes]:
        """Server-sent events: at first every row that `shown` makes, then those that changed; [] with nothing new."""
        end, sent = time.monotonic() + REST, dict[str, Row]()
        while time.monotonic() < end and not stopping():
            began = time.monotonic()
            async with self._turn:
                rows = await run_in_threadpool(self._shown, ids, shown)
            took = time.monotonic() - began
            fresh = [row for row in rows if sent.get(row["id"]) != row]
            sent |= {row["id"]: row for row in fresh}
            yield b"data: " + orjson.dumps(fresh) + b"\n\n"
            for _ in range(
                max(1, round(max(FRESH, SPARE * took) / FRESH))
            ):  # in steps, so that a stop is heard
                if stopping():
                    return
                await asyncio.sleep(FRESH)

    def _shown(self, ids: Sequence[str], shown: Callable[[Sequence[Audience]], list[Row]]) -> list[Row]:
        audiences = []
        for audience in ids:
            try:
                audiences.append(self._engine.registry.get(audience))
            except NotFound:
                continue
        return shown(audiences)
