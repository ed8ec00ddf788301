"""Write: a partition's waiting events to Parquet, and the files' later lives (merge, erase, retire)."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collector import connections, disk, keys, log, metrics
from collector.archive import parse, rows
from collector.archive.consents import Consents
from collector.archive.manifest import File, Manifest, Past
from collector.archive.proof import Proofs
from collector.archive.whole import Damaged, checksum
from collector.clock import DAY, Clock
from collector.connections import Redis
from collector.settings import Settings
from collector.stream import dead, pending, read
from collector.stream.partitions import Installation

PAGE = 10_000  # entries read from Redis at a time: about 3 MB, a few milliseconds of the server's time
SMALL = 500_000  # rows; a larger file is left alone by merging

logger = log.get("archive")


class Writer:
    """Writes one partition's archive. Every commit is checked in Redis, so two writers do no harm."""

    def __init__(
        self, client: Redis, installation: Installation, partition: int, settings: Settings, clock: Clock
    ) -> None:
        self._client = client
        self._secret = installation.secret
        self._partition = partition
        self._settings = settings
        self._clock = clock
        self.manifest = Manifest(client, partition, settings.archive)
        self.proofs = Proofs(settings.archive, partition)
        self._consents = Consents(self.proofs, partition)

    def due(self) -> bool:
        """Whether enough events wait, or one waits for too long, or somebody asked for a flush."""
        state = self._client.hmget(keys.state(self._partition), ["archived", "flush_to", "cursor"])
        archived, wanted, cursor = ((each or b"0-0").decode() for each in state)
        oldest = read.after(self._client, self._partition, archived, 1)
        if not oldest:  # the last ones were dead letters that somebody dropped: nothing need wait for the next event
            return read.parse(cursor) > read.parse(archived)
        if read.parse(wanted) > read.parse(archived):
            return True
        age = self._clock() - read.parse(oldest[0].id)[0] / 1000
        if age >= self._settings.flush_seconds:
            return True
        waiting: int = self._client.xlen(keys.events(self._partition))
        return waiting >= self._settings.flush_events

    def flush(self) -> int:
        """Write up to flush_events waiting events and put the files in force; how many entries it moved past.

        Only what has been applied: an event that turns out to be a dead letter is left out, and a retry counts once.

        When the archive cursor, the erasures or the server's lineage move meanwhile, the files are thrown away and
        nothing has happened.
        """
        state = keys.state(self._partition)
        (lineage,) = connections.lineages(self._client, [state])
        archived, erasures, cursor = self._client.hmget(state, ["archived", "erasures", "cursor"])
        archived, erasures = (archived or b"0-0").decode(), f"{lineage}:{int(erasures or 0)}"
        left_out = dead.ids(self._client, self._partition)  # before the entries: a retry takes letter and entry away
        entries: list[read.Entry] = []
        reached = archived
        while len(entries) < self._settings.flush_events:
            page = read.after(self._client, self._partition, reached, PAGE, (cursor or b"+").decode())
            if page.lineage != lineage:
                return 0  # a failover came between: all is looked at anew
            if not page:
                reached = max(reached, (cursor or b"0-0").decode(), key=read.parse)
                break
            entries += page
            reached = page[-1].id.decode()
        if reached == archived:
            return 0
        wanted = [entry for entry in entries if entry.id not in left_out]
        tables = parse.tables(wanted, partial(keys.visitor_mark, self._secret))
        if self._consents.reached != archived:
            self._consents.forget_all()
        files = []
        for tag, table in tables.items():
            file = self._archive(tag, table, reached)
            if file:
                files.append((tag, file))
        if not self.manifest.flush(archived, erasures, reached, files):
            metrics.CONFLICTS.labels("flush").inc()
            for tag, file in files:
                self.manifest.path(tag, file.name).unlink(missing_ok=True)
            return 0
        self._consents.reached = reached
        metrics.ARCHIVED.inc(sum(file.rows for _, file in files))
        read.trim(self._client, self._partition)
        return len(entries)

    def _archive(self, tag: str, table: pa.Table, reached: str) -> File | None:
        """The file of a tag's rows, None when there is none; their consent records are on disk before it."""
        erased = self.manifest.past(tag).tombstones
        now = self._clock()
        self.proofs.append(tag, "consent", self._consents.changes(tag, table, erased), now)
        table = parse.kept(table)
        back = set(table.filter(covered(table, erased))["mark"].to_pylist())
        if back:  # came after the erasure: stream and append-only file hold the visitor again
            late = {who: until for who, until in erased.items() if who in back}
            pending.reopen(self._client, self._partition, tag, late, reached)
        return self._write(tag, table, erased)

    def merge(self, tag: str) -> bool:
        """Merge a tag's small files into one, once there are enough; whether it did."""
        past = self.manifest.past(tag)
        small = [file for file in past.files if file.rows < SMALL and self._is_whole(tag, file)]
        return len(small) >= self._settings.compact_files and self._rewrite(tag, past, small)

    def erase(self, tag: str) -> bool:
        """Rewrite the files that hold rows of erased visitors, and delete the old ones at once; whether it did."""
        past = self.manifest.past(tag)
        if not past.erasing:
            return False
        marks = pa.array(sorted(past.erasing), pa.int64())
        touched = [
            file
            for file in past.files
            if pc.any(pc.is_in(pq.read_table(self._path(tag, file), columns=["mark"])["mark"], marks)).as_py()
        ]
        done = self._rewrite(tag, past, touched, erased=sorted(past.erasing))
        self.manifest.collect_garbage(self._clock())
        return done

    def clean(self, tag: str) -> bool:
        """Delete every file that an erasure left behind: replaced ones, and those of writers that died.

        False while one may still be wanted, or rows of erased visitors are left: ask again.
        """
        self.erase(tag)
        if self.manifest.past(tag).erasing:
            return False
        now = self._clock()
        self.manifest.hasten(tag, now)
        self.manifest.collect_garbage(now)
        return self.manifest.clear_unlisted(tag)

    def retire(self, tag: str) -> bool:
        """Drop the files whose newest row is past the retention; whether there was one."""
        if not self._settings.retention_days:
            return False
        limit = self._clock() - self._settings.retention_days * DAY
        past = self.manifest.past(tag)
        old = [file for file in past.files if file.to_time < limit]
        return bool(old) and self.manifest.replace(tag, past.erasures, old, None, [], self._delete_at())

    def _rewrite(self, tag: str, past: Past, old: Sequence[File], erased: Sequence[int] = ()) -> bool:
        new = None
        if old:
            tables = [pq.read_table(self.manifest.check(tag, file), schema=rows.SCHEMA) for file in old]
            new = self._write(tag, pa.concat_tables(tables), past.tombstones)
        delete_at = self._clock() if erased else self._delete_at()
        if self.manifest.replace(tag, past.erasures, old, new, erased, delete_at):
            return True
        metrics.CONFLICTS.labels("rewrite").inc()
        if new:
            self._path(tag, new).unlink(missing_ok=True)
        return False

    def _write(self, tag: str, table: pa.Table, tombstones: dict[int, int]) -> File | None:
        """A file of the rows that no tombstone forbids, on disk before it returns; None when no row is left."""
        table = without(table, tombstones)
        if not table.num_rows:
            return None
        first, last = _id_at(table, pc.min), _id_at(table, pc.max)
        name = self.manifest.unused_name(first)
        path = self.manifest.path(tag, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        repeated: Any = rows.REPEATED  # the stubs know a bool
        pq.write_table(table, partial, compression="zstd", use_dictionary=repeated)
        disk.settle(partial, path)
        oldest, newest = pc.min(table["event_time"]).as_py(), pc.max(table["event_time"]).as_py()
        size, crc = path.stat().st_size, checksum(path)
        return File(name, table.num_rows, size, first, last, oldest, newest, crc)

    def _is_whole(self, tag: str, file: File) -> bool:
        try:
            self.manifest.check(tag, file)
        except Damaged:
            return False  # the others are merged all the same; doctor tells of this one
        return True

    def _path(self, tag: str, file: File) -> Path:
        return self.manifest.path(tag, file.name)

    def _delete_at(self) -> float:
        return self._clock() + self._settings.garbage_seconds


def _id_at(table: pa.Table, end: Any) -> str:
    """The least (pc.min) or the greatest (pc.max) stream id of the rows; merged files need not come in order."""
    ms = end(table["sid_ms"])
    seq = end(table.filter(cast(Any, pc.equal(table["sid_ms"], ms)))["sid_seq"])
    return f"{ms}-{seq}"


def without(table: pa.Table, tombstones: dict[int, int]) -> pa.Table:
    """The rows that no tombstone covers: those of other visitors, and those after the second of the tombstone."""
    return table.filter(cast(Any, pc.invert(covered(table, tombstones)))) if tombstones else table


def covered(table: pa.Table, tombstones: Mapping[int, int]) -> Any:
    """For each row whether a tombstone covers it: mark → the second up to which the visitor is forgotten."""
    found = pc.index_in(table["mark"], pa.array(list(tombstones), pa.int64()))
    until = pc.take(pa.array(list(tombstones.values()), pa.int64()), found)
    return pc.fill_null(cast(Any, pc.less_equal(table["event_time"], until)), False)
