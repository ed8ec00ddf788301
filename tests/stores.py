"""Stores: every place where an installation could keep something of a visitor, read to the bottom.

Nothing here knows how the product stores: files are opened as what they are, Redis is asked key by key and then for
the raw bytes of each value, which show what a stream's nodes and listpacks still hold of deleted entries.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb

from collector.connections import Redis

SQLITE = b"SQLite format 3\0"


def holding(needles: list[bytes], client: Redis, folder: Path, *logs: Path) -> set[str]:
    """Which places hold a needle: kinds of keys, «dump», «slow log», «aof», «parquet», «sqlite», «file»."""
    found = set()
    for place, content in _contents(client, folder, *logs):
        if any(needle in content for needle in needles):
            found.add(place)
    return found


def _contents(client: Redis, folder: Path, *logs: Path) -> Iterator[tuple[str, bytes]]:
    for key in client.scan_iter(count=1_000):
        kind = key.decode().rpartition("}:")[2].split(":")
        name = kind[1] if kind[0].isdecimal() and len(kind) > 1 else kind[0]
        yield ("stream" if name == "events" else name), _value(client, key)
        yield "dump", client.dump(key) or b""
    yield "slow log", repr(client.execute_command("SLOWLOG", "GET", "-1")).encode()
    for path in [*folder.rglob("*"), *logs]:
        if path.is_file():
            yield from _file(path)


def _value(client: Redis, key: bytes) -> bytes:
    match client.type(key):
        case b"string":
            value: Any = [client.get(key)]
        case b"hash":
            value = [part for pair in client.hgetall(key).items() for part in pair]
        case b"list":
            value = client.lrange(key, 0, -1)
        case b"set":
            value = client.smembers(key)
        case b"zset":
            value = client.zrange(key, 0, -1)
        case b"stream":
            value = [part for _, fields in client.xrange(key) for pair in fields.items() for part in pair]
        case other:
            assert other == b"none", f"{key!r} is a {other!r}: teach the search to read it"
            return b""
    return b"\0".join(each or b"" for each in value)


def _file(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return  # gone since the folder was listed
    if path.suffix == ".parquet":
        with duckdb.connect() as connection:
            rows = connection.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
        yield "parquet", repr(rows).encode()
    elif raw.startswith(SQLITE):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                for row in connection.execute(f'SELECT * FROM "{table}"'):
                    yield "sqlite", b"\0".join(_bytes(cell) for cell in row)
        yield "sqlite", raw
    else:
        yield ("aof" if path.parent.name == "appendonlydir" else "file"), raw


def _bytes(cell: object) -> bytes:
    return cell if isinstance(cell, bytes) else str(cell).encode()
