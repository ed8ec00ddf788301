"""One partition at work: read after the cursor, take the steps, commit exactly once."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from redis.exceptions import ResponseError

from collector import keys, log, metrics
from collector.audience.columns import CHUNK, SEEN, Belief, Columns, Effects, Identity, TagRow
from collector.audience.match import Matcher
from collector.audience.rules import LONGEST_DAYS, Leaf, leaf_of
from collector.clock import DAY, Clock
from collector.connections import Redis
from collector.event import AppliedEvent
from collector.settings import Settings
from collector.stream import dead, read
from collector.stream.dead import Letter
from collector.stream.partitions import Installation
from collector.stream.read import Entry

NEW_VISITOR_COST = 4  # an insertion takes the server as long as four merges (7 µs against 2)
MOST_VISITORS = 100_000  # remembered for a tag in a partition, about 200 bytes each

logger = log.get("worker")


class Stale(Exception):
    """The partition is no longer what the worker believed: reload and redo."""


class Tenant:
    """What the worker believes of one tag in the partition."""

    def __init__(self, row: TagRow, leaves: Sequence[Leaf]) -> None:
        self.next = row.next
        self.free = row.free
        self.counts = [leaf.count for leaf in leaves]
        self.leaf_ids = [leaf.id for leaf in leaves]
        # visitor → (ordinal, second up to which nothing counts, who it is while it has no ordinal)
        self.visitors: dict[str, tuple[int, int, Identity | None]] = {}


class Batch:
    """The effects of a batch on one tag, folded so that each (leaf, visitor) is merged once."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.next = tenant.next
        self.taken = 0
        self.new: list[int] = []
        self.keys: list[bytes] = []
        self.seen: dict[int, int] = {}
        # for each leaf its count, and ordinal → the latest time, or all times of a leaf that counts
        self.latest: list[tuple[int, dict[int, Any]]] = [(count, {}) for count in tenant.counts]

    def allocate(self, hash_: int, key: bytes) -> int:
        """An ordinal for a new visitor: a free one if there is, else the next."""
        if self.taken < len(self.tenant.free):
            ordinal = self.tenant.free[self.taken]
            self.taken += 1
        else:
            ordinal = self.next
            self.next += 1
        self.new += (hash_, ordinal)
        self.keys.append(key)
        return ordinal

    def merges(self) -> list[Any]:
        """[leaf, count, chunk, offsets, times] for each chunk that changes, as apply.lua takes them."""
        merges = _by_chunk(SEEN, 1, self.seen)
        for leaf, (count, times) in zip(self.tenant.leaf_ids, self.latest, strict=True):
            if count > 1:
                times = {ordinal: sorted(some, reverse=True)[:count] for ordinal, some in times.items()}
            if times:
                merges += _by_chunk(leaf, count, times)
        return merges


def _by_chunk(leaf: str, count: int, times: dict[int, Any]) -> list[Any]:
    if not times:
        return []
    if max(times) < CHUNK:
        return [[leaf, count, 0, list(times), list(times.values())]]
    chunks: dict[int, tuple[list[int], list[Any]]] = {}
    for ordinal, time in times.items():
        offsets, values = chunks.setdefault(ordinal // CHUNK, ([], []))
        offsets.append(ordinal % CHUNK)
        values.append(time)
    return [[leaf, count, chunk, offsets, values] for chunk, (offsets, values) in chunks.items()]


class Partition:
    """A partition that this worker holds the lease of. Another worker may believe the same: the commit decides."""

    def __init__(
        self, client: Redis, installation: Installation, number: int, settings: Settings, clock: Clock
    ) -> None:
        self.number = number
        self._client = client
        self._installation = installation
        self.columns = Columns(client, installation, number)
        with suppress(ResponseError):  # a full Redis: the first commit brings the cursor
            client.hsetnx(keys.state(number), "cursor", read.START)  # the archive waits for it from now on
        self._settings = settings
        self._clock = clock
        self._leaves: dict[bytes, Leaf] = {}
        self.reload()

    def reload(self) -> None:
        """Believe anew: cursor, epoch, leaves and ordinals, as they are now."""
        belief: Belief = self.columns.load()
        self.cursor, self._epoch = belief.cursor, belief.epoch
        self.lineage = belief.lineage
        leaves = {
            tag: [self._leaf(leaf.condition) for leaf in row.leaves] for tag, row in belief.tags.items()
        }
        self._matcher = Matcher(leaves)
        self._tenants = {tag: Tenant(row, leaves[tag]) for tag, row in belief.tags.items()}

    def _leaf(self, condition: bytes) -> Leaf:
        leaf = self._leaves.get(condition)
        if not leaf:
            leaf = self._leaves[condition] = leaf_of(condition.decode())
        return leaf

    def apply(self, entries: Sequence[Entry], *, failed: str = "") -> int:
        """Apply entries that were read after the cursor; how many were committed.

        failed: why they cannot be applied (an exception's name): they all become dead letters. Raises dead.TooMany.

        Fewer than given when another worker or an edit came between: the beliefs are then fresh, and the caller
        reads again after the new cursor.
        """
        events, letters = decode_entries(entries, failed)
        if letters:
            dead.check_room(self._client, self.number, len(letters), self._settings.max_dead_letters)
        # One for all commits of the batch: the clock may be set back in between.
        horizon = int(self._clock()) - LONGEST_DAYS * DAY
        done = 0
        try:
            self._put_marks(events)
            self._resolve(events, horizon)
            while done < len(entries):
                done += self._commit(entries, events, letters, done, horizon)
        except Stale:
            metrics.CONFLICTS.labels("apply").inc()
            self.reload()
        return done

    def _put_marks(self, events: Sequence[AppliedEvent | None]) -> None:
        """Bars and tombstones first: they hold for a whole batch, whichever way its events are ordered.

        Marks only grow, so putting one twice is harmless and it needs no part in the commit.
        """
        marks: dict[tuple[str, str, str], int] = {}
        for event in events:
            if event and event.mark:
                key = (event.tag, event.visitor, event.mark)
                marks[key] = max(marks.get(key, 0), event.received_at // 1000)
        for (tag, visitor, mark), until in marks.items():
            before, after = self.columns.forget(tag, visitor, "bar" if mark == "bar" else "tombstone", until)
            if before != self._epoch:
                raise Stale
            self._epoch = after
            if tenant := self._tenants.get(tag):
                tenant.visitors.pop(visitor, None)

    def _commit(
        self,
        entries: Sequence[Entry],
        events: Sequence[AppliedEvent | None],
        letters: Mapping[int, Letter],
        first: int,
        horizon: int,
    ) -> int:
        """Commit as many events from `first` on as one script call may take; how many."""
        batches: dict[str, Batch] = {}
        cost = 0
        last = first
        limit = self._settings.batch_merges
        match = self._matcher.match
        tag = None
        for event in islice(events, first, None):
            if cost >= limit:
                break
            last += 1
            if event is None or event.verdict != "full" or (time := event.event_time) < horizon:
                continue
            if event.tag != tag:
                tag = event.tag
                batch = batches.get(tag) or batches.setdefault(tag, Batch(self._tenants[tag]))
                visitors, seen, latest = batch.tenant.visitors, batch.seen, batch.latest
            ordinal, until, who = visitors[event.visitor]
            if time <= until:
                continue
            if who:
                ordinal = batch.allocate(who.hash, who.key)
                visitors[event.visitor] = (ordinal, until, None)
                cost += NEW_VISITOR_COST
            cost += 1
            if time > seen.get(ordinal, 0):
                seen[ordinal] = time
            for place in match(event):
                count, times = latest[place]
                cost += count
                if count > 1:
                    times.setdefault(ordinal, []).append(time)
                elif time > times.get(ordinal, 0):
                    times[ordinal] = time
        self._send(entries, letters, batches, first, last)
        return last - first

    def _resolve(self, events: Sequence[AppliedEvent | None], horizon: int) -> None:
        """Look up the visitors that are not remembered, one round trip a tag."""
        for tenant in self._tenants.values():
            if len(tenant.visitors) > MOST_VISITORS:
                tenant.visitors.clear()
        unknown: dict[str, dict[str, None]] = {}
        for event in events:
            if event and event.verdict == "full" and event.event_time >= horizon:
                if event.tag not in self._tenants:
                    self._tenants[event.tag] = Tenant(TagRow(event.tag, 0, [], []), [])
                if event.visitor not in self._tenants[event.tag].visitors:
                    unknown.setdefault(event.tag, {})[event.visitor] = None
        for tag, visitors in unknown.items():
            tenant = self._tenants[tag]
            identities = [self.columns.identity(tag, visitor) for visitor in visitors]
            epoch, found = self.columns.resolve(tag, identities)
            if epoch != self._epoch:
                raise Stale
            for visitor, who, known in zip(visitors, identities, found, strict=True):
                until = max(known.barred, known.erased)
                tenant.visitors[visitor] = (known.ordinal, until, who if known.ordinal < 0 else None)

    def _send(
        self,
        entries: Sequence[Entry],
        letters: Mapping[int, Letter],
        batches: dict[str, Batch],
        first: int,
        last: int,
    ) -> None:
        effects = Effects([], [])
        strings: list[bytes] = []
        for tag, batch in batches.items():
            effects.tags.append((tag, batch.taken, batch.next, batch.new, batch.merges()))
            strings += batch.keys
        fallen = [(entries[place], letter) for place, letter in letters.items() if first <= place < last]
        for entry, letter in fallen:
            effects.dead.append(dead.field(self._installation, entry))
            strings.append(dead.pack(letter))
        cursor = entries[last - 1].id.decode()
        if not self.columns.apply((self.cursor, self._epoch), cursor, effects, strings):
            raise Stale
        self.cursor = cursor
        for batch in batches.values():
            batch.tenant.next = batch.next
            del batch.tenant.free[: batch.taken]
        metrics.APPLIED.inc(last - first)
        metrics.MERGES.inc(sum(len(merge[3]) for tag in effects.tags for merge in tag[4]))
        for _, letter in fallen:
            metrics.EVENTS.labels("stream", "dead", letter.reason).inc()
            logger.warning("dead_letter", partition=self.number, reason=letter.reason, error=letter.error)


def decode_entries(
    entries: Sequence[Entry], failed: str = ""
) -> tuple[list[AppliedEvent | None], dict[int, Letter]]:
    """The event of each entry, and by its place the dead letter of one that has none: of all if they `failed`."""
    if failed:
        return [None] * len(entries), {
            place: Letter("failed", failed, entry.payload) for place, entry in enumerate(entries)
        }
    events = read.decode_many(entries)
    return events, {
        place: Letter("undecodable", "", entries[place].payload)
        for place, event in enumerate(events)
        if event is None
    }
