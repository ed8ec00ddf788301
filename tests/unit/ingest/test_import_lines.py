"""A file's lines come out as they were meant; what cannot be read is named and takes nothing else down."""

import csv
import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from collector.ingest.lines import File, Unreadable, instant
from collector.ingest.wire import Sent
from collector.settings import BadSetup, Settings

HEADER = "event_time,visitor,event"


def lines(path: Path, content: str | bytes, **settings: int) -> dict[int, Any]:
    """Line number → event, or the reason for which there is none."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found = File(path, Settings(**settings)).lines()  # type: ignore[arg-type]
    return {number: event.reason if isinstance(event, Unreadable) else event for number, event in found}


def test_csv_columns_that_no_event_has_become_event_data_and_empty_cells_are_absent(tmp_path: Path) -> None:
    text = "visitor,colour,event_time,size,event,url\nv1,red,100,,lead,https://a.example/\nv2,,1e2,7,lead,\n"
    assert lines(tmp_path / "a.csv", text) == {
        2: Sent(
            event_time=100, visitor="v1", event="lead", url="https://a.example/", data={"colour": "red"}
        ),
        3: Sent(event_time="1e2", visitor="v2", event="lead", url="", data={"size": "7"}),
    }


def test_a_consent_cell_is_the_word_for_every_purpose_and_an_empty_one_says_nothing(tmp_path: Path) -> None:
    found = lines(tmp_path / "a.csv", f"{HEADER},consent\n1,v,e,granted\n2,v,e,denied\n3,v,e,\n")
    assert set(found[2].consent.values()) == {"granted"}
    assert set(found[3].consent.values()) == {"denied"}
    assert found[4].consent is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1763750000", 1763750000),
        ("1763750000.5", 1763750000.5),
        ("1763750000.500000", 1763750000.5),  # as PostgreSQL writes an epoch
        ("1763750000.123456", 1763750000.123456),
        ("0", 0),
        ("2025-11-21T18:33:20Z", 1763750000),
        ("2025-11-21T19:33:20+01:00", 1763750000),
        ("2025-11-21 18:33:20", 1763750000),
        ("2025-11-21", 1763683200),
        ("", None),
        ("yesterday", "yesterday"),
        ("9" * 5000, 99999999999999999999),
    ],
)
def test_a_time_is_unix_seconds_or_iso_8601(text: str, seconds: object) -> None:
    assert instant(text) == seconds


def test_malformed_csv_rows_are_named_by_number_and_the_rest_goes_on(tmp_path: Path) -> None:
    rows = [
        *(b"1,v,e,x", b"1,v", b"1,v,e,x,y", b"", b'1,"a"b,e,x', b"1,v\0,e,x", b"1,\xff,e,x"),
        *(b"1,v,e," + b"x" * 1000, '1,é,"two\nlines",x'.encode(), b"1,v,e,x"),
    ]
    found = lines(tmp_path / "a.csv", b"\n".join([f"{HEADER},k".encode(), *rows]), max_event_bytes=500)
    assert {number: event for number, event in found.items() if isinstance(event, str)} == {
        **{3: "bad_event", 4: "bad_event", 6: "bad_event"},
        **{7: "bad_data", 8: "bad_event", 9: "too_large"},
    }
    assert [number for number, event in found.items() if isinstance(event, Sent)] == [2, 10, 12]


@pytest.mark.parametrize("after", ["", '9,"v",e,x\n', "9,v,e,x\n" * 20_000])
def test_a_quote_that_nothing_closes_takes_no_other_row_with_it(after: str, tmp_path: Path) -> None:
    rows = f'1,v,e,"a\n2,v,e,b\n3,v,e,"two\nlines"\n5,v,"e,c\n6,v,e,d\n{after}'
    found = lines(tmp_path / "a.csv", f"{HEADER},k\n{rows}")
    assert [number for number, event in found.items() if event == "bad_event"] == [2, 6]
    good = {number: event.data["k"] for number, event in found.items() if isinstance(event, Sent)}
    assert list(good.items())[:3] == [(3, "b"), (4, "two\nlines"), (7, "d")]
    assert len(good) == 3 + after.count("\n")


def test_a_row_that_is_no_utf_8_says_how_to_save_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(f"{HEADER}\n1,v,".encode() + b"\xff\n")
    (line,) = File(tmp_path / "a.csv", Settings()).lines()
    assert line.event == Unreadable("bad_event", "it is no UTF-8. Mend: save it as CSV UTF-8")


def test_malformed_json_lines_are_named_by_number_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = '{"event": "lead", "event_time": "1970-01-01T00:01:40Z", "consent": "granted"}'
    rows = [
        "\ufeff" + good,
        "",
        "{",
        "[1]",
        '{"url": "\\u0000"}',
        '{"url": "\\\\u0000"}',
        '{"a": "' + "x" * 1000 + '"}',
    ]
    found = lines(tmp_path / "a.ndjson", "\n".join([*rows, good]), max_event_bytes=500)
    assert {number: event for number, event in found.items() if isinstance(event, str)} == {
        **{3: "bad_event", 4: "bad_event", 5: "bad_data", 7: "too_large"},
    }
    assert found[1] == found[8]
    assert found[1].event_time == 100
    assert set(found[1].consent.values()) == {"granted"}


@given(rows=st.lists(st.tuples(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9))))
def test_what_a_csv_writer_writes_is_read_as_it_was(
    rows: list[tuple[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([(*HEADER.split(","), "k"), *(("1", "v", "e", *row) for row in rows)])
    read = [line.event for line in File(path, Settings()).lines()]
    assert [event.data for event in read if isinstance(event, Sent)] == [
        {"k": cell} if cell else {} for (cell,) in rows
    ]


def test_the_form_is_known_by_name_or_by_content_and_packing_changes_nothing(tmp_path: Path) -> None:
    event = Sent(event_time=1, visitor="v", event="e")
    text = msgspec.json.encode(event) + b"\n"
    digests = set()
    for name, content in [("a.ndjson", text), ("a.jsonl.gz", gzip.compress(text, mtime=0)), ("a", text)]:
        assert lines(tmp_path / name, content) == {1: event}
        digests.add(File(tmp_path / name, Settings()).digest)
    assert len(digests) == 1
    packed = gzip.compress(f"{HEADER}\n1,v,e\n".encode())
    assert lines(tmp_path / "b", packed) == {2: replace(event, data={})}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n", "no column event_time, visitor, event"),
        ("a.csv", b"event_time;visitor;event;url\n", "semicolons between its columns"),
        ("a.csv", b"event_time\tvisitor\tevent\n", "tabs between its columns"),
        ("a.csv", HEADER.encode() + b",gr\xf6\xdfe\n", "no UTF-8. Mend: save it as CSV UTF-8"),
        ("a.csv", HEADER.encode("utf-16"), "no UTF-8. Mend: save it as CSV UTF-8"),
        ("a.csv", b"event_time,visitor\n", "no column event"),
        ("a.csv", HEADER.encode() + b",k,k\n", "k twice"),
        ("a.csv.gz", gzip.compress(HEADER.encode(), mtime=0)[:-5], "damaged or cut off"),
        ("missing/a.csv", None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_is_told_before_anything_is_imported(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadSetup, match=said):
        File(tmp_path / name, Settings())


def test_the_last_time_is_the_latest_that_is_not_in_the_future(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{HEADER}\n100,v,e\n,v,e\n300,v,e\n200.9,v,e\nbad,v,e\n50,v,e\n")
    file = File(tmp_path / "a.csv", Settings())
    assert (file.last_time(250), file.last_time(300), file.last_time(10)) == (200, 300, 0)
