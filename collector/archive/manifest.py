"""The manifest: which files are in force, kept in the partition's slot so that it rolls back with the stream.

Files are written first and put in force by a script; they have unique names and never change. A reader opens listed
files only, so a file that no commit listed is as if it were not there.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import msgspec

from collector import keys
from collector.archive import whole
from collector.connections import Redis
from collector.stream import scripts

MARGIN = 5.0  # seconds that the clocks of the archive's file system and of this machine may be apart


class File(msgspec.Struct, frozen=True):
    """A Parquet file of one tag in one partition. Ids are of the stream, times are event_time in Unix seconds."""

    name: str
    rows: int
    bytes: int
    first: str
    last: str
    from_time: int
    to_time: int
    crc: int | None = None  # CRC-32 of its bytes; None for files older than this field


class Past(NamedTuple):
    """A tag's past in a partition at one moment.

    The stream holds what comes after `archived`, up to and with `newest`. bars and tombstones: mark → second.
    erasing: marks whose rows may still lie in the files. erasures: counts them, within one lineage of the server.
    """

    archived: str
    erasures: str
    newest: str
    files: list[File]
    bars: dict[int, int]
    tombstones: dict[int, int]
    erasing: set[int]

    @property
    def lineage(self) -> str:
        """The history of writes that the server told this of."""
        return self.erasures.partition(":")[0]


decode_file = msgspec.json.Decoder(File).decode
encode_file = msgspec.json.Encoder().encode


class Manifest:
    """The manifest of one partition. All methods raise connections.Unavailable when Redis cannot answer."""

    def __init__(self, client: Redis, partition: int, folder: Path) -> None:
        self._client = client
        self._partition = partition
        self._prefix = keys.partition(partition)
        self._keys = [keys.state(partition)]
        self._folder = folder / f"p{partition:02d}"
        self._flush = client.register_script(scripts.source("archive", "flush", "lineage", drains=True))
        self._replace = client.register_script(scripts.source("archive", "replace", "lineage", drains=True))
        self._snapshot = client.register_script(scripts.source("archive", "snapshot", "lineage", drains=True))

    def path(self, tag: str, name: str) -> Path:
        """Where a tag's file lies."""
        return self._folder / tag / f"{name}.parquet"

    def check(self, tag: str, file: File) -> Path:
        """Where the file lies. Raises whole.Damaged when it is not what was written."""
        path = self.path(tag, file.name)
        whole.check(path, file.bytes, file.crc)
        return path

    def unused_name(self, first: str) -> str:
        """A name for a new file; the id in front only helps people who look."""
        return f"{first}-{uuid4().hex[:12]}"

    def past(self, tag: str) -> Past:
        """What there is of a tag, in one moment."""
        archived, erasures, newest, files, bars, tombs, erasing = self._snapshot(
            keys=self._keys, args=[self._prefix, tag]
        )
        return Past(
            archived.decode(),
            erasures.decode(),
            newest.decode(),
            sorted((decode_file(raw) for raw in files), key=lambda file: file.name),
            _marks(bars),
            _marks(tombs),
            {int(mark) for mark in erasing},
        )

    def ask_flush(self, newest: str) -> None:
        """Ask the worker to write what the stream holds up to and with `newest`, its newest id, without delay."""
        self._client.hset(self._keys[0], "flush_to", newest)

    def flush(self, archived: str, erasures: str, reached: str, files: Sequence[tuple[str, File]]) -> bool:
        """Put (tag, file) in force and move the archive cursor; False when it or the erasures have moved.

        erasures: «lineage:number», as past() tells them.
        """
        args: list[str | bytes] = [self._prefix, archived, erasures, reached]
        for tag, file in files:
            args += (tag, file.name, encode_file(file))
        return bool(self._flush(keys=self._keys, args=args))

    def replace(
        self,
        tag: str,
        erasures: str,
        old: Sequence[File],
        new: File | None,
        erased: Sequence[int],
        delete_at: float,
    ) -> bool:
        """Replace files, and note the marks whose rows are gone; False when an erasure or another writer came between.

        Readers may have the old files open: they become garbage at delete_at (Unix seconds).
        """
        described = (new.name, encode_file(new)) if new else ("", "")
        args = [
            self._prefix,
            tag,
            erasures,
            delete_at,
            *described,
            len(erased),
            *erased,
            *(file.name for file in old),
        ]
        return bool(self._replace(keys=self._keys, args=args))

    def collect_garbage(self, now: float) -> int:
        """Delete the replaced files whose time has come; how many."""
        key = f"{self._prefix}:garbage"
        due: list[bytes] = self._client.zrangebyscore(key, "-inf", now)
        for member in due:
            tag, name = member.decode().split("/")
            self.path(tag, name).unlink(missing_ok=True)
            self._client.zrem(key, member)
        return len(due)

    def hasten(self, tag: str, now: float) -> None:
        """Let the replaced files of a tag be garbage from now on. Readers that have them open read again."""
        key = f"{self._prefix}:garbage"
        waiting = [member for member in self._client.zrange(key, 0, -1) if member.startswith(f"{tag}/".encode())]
        for member in waiting:
            scripts.drained(self._client, "ZADD", key, "LT", now, member)

    def clear_unlisted(self, tag: str) -> bool:
        """Delete what writers that died left in the folder; False while a file may still be put in force."""
        unlisted = self._unlisted(tag)
        before = time.time() - MARGIN
        left = [path for path in unlisted if _written(path) < before]
        if left:
            # A writer that only slept finds at its commit that an erasure came between, and begins anew.
            scripts.drained(self._client, "HINCRBY", self._keys[0], "erasures", 1)
            for path in self._unlisted(tag) & set(left):
                path.unlink(missing_ok=True)
        return len(left) == len(unlisted)

    def _unlisted(self, tag: str) -> set[Path]:
        paths = set(self.path(tag, "*").parent.glob("*.*"))  # before the list: a file is listed after it is there
        garbage = self._client.zrange(f"{self._prefix}:garbage", 0, -1)
        listed = {file.name for file in self.past(tag).files}
        listed |= {member.decode().partition("/")[2] for member in garbage}
        return {path for path in paths if path.stem not in listed}


def _written(path: Path) -> float:
    """When a file was written last, Unix seconds; for ever ago when it has gone."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def _marks(flat: list[bytes]) -> dict[int, int]:
    return {int(flat[i]): int(flat[i + 1]) for i in range(0, len(flat), 2)}
