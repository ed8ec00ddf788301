"""Lines: an import's file, CSV or NDJSON, plain or gzip, line by line in the shape of the server's events."""

import codecs
import csv
import gzip
import hashlib
import io
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeGuard, cast

from msgspec.structs import astuple

from collector import clock
from collector.consent import word
from collector.event import plain_number
from collector.ingest import decode, normalise
from collector.ingest.wire import Sent
from collector.settings import BadSetup, Settings

KNOWN = ("event_time", "visitor", "event", "event_id", "url", "referrer", "consent")
NEEDED = KNOWN[:3]
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}  # what spreadsheets write besides commas
NO_UTF8 = "is no UTF-8. Mend: save it as CSV UTF-8"

GZIP = b"\x1f\x8b"  # RFC 1952, 2.3.1
BLOCK = 1 << 20  # bytes read at a time for the digest


class Unreadable(NamedTuple):
    """A line that holds no event: the reason of outcomes.TABLE, and what is wrong with this one."""

    reason: str
    why: str


class Line(NamedTuple):
    """number: of the line that it begins on, from 1; event: as the server API takes one."""

    number: int
    event: Sent | Unreadable


NUL = Unreadable("bad_data", "it holds a NUL character")


class File:
    """A file to import. Its content is what counts: packed or not, it has the same digest."""

    def __init__(self, path: Path, settings: Settings) -> None:
        """Raises BadSetup when it cannot be read, is cut off, or lacks the header that CSV needs."""
        self._settings = settings
        self._path = path
        try:
            with path.open("rb") as raw:
                self._packed = raw.read(2) == GZIP
            self.size = path.stat().st_size  # bytes on disk
            self._raw: BinaryIO | None = None
            self.digest = self._digest()
        except (OSError, EOFError, zlib.error) as error:
            said = getattr(error, "strerror", None) or "the gzip stream is damaged or cut off"
            raise BadSetup(f"{path} cannot be read: {said}. Mend: name a whole, readable file.") from None
        self._csv = self._is_csv()
        if self._csv:
            first = next(self._rows(), None)
            if first is None:
                raise BadSetup(f"{path} is empty. Mend: name a file with a header and rows.")
            self._header(first[1])

    @property
    def position(self) -> int:
        """How many bytes of `size` have been read."""
        return self.size if self._raw is None or self._raw.closed else self._raw.tell()

    def lines(self) -> Iterator[Line]:
        """Every line that is not blank, from the first."""
        return self._csv_lines() if self._csv else self._json_lines()

    def last_time(self, until: float) -> int:
        """The latest second of an event at or before `until`: later ones will be refused. 0 if there is none."""
        times = (line.event.event_time for line in self.lines() if isinstance(line.event, Sent))
        return int(max((time for time in times if is_number(time) and time <= until), default=0))

    @contextmanager
    def _content(self) -> Iterator[BinaryIO]:
        with self._path.open("rb") as raw:
            self._raw = raw
            if not self._packed:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as content:
                yield cast(BinaryIO, content)

    def _digest(self) -> str:
        digest = hashlib.sha256()
        with self._content() as content:
            while block := content.read(BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def _is_csv(self) -> bool:
        names = {suffix.lower() for suffix in self._path.suffixes[-2:]}
        if ".csv" in names or names & {".ndjson", ".jsonl", ".json"}:
            return ".csv" in names
        with self._content() as content:
            return not content.read(BLOCK).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")

    def _json_lines(self) -> Iterator[Line]:
        with self._content() as content:
            for number, text in enumerate(content, 1):
                if number == 1:
                    text = text.removeprefix(codecs.BOM_UTF8)
                if text and not text.isspace():
                    yield Line(number, self._json(text))

    def _json(self, text: bytes) -> Sent | Unreadable:
        if len(text) > self._settings.max_event_bytes:
            return self._too_large()
        try:
            event = decode.event(text, self._settings)
        except ValueError as error:
            return Unreadable("bad_event", f"it is no event as JSON ({error})")
        if b"\\u0000" in text and normalise.holds_nul(list(astuple(event))):
            return NUL
        if isinstance(event.consent, str):
            event.consent = word(event.consent)
        if isinstance(event.event_time, str):
            event.event_time = instant(event.event_time)
        return event

    def _rows(self) -> Iterator[tuple[int, list[str] | csv.Error]]:
        """(number of the line that it begins on, the cells of a row or what is wrong with it).

        What is wrong with a row is wrong with its first line: a quote that nothing closes runs on to the next one, or
        to the file's end, and the lines behind the first are read again as what they are.
        """
        with (
            self._content() as content,
            io.TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape", newline="") as text,
        ):
            again: deque[str] = deque()
            number = 1
            while True:
                read: list[str] = []  # the lines of this row
                try:
                    for row in csv.reader(_noted(text, again, read), strict=True):
                        yield number, row
                        number += len(read)
                        read.clear()
                    return
                except csv.Error as error:
                    yield number, error
                    number += 1
                    again.extendleft(reversed(read[1:]))

    def _header(self, row: list[str] | csv.Error) -> list[str]:
        if isinstance(row, csv.Error):
            raise BadSetup(f"{self._path} has no readable header ({row}). Mend: save it as CSV with commas.")
        names = [name.strip() for name in row]
        if not _is_text(names):
            raise BadSetup(f"{self._path} {NO_UTF8}.")
        if missing := [name for name in NEEDED if name not in names]:
            if other := _separator(names):
                raise BadSetup(f"{self._path} has {other} between its columns. Mend: save it as CSV with commas.")
            raise BadSetup(
                f"{self._path} has no column {', '.join(missing)}. "
                "Mend: give it a first line with event_time, visitor, event and the names of its other columns."
            )
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise BadSetup(
                f"{self._path} names {', '.join(twice)} twice. Mend: give each column its own name."
            )
        return names

    def _csv_lines(self) -> Iterator[Line]:
        rows = self._rows()
        names = self._header(next(rows)[1])
        event_of, width, most = _reader(names), len(names), self._settings.max_event_bytes
        for number, row in rows:
            if isinstance(row, csv.Error):
                yield Line(number, Unreadable("bad_event", f"it is no CSV ({row})"))
            elif len(row) == width:
                text = "".join(row)
                fits = text.isascii() and len(text) <= most and "\0" not in text
                yield Line(number, event_of(row) if fits else self._unfit(text) or event_of(row))
            elif row:
                why = f"it has {len(row)} cells and the header {width}"
                yield Line(number, Unreadable("bad_event", why))

    def _unfit(self, text: str) -> Unreadable | None:
        if "\0" in text:
            return NUL
        if not _is_text([text]):
            return Unreadable("bad_event", f"it {NO_UTF8}")
        return self._too_large() if len(text.encode()) > self._settings.max_event_bytes else None

    def _too_large(self) -> Unreadable:
        return Unreadable("too_large", f"it is over {self._settings.max_event_bytes:,} bytes")


def _noted(text: Iterator[str], again: deque[str], read: list[str]) -> Iterator[str]:
    """The lines of `again`, which it empties, then those of the text, each noted in `read`."""
    while line := again.popleft() if again else next(text, ""):
        read.append(line)
        yield line


def _is_text(cells: list[str]) -> bool:
    """Whether the cells were read from UTF-8; else they hold halves of surrogates."""
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True


def _separator(names: list[str]) -> str:
    """What stands between the columns of a header that has the needed ones, but not by commas; else «»."""
    header = ",".join(names)
    for mark, called in SEPARATORS.items():
        if {name.strip(' "') for name in header.split(mark)} >= set(NEEDED):
            return called
    return ""


def _reader(names: list[str]) -> Callable[[list[str]], Sent]:
    """Row → event for this header."""
    time_at = names.index("event_time")
    known = [(names.index(name), name) for name in KNOWN[1:-1] if name in names]
    consent_at = names.index("consent") if "consent" in names else None
    rest = [(at, name) for at, name in enumerate(names) if name not in KNOWN]

    def event_of(row: list[str]) -> Sent:
        event = Sent(event_time=instant(row[time_at]), data={name: row[at] for at, name in rest if row[at]})
        for at, name in known:
            setattr(event, name, row[at])
        if consent_at is not None and row[consent_at]:
            event.consent = word(row[consent_at])
        return event

    return event_of


def instant(text: str) -> str | int | float | None:
    """Unix seconds of a text, which may be ISO 8601; the text itself when it is neither, None when it is empty."""
    if text.isdecimal() and text.isascii():
        return int(text[:20])  # as much as tells that it is no time
    if not text:
        return None
    number = plain_number(text)
    if number is not None:
        return number
    try:
        return clock.parse_iso(text)
    except (ValueError, OverflowError):
        return text


def is_number(value: object) -> TypeGuard[int | float]:
    return type(value) is int or type(value) is float
