"""Recorded: the sizes of many audiences over time, in one round trip."""

from collections.abc import Sequence

from collector import keys
from collector.audience.registry import Audience
from collector.connections import Redis
from collector.stream import read

Point = tuple[int, int]
"""(Unix second, size)."""


def since(client: Redis, audiences: Sequence[Audience], second: int) -> list[list[Point]]:
    """The recorded sizes of each audience from that Unix second on, oldest first."""
    pipeline = client.pipeline(transaction=False)
    for audience in audiences:
        pipeline.xrange(keys.history(audience.id), min=f"{second * 1000}-0")
    return [[_point(entry) for entry in entries] for entries in pipeline.execute()]


def latest(client: Redis, audiences: Sequence[Audience]) -> list[int | None]:
    """The size of each audience that was recorded last; None before the first."""
    pipeline = client.pipeline(transaction=False)
    for audience in audiences:
        pipeline.xrevrange(keys.history(audience.id), count=1)
    return [_point(entries[0])[1] if entries else None for entries in pipeline.execute()]


def _point(entry: tuple[bytes, dict[bytes, bytes]]) -> Point:
    return read.parse(entry[0])[0] // 1000, int(entry[1][b"size"])
