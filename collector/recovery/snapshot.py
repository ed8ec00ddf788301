"""Snapshot: what an installation has that cannot be remade, each partition at one moment.

The rest is derived: dictionaries, columns and event ids follow from the archive's rows and the stream's tail.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from collector import keys
from collector.archive.manifest import File, decode_file
from collector.connections import Redis
from collector.stream import read, scripts

PAGE = 5_000  # entries or keys at a time
PASSING = {keys.WORKERS, keys.CHORES, keys.EDGES, keys.FRESH}  # who is at work now, and how: nothing to keep


class Record(msgspec.Struct):
    """A key of no partition: its name, type, seconds to live (0: for ever) and content, flat."""

    name: str
    kind: str
    life: int
    content: list[bytes]


class Holding(msgspec.Struct):
    """What a tag has in a partition. leaves: leaf → its hash; bars and tombs: mark → Unix second."""

    leaves: dict[str, dict[str, str]]
    bars: dict[int, int]
    tombs: dict[int, int]
    erasing: list[int]
    files: list[File]


class Share(msgspec.Struct):
    """A partition: the files hold what came up to `archived`, the stream's tail the rest up to `newest`."""

    archived: str
    epoch: int
    erasures: int
    newest: str
    imports: dict[str, int]
    dead: dict[bytes, bytes]
    pending: dict[bytes, bytes]  # erasures that are not proven yet
    tags: dict[str, Holding]


class Moved(Exception):
    """The archive took over a part of the tail while that was read: take the share anew."""


def common(client: Redis) -> list[Record]:
    """The keys that belong to no partition: tags, API keys, audiences and their history, ledgers, counts."""
    found = []
    for name in sorted({raw.decode() for raw in client.scan_iter("{c}:*", count=PAGE)} - PASSING):
        kind = client.type(name).decode()
        content = _content(client, name, kind)
        if content:  # else it went meanwhile
            found.append(Record(name, kind, max(client.ttl(name), 0), content))
    return found


def put(client: Redis, record: Record) -> None:
    """Write a key as it was."""
    parts = record.content
    match record.kind:
        case "hash":
            client.hset(record.name, items=parts)
        case "string":
            client.set(record.name, parts[0])
        case "stream":
            for i in range(0, len(parts), 2):
                client.xadd(record.name, msgspec.msgpack.decode(parts[i + 1]), id=parts[i].decode())
    if record.life:
        client.expire(record.name, record.life)


def _content(client: Redis, name: str, kind: str) -> list[bytes]:
    match kind:
        case "hash":
            return [part for item in client.hgetall(name).items() for part in item]
        case "string":
            return [value] if (value := client.get(name)) is not None else []
        case "stream":
            return [
                part for entry, held in client.xrange(name) for part in (entry, msgspec.msgpack.encode(held))
            ]
        case "none":
            return []
    raise NotImplementedError(f"{name} is a {kind}: keys.py has no such key")


def share(client: Redis, number: int) -> Share:
    """A partition at one moment. Raises connections.Unavailable."""
    script = client.register_script(scripts.source("recovery", "share", "newest", drains=True))
    archived, epoch, erasures, newest, imports, dead, pending, tags = script(
        keys=[keys.state(number)], args=[keys.partition(number)]
    )
    return Share(
        archived.decode(),
        epoch,
        erasures,
        newest.decode(),
        {name.decode(): int(line) for name, line in _pairs(imports)},
        dict(_pairs(dead)),
        dict(_pairs(pending)),
        {
            tag.decode(): Holding(
                {
                    leaf.decode(): {name.decode(): value.decode() for name, value in _pairs(fields)}
                    for leaf, fields in leaves
                },
                {int(mark): int(until) for mark, until in _pairs(bars)},
                {int(mark): int(until) for mark, until in _pairs(tombs)},
                [int(mark) for mark in erasing],
                sorted(map(decode_file, files), key=lambda file: file.name),
            )
            for tag, leaves, bars, tombs, erasing, files in tags
        },
    )


def tail(client: Redis, number: int, of: Share) -> Iterator[list[read.Entry]]:
    """The stream behind the share's files, page by page. Raises Moved at its end when some of it may be missing."""
    cursor = of.archived
    while page := read.after(client, number, cursor, PAGE, of.newest):
        yield page
        cursor = page[-1].id.decode()
    # Only what is archived is trimmed: while the archive cursor stood still, nothing went.
    if (client.hget(keys.state(number), "archived") or b"0-0").decode() != of.archived:
        raise Moved


def put_marks(held: dict[int, int], more: Mapping[int, int]) -> None:
    """Add marks: the later second of a visitor holds."""
    for mark, until in more.items():
        held[mark] = max(held.get(mark, 0), until)


def _pairs(flat: Iterable[Any]) -> Iterator[tuple[bytes, bytes]]:
    following = iter(flat)
    return zip(following, following, strict=True)
