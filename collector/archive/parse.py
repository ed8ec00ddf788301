"""Parse: a stream's entries as tables of archive rows, a page at a time and outside of the interpreter's lock.

The worker matches events meanwhile. rows.table() says the same event by event, for what is not plain.
"""

import json
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, get_args, get_type_hints

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.archive import database, rows
from collector.event import StreamedEvent
from collector.stream import read

Mark = Callable[[str, str], int]
"""(tag, visitor) → keys.visitor_mark()"""

compute: Any = pc  # the stubs know too few types

# What a payload is read as. JSON is the text as it stands: a number and a text of the same digits stay apart.
_SHAPE = {
    "tag": "VARCHAR",
    **{name: "BIGINT" if name in rows.INTEGERS else "VARCHAR" for name in rows.REQUIRED},
    **dict.fromkeys(rows.OPTIONAL.values(), "VARCHAR"),
    "data": dict.fromkeys(rows.TYPED, "JSON"),
    "line_items": "JSON",
    **{field: dict.fromkeys(names, "VARCHAR") for field, names in rows.HOLDERS.items()},
}
_QUERY = f"""
    SELECT unnest(event), coalesce(len(json_keys(payload, '$.data')), 0) AS keys
    FROM (SELECT payload, json_transform(payload, '{json.dumps(_SHAPE)}') AS event FROM page)"""  # noqa: S608 (constants)
# What an event allows: the words of a field, absent where it has a default, and the bounds of its times.
_hints = get_type_hints(StreamedEvent, include_extras=True)
_WORDS = {name: {None, *get_args(_hints[name])} for name in ("verdict", "source", "mark")}
_BOUNDS = {name: get_args(_hints[name])[1] for name in ("event_time", "received_at")}


class _Odd(Exception):
    """Something that an event by event look has to decide."""


def tables(entries: Sequence[read.Entry], mark: Mark) -> dict[str, pa.Table]:
    """For each tag its rows, in order; withdrawals among them. What nobody can decode is left out."""
    if not entries:
        return {}
    try:
        return _plain(entries, mark)
    except (duckdb.Error, pa.ArrowException, UnicodeError, _Odd):
        return _any(entries, mark)


def kept(table: pa.Table) -> pa.Table:
    """The rows that stay: a withdrawal leaves none."""
    return table.filter(compute.not_equal(table["verdict"], "none"))


def _any(entries: Sequence[read.Entry], mark: Mark) -> dict[str, pa.Table]:
    found: dict[str, list[tuple[int, int, Any]]] = {}
    for entry in entries:
        if event := read.decode(entry):
            found.setdefault(event.tag, []).append((*read.parse(entry.id), event))
    return {tag: rows.table(some, partial(mark, tag)) for tag, some in found.items()}


def _plain(entries: Sequence[read.Entry], mark: Mark) -> dict[str, pa.Table]:
    page = pa.table({"payload": pa.array([entry.payload for entry in entries], pa.string())})
    with _engine().cursor() as connection:
        connection.register("page", page)
        told = connection.sql(_QUERY).to_arrow_table().combine_chunks()
    _check(told)
    columns = _ids(entries)
    for name in rows.REQUIRED:
        columns[name] = told[name]
    columns["source"] = compute.fill_null(told["source"], "web")
    for name, field in rows.OPTIONAL.items():
        columns[name] = _unless(told[field], "")
    for key, (number, text) in rows.TYPED.items():
        columns[number], columns[text] = _apart(_field(told, "data", key))
    columns["data"] = _rest(told, entries)
    columns["line_items"] = _items(told["line_items"])
    for field, names in rows.HOLDERS.items():
        columns |= {name: _field(told, field, name) for name in names}
    tags = compute.unique(told["tag"]).to_pylist()
    if len(tags) == 1:  # as nearly always: nothing to choose from
        return {tags[0]: _marked(tags[0], columns, mark)}
    found = {}
    for tag in tags:
        mine = compute.equal(told["tag"], tag)
        found[tag] = _marked(tag, {name: column.filter(mine) for name, column in columns.items()}, mark)
    return found


def _marked(tag: str, columns: dict[str, Any], mark: Mark) -> pa.Table:
    """The columns with their visitors' marks, each made once."""
    visitors = columns["visitor"].combine_chunks().dictionary_encode()
    marks = pa.array([mark(tag, who) for who in visitors.dictionary.to_pylist()], pa.int64())
    columns["mark"] = marks.take(visitors.indices)
    return pa.table([columns[name] for name in rows.SCHEMA.names], schema=rows.SCHEMA)


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    return database.connect(threads="1")


def _check(told: pa.Table) -> None:
    """Raises _Odd unless every row has what an event must have, within what it allows."""
    for name in ("tag", *rows.REQUIRED):
        if told[name].null_count and name != "source":
            raise _Odd
    for name, allowed in _WORDS.items():
        if not allowed.issuperset(compute.unique(told[name]).to_pylist()):
            raise _Odd
    for name, bounds in _BOUNDS.items():
        if compute.min(told[name]).as_py() < bounds.ge or compute.max(told[name]).as_py() >= bounds.lt:
            raise _Odd


def _ids(entries: Sequence[read.Entry]) -> dict[str, Any]:
    text = pa.array([entry.id for entry in entries], pa.string())
    both = compute.list_flatten(compute.split_pattern(text, "-")).cast(pa.int64()).to_numpy()
    return {"sid_ms": pa.array(both[::2]), "sid_seq": pa.array(both[1::2])}


def _field(told: pa.Table, holder: str, name: str) -> Any:
    return compute.struct_field(told[holder], name)


def _unless(column: Any, empty: str) -> Any:
    """The column with nulls for what is empty, as nearly none is."""
    is_empty = compute.equal(column, empty)
    return compute.if_else(is_empty, None, column) if compute.any(is_empty).as_py() else column


def _apart(values: Any) -> tuple[Any, Any]:
    """JSON values as numbers and as texts, each null where the value is the other."""
    nothing, length = values.null_count, len(values)
    if nothing == length:
        return pa.nulls(length, pa.float64()), pa.nulls(length, pa.string())
    is_text = compute.starts_with(values, '"')
    some, every = compute.any(is_text).as_py(), compute.all(is_text).as_py()
    if not some:
        return values.cast(pa.float64()), pa.nulls(length, pa.string())
    texts = _unquoted(values if every else compute.if_else(is_text, values, None))
    if every:
        return pa.nulls(length, pa.float64()), texts
    return compute.if_else(is_text, None, values).cast(pa.float64()), texts


def _unquoted(values: Any) -> Any:
    if compute.any(compute.match_substring(values, "\\")).as_py():
        return pa.chunked_array([[None if value is None else json.loads(value) for value in values.to_pylist()]])
    return compute.utf8_slice_codeunits(values, 1, -1)


def _rest(told: pa.Table, entries: Sequence[read.Entry]) -> Any:
    """The JSON of the data that has no column of its own."""
    named = np.zeros(told.num_rows, np.int64)
    for key in rows.TYPED:
        values = _field(told, "data", key)
        if values.null_count < told.num_rows:
            named += values.is_valid().to_numpy()
    others = np.flatnonzero(told["keys"].to_numpy() > named)
    if not len(others):
        return pa.chunked_array([pa.nulls(told.num_rows, pa.string())])
    found: list[bytes | None] = [None] * told.num_rows
    for place in others.tolist():
        event = read.decode(entries[place])
        if event is None:
            raise _Odd
        found[place] = rows.rest(event.data)
    return pa.chunked_array([pa.array(found, pa.string())])


def _items(values: Any) -> Any:
    """The JSON of line items, written as rows.py writes it, whose keys sql.py looks for in the text."""
    values = _unless(values, "[]")
    if not compute.any(compute.match_substring(values, "\\")).as_py():
        return values
    return pa.chunked_array(
        [pa.array([None if value is None else rows.rewritten(value) for value in values.to_pylist()], pa.string())]
    )
