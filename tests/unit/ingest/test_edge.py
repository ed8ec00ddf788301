"""The edge's chores end when it does."""

import asyncio

import pytest

from collector import connections
from collector.connections import Redis
from collector.ingest import edge as module
from collector.ingest.edge import Edge
from collector.settings import Settings
from collector.stream.partitions import open_installation


def test_a_chore_that_survives_being_cancelled_is_told_again(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does whose command to Redis makes an error of the cancellation."""
    monkeypatch.setattr(module, "LAST_WORDS", 0.05)
    cancelled = 0

    async def chore() -> None:
        nonlocal cancelled
        while cancelled < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled += 1

    async def main() -> None:
        client = connections.open_async(settings, timeout=10)
        edge = Edge(settings, open_installation(redis, settings), client, spool=None)
        edge._chores.append(chore)
        async with asyncio.timeout(10):
            async with edge.running():
                await asyncio.sleep(0.1)
        await client.aclose()

    asyncio.run(main())
    assert cancelled == 2
