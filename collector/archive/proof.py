"""Proof: append-only files that tell who consented to what, and what was erased; a visitor is a keyed hash in them.

`<archive>/proof/p07/<tag>/consent-2026-11.ndjson` and `erasure-2026-11.ndjson`: one JSON object a line, a file a month.
A crash can leave half a line, which readers pass over, or a record twice, which they know by its id.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from collector import clock, disk
from collector.clock import DAY
from collector.event import Source

Kind = Literal["consent", "erasure"]
TAIL = 8 << 20  # bytes: some 40,000 records, read in a quarter of a second


class Consent(msgspec.Struct, frozen=True, omit_defaults=True):
    """A visitor's consent as an event brought it. visitor: keys.visitor_name; at: ISO 8601; record: unique."""

    record: str
    visitor: str
    at: str
    verdict: Literal["full", "limited", "withdrawal"]
    method: str  # the signals that decided
    signals: str  # SHA-256 of the raw signals, 16 hex digits
    source: Source = "web"


class Erasure(msgspec.Struct, frozen=True):
    """That a visitor's data went. Times are ISO 8601: of the request, of the last row and stream node, of the AOF."""

    record: str
    visitor: str
    asked_at: str
    rows_gone_at: str
    files_rewritten_at: str


Record = Consent | Erasure
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Proofs:
    """The proof files of one partition. Any number of processes may append."""

    def __init__(self, archive: Path, partition: int) -> None:
        self._folder = archive / "proof" / f"p{partition:02d}"

    def append(self, tag: str, kind: Kind, records: Sequence[Record], now: float) -> None:
        """On disk when it returns. Raises OSError."""
        if not records:
            return
        path = self._folder / tag / f"{kind}-{_month(now)}.ndjson"
        fresh = not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two workers may believe that they own the partition
            end = file.seek(0, os.SEEK_END)
            torn = end > 0 and os.pread(file.fileno(), 1, end - 1) != b"\n"
            file.write(b"\n" * torn + b"".join(_encode(record) + b"\n" for record in records))
            file.flush()
            os.fsync(file.fileno())
        if fresh:
            disk.sync(path.parent)

    def latest(self, tag: str) -> Iterator[dict[str, Any]]:
        """The newest consent records of the tag, oldest first; at most TAIL bytes of them."""
        for path in sorted((self._folder / tag).glob("consent-*.ndjson"))[-1:]:
            with path.open("rb") as file:
                start = max(file.seek(0, os.SEEK_END) - TAIL, 0)
                file.seek(start)
                lines = file.read().splitlines()
            yield from _records(lines[1:] if start else lines)

    def retire(self, days: int, now: float) -> int:
        """Delete the files whose month ended more than so many days ago; how many."""
        limit = _month(now - days * DAY)
        old = [path for path in self._folder.glob("*/*.ndjson") if path.stem.split("-", 1)[1] < limit]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)


def find(archive: Path, tag: str, kind: Kind, visitor: str = "") -> list[dict[str, Any]]:
    """The records of a visitor, or of all, each once, in the order of their files. Reads them all: seconds a GB.

    Of every partition there ever was, since a rebuild with another number leaves records where they are.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((archive / "proof").glob(f"p*/{tag}/{kind}-*.ndjson"), key=lambda path: path.name):
        with path.open("rb") as file:
            for record in _records(line for line in file if visitor.encode() in line):
                found.setdefault(record["record"], record)
    return list(found.values())


def _records(lines: Iterator[bytes] | Sequence[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            record = _decode(line)
        except msgspec.DecodeError:
            continue  # half a line of a process that died; what it told of is told again
        if "record" in record:
            yield record


def _month(now: float) -> str:
    return clock.iso(now)[:7]
