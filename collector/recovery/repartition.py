"""Repartition: another number of partitions, with visitors, marks and archive rows moved to where they belong then.

It reads the old files and writes new ones beside them; nothing that is in force changes.
"""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collector import disk
from collector.archive import rows, whole
from collector.archive.manifest import File
from collector.archive.whole import checksum
from collector.archive.write import SMALL, without
from collector.event import spread
from collector.recovery.remake import Draft, Tail
from collector.recovery.snapshot import Holding, Share, put_marks
from collector.stream import dead, read
from collector.stream.partitions import Installation

BATCH = 200_000  # rows in memory at a time, about 100 MB


def places(old: int, before: int, after: int) -> list[int]:
    """The partitions of `after` that a visitor of partition `old` of `before` may come to."""
    step = math.gcd(before, after)
    return list(range(old % step, after, step))


def repartition(draft: Draft, partitions: int, archive: Path) -> Draft:
    """The same installation in so many partitions; its files are in `archive` when this returns.

    Raises whole.Damaged.
    """
    before = draft.installation.partitions
    shares = [_share(draft.shares, number, partitions) for number in range(partitions)]
    for old, given in enumerate(draft.shares):
        for number in places(old, before, partitions):
            _add_marks(shares[number], given)
        for field, letter in given.dead.items():
            # Later ones are in the tail, and are tried again.
            if read.parse(field.partition(b":")[2]) <= read.parse(given.archived):
                place = _place(dead.unpack(letter).payload, old, partitions)
                shares[place].dead[field] = letter
        shares[old % partitions].pending |= given.pending
    leaves = _leaves(draft.shares)
    for share in shares:
        for tag, known in leaves.items():
            share.tags.setdefault(tag, Holding({}, {}, {}, [], [])).leaves = known
    for tag in sorted({tag for share in draft.shares for tag in share.tags}):
        for number, file in _rewrite(draft, tag, partitions, archive):
            shares[number].tags.setdefault(tag, Holding({}, {}, {}, [], [])).files.append(file)
    _spread_proofs(before, partitions, archive)
    entries = _entries(draft, shares)
    tails: list[Tail] = [lambda some=some: iter([some]) for some in entries]  # type: ignore[misc]
    for share, some in zip(shares, entries, strict=True):
        share.newest = some[-1].id.decode() if some else share.archived
    installation = Installation(partitions, draft.installation.secret)
    return Draft(installation, draft.common, shares, tails)


def _share(old: Sequence[Share], number: int, partitions: int) -> Share:
    """An empty one. Its archive cursor lies behind all rows that its files may get."""
    givers = [old[n] for n in range(len(old)) if number in places(n, len(old), partitions)]
    archived = max((share.archived for share in givers), key=read.parse)
    return Share(
        archived,
        max(share.epoch for share in old) + 1,
        max(share.erasures for share in old),
        archived,
        {},
        {},
        {},
        {},
    )


def _add_marks(share: Share, given: Share) -> None:
    """Marks name no visitor, so they go wherever theirs may be. The rows that a tombstone forbids are not written."""
    for tag, holding in given.tags.items():
        held = share.tags.setdefault(tag, Holding({}, {}, {}, [], []))
        put_marks(held.bars, holding.bars)
        put_marks(held.tombs, holding.tombs)


def _leaves(shares: Sequence[Share]) -> dict[str, dict[str, dict[str, str]]]:
    """Tag → leaf → fields: of all partitions, wanting the most past that any of them wants."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for share in shares:
        for tag, holding in share.tags.items():
            known = found.setdefault(tag, {})
            for leaf, fields in holding.leaves.items():
                wanted = min(int(known.get(leaf, fields)["wanted_from"]), int(fields["wanted_from"]))
                known[leaf] = {**fields, "wanted_from": str(wanted)}
    return found


def _rewrite(draft: Draft, tag: str, partitions: int, archive: Path) -> Iterator[tuple[int, File]]:
    """Each row of a tag into a file of its new partition: (partition, file) of those that are done."""
    open_: dict[int, _Output] = {}
    for old, share in enumerate(draft.shares):
        holding = share.tags.get(tag)
        if holding is None:
            continue
        for file in holding.files:
            path = archive / f"p{old:02d}" / tag / f"{file.name}.parquet"
            whole.check(path, file.bytes, file.crc)
            with pq.ParquetFile(path) as source:
                for batch in source.iter_batches(BATCH):
                    table = without(pa.Table.from_batches([batch]).cast(rows.SCHEMA), holding.tombs)
                    for number, some in _split(tag, table, partitions):
                        output = open_.get(number) or _Output(archive / f"p{number:02d}" / tag)
                        open_[number] = output
                        output.write(some)
                        if output.rows >= SMALL:
                            yield number, open_.pop(number).close()
    for number, output in open_.items():
        yield number, output.close()


def _split(tag: str, table: pa.Table, partitions: int) -> Iterator[tuple[int, pa.Table]]:
    places: dict[int, list[int]] = {}
    for row, visitor in enumerate(table["visitor"].to_pylist()):
        places.setdefault(spread(tag, str(visitor)) % partitions, []).append(row)
    for number, of in places.items():
        yield number, table.take(pa.array(of))


def _spread_proofs(before: int, partitions: int, archive: Path) -> None:
    """Proof names visitors as marks do, so it goes wherever theirs may be; a reader knows a record by its id."""
    grown: dict[Path, list[Path]] = {}
    for old in range(before):
        folder = archive / "proof" / f"p{old:02d}"
        for source in sorted(folder.glob("*/*.ndjson")):
            for number in places(old, before, partitions):
                target = folder.with_name(f"p{number:02d}") / source.relative_to(folder)
                if target != source:
                    grown.setdefault(target, []).append(source)
    texts = {target: [source.read_bytes() for source in sources] for target, sources in grown.items()}
    for target, parts in texts.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("ab") as output:
            output.write(b"".join(b"\n" + part.strip(b"\n") + b"\n" for part in parts))
            output.flush()
            os.fsync(output.fileno())


class _Output:
    """A file that is being written, a row group a batch."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._partial = folder / f"{uuid4().hex}.partial"
        self._writer = pq.ParquetWriter(self._partial, rows.SCHEMA, compression="zstd")
        self.rows = 0
        self._ids: list[tuple[int, int]] = []
        self._times: list[int] = []

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table)
        self.rows += table.num_rows
        ids = table.select(["sid_ms", "sid_seq"]).sort_by([("sid_ms", "ascending"), ("sid_seq", "ascending")])
        self._ids += [(ids["sid_ms"][at].as_py(), ids["sid_seq"][at].as_py()) for at in (0, -1)]
        self._times += [pc.min(table["event_time"]).as_py(), pc.max(table["event_time"]).as_py()]

    def close(self) -> File:
        """Put it on disk under its name."""
        self._writer.close()
        first, last = (f"{ms}-{seq}" for ms, seq in (min(self._ids), max(self._ids)))
        name = f"{first}-{uuid4().hex[:12]}"
        path = disk.settle(self._partial, self._folder / f"{name}.parquet")
        size = path.stat().st_size
        times = min(self._times), max(self._times)
        return File(name, self.rows, size, first, last, *times, checksum(path))


def _place(payload: bytes, old: int, partitions: int) -> int:
    """Where an event goes: to its visitor, or wherever when it names none."""
    named = dead.whose(payload)
    return (spread(*named) if named else old) % partitions


def _entries(draft: Draft, shares: Sequence[Share]) -> list[list[read.Entry]]:
    """The tails, by new partition, in order of their ids; ids grow on where two partitions' meet."""
    count = len(shares)
    found: list[list[read.Entry]] = [[] for _ in shares]
    for old, tail in enumerate(draft.tails):
        for page in tail():
            for entry in page:
                found[_place(entry.payload, old, count)].append(entry)
    for number, entries in enumerate(found):
        last = read.parse(shares[number].archived)
        for place, entry in enumerate(sorted(entries, key=lambda entry: read.parse(entry.id))):
            last = max(read.parse(entry.id), (last[0], last[1] + 1))
            entries[place] = msgspec.structs.replace(entry, id=f"{last[0]}-{last[1]}".encode())
    return found
