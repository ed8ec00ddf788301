"""Events become typed rows, and rows become the same events again."""

import io
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.archive import rows
from collector.event import CLICK_IDS, USER_DATA, Event, StreamedEvent, scalar
from tests.traffic import NOW, TAG, VALUES

fields = st.dictionaries(
    st.sampled_from([*rows.TYPED, "colour", "", 'a"b', "value_text", "mark"]),
    st.sampled_from([value for value in map(scalar, VALUES) if value is not None])
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda number: scalar(number) or 0)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4),
    max_size=5,
)
text = st.sampled_from(["", "x", "é'\n"])
events = st.builds(
    StreamedEvent,
    tag=st.just(TAG),
    visitor=st.sampled_from(["v", "0" * 32, "é"]),
    event=st.sampled_from(["addtocart", "eigenes Ereignis"]),
    event_id=text,
    event_time=st.integers(0, NOW),
    received_at=st.integers(0, NOW * 1000),
    source=st.sampled_from(["web", "server", "import"]),
    url=text,
    referrer=text,
    data=fields,
    line_items=st.lists(fields, max_size=3),
    user_data=st.dictionaries(st.sampled_from(USER_DATA), text),
    click_ids=st.dictionaries(st.sampled_from(CLICK_IDS), text),
    action_source=text,
    user_agent=text,
    verdict=st.sampled_from(["full", "limited", "none"]),
    mark=st.sampled_from(["", "bar", "tombstone"]),
    consent=text,
    signals=text,
)


def event(**given: Any) -> StreamedEvent:
    base = {
        "tag": TAG,
        "visitor": "v",
        "event": "e",
        "event_id": "1",
        "event_time": NOW,
        "received_at": NOW * 1000,
    }
    return StreamedEvent(**{**base, "verdict": "full", **given})


@settings(max_examples=100, deadline=None)
@given(st.lists(events, max_size=6))
def test_an_event_comes_back_exactly_from_parquet(some: list[StreamedEvent]) -> None:
    table = rows.table([(n, 2 * n, one) for n, one in enumerate(some)], len)
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    back = pq.read_table(file).to_pylist()
    found = [rows.event_of(TAG, row) for row in back]
    assert found == some
    assert list(map(_types, found)) == list(map(_types, some))
    assert [(row["sid_ms"], row["sid_seq"], row["mark"]) for row in back] == [
        (n, 2 * n, len(one.visitor)) for n, one in enumerate(some)
    ]


def _types(one: StreamedEvent) -> list[dict[str, type]]:
    """12 == 12.0 to Python, but not to whoever reads the JSON."""
    return [{key: type(value) for key, value in held.items()} for held in (one.data, *one.line_items)]


def test_every_field_of_an_event_has_its_column_but_the_tag() -> None:
    held = {*rows.REQUIRED, *rows.OPTIONAL.values(), *rows.HOLDERS, "data", "line_items", "tag"}
    assert held == {field.name for field in msgspec.structs.fields(StreamedEvent)}
    assert {field.name for field in msgspec.structs.fields(Event)} < held


def test_the_schema_is_the_same_for_every_table() -> None:
    assert rows.table([], len).schema == rows.SCHEMA
    assert rows.table([(1, 0, event(data={"value": "12a"}))], len).schema == rows.SCHEMA


def test_a_number_and_a_text_under_one_key_never_mix() -> None:
    table = rows.table([(1, 0, event(data={"value": 12})), (1, 1, event(data={"value": "12a"}))], len)
    assert table.column("value").to_pylist() == [12.0, None]
    assert table.column("value_text").to_pylist() == [None, "12a"]
    table = rows.table([(1, 0, event(data={"order_id": 12})), (1, 1, event(data={"order_id": "A-12"}))], len)
    assert table.column("order_id").to_pylist() == [None, "A-12"]
    assert table.column("order_id_number").to_pylist() == [12.0, None]


def test_keys_without_a_column_are_json_and_what_is_empty_is_null() -> None:
    table = rows.table(
        [(1, 0, event(data={"colour": "red", "value": 1}, line_items=[{"product_id": "a"}]))], len
    )
    assert table.column("data").to_pylist() == ['{"colour":"red"}']
    assert table.column("line_items").to_pylist() == ['[{"product_id":"a"}]']
    bare = rows.table([(1, 0, event())], len).to_pylist()[0]
    assert {bare[name] for name in ("url", "data", "line_items", "em", "epik", "value", "sets_mark")} == {
        None
    }


@pytest.mark.parametrize("name", ["sid_ms", "sid_seq", "mark", "event_time", "received_at"])
def test_numbers_of_the_stream_keep_64_bits(name: str) -> None:
    assert rows.SCHEMA.field(name).type == pa.int64()
