"""Archive rows: their Arrow schema, events → rows, and a row → the same event.

| column | holds |
|---|---|
| sid_ms, sid_seq | the stream id |
| mark | keys.visitor_mark of the visitor: what bars and tombstones are looked up by |
| visitor … signals | the fields of a StreamedEvent; null where the field is empty. sets_mark is its `mark` |
| the names of NUMBERS and TEXTS | well-known event data, numbers and texts apart: `value` and `value_text` |
| data | the other keys of event data, a JSON object |
| line_items | a JSON list of objects |
| em … msclkid | user data and click ids: what an export joins |

The tag is no column: each tag has its own folder.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa

from collector.event import CLICK_IDS, USER_DATA, Scalar, StreamedEvent, normal_number

NUMBERS = ("value", "order_quantity", "product_price", "product_quantity")
TEXTS = (
    "currency",
    "order_id",
    "promo_code",
    "property",
    "search_query",
    "video_title",
    "lead_type",
    "page_name",
    "product_id",
    "product_name",
    "product_category",
)

# Event data key → its number column and its text column. The plain name holds what the key usually is.
TYPED: Mapping[str, tuple[str, str]] = {
    **{key: (key, f"{key}_text") for key in NUMBERS},
    **{key: (f"{key}_number", key) for key in TEXTS},
}
REQUIRED = ("visitor", "event", "event_id", "event_time", "received_at", "source", "verdict")
# Column → the event's field; null where that is empty.
OPTIONAL = {
    **{name: name for name in ("url", "referrer", "action_source", "user_agent", "consent", "signals")},
    "sets_mark": "mark",
}
HOLDERS = {"user_data": USER_DATA, "click_ids": CLICK_IDS}

INTEGERS = ("sid_ms", "sid_seq", "mark", "event_time", "received_at")
DOUBLES = tuple(number for number, _ in TYPED.values())
STRINGS = (
    *(name for name in REQUIRED if name not in INTEGERS),
    *OPTIONAL,
    *(text for _, text in TYPED.values()),
    *("data", "line_items", *USER_DATA, *CLICK_IDS),
)
_types: dict[str, pa.DataType] = {name: pa.int64() for name in INTEGERS}
_types |= {name: pa.float64() for name in DOUBLES}
_types |= {name: pa.string() for name in STRINGS}
SCHEMA = pa.schema(list(_types.items()))
# What differs in each row is smaller and written sooner without a dictionary.
REPEATED = [name for name in SCHEMA.names if name not in ("sid_ms", "sid_seq", "event_id")]

_json = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, Scalar]).decode
_list = msgspec.json.Decoder(list[dict[str, Scalar]]).decode


def table(entries: Sequence[tuple[int, int, StreamedEvent]], mark: Callable[[str], int]) -> pa.Table:
    """One row an entry (stream id's milliseconds and sequence, event), in order; `mark` names a visitor."""
    events = [event for _, _, event in entries]
    columns: dict[str, Any] = {
        "sid_ms": [ms for ms, _, _ in entries],
        "sid_seq": [seq for _, seq, _ in entries],
        "mark": [mark(event.visitor) for event in events],
        "data": [rest(event.data) for event in events],
        "line_items": [_json(event.line_items) if event.line_items else None for event in events],
    }
    for name in REQUIRED:  # one after the other: rows of tuples in between take four times as long
        columns[name] = list(map(attrgetter(name), events))
    for name, field in OPTIONAL.items():
        columns[name] = [value or None for value in map(attrgetter(field), events)]
    datas = [event.data for event in events]
    for key in TYPED.keys() & set().union(*datas):
        number, text = TYPED[key]
        columns[number], columns[text] = _apart([data.get(key) for data in datas])
    for field, names in HOLDERS.items():
        holders = list(map(attrgetter(field), events))
        for name in set(names) & set().union(*holders):
            columns[name] = [holder.get(name) for holder in holders]
    arrays = [_array(columns.get(field.name), len(events), field.type) for field in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _array(values: list[Any] | None, length: int, kind: Any) -> Any:
    """A column; None: nothing but nulls. Many hold one value all over, and each to convert takes five times as long."""
    if not values:
        return pa.nulls(length, kind)
    if values.count(values[0]) < length:
        return pa.array(values, kind)
    return pa.repeat(pa.scalar(values[0], kind), length)


def key_text(key: str) -> str:
    """How a key stands in the JSON of a row."""
    return _json(key).decode()


def rewritten(line_items: str) -> bytes:
    """The JSON of line items as table() writes it, from any other."""
    return _json(_list(line_items))


def event_of(tag: str, row: Mapping[str, Any]) -> StreamedEvent:
    """The event that a row was made of, exactly; `row` is column → value, as pyarrow's to_pylist gives it."""
    data: dict[str, Scalar] = _object(row["data"]) if row["data"] is not None else {}
    for key, (number, text) in TYPED.items():
        if row[number] is not None:
            data[key] = normal_number(row[number])
        elif row[text] is not None:
            data[key] = row[text]
    fields: dict[str, Any] = {name: row[name] for name in REQUIRED}
    fields |= {field: row[name] or "" for name, field in OPTIONAL.items()}
    for field, names in HOLDERS.items():
        fields[field] = {name: row[name] for name in names if row[name] is not None}
    items = _list(row["line_items"]) if row["line_items"] is not None else []
    return StreamedEvent(tag=tag, data=data, line_items=items, **fields)


def rest(data: Mapping[str, Scalar]) -> bytes | None:
    """The JSON of the keys that have no column; None without any."""
    if TYPED.keys() >= data.keys():
        return None
    return _json({key: value for key, value in data.items() if key not in TYPED})


def _apart(values: list[Scalar | None]) -> tuple[list[Any] | None, list[Any] | None]:
    """Numbers and texts in columns of their own; None for a column without any."""
    kinds = set(map(type, values)) - {type(None)}
    if str not in kinds:
        return values if kinds else None, None
    if len(kinds) == 1:
        return None, values
    numbers = [None if isinstance(value, str) else value for value in values]
    return numbers, [value if isinstance(value, str) else None for value in values]
