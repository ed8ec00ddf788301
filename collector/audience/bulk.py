"""Bulk: fetches megabytes of columns from one server, each byte copied once, into memory that is taken in large pieces.

redis-py reads into a buffer and copies from there, each chunk to pages of its own: half of the time goes to the system
for those pages. What is read here lies side by side.
"""

from collections.abc import Sequence
from socket import socket
from typing import NamedTuple

import numpy as np
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import ResponseError

from collector import connections
from collector.connections import Redis
from collector.stream.calls import pack

Value = bytes | memoryview | None

SMALL = 16 << 10  # bytes: shorter values are copied out of the buffer
BUFFER = 64 << 10  # bytes read at a time between the large ones
# Bytes taken at a time when much is asked for. From 4 MiB on numpy asks the system for large pages. A chunk that is
# kept keeps its piece, so this is also what a replaced neighbour may go on taking.
PIECE = 8 << 20
FEW = 32  # values: for no more than these each has memory of its own


class Group(NamedTuple):
    """The values of some keys as of one moment, and the lineage of the server that told them."""

    lineage: str
    values: list[Value]


def mget(client: Redis, groups: Sequence[Sequence[str]]) -> list[Group]:
    """The values of each group of keys; in one round trip. Raises connections.Unavailable."""
    if connections.clustered(client):
        return _of_cluster(client, groups)
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        asked = [pack("INFO", "replication"), *(pack("MGET", *group) for group in groups)]
        connection.send_packed_command(asked)
        replies = _Replies(connection._sock, PIECE if sum(map(len, groups)) > FEW else 0)
        lineage = connections.lineage_of(bytes(replies.value() or b""))
        return [Group(lineage, replies.values()) for _ in groups]
    except BaseException:
        connection.disconnect()  # the rest of the answer is of no use to whoever gets it next
        raise
    finally:
        pool.release(connection)


def _of_cluster(client: Redis, groups: Sequence[Sequence[str]]) -> list[Group]:
    with connections.steady(client, [group[0] for group in groups]) as lineages:
        pipeline = client.pipeline(transaction=False)
        for group in groups:
            pipeline.execute_command("MGET", *group)  # by name: a cluster's pipeline has no mget()
        found: list[list[Value]] = pipeline.execute()
    return [Group(lineage, values) for lineage, values in zip(lineages, found, strict=True)]


class _Replies:
    """Bulk strings and arrays of them as they come out of a socket (RESP 2)."""

    def __init__(self, line: socket, piece: int) -> None:
        self._receive = line.recv_into
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        self._at = self._end = 0  # what is in the buffer and was not taken yet
        self._piece = piece
        self._room = memoryview(b"")

    def values(self) -> list[Value]:
        """The next array. Raises ResponseError for an error in its place."""
        return [self.value() for _ in range(self._count())]

    def _count(self) -> int:
        while (end := self._buffer.find(b"\r\n", self._at, self._end)) < 0:
            self._fill()
        line = bytes(self._view[self._at : end])
        self._at = end + 2
        if line[:1] == b"-":
            raise ResponseError(line[1:].decode(errors="replace"))
        return int(line[1:])

    def value(self) -> Value:
        """The next bulk string. Raises ResponseError for an error in its place."""
        length = self._count()
        if length < 0:
            return None
        if length <= SMALL:
            while self._end - self._at < length + 2:
                self._fill()
            value: Value = bytes(self._view[self._at : self._at + length])
            self._at += length + 2
            return value
        value = self._take_room(length)
        have = min(self._end - self._at, length)
        value[:have] = self._view[self._at : self._at + have]
        self._at += have
        while have < length:
            have += self._read(value[have:])
        while self._end - self._at < 2:
            self._fill()
        self._at += 2
        return value

    def _take_room(self, length: int) -> memoryview:
        if len(self._room) < length:
            self._room = np.empty(max(length, self._piece), np.uint8).data
        room, self._room = self._room[:length], self._room[length:]
        return room

    def _fill(self) -> None:
        """More into the buffer; what is still to be taken moves to its beginning."""
        left = self._end - self._at
        self._buffer[:left] = self._buffer[self._at : self._end]
        self._at, self._end = 0, left + self._read(self._view[left:])

    def _read(self, into: memoryview) -> int:
        if not (count := self._receive(into)):
            raise Disconnected("Connection closed by server.")
        return count
