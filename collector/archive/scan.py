"""Scan: questions about the past, asked of the files in force and of the stream behind them."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa

from collector import keys
from collector.archive import database, parse, rows, sql
from collector.archive.manifest import Manifest, Past
from collector.archive.whole import Damaged
from collector.audience.registry import TooMuch
from collector.audience.rules import Rule
from collector.clock import DAY
from collector.connections import Redis
from collector.event import CLICK_IDS, USER_DATA, StreamedEvent
from collector.health import Content
from collector.settings import Settings
from collector.stream import read
from collector.stream.partitions import Installation

PAGE = 5_000  # entries of the stream read at a time
TRIES = 5  # a flush that moves rows from the stream to a file while we read makes us read again

WEEK = 7 * DAY
MOST = 2_000_000  # events looked at for a tag's health: about a second

SKEW = 60_000  # milliseconds that the clocks of an edge and of Redis may differ

MARKS = pa.schema([("mark", pa.int64()), ("until", pa.int64())])


class Moved(Exception):
    """Files or stream changed under a reader again and again."""


class Archive:
    """The past of an installation, for readers. Each question sees each partition at one moment."""

    def __init__(self, client: Redis, installation: Installation, settings: Settings) -> None:
        self._client = client
        self._installation = installation
        self._manifests = [
            Manifest(client, number, settings.archive) for number in range(installation.partitions)
        ]

    def members(
        self, tag: str, rule: Rule, *, at: int, floor: int = 0, lookback: int | None = None
    ) -> list[str]:
        """The visitors who are members at the second `at`. Raises rules.RuleError, Moved, whole.Damaged, TooMuch."""
        query = sql.members(rule, at=at, floor=floor, lookback=lookback, source="archived", marks="marks")
        return [visitor for (visitor,) in self.ask(tag, f"{query} ORDER BY visitor")]

    def size(self, tag: str, rule: Rule, *, at: int, floor: int = 0, lookback: int | None = None) -> int:
        """How many visitors are members at the second `at`. Raises rules.RuleError, Moved, whole.Damaged, TooMuch."""
        query = sql.members(rule, at=at, floor=floor, lookback=lookback, source="archived", marks="marks")
        ((size,),) = self.ask(tag, f"SELECT count(*) FROM ({query})")  # noqa: S608 (the query quotes its values)
        return int(size)

    def identities(self, tag: str, visitors: Sequence[str], column: str) -> list[str]:
        """The distinct values of an identity column (em, maid, epik …) in the full-consent rows of visitors."""
        if column not in (*USER_DATA, *CLICK_IDS):
            raise ValueError(f"{column} is no identity column")
        query = f"""
            SELECT DISTINCT {column} FROM {sql.unmarked("archived", "marks")} JOIN wanted USING (visitor)
            WHERE verdict = 'full' AND {column} IS NOT NULL ORDER BY 1"""  # noqa: S608 (the column is one of the schema's)
        wanted = pa.table({"visitor": pa.array(visitors, pa.string())})
        # An export asks run by run, each of one partition: the others' files would be read for nothing.
        partitions = sorted({self._installation.partition(tag, visitor) for visitor in visitors})
        return [value for (value,) in self.ask(tag, query, partitions=partitions, wanted=wanted)]

    def events(self, tag: str, visitor: str) -> list[StreamedEvent]:
        """All that is kept of a visitor, by time: barred and limited events too, nothing that a tombstone covers."""
        partition = self._installation.partition(tag, visitor)
        for _ in range(TRIES):
            with self._open(tag, [partition]) as (connection, pasts):
                mark = keys.visitor_mark(self._installation.secret, tag, visitor)
                erased = pasts[0].tombstones.get(mark, -1)
                found = self._fetch(
                    connection,
                    f"SELECT * FROM archived WHERE mark = {mark} AND event_time > {erased} "  # noqa: S608 (integers)
                    "ORDER BY event_time, sid_ms, sid_seq",
                )
                if found is not None:
                    return [
                        event
                        for event in (rows.event_of(tag, row) for row in found.to_pylist())
                        if event.visitor == visitor
                    ]
        raise Moved

    def received(self, tag: str, event: str, at: int) -> list[StreamedEvent]:
        """The events of this name that an edge received in this Unix millisecond, less those that were erased."""
        for _ in range(TRIES):
            with self._open(tag, range(self._installation.partitions), at - SKEW) as (connection, pasts):
                erased = {mark: until for past in pasts for mark, until in past.tombstones.items()}
                found = self._fetch(
                    connection,
                    f"SELECT * FROM archived WHERE received_at = {at} AND event = {sql.quote(event)} "  # noqa: S608
                    "ORDER BY sid_ms, sid_seq",
                )
                if found is not None:
                    return [
                        rows.event_of(tag, row)
                        for row in found.to_pylist()
                        if row["event_time"] > erased.get(row["mark"], -1)
                    ]
        raise Moved

    def content(self, tag: str, now: float) -> Content:
        """What the events of the last week hold, or the newest MOST or so of them where there are more."""
        since = int((now - WEEK) * 1000)
        rows_ = 0
        files = [file for manifest in self._manifests for file in manifest.past(tag).files]
        for file in sorted(files, key=lambda file: read.parse(file.last), reverse=True):
            rows_ += file.rows
            if rows_ > MOST:
                since = max(since, read.parse(file.first)[0])
                break
        ((events, unasked, *counts, emails),) = self.ask(tag, sql.content(since), since=since)
        last = self.ask(
            tag,
            f"SELECT event, max(received_at) // 1000 FROM archived WHERE sid_ms >= {since} GROUP BY 1",  # noqa: S608
            since=since,
        )
        found = {field: held for field, held in zip(sql.HELD, emails, strict=True) if held}
        return Content(events, dict(last), unasked, *counts)._replace(emails=found)

    def covers(self, tag: str) -> datetime | None:
        """The time of the oldest row in the files; None while there are none."""
        oldest = min((file.from_time for m in self._manifests for file in m.past(tag).files), default=None)
        return None if oldest is None else datetime.fromtimestamp(oldest, UTC)

    def ask(
        self,
        tag: str,
        query: str,
        since: int = 0,
        *,
        partitions: Sequence[int] | None = None,
        **tables: pa.Table,
    ) -> list[tuple[Any, ...]]:
        """The rows of an answer; from some partitions, None: from all. Raises Moved, whole.Damaged."""
        of = range(self._installation.partitions) if partitions is None else partitions
        for _ in range(TRIES):
            with self._open(tag, of, since) as (connection, _):
                for name, table in tables.items():
                    connection.register(name, table)
                found = self._fetch(connection, query)
                if found is not None:
                    return list(zip(*(column.to_pylist() for column in found.columns), strict=True))
        raise Moved

    def _fetch(self, connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table | None:
        """The answer, or None when a file went away meanwhile: after an erasure that happens at once.

        Raises TooMuch.
        """
        try:
            answer: pa.Table = connection.sql(query).to_arrow_table()
        except duckdb.OutOfMemoryException:
            raise TooMuch(
                "The question needs more memory than this process has. "
                "Mend: give it more, or more room in the folder for temporary files (TMPDIR)."
            ) from None
        except duckdb.IOException:
            return None
        return answer

    @contextmanager
    def _open(
        self, tag: str, partitions: Sequence[int], since: int = 0
    ) -> Iterator[tuple[duckdb.DuckDBPyConnection, list[Past]]]:
        """DuckDB with the tag's relations `archived` and `marks`, and the pasts that they were made of.

        since: Unix milliseconds; files of which nothing came after it are left out.
        """
        damaged = False
        with ExitStack() as stack:
            for _ in range(TRIES):
                try:
                    pasts, tails, paths = self._look(tag, partitions, since)
                    connection = stack.enter_context(self._connect(tag, pasts, tails, paths))
                    break
                except Damaged:  # or an erasure took a file away meanwhile: then it is not listed any more
                    if damaged:
                        raise
                    damaged = True
                except duckdb.IOException:  # the same, after it had been looked at
                    continue
            else:
                raise Moved
            yield connection, pasts

    def _connect(
        self,
        tag: str,
        pasts: Sequence[Past],
        tails: Sequence[pa.Table],
        paths: Sequence[str],
    ) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        marks: dict[int, int] = {}
        for past in pasts:
            for mark, until in chain(past.bars.items(), past.tombstones.items()):
                marks[mark] = max(marks.get(mark, -1), until)
        return connect(paths, pa.concat_tables([rows.SCHEMA.empty_table(), *tails]), marks)

    def _look(
        self, tag: str, partitions: Sequence[int], since: int
    ) -> tuple[list[Past], list[pa.Table], list[str]]:
        """The past of each partition, the streams' tails behind them, and the files. Raises Damaged, Moved."""
        pasts, tails = [], []
        for number in partitions:
            past, tail = self._past(tag, number)
            pasts.append(past)
            tails.append(tail)
        paths = [
            str(self._manifests[number].check(tag, file))
            for number, past in zip(partitions, pasts, strict=True)
            for file in past.files
            if read.parse(file.last)[0] >= since
        ]
        return pasts, tails, paths

    def _past(self, tag: str, partition: int) -> tuple[Past, pa.Table]:
        """The past and the stream's tail behind it, of one moment."""
        manifest = self._manifests[partition]
        for _ in range(TRIES):
            past = manifest.past(tag)
            entries = self._tail(partition, past)
            # Only what is archived is trimmed: while the archive cursor stood still, nothing went.
            behind = read.parse(past.newest) > read.parse(past.archived)
            if entries is not None and (not behind or manifest.past(tag).archived == past.archived):
                tail = parse.tables(entries, partial(keys.visitor_mark, self._installation.secret))
                return past, parse.kept(tail.get(tag, rows.SCHEMA.empty_table()))
        raise Moved

    def _tail(self, partition: int, past: Past) -> list[read.Entry] | None:
        """What the stream has behind the files; None when another server answered than the one with this past."""
        entries: list[read.Entry] = []
        cursor = past.archived
        while True:
            page = read.after(self._client, partition, cursor, PAGE, past.newest)
            if page.lineage != past.lineage:
                return None
            if not page:
                return entries
            entries += page
            cursor = page[-1].id.decode()


@contextmanager
def connect(
    paths: Sequence[str], tail: pa.Table, marks: dict[int, int]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with the relations that sql.py asks: `archived` (the files and the tail) and `marks`."""
    # What does not fit into memory names visitors: by default all could read it, in whatever folder this began in.
    with (
        TemporaryDirectory(prefix="collector-", ignore_cleanup_errors=True) as spilled,
        closing(database.connect(temp_directory=spilled)) as connection,
    ):
        connection.register("tail", tail)
        connection.register(
            "marks", pa.table({"mark": list(marks), "until": list(marks.values())}, schema=MARKS)
        )
        files = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
        union = f"SELECT * FROM read_parquet([{files}]) UNION ALL " if paths else ""  # noqa: S608 (quoted)
        connection.execute(f"CREATE VIEW archived AS {union}SELECT * FROM tail")  # noqa: S608 (as above)
        yield connection
