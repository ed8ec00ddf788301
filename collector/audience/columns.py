"""Columns: what Redis holds of a tag's audiences in one partition, and every script that changes it.

A column has one unsigned 32-bit Unix second per ordinal: the visitor's last match of the leaf, 0 for none. A leaf
that counts to k has k planes, the latest first. The scripts beside this file are the only writers.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from collector import event, keys
from collector.connections import Redis
from collector.stream import scripts
from collector.stream.partitions import Installation

CHUNK = 65_472  # visitors in a chunk; the reason for the number stands in columns.lua
WIDTH = 17  # bytes of most keys; see event.visitor_key()
SEEN = "seen"  # the built-in leaf: the last event of any kind, for the expiry of visitors
SHARED = ("lineage", "buckets", "newest", "columns")  # the pieces that its scripts are made of
GROWING = ("register", "backfill")  # what may wait while Redis is full; all else drains it or only reads
STOPPED = "stopped"  # a leaf's `failed` where somebody stopped the backfill, which goes no further
FREE_TOLD = 10_000  # free ordinals that a worker takes note of at a time

Seconds = NDArray[np.uint32]
pack = msgspec.msgpack.Encoder().encode


class LeafRow(NamedTuple):
    """A leaf as a partition knows it: its id and its canonical form."""

    id: str
    condition: bytes


class TagRow(NamedTuple):
    """What a worker needs to know of a tag in a partition. `free` holds the first free ordinals, in order."""

    tag: str
    next: int
    free: list[int]
    leaves: list[LeafRow]


class Belief(NamedTuple):
    """A partition at one moment. epoch: counts what a batch could be wrong about, within one lineage of the server."""

    cursor: str
    epoch: str
    archived: str
    tags: dict[str, TagRow]

    @property
    def lineage(self) -> str:
        """The history of writes that the server told this of."""
        return self.epoch.partition(":")[0]


class LeafState(NamedTuple):
    """How far a leaf is: past matches from covered_from (Unix seconds) on are in its columns."""

    live_from: str
    covered_from: int
    wanted_from: int
    after: str  # the last visitor that a running backfill has merged
    filling_from: int  # the second from which that one reads; later wishes for more wait until it has ended
    failed: str  # why the last backfill could not go on; empty when it could


class Progress(NamedTuple):
    """How far a partition is with some leaves; the missing ones are not registered."""

    cursor: str
    archived: str
    leaves: dict[str, LeafState]


class Known(NamedTuple):
    """What is known of a visitor: the ordinal or -1, and the seconds of the bar and the tombstone, 0 for none."""

    ordinal: int
    barred: int
    erased: int


class Identity(NamedTuple):
    """A visitor as the scripts take one."""

    hash: int
    key: bytes
    mark: int


class Effects(msgspec.Struct):
    """What a batch does, in the shape that apply.lua takes; the byte strings go beside it, in the same order."""

    tags: list[tuple[str, int, int, list[int], list[Any]]]
    dead: list[str]  # the field of each dead letter


class Columns:
    """The scripts of one partition. All raise connections.Unavailable when Redis cannot answer."""

    def __init__(self, client: Redis, installation: Installation, partition: int) -> None:
        self._client = client
        self._secret = installation.secret
        self._salt = hashlib.sha256(b"dictionary" + installation.secret).hexdigest()[:16]
        self._prefix = keys.partition(partition)
        self._state = keys.state(partition)
        self._partition = partition
        self._scripts = {
            name: client.register_script(
                scripts.source("audience", name, *SHARED, drains=name not in GROWING)
            )
            for name in (
                "load",
                "resolve",
                "apply",
                "backfill",
                "register",
                "unregister",
                "forget",
                "expire",
                "slice",
                "weigh",
                "sated",
            )
        }

    def identity(self, tag: str, visitor: str) -> Identity:
        """Where a visitor lies in the dictionary, and the name of its marks. Keyed, so that no sender can aim."""
        key = event.visitor_key(visitor)
        digest = hashlib.sha1(self._salt.encode() + key, usedforsecurity=False).digest()
        hash_ = (int.from_bytes(digest[:4], "big") >> 6) - (1 << 25)  # as hash_of() in columns.lua
        return Identity(hash_, key, keys.visitor_mark(self._secret, tag, visitor))

    def load(self) -> Belief:
        """The partition as it is now, in one moment."""
        cursor, epoch, archived, tags = self._run("load", self._prefix, FREE_TOLD)
        return Belief(
            cursor.decode(),
            epoch.decode(),
            archived.decode(),
            {
                tag.decode(): TagRow(
                    tag.decode(),
                    following,
                    [int(ordinal) for ordinal in free],
                    [LeafRow(leaf.decode(), condition) for leaf, condition in leaves],
                )
                for tag, following, free, leaves in tags
            },
        )

    def progress(self, tag: str, leaves: Sequence[str]) -> Progress:
        """How far the partition is with these leaves of a tag. Each is of its own moment; they only move forward."""
        tenant = keys.tenant(self._partition, tag)
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hmget(self._state, ["cursor", "archived"])
        for leaf in leaves:
            pipeline.hmget(
                f"{tenant}:leaf:{leaf}",
                ["live_from", "covered_from", "wanted_from", "after", "filling_from", "failed"],
            )
        (cursor, archived), *states = pipeline.execute()
        return Progress(
            (cursor or b"0-0").decode(),
            (archived or b"0-0").decode(),
            {
                leaf: LeafState(
                    live_from.decode(),
                    int(covered),
                    int(wanted),
                    (after or b"").decode(),
                    int(filling or wanted),
                    (failed or b"").decode(),
                )
                for leaf, (live_from, covered, wanted, after, filling, failed) in zip(
                    leaves, states, strict=True
                )
                if live_from
            },
        )

    def fail(self, tag: str, leaf: str, why: str) -> None:
        """Note why a leaf's backfill cannot go on, or with an empty text that it can again."""
        key = f"{keys.tenant(self._partition, tag)}:leaf:{leaf}"
        if why:
            self._client.hset(key, "failed", why)
        else:
            self._client.hdel(key, "failed")

    def wanting(self) -> list[str]:
        """The tags of which a leaf may want more past than its columns hold."""
        return sorted(tag.decode() for tag in self._client.smembers(f"{self._prefix}:wanting"))

    def sated(self, tag: str) -> None:
        """Strike the tag from wanting(), if none of its leaves wants more."""
        self._run("sated", self._prefix, tag)

    def weigh(self) -> dict[str, tuple[int, int]]:
        """What columns there are: tag → (ordinals, planes), 4 bytes for each pair."""
        return {
            tag.decode(): (ordinals, planes) for tag, ordinals, planes in self._run("weigh", self._prefix)
        }

    def resolve(self, tag: str, visitors: Sequence[Identity]) -> tuple[str, list[Known]]:
        """(epoch, what is known of each visitor)."""
        args: list[bytes | int] = []
        for visitor in visitors:
            args += visitor
        epoch, *flat = self._run("resolve", keys.tenant(self._partition, tag), *args)
        return epoch.decode(), [Known(*flat[i : i + 3]) for i in range(0, len(flat), 3)]

    def apply(
        self, believed: tuple[str, str], cursor: str, effects: Effects, strings: Sequence[bytes]
    ) -> bool:
        """Merge a batch's effects and move the cursor; False when (cursor, epoch) are no longer as believed.

        strings: the key of each new visitor, then each dead letter.
        """
        return bool(self._run("apply", self._prefix, *believed, cursor, pack(effects), *strings))

    def backfill(
        self,
        lineage: str,
        tag: str,
        leaf: str,
        state: LeafState,
        after: str,
        rows: Iterable[tuple[str, list[int]]],
        *,
        new_after: str = "",
    ) -> bool:
        """Merge past matches from state.filling_from on, (visitor, times latest first) in order of visitor.

        `after` is the last visitor merged so far; no new one ends the backfill. False when the leaf has changed,
        another worker has moved on, or the server's lineage is not that of the past: nothing was done.
        """
        found = [(self.identity(tag, visitor), times) for visitor, times in rows]
        packed = pack([(who.hash, str(who.mark), times) for who, times in found])
        tenant = keys.tenant(self._partition, tag)
        believed = (state.live_from, state.covered_from, after, state.filling_from)
        strings = [who.key for who, _ in found]
        return bool(self._run("backfill", lineage, tenant, leaf, *believed, new_after, packed, *strings))

    def register(
        self, tag: str, leaf: str, condition: bytes, count: int, wanted_from: int, now: int
    ) -> tuple[str, str]:
        """Register a leaf, or widen the past it wants; (live_from, the stream's newest id)."""
        live_from, newest = self._run("register", self._prefix, tag, leaf, condition, count, wanted_from, now)
        return live_from.decode(), newest.decode()

    def unregister(self, tag: str, leaf: str, before: int) -> bool:
        """Remove a leaf untouched since `before`, and its columns; False when it was touched or is not there."""
        return bool(self._run("unregister", keys.tenant(self._partition, tag), leaf, before))

    def forget(
        self, tag: str, visitor: str, kind: Literal["bar", "tombstone"], until: int
    ) -> tuple[str, str]:
        """Bar or erase a visitor up to and with a second; the epochs before and after, equal when nothing changed."""
        hash_, key, mark = self.identity(tag, visitor)
        before, after = self._run(
            "forget", self._prefix, tag, kind, until, mark, hash_, key, event.encode(visitor)[1:-1]
        )
        return before.decode(), after.decode()

    def expire(self, tag: str, since: int, ordinals: Sequence[int]) -> int:
        """Remove the visitors of these ordinals that were last seen before `since`; how many went."""
        gone: int = self._run("expire", keys.tenant(self._partition, tag), self._salt, since, *ordinals)
        return gone

    def slice(
        self, tag: str, columns: Sequence[tuple[str, int]], first: int, count: int
    ) -> tuple[int, list[Seconds], dict[int, bytes]]:
        """A run of ordinals in one moment: (end of the dictionary, times of each (leaf, plane), ordinal → key).

        The run lies within one chunk. Times may be shorter than count.
        """
        flat = [part for column in columns for part in column]
        tenant = keys.tenant(self._partition, tag)
        end, times, packed, others = self._run("slice", tenant, first, count, *flat)
        ids = {
            first + place: packed[place * WIDTH : (place + 1) * WIDTH]
            for place in range(count)
            if packed[place * WIDTH]
        }
        for ordinal, key in zip(others[::2], others[1::2], strict=True):
            if first <= ordinal < first + count:
                ids[ordinal] = key
        return end, [seconds(raw) for raw in times], ids

    def _run(self, script: str, *args: Any) -> Any:
        return self._scripts[script](keys=[self._state], args=args)


def column_key(tenant: str, leaf: str, plane: int, chunk: int) -> str:
    return f"{tenant}:col:{leaf}:{plane}:{chunk}"


def versions_key(tenant: str, leaf: str) -> str:
    return f"{tenant}:ver:{leaf}"


def seconds(raw: bytes | memoryview | None) -> Seconds:
    """A chunk as an array; an absent one is empty, which means no match for anybody."""
    return np.frombuffer(raw or b"", dtype="<u4")
