"""Operations: how the installation is now, from what Redis holds: whoever asks need not reach every process."""

import time
from collections import Counter
from typing import NamedTuple

import msgspec
import orjson

from collector import connections, keys
from collector.archive.manifest import decode_file
from collector.connections import Redis
from collector.settings import Settings
from collector.stream import read
from collector.stream.partitions import Installation

MINUTES = 60  # of the curve
SILENT = 10  # seconds without a word of an edge, after which something is wrong with it
GONE = 86_400  # seconds, after which it is struck off
ARCHIVE_SECONDS = 30.0  # for which the archive's size is good enough: it reads the whole manifest


class Partition(NamedTuple):
    """A partition. Seconds: the age of the oldest event that waits for its columns or its file, 0 where none does."""

    number: int
    stream: int  # events in it: waiting, or not trimmed yet
    lag_seconds: float
    unarchived_seconds: float
    dead: int
    owned: bool  # whether a worker holds its lease
    fresh_seconds: (
        float | None
    )  # the longest of the last events from receipt to column, None before the first
    fresh_at: int


class Edge(msgspec.Struct, frozen=True):
    """What an edge said last of itself; see ingest/presence.py."""

    at: int
    spooled: int
    away: bool
    full: bool
    failure: str


class Memory(NamedTuple):
    """Bytes of Redis. most, mark: 0 where there is no limit."""

    used: int
    resident: int
    most: int
    mark: int


class Archived(NamedTuple):
    files: int
    rows: int
    bytes: int


class Operations:
    """Asks Redis alone. Blocks; raises connections.Unavailable when Redis cannot answer."""

    def __init__(self, client: Redis, installation: Installation, settings: Settings) -> None:
        self._client = client
        self._numbers = range(installation.partitions)
        self._settings = settings
        self._archived = (float("-inf"), Archived(0, 0, 0))

    def partitions(self, now: float) -> list[Partition]:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hgetall(keys.FRESH)
        for number in self._numbers:
            pipeline.hmget(keys.state(number), "cursor", "archived")
            pipeline.xlen(keys.events(number)).hlen(keys.dead(number)).exists(keys.lease(number))
        fresh, *flat = pipeline.execute()
        found = [flat[place : place + 4] for place in range(0, len(flat), 4)]
        cursors = [tuple((each or b"0-0").decode() for each in state) for state, *_ in found]
        waiting = read.many(self._client, {n: cursors[n][0] for n in self._numbers}, 1)
        unarchived = read.many(self._client, {n: cursors[n][1] for n in self._numbers}, 1)
        told = {int(number): orjson.loads(said) for number, said in fresh.items()}
        return [
            Partition(
                number,
                stream,
                _age(waiting[number], now),
                _age(unarchived[number], now),
                dead,
                bool(owned),
                told[number][1] if number in told else None,
                told[number][0] if number in told else 0,
            )
            for number, (_, stream, dead, owned) in zip(self._numbers, found, strict=True)
        ]

    def pace(self, now: float) -> list[tuple[int, Counter[tuple[str, str]]]]:
        """(Unix second of its start, events by outcome and reason) of each minute of the last hour, oldest first."""
        last = int(now) // 60
        minutes = range(last - MINUTES + 1, last + 1)
        pipeline = self._client.pipeline(transaction=False)
        for minute in minutes:
            pipeline.hgetall(keys.pace(minute))
        pace = []
        for minute, counted in zip(minutes, pipeline.execute(), strict=True):
            fates: Counter[tuple[str, str]] = Counter()
            for name, events in counted.items():
                outcome, _, reason = name.decode().partition("/")
                fates[outcome, reason] = int(events)
            pace.append((minute * 60, fates))
        return pace

    def edges(self, now: float) -> dict[str, Edge]:
        """The edges by name, with their last words. One that was silent for a day is struck off."""
        found = {}
        for raw, said in self._client.hgetall(keys.EDGES).items():
            edge = msgspec.json.decode(said, type=Edge)
            if edge.at < now - GONE:
                self._client.hdel(keys.EDGES, raw)
            else:
                found[raw.decode().removeprefix("collector:")] = edge
        return dict(sorted(found.items()))

    def workers(self) -> int:
        return int(self._client.zcard(keys.WORKERS))

    def memory(self) -> Memory:
        info = connections.memory(self._client)
        most = int(info.get("maxmemory", 0))
        mark = int(most * self._settings.high_water)
        return Memory(int(info["used_memory"]), int(info.get("used_memory_rss", 0)), most, mark)

    def archived(self) -> Archived:
        """What the files in force come to, half a minute old at most."""
        until, known = self._archived
        if time.monotonic() < until:
            return known
        pipeline = self._client.pipeline(transaction=False)
        for number in self._numbers:
            pipeline.smembers(f"{keys.partition(number)}:tags")
        tenants = [
            keys.tenant(number, tag.decode())
            for number, tags in zip(self._numbers, pipeline.execute(), strict=True)
            for tag in tags
        ]
        for tenant in tenants:
            pipeline.hvals(f"{tenant}:manifest")
        files = [decode_file(raw) for raws in pipeline.execute() for raw in raws]
        known = Archived(len(files), sum(each.rows for each in files), sum(each.bytes for each in files))
        self._archived = (time.monotonic() + ARCHIVE_SECONDS, known)
        return known


def _age(waiting: list[read.Entry], now: float) -> float:
    return max(now - read.parse(waiting[0].id)[0] / 1000, 0.0) if waiting else 0.0
