"""Backfill: past matches for leaves that want more past than their columns hold."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import duckdb

from collector import log
from collector.archive import rows, scan, sql
from collector.archive.manifest import File
from collector.archive.whole import Damaged
from collector.archive.write import Writer
from collector.audience.columns import STOPPED, Columns, LeafState
from collector.audience.rules import Leaf, leaf_of
from collector.stream import read

ROWS = 1_500  # visitors merged in one script call: about 10 µs each in the server
LEAVES = 10  # leaves that share a scan

logger = log.get("backfill")

Wanting = tuple[Leaf, LeafState]


def fill(columns: Columns, writer: Writer, horizon: int) -> int:
    """Fill every leaf of a partition that wants it and can be filled; how many leaves are filled now.

    Matches before `horizon` (Unix seconds) are older than any lookback and left out.
    """
    tags = columns.wanting()
    known = columns.load().tags if tags else {}
    done = 0
    for tag in tags:
        leaves = {leaf.id: leaf_of(leaf.condition.decode()) for leaf in known[tag].leaves}
        progress = columns.progress(tag, list(leaves))
        wanting = [
            (leaves[leaf], state)
            for leaf, state in progress.leaves.items()
            if state.wanted_from < state.covered_from
        ]
        if not wanting:
            columns.sated(tag)
        wanting = [leaf for leaf in wanting if leaf[1].failed != STOPPED]
        # Live and past meet at live_from: the scan may begin once the archive has come that far.
        archived = read.parse(progress.archived)
        for group in _groups([leaf for leaf in wanting if archived >= read.parse(leaf[1].live_from)]):
            done += _fill(columns, writer, tag, group, horizon)
    return done


def _groups(wanting: list[Wanting]) -> Iterator[list[Wanting]]:
    """Leaves that one scan can serve: those registered at the same place of the stream."""
    wanting.sort(key=lambda item: read.parse(item[1].live_from))
    for _, same in groupby(wanting, key=lambda item: item[1].live_from):
        group = list(same)
        for first in range(0, len(group), LEAVES):
            yield group[first : first + LEAVES]


def _fill(columns: Columns, writer: Writer, tag: str, group: list[Wanting], horizon: int) -> int:
    past = writer.manifest.past(tag)
    until = read.parse(group[0][1].live_from)
    if read.parse(past.archived) < until:
        return 0  # a failover to a server that is behind
    spans = [sql.Span(leaf, max(state.filling_from, horizon), state.covered_from) for leaf, state in group]
    oldest = min(span.low for span in spans)
    files = [file for file in past.files if file.to_time >= oldest]
    query = sql.latest(spans, source="archived", marks="marks", until=until, extent=extent(files))
    after = [state.after for _, state in group]
    try:
        paths = [str(writer.manifest.check(tag, file)) for file in files]
        if paths and not _merge_past(columns, past.lineage, tag, group, after, query, paths):
            return 0  # another worker fills it, or the leaf is gone
    except (duckdb.Error, Damaged) as error:
        if (
            writer.manifest.past(tag).files == past.files
        ):  # else an erasure replaced a file: the next round sees it
            logger.exception("backfill_failed", tag=tag)
            for leaf, _ in group:
                columns.fail(tag, leaf.id, type(error).__name__)
        return 0
    done = 0
    for place, (leaf, state) in enumerate(group):
        ended = columns.backfill(past.lineage, tag, leaf.id, state, after[place], [])
        done += ended
        if ended and state.failed:
            columns.fail(tag, leaf.id, "")
    return done


def extent(files: Sequence[File]) -> sql.Extent | None:
    """What the rows of some files are within; None without any."""
    if not files:
        return None
    return sql.Extent(
        min(file.from_time for file in files),
        max(file.to_time for file in files),
        max(read.parse(file.last) for file in files),
    )


def _merge_past(
    columns: Columns,
    lineage: str,
    tag: str,
    group: list[Wanting],
    after: list[str],
    query: str,
    paths: list[str],
) -> bool:
    """Merge what the query finds in the files, and move `after` along; False when the leaves are not ours to fill."""
    # The marks are looked at by the script that merges, where they cannot be out of date.
    with scan.connect(paths, rows.SCHEMA.empty_table(), {}) as connection:
        connection.execute(query)
        while found := connection.fetchmany(ROWS):
            last = found[-1][0]
            for place, (leaf, state) in enumerate(group):
                if last <= after[place]:
                    continue
                some = [
                    (row[0], [times] if leaf.count == 1 else times)
                    for row in found
                    if (times := row[1 + place]) and row[0] > after[place]
                ]
                if not columns.backfill(
                    lineage, tag, leaf.id, state, after[place], some, new_after=last
                ):
                    return False
                after[place] = last
    return True
