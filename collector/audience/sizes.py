"""Sizes: rules over columns, as vectors. Cached chunks are asked for again only when their version has moved."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector import event, keys
from collector.audience import bulk
from collector.audience.columns import CHUNK, Columns, Seconds, column_key, seconds, versions_key
from collector.audience.curve import Curve
from collector.audience.rules import Rule, Window
from collector.clock import DAY
from collector.connections import Redis
from collector.stream.partitions import Installation

RUN = 8_192  # ordinals exported in one call: a few milliseconds of the server's time
CACHE_BYTES = 1 << 30
TRIES = 3  # reads of moving versions before everything is fetched in one command

Mask = NDArray[np.bool_]
Plane = tuple[str, int]  # leaf id, plane
Kept = tuple[bytes, Seconds]  # a chunk's version and its times


class Question(NamedTuple):
    """A rule to be answered at a second: the windows that count, and the floor (0, or created_at without past)."""

    windows: tuple[Window, ...]
    at: int
    floor: int

    @classmethod
    def of(cls, rule: Rule, created_at: int, at: int, lookback_days: int | None = None) -> "Question":
        return cls(rule.windows(lookback_days), at, 0 if rule.prefill else created_at)

    def planes(self) -> list[Plane]:
        """The columns to look at: the k-th latest time of each condition, and the last of the main one for `since`."""
        planes = {(window.leaf.id, window.leaf.count - 1): None for window in self.windows}
        if any(window.since for window in self.windows):
            planes[self.windows[0].leaf.id, 0] = None
        return list(planes)

    def members(self, times: Mapping[Plane, Seconds], length: int) -> Mask:
        """Who is a member, by ordinal. times: (leaf, plane) → seconds, up to `length` long; what is missing is 0."""
        mask = np.ones(length, dtype=np.bool_)
        some: Mask | None = None
        for window in self.windows:
            column = times[window.leaf.id, window.leaf.count - 1]
            bound = max(self.at - window.days * DAY, self.floor, 1)  # 0 stands for never
            hit = np.zeros(length, dtype=np.bool_)
            np.greater_equal(column, bound, out=hit[: len(column)])
            if window.since:
                last = times[self.windows[0].leaf.id, 0]
                both = min(len(column), len(last))
                hit[:both] &= column[:both] >= last[:both]
            match window.role:
                case "exclude":
                    mask &= ~hit
                case "any":
                    some = hit if some is None else some | hit
                case _:
                    mask &= hit
        return mask if some is None else mask & some


class Sizes:
    """Answers questions about audiences from the live columns. Safe to use from several threads."""

    def __init__(self, client: Redis, installation: Installation) -> None:
        self._client = client
        self._installation = installation
        self._columns = [Columns(client, installation, number) for number in range(installation.partitions)]
        self._cache: OrderedDict[str, tuple[bytes, Seconds]] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()

    def size(self, tag: str, question: Question) -> int:
        """How many visitors are members."""
        return sum(int(np.count_nonzero(mask)) for (mask,) in self._masks(tag, [question]))

    def curve(self, tag: str, rule: Rule, *, at: int, floor: int) -> list[int]:
        """The size at each lookback from 1 to 540 days. Raises rules.RuleError for a rule without a main condition."""
        curve = Curve.of(rule, at=at, floor=floor)
        planes = Question(curve.windows, at, floor).planes()
        chunks = (times for chunks in self._fetch(tag, planes) for times in chunks)
        return [int(size) for size in curve.sizes(chunks)]

    def overlap(self, tag: str, questions: Sequence[Question]) -> list[list[int]]:
        """Pairwise sizes, each with itself on the diagonal."""
        sizes = np.zeros((len(questions), len(questions)), dtype=np.int64)
        for masks in self._masks(tag, questions):
            stack = np.stack(masks).astype(np.float32)  # counts below 2^24 a chunk are exact
            sizes += (stack @ stack.T).astype(np.int64)
        return [[int(size) for size in row] for row in sizes]

    def members(self, tag: str, question: Question, cursor: str = "") -> Iterator[tuple[str, list[str]]]:
        """(cursor of what comes next, visitors) run by run; the last cursor is empty.

        Each run is of one moment. A visitor who is there all along comes exactly once.
        """
        planes = question.planes()
        partition, first = (int(part) for part in (cursor or "0-0").split("-"))
        while partition < self._installation.partitions:
            count = min(RUN, CHUNK - first % CHUNK)
            end, times, ids = self._columns[partition].slice(tag, planes, first, count)
            mask = question.members(dict(zip(planes, times, strict=True)), count)
            chosen = [
                event.visitor_text(key) for ordinal, key in sorted(ids.items()) if mask[ordinal - first]
            ]
            first += count
            if first >= end:
                partition, first = partition + 1, 0
            last = partition == self._installation.partitions
            yield ("" if last else f"{partition}-{first}"), chosen

    def has(self, tag: str, visitor: str, questions: Sequence[Question]) -> list[tuple[bool, int]]:
        """For each question: whether the visitor is a member, and the last match of the first condition (0: none)."""
        columns = self._columns[self._installation.partition(tag, visitor)]
        who = columns.identity(tag, visitor)
        _, (known,) = columns.resolve(tag, [who])
        if known.ordinal < 0:
            return [(False, 0)] * len(questions)
        found = []
        for question in questions:
            planes = question.planes()
            lasts = [*planes, (question.windows[0].leaf.id, 0)]
            _, times, ids = columns.slice(tag, lasts, known.ordinal, 1)
            if ids.get(known.ordinal) != who.key:  # gone meanwhile, and another may have the ordinal
                found.append((False, 0))
                continue
            (member,) = question.members(dict(zip(planes, times, strict=False)), 1)
            found.append((bool(member), int(times[-1][0]) if len(times[-1]) else 0))
        return found

    def _masks(self, tag: str, questions: Sequence[Question]) -> Iterator[list[Mask]]:
        """The members of each question, chunk by chunk of every partition."""
        planes = list(dict.fromkeys(plane for question in questions for plane in question.planes()))
        for chunks in self._fetch(tag, planes):
            for times in chunks:
                length = max((len(column) for column in times.values()), default=0)
                if length:
                    yield [question.members(times, length) for question in questions]

    def _fetch(self, tag: str, planes: Sequence[Plane]) -> list[list[dict[Plane, Seconds]]]:
        """For each partition, for each chunk: the times of each plane, all of one moment within the partition."""
        leaves = list(dict.fromkeys(leaf for leaf, _ in planes))
        reads = [
            _Read(keys.tenant(number, tag), planes, leaves) for number in range(self._installation.partitions)
        ]
        found = bulk.mget(self._client, [read.versions for read in reads])
        for read, versions in zip(reads, found, strict=True):
            with self._lock:
                read.learn(versions, self._cache)
        attempt = 0
        while moving := [read for read in reads if not read.done]:
            attempt += 1
            replies = bulk.mget(self._client, [read.ask(attempt > TRIES) for read in moving])
            for read, reply in zip(moving, replies, strict=True):
                for key, kept in read.take(reply).items():
                    self._keep(key, kept)
        return [read.chunks() for read in reads]

    def _keep(self, key: str, kept: Kept) -> None:
        with self._lock:
            if key in self._cache:
                self._cached_bytes -= self._cache.pop(key)[1].nbytes
            self._cache[key] = kept
            self._cached_bytes += kept[1].nbytes
            while self._cached_bytes > CACHE_BYTES:
                self._cached_bytes -= self._cache.popitem(last=False)[1][1].nbytes


class _Read:
    """The chunks of some planes in one partition, brought to one moment.

    A chunk is at a moment when its version is, within one lineage of the server: a failover that loses writes may give
    a version again, to other content. Versions and missing chunks come in one command; as long as that
    command shows versions of chunks that it did not bring, those are asked for with the next one.
    """

    def __init__(self, tenant: str, planes: Sequence[Plane], leaves: Sequence[str]) -> None:
        self.versions = [versions_key(tenant, leaf) for leaf in leaves]
        self.done = False
        self._tenant = tenant
        self._planes = planes
        self._leaves = leaves
        self._wanted: dict[str, bytes] = {}
        self._have: dict[str, Kept] = {}
        self._asked: list[str] = []

    def learn(self, versions: bulk.Group, cache: Mapping[str, Kept]) -> None:
        """Take what is kept of the chunks that these versions tell of."""
        self._see(versions)
        self._have = {key: cache[key] for key in self._wanted if key in cache}
        self.done = not self._stale()

    def ask(self, everything: bool) -> list[str]:
        """The keys to fetch in one command."""
        self._asked = list(self._wanted) if everything else self._stale()
        return [*self.versions, *self._asked]

    def take(self, reply: bulk.Group) -> dict[str, Kept]:
        """Take what one command brought; the chunks that are new, to be kept."""
        self._see(reply)
        brought = {
            key: (self._wanted.get(key, b""), seconds(raw))
            for key, raw in zip(self._asked, reply.values[len(self.versions) :], strict=True)
        }
        self._have |= brought
        self.done = not self._stale()
        return brought

    def chunks(self) -> list[dict[Plane, Seconds]]:
        """The times of each plane, chunk by chunk."""
        nothing: Kept = (b"", seconds(None))
        return [
            {
                (leaf, plane): self._have.get(column_key(self._tenant, leaf, plane, chunk), nothing)[1]
                for leaf, plane in self._planes
            }
            for chunk in range(self._count)
        ]

    def _see(self, told: bulk.Group) -> None:
        """Learn which chunks there are and at which versions, by the first values that were told."""
        by_leaf = {leaf: bytes(version or b"") for leaf, version in zip(self._leaves, told.values, strict=False)}
        lineage = told.lineage.encode()
        self._count = max((len(version) // 4 for version in by_leaf.values()), default=0)
        self._wanted = {
            column_key(self._tenant, leaf, plane, chunk): lineage
            + by_leaf[leaf][chunk * 4 : chunk * 4 + 4]
            for leaf, plane in self._planes
            for chunk in range(len(by_leaf[leaf]) // 4)
        }

    def _stale(self) -> list[str]:
        return [
            key
            for key, version in self._wanted.items()
            if key not in self._have or self._have[key][0] != version
        ]
