"""A page of a stream becomes the same rows in one query as event by event, and nothing that is no event becomes one."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import event
from collector.archive import parse, rows
from collector.event import StreamedEvent
from collector.stream.read import Entry
from tests.traffic import NOW, TAG
from tests.unit.archive.test_rows import event as rows_event
from tests.unit.archive.test_rows import events
from tests.unit.parts import OTHER_TAG

PLAIN: dict[str, Any] = msgspec.to_builtins(rows_event())


def mark(tag: str, visitor: str) -> int:
    return len(tag) + len(visitor)


def entry(number: int, payload: bytes) -> Entry:
    return Entry(b"%d-%d" % (NOW * 1000 + number, number % 3), payload)


def raw(**given: Any) -> bytes:
    return msgspec.json.encode(PLAIN | given)


def told(table: pa.Table) -> list[tuple[tuple[int, int, int], StreamedEvent, list[Any]]]:
    """Everything that rows say, and whether numbers are whole."""
    found = []
    for row in table.to_pylist():
        one = rows.event_of("", row)
        kinds = [(key, type(value)) for held in (one.data, *one.line_items) for key, value in held.items()]
        texts = [row[name] for name in rows.SCHEMA.names if name.endswith("_text") or name == "data"]
        found.append(((row["sid_ms"], row["sid_seq"], row["mark"]), one, [sorted(map(str, kinds)), texts]))
    return found


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(events, st.sampled_from([TAG, OTHER_TAG])), min_size=1, max_size=6))
def test_one_query_says_what_event_by_event_says(some: Sequence[tuple[StreamedEvent, str]]) -> None:
    entries = [
        entry(n, event.encode(msgspec.structs.replace(one, tag=tag))) for n, (one, tag) in enumerate(some)
    ]
    plain, odd = parse._plain(entries, mark), parse._any(entries, mark)
    assert list(plain) == list(odd)
    for tag, table in plain.items():
        assert table.schema == rows.SCHEMA
        assert told(table) == told(odd[tag])


ESCAPED = ['"', "\\", "/", "\n", "\x01", "\x7f", "\u2028", "é", "𝄞", "<", "&"]


def test_line_items_are_written_the_same_to_the_letter() -> None:
    """Whoever looks for a key looks for its text."""
    entries = [
        entry(n, raw(line_items=[{f"a{sign}": f"b{sign}", "n": 1.5}])) for n, sign in enumerate(ESCAPED)
    ]
    for some in (entries, *([one] for one in entries)):
        plain, odd = parse._plain(some, mark)[TAG], parse._any(some, mark)[TAG]
        assert plain["line_items"].to_pylist() == odd["line_items"].to_pylist()


ODD = [
    b"",
    b"{",
    b"\xff",
    b"[]",
    b"null",
    raw(visitor=None),
    raw(event_time=-1),
    raw(event_time=2**32),
    raw(received_at=2**32 * 1000),
    raw(verdict="perhaps"),
    raw(source="moon"),
    raw(mark="x"),
    raw(data={"value": True}),
    raw(data={"value": {"a": 1}}),
    raw(data={"colour": [1]}),
    *(msgspec.json.encode({key: value for key, value in PLAIN.items() if key != name}) for name in PLAIN),
]


@pytest.mark.parametrize("payload", ODD)
def test_what_nobody_can_decode_is_left_out_and_takes_nothing_with_it(payload: bytes) -> None:
    found = parse.tables([entry(0, raw(visitor="a")), entry(1, payload), entry(2, raw(visitor="b"))], mark)
    assert {tag: table["visitor"].to_pylist() for tag, table in found.items()} == {TAG: ["a", "b"]}


def test_an_event_as_edges_write_it_is_never_looked_at_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "_any", None)
    some = [raw(), raw(source="import", mark="bar"), raw(verdict="none"), raw(data={"value": 1, "colour": "é"})]
    found = parse.tables([entry(n, payload) for n, payload in enumerate(some)], mark)[TAG]
    assert [row["source"] for row in found.to_pylist()] == ["web", "import", "web", "web"]
    assert parse.kept(found).num_rows == 3


def test_of_nothing_there_is_no_table() -> None:
    assert parse.tables([], mark) == {}
