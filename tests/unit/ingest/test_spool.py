"""Spool: what it took is on disk until a stream has it, whoever dies; what a visitor withdrew is gone from it."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from collector.event import decode_streamed
from collector.ingest.spool import Spool
from collector.settings import BadSetup
from collector.stream.partitions import Installation
from tests.unit.parts import GPC, WITHDRAWN, happened, sealed

HERE = Installation(16, b"s" * 32)
ELSEWHERE = Installation(16, b"e" * 32)
LIMIT = 1 << 20
ANNA, BEN = "a" * 32, "b" * 32


def ids(spool: Spool) -> list[str]:
    return [decode_streamed(row.payload).event_id for row in asyncio.run(spool.take(1_000))]


def everything(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


def test_what_was_put_is_there_for_the_next_owner_in_order_with_all_it_had(tmp_path: Path) -> None:
    first = Spool.own(tmp_path, HERE, LIMIT)
    event = happened(ANNA, data={"value": 9.5}, user_data={"em": "0" * 64})
    group = [sealed(event), sealed(happened(BEN), GPC)]
    assert asyncio.run(first.put(group)) == [True, True]
    asyncio.run(first.close())
    second = Spool.own(tmp_path, HERE, LIMIT)
    rows = asyncio.run(second.take(1_000))
    assert [decode_streamed(row.payload) for row in rows] == [each.event for each in group]
    assert second.rows == 2
    asyncio.run(second.drop(rows))
    assert (second.rows, ids(second)) == (0, [])
    asyncio.run(second.close())
    assert not list(tmp_path.glob("*.db*")), "an empty one is removed"


def test_what_was_put_survives_kill_9(tmp_path: Path) -> None:
    """os._exit ends the process as kill -9 does: nothing is flushed or closed."""
    program = f"""
import asyncio, os
from tests.unit.ingest.test_spool import *
from pathlib import Path
spool = Spool.own(Path({str(tmp_path)!r}), HERE, LIMIT)
print(asyncio.run(spool.put([sealed(happened(ANNA, event_id=str(i))) for i in range(700)])).count(True), flush=True)
os._exit(9)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (9, "700\n"), ended.stderr
    spool = Spool.own(tmp_path, HERE, LIMIT)
    assert ids(spool) == [str(number) for number in range(700)]
    asyncio.run(spool.close())


def test_a_withdrawal_erases_the_visitor_s_rows_to_the_last_byte_and_stays(tmp_path: Path) -> None:
    spool = Spool.own(tmp_path, HERE, LIMIT)
    asyncio.run(
        spool.put([sealed(happened(ANNA, event_id="secret-word")), sealed(happened(BEN, event_id="b"))])
    )
    assert b"secret-word" in everything(tmp_path), "so the search finds what is there"
    late = happened(ANNA, event_id="after")
    group = [sealed(happened(ANNA), WITHDRAWN), sealed(late)]
    assert asyncio.run(spool.put(group)) == [True, True]
    assert ids(spool) == ["b", "", "after"]
    assert spool.rows == 3
    assert b"secret-word" not in everything(tmp_path)
    asyncio.run(spool.close())


def test_a_withdrawal_that_went_to_redis_erases_here_too(tmp_path: Path) -> None:
    spool = Spool.own(tmp_path, HERE, LIMIT)
    asyncio.run(
        spool.put([sealed(happened(ANNA, event_id="secret-word")), sealed(happened(BEN, event_id="b"))])
    )
    asyncio.run(spool.purge([sealed(happened(BEN)), sealed(happened(ANNA), WITHDRAWN)]))
    assert (ids(spool), spool.rows) == (["b"], 1)
    assert b"secret-word" not in everything(tmp_path)
    asyncio.run(spool.close())


def test_a_full_spool_says_so_loses_nothing_and_still_takes_a_withdrawal(tmp_path: Path) -> None:
    spool = Spool.own(tmp_path, HERE, 100_000)
    taken = 0
    while asyncio.run(spool.put([sealed(happened(ANNA, event_id=f"{taken}"))])) == [True]:
        taken += 1
        assert taken < 1_000, "it must be full at some time"
    assert "full" in spool.failure
    assert (spool.rows, len(ids(spool))) == (taken, taken)
    assert (tmp_path / "0.db").stat().st_size <= 100_000
    group = [sealed(happened(BEN)), sealed(happened(ANNA), WITHDRAWN)]
    assert asyncio.run(spool.put(group)) == [False, True]
    assert (ids(spool), spool.failure) == ([""], "")
    assert asyncio.run(spool.put([sealed(happened(BEN, event_id="room"))])) == [True]
    asyncio.run(spool.close())


def test_rows_that_come_while_others_are_drained_stay(tmp_path: Path) -> None:
    spool = Spool.own(tmp_path, HERE, LIMIT)
    asyncio.run(spool.put([sealed(happened(ANNA, event_id="first"))]))
    rows = asyncio.run(spool.take(10))
    asyncio.run(spool.purge([sealed(happened(ANNA), WITHDRAWN)]))
    asyncio.run(spool.put([sealed(happened(BEN, event_id="second"))]))
    asyncio.run(spool.drop(rows))
    assert (ids(spool), spool.rows) == (["second"], 1)
    asyncio.run(spool.close())


class FullDisk:
    """A connection to a database whose disk has room for nothing any more."""

    def __init__(self, base: Any) -> None:
        self._base = base

    def execute(self, text: str, *given: Any) -> Any:
        if text.startswith(("INSERT", "DELETE")):
            raise sqlite3.OperationalError("database or disk is full")
        return self._base.execute(text, *given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)


def test_on_a_full_disk_it_is_drained_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool.own(tmp_path, HERE, LIMIT)
    asyncio.run(spool.put([sealed(happened(ANNA, event_id=f"{number}")) for number in range(5)]))
    spool._base = FullDisk(spool._base)  # type: ignore[assignment]
    assert asyncio.run(spool.put([sealed(happened(BEN))])) == [False]
    asyncio.run(spool.purge([sealed(happened(ANNA), WITHDRAWN)]))
    seen = []
    while rows := asyncio.run(spool.take(2)):
        seen += [decode_streamed(row.payload).event_id for row in rows]
        asyncio.run(spool.drop(rows))
        assert spool.rows == 5 - len(seen)
    assert seen == ["0", "1", "2", "3", "4"], "each once"
    asyncio.run(spool.purge([sealed(happened(ANNA), WITHDRAWN)]))
    with monkeypatch.context() as others:  # who have taken the room
        others.setattr(sqlite3, "connect", Mock(side_effect=sqlite3.OperationalError("database or disk is full")))
        assert asyncio.run(spool.put([sealed(happened(BEN))])) == [False]
    assert asyncio.run(spool.put([sealed(happened(BEN, event_id="room"))])) == [True], "its own bytes are room now"
    assert (ids(spool), spool.rows) == (["room"], 1)
    asyncio.run(spool.close())


def test_one_file_has_one_owner_and_an_orphan_is_found_by_the_others(tmp_path: Path) -> None:
    first, second = Spool.own(tmp_path, HERE, LIMIT), Spool.own(tmp_path, HERE, LIMIT)
    asyncio.run(first.put([sealed(happened(ANNA, event_id="first"))]))
    asyncio.run(second.put([sealed(happened(ANNA, event_id="second"))]))
    assert list(Spool.orphans(tmp_path, HERE, LIMIT)) == []
    asyncio.run(first.close())
    orphans = Spool.orphans(tmp_path, HERE, LIMIT)
    orphan = next(orphans)
    assert ids(orphan) == ["first"]
    assert list(Spool.orphans(tmp_path, HERE, LIMIT)) == [], "held while it is drained"
    assert ids(second) == ["second"]
    asyncio.run(orphan.close())
    asyncio.run(second.close())


def test_events_of_another_installation_are_refused_and_left_alone(tmp_path: Path) -> None:
    spool = Spool.own(tmp_path, ELSEWHERE, LIMIT)
    asyncio.run(spool.put([sealed(happened(ANNA, event_id="theirs"))]))
    asyncio.run(spool.close())
    with pytest.raises(BadSetup, match=r"holds 1 events of another installation.* Mend: "):
        Spool.own(tmp_path, HERE, LIMIT)
    assert list(Spool.orphans(tmp_path, HERE, LIMIT)) == []
    theirs = Spool.own(tmp_path, ELSEWHERE, LIMIT)
    assert ids(theirs) == ["theirs"]
    asyncio.run(theirs.drop(asyncio.run(theirs.take(1))))
    asyncio.run(theirs.close())
    asyncio.run(Spool.own(tmp_path, HERE, LIMIT).close())


def test_a_folder_or_file_that_cannot_be_used_is_refused_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(BadSetup, match=r"Mend: .*COLLECTOR_SPOOL_DIR"):
        Spool.own(tmp_path / "file", HERE, LIMIT)
    (tmp_path / "0.db").write_text("no database" * 1_000)
    with pytest.raises(BadSetup, match=r"Mend: .*COLLECTOR_SPOOL_DIR"):
        Spool.own(tmp_path, HERE, LIMIT)
    assert list(Spool.orphans(tmp_path, HERE, LIMIT)) == [], "told in the log; the others are drained"


def test_every_commit_waits_for_the_disk_and_erased_bytes_are_overwritten(tmp_path: Path) -> None:
    spool = Spool.own(tmp_path, HERE, LIMIT)
    asked = {
        name: spool._base.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "secure_delete")
    }
    assert asked == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}
    asyncio.run(spool.put([sealed(happened(ANNA))]))
    assert {oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()} == {"0o600"}
    with sqlite3.connect(f"file:{tmp_path}/0.db?mode=ro", uri=True) as reader:
        assert reader.execute("SELECT count(*) FROM spool").fetchone() == (1,)
    reader.close()
    asyncio.run(spool.close())
