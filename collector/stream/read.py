"""Read: a partition's entries after a cursor."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from redis.exceptions import ResponseError

from collector import keys
from collector.connections import Redis, clustered, lineage_of, steady
from collector.event import AppliedEvent, StreamedEvent, decode_applied, decode_streamed
from collector.stream import scripts

START = "0-0"


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One entry of a stream: its id «ms-seq» and the event as it was written."""

    id: bytes
    payload: bytes


class Page(list[Entry]):
    """Entries, and the lineage of the server that told them. What they lead to must be written to no other."""

    def __init__(self, lineage: str, entries: Iterable[Entry]) -> None:
        super().__init__(entries)
        self.lineage = lineage


def decode(entry: Entry) -> StreamedEvent | None:
    """The event of an entry; None for what nobody can decode: the worker keeps it as a dead letter."""
    try:
        return decode_streamed(entry.payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def decode_many(entries: Sequence[Entry]) -> list[AppliedEvent | None]:
    """What the worker applies of each entry; None as decode() gives it."""
    try:
        return [decode_applied(entry.payload) for entry in entries]
    except (msgspec.DecodeError, UnicodeDecodeError):
        # One of them is broken, which is rare: look at each.
        return [decode_applied(entry.payload) if decode(entry) else None for entry in entries]


def after(client: Redis, partition: int, cursor: str, count: int, last: str = "+") -> Page:
    """Up to count entries with an id after the cursor, up to and with `last`, oldest first."""
    return many(client, {partition: cursor}, count, last)[partition]


def last_id(client: Redis, partition: int) -> str:
    """The id of the newest entry that the stream ever had, trimmed or not; START if there was none."""
    try:
        info = client.xinfo_stream(keys.events(partition))
    except ResponseError as error:
        if "no such key" in str(error):
            return START
        raise
    newest: bytes = info["last-generated-id"]
    return newest.decode()


def parse(entry_id: bytes | str) -> tuple[int, int]:
    """(ms, seq) of an id: compare these, never the text."""
    ms, seq = entry_id.split("-") if isinstance(entry_id, str) else entry_id.split(b"-")
    return int(ms), int(seq)


def trim(client: Redis, partition: int) -> int:
    """Trim the partition's stream below both cursors (invariant 7); how many entries went."""
    script = client.register_script(scripts.source("stream", "trim", drains=True))
    gone: int = script(keys=[keys.events(partition), keys.state(partition)])
    return gone


def many(client: Redis, cursors: Mapping[int, str], count: int, last: str = "+") -> dict[int, Page]:
    """after() for many partitions, in one round trip: {partition: cursor} → {partition: entries}."""
    if clustered(client):
        return _of_cluster(client, cursors, count, last)
    # The names as bytes go past redis-py's reply callbacks, which build a dict an entry: 1–2 µs each.
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command(b"INFO", "replication")
    for partition, cursor in cursors.items():
        pipeline.execute_command(b"XRANGE", keys.events(partition), f"({cursor}", last, "COUNT", count)
    told, *replies = pipeline.execute()
    lineage = lineage_of(told)
    return {
        partition: Page(lineage, [Entry(row[0], row[1][1]) for row in rows])
        for partition, rows in zip(cursors, replies, strict=True)
    }


def _of_cluster(client: Redis, cursors: Mapping[int, str], count: int, last: str) -> dict[int, Page]:
    """A cluster needs the name as text to find the server, and gives the callback's dicts."""
    with steady(client, [keys.events(partition) for partition in cursors]) as lineages:
        return {
            partition: Page(
                lineage,
                [
                    Entry(entry_id, fields[b"e"])
                    for entry_id, fields in client.xrange(keys.events(partition), f"({cursor}", last, count)
                ],
            )
            for lineage, (partition, cursor) in zip(lineages, cursors.items(), strict=True)
        }
