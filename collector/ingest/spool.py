"""Spool: events on this machine's own disk while Redis cannot take them, each as a stream will take it."""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from collector import disk, event, keys, log
from collector.consent import ConsentedEvent
from collector.metrics import SPOOLED
from collector.settings import BadSetup
from collector.stream.append import event_mark
from collector.stream.partitions import Installation

T = TypeVar("T")

PAGE = 4096  # bytes: sqlite's own default, and the unit of its limit
MOST = 1024  # files of one folder: far more processes than a machine has cores

# AUTOINCREMENT: ids rise for good, so that dropping what was drained never takes a row that came meanwhile.
SCHEMA = """
CREATE TABLE IF NOT EXISTS installation (digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS spool (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  visitor INTEGER NOT NULL,
  spread INTEGER NOT NULL,
  mark INTEGER,
  payload BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_visitor ON spool (visitor);
"""
INSERT = "INSERT INTO spool (visitor, spread, mark, payload) VALUES (?, ?, ?, ?)"


class Row(NamedTuple):
    """One event that waits."""

    id: int
    spread: int  # event.spread(): its partition, whatever their number
    mark: int | None  # keys.event_mark; None for a withdrawal
    payload: bytes  # a StreamedEvent as JSON


class Spool:
    """One file, held under a lock by one process. Everything on it happens in a thread of its own."""

    def __init__(self, path: Path, lock: int, installation: Installation, limit: int) -> None:
        """Made by own() and orphans(). Raises sqlite3.Error and OSError."""
        self._path = path
        self._lock = lock
        self._limit = limit
        self._secret = installation.secret
        self._digest = hashlib.sha256(b"spool" + installation.secret).hexdigest()[:16]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._log = log.get("spool")
        self.rows = 0
        self._gone = 0  # id of the last row that a stream has, while there is no room to delete it
        self.failure = ""  # why the last events were not taken: the error's class; "" when they were
        self._open()

    @classmethod
    def own(cls, folder: Path, installation: Installation, limit: int) -> Self:
        """The first file of the folder that no process holds, with what its last owner left in it.

        limit: bytes that it may take. Raises BadSetup for a folder or file that cannot be used, and for events of
        another installation: they must not reach this one.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path, lock = next(_free(folder, range(MOST)))
            spool = cls(path, lock, installation, limit)
        except (OSError, sqlite3.Error) as error:
            raise BadSetup(
                f"The spool in {folder} cannot be opened ({error}). "
                "Mend: give this user the folder, set COLLECTOR_SPOOL_DIR, or COLLECTOR_SPOOL_BYTES=0 for none."
            ) from None
        if spool.foreign:
            spool._shut()
            raise BadSetup(
                f"{path} holds {spool.rows} events of another installation than this Redis server. "
                "Mend: set COLLECTOR_REDIS_URL to their server, or move the file away."
            )
        return spool

    @classmethod
    def orphans(cls, folder: Path, installation: Installation, limit: int) -> Iterator[Self]:
        """The files whose owners are gone, each held until it is closed. Blocks."""
        there = sorted(int(path.stem) for path in folder.glob("*.db") if path.stem.isdecimal())
        for path, lock in _free(folder, there):
            try:
                spool = cls(path, lock, installation, limit)
            except (OSError, sqlite3.Error) as error:
                os.close(lock)
                log.get("spool").error("orphan not read", file=path.name, error=type(error).__name__)
                continue
            if spool.foreign:
                spool._shut()
            else:
                yield spool

    async def put(self, group: Sequence[ConsentedEvent]) -> list[bool]:
        """Write the events; True for each that is on disk, False when the spool is full or fails.

        A withdrawal takes the visitor's rows with it, and so may find room where nothing else does.
        """
        return await self._run(self._put, group)

    async def purge(self, group: Sequence[ConsentedEvent]) -> None:
        """Erase what waits of the visitors whose withdrawals are in the group."""
        if gone := [sealed for sealed in group if sealed.decision.mark == "tombstone"]:
            await self._run(self._purge, gone)

    async def take(self, most: int) -> list[Row]:
        """The oldest rows. They stay until they are dropped."""
        return await self._run(self._take, most)

    async def drop(self, rows: Sequence[Row]) -> None:
        """Erase the rows that take() gave: a stream has them."""
        await self._run(self._drop, rows[-1].id)

    async def close(self) -> None:
        """Let the file go; an empty one is removed."""
        await self._run(self._shut)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[..., T], *given: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *given)

    def _open(self) -> None:
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))  # sqlite gives its other files the same mode
        disk.sync(self._path.parent)
        self._base = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.execute("PRAGMA secure_delete = ON")
            self._base.execute(f"PRAGMA max_page_count = {max(self._limit // PAGE, 1)}")
            self._base.executescript(SCHEMA)
            (self.rows,) = self._base.execute("SELECT count(*) FROM spool").fetchone()
            kept = self._base.execute("SELECT digest FROM installation").fetchone()
            self.foreign = bool(self.rows) and kept != (self._digest,)
            if not self.foreign and kept != (self._digest,):
                self._base.execute("DELETE FROM installation")
                self._base.execute("INSERT INTO installation VALUES (?)", (self._digest,))
        except sqlite3.Error:
            self._base.close()
            raise
        self._closed = False

    def _put(self, group: Sequence[ConsentedEvent]) -> list[bool]:
        if self._write(group):
            return [True] * len(group)
        return [it.decision.mark == "tombstone" and len(group) > 1 and self._write([it]) for it in group]

    def _write(self, group: Sequence[ConsentedEvent]) -> bool:
        erased = 0
        try:
            if self._closed:
                self._open()
            with self._transaction():
                for sealed in group:
                    it = sealed.bare
                    visitor = keys.visitor_mark(self._secret, it.tag, it.visitor)
                    if sealed.decision.mark == "tombstone":
                        erased += self._erase(visitor)
                    mark = event_mark(it, self._secret) or None
                    row = visitor, event.spread(it.tag, it.visitor), mark, sealed.payload()
                    self._base.execute(INSERT, row)
            if erased:
                self._wipe()
        except (OSError, sqlite3.Error) as error:
            if not self.failure:
                self._log.error("the spool takes nothing", error=type(error).__name__, reason=str(error))
            self.failure = str(error)
            return False
        self.failure = ""
        self.rows += len(group) - erased
        self._recount()
        SPOOLED.labels("spooled").inc(len(group))
        SPOOLED.labels("erased").inc(erased)
        return True

    def _purge(self, gone: Sequence[ConsentedEvent]) -> None:
        if not self.rows:
            return
        erased = 0
        try:
            with self._transaction():
                for it in (sealed.bare for sealed in gone):
                    erased += self._erase(keys.visitor_mark(self._secret, it.tag, it.visitor))
        except sqlite3.OperationalError:  # no room: the stream has the withdrawal, which hides them
            return
        if erased:
            self._wipe()
            self.rows -= erased
            self._recount()
            SPOOLED.labels("erased").inc(erased)

    def _erase(self, visitor: int) -> int:
        return self._base.execute("DELETE FROM spool WHERE visitor = ?", (visitor,)).rowcount

    def _take(self, most: int) -> list[Row]:
        if not self.rows:
            return []
        asked = "SELECT id, spread, mark, payload FROM spool WHERE id > ? ORDER BY id LIMIT ?"
        return [Row(*row) for row in self._base.execute(asked, (self._gone, most))]

    def _drop(self, last: int) -> None:
        """On a full disk there is no room to delete either: there the rows are passed over, and go with the file.

        The next one is begun when it is needed: by now others may have taken the room.
        """
        if not self._gone:
            try:
                self.rows -= self._base.execute("DELETE FROM spool WHERE id <= ?", (last,)).rowcount
            except sqlite3.OperationalError as error:
                self._log.warning("no room to delete what was drained", reason=str(error))
                self._gone = last
        if self._gone:
            self._gone = last
            self._recount()
            if not self.rows:
                self._base.close()
                self._remove()
                self._gone, self._closed = 0, True
        elif not self.rows:
            self._wipe()

    def _recount(self) -> None:
        if self._gone:
            (self.rows,) = self._base.execute(
                "SELECT count(*) FROM spool WHERE id > ?", (self._gone,)
            ).fetchone()

    def _wipe(self) -> None:
        """Take what was erased out of the write-ahead log too; secure_delete has overwritten it in the file."""
        self._base.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _shut(self) -> None:
        self._base.close()
        if not self.rows:
            self._remove()
        os.close(self._lock)

    def _remove(self) -> None:
        for end in ("", "-wal", "-shm"):
            Path(f"{self._path}{end}").unlink(missing_ok=True)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._base.execute("COMMIT")
        except BaseException:
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
            raise


def _free(folder: Path, numbers: Sequence[int]) -> Iterator[tuple[Path, int]]:
    """Those of the numbered files that no process holds, each with the lock on it taken.

    The lock is a file beside it that stays: closing any descriptor of a database drops sqlite's own locks on it.
    """
    for number in numbers:
        lock = os.open(folder / f"{number}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            yield folder / f"{number}.db", lock
