"""A backup is whole whatever goes on beside it; a restore brings back all of it, or nothing, and nobody forgotten."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from collector import connections, tags
from collector.archive.proof import Erasure, Proofs
from collector.archive.whole import Damaged
from collector.archive.write import Writer
from collector.clock import iso
from collector.connections import Redis
from collector.embedded import Embedded, Server
from collector.keys import visitor_mark, visitor_name
from collector.recovery import backup, snapshot
from collector.recovery.restore import check, restore
from collector.settings import BadSetup, Settings
from collector.stream import dead, read
from tests.unit.parts import NOW, TAG, WITHDRAWN, Parts, happened
from tests.unit.recovery.test_rebuild import answers, shop


@pytest.fixture
def empty(server_binary: Server, tmp_path: Path) -> Iterator[Settings]:
    """Another server, with nothing on it."""
    settings = Settings(data_dir=tmp_path / "other", partitions=2)
    with Embedded(settings, server_binary) as embedded:
        yield settings.model_copy(update={"redis_url": embedded.url})


def taken(parts: Parts, folder: Path) -> Path:
    backup.take(parts.client, parts.installation, parts.settings, folder, parts.clock(), told=print)
    return folder


def restored(parts: Parts, folder: Path, empty: Settings, *erased: Path) -> Parts:
    restore(folder, check(folder, empty, erased), empty, erased, parts.clock, told=print)
    with connections.open_redis(empty) as client:
        again = Parts(client, empty, partitions=empty.partitions)
    again.now = parts.now
    return again


def test_what_is_restored_gives_the_same_answers(
    redis: Redis, settings: Settings, empty: Settings, tmp_path: Path
) -> None:
    parts = shop(redis, settings, 2)
    tag, key = tags.create_tag(redis, "shop", ["https://shop.example"], "opt_in")
    parts.registry.record(parts.registry.all()[0], 7)
    folder = taken(parts, tmp_path / "backup")
    again = restored(parts, folder, empty)
    assert tags.get(again.client, tag.id) == tag
    assert tags.lookup(again.client, key)
    assert (
        again.registry.history(again.registry.all()[0])[-1]
        == parts.registry.history(parts.registry.all()[0])[-1]
    )
    assert again.installation == parts.installation
    assert answers(again) == answers(parts)
    again.work()
    assert answers(again) == answers(parts)


def test_each_event_stored_before_it_began_is_in_it_once_and_later_ones_at_most_once(
    redis: Redis, settings: Settings, empty: Settings, tmp_path: Path
) -> None:
    """While a worker flushes, merges, erases and trims as fast as it can, and events go on coming."""
    parts = Parts(redis, settings, partitions=2, flush_events=40, compact_files=2, garbage_seconds=0)
    before = {f"id{n}" for n in range(300)}
    parts.send(*(happened(f"v{n % 9}", event_id=f"id{n}") for n in range(300)))
    stop = threading.Event()

    def work() -> None:
        with connections.open_redis(parts.settings) as client:
            busy = Parts(client, parts.settings, partitions=2, flush_events=40, compact_files=2)
            round_ = 0
            while not stop.is_set():
                round_ += 1
                busy.send(*(happened(f"v{n}", event_id=f"during-{round_}-{n}") for n in range(9)))
                busy.send(happened(f"gone{round_}"), signals=WITHDRAWN)
                busy.apply()
                for number in range(2):
                    writer = Writer(client, busy.installation, number, parts.settings, busy.clock)
                    writer.flush()
                    writer.merge(TAG)
                    writer.erase(TAG)
                    writer.manifest.collect_garbage(busy.now + 1)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        folders = [taken(parts, tmp_path / f"backup{n}") for n in range(2)]
    finally:
        stop.set()
        thread.join()
    again = restored(parts, folders[-1], empty)
    again.apply()
    for archived in (False, True):
        if archived:
            again.flush()
        told = [event.event_id for n in range(9) for event in again.archive.events(TAG, f"v{n}")]
        assert len(told) == len(set(told))
        assert before <= set(told)
    assert again.members({"event": "addtocart"}) == sorted({f"v{n}" for n in range(9)})


def test_what_moves_from_stream_to_file_under_its_hands_is_not_missed(
    redis: Redis, settings: Settings, empty: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(redis, settings, partitions=2)
    parts.send(*(happened(f"v{n}") for n in range(6)))
    after = read.after

    def moved(client: Redis, *args: object) -> list[read.Entry]:
        monkeypatch.setattr(read, "after", after)
        parts.apply()
        parts.flush()
        return after(client, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(read, "after", moved)
    again = restored(parts, taken(parts, tmp_path / "backup"), empty)
    assert again.members({"event": "addtocart"}) == [f"v{n}" for n in range(6)]


def test_a_backup_is_its_owners_alone(redis: Redis, settings: Settings, tmp_path: Path) -> None:
    parts = Parts(redis, settings)
    parts.send(happened("anna"))
    parts.work()
    folder = taken(parts, tmp_path / "backup")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}
    with pytest.raises(BadSetup, match="is there already"):
        taken(parts, folder)


def test_a_missing_archive_file_is_named_and_one_that_was_replaced_is_not_missed(
    redis: Redis, settings: Settings, empty: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(redis, settings, partitions=2, garbage_seconds=0, compact_files=2)
    for _ in range(2):
        parts.send(*(happened(f"v{n}") for n in range(9)))
        parts.work()
    share = snapshot.share

    def overtaken(client: Redis, number: int) -> snapshot.Share:
        """The share of a moment after which its files were replaced."""
        before = share(client, number)
        if parts.writer(number).merge(TAG):
            parts.writer(number).manifest.collect_garbage(parts.now + 1)
        return before

    monkeypatch.setattr(snapshot, "share", overtaken)
    again = restored(parts, taken(parts, tmp_path / "backup"), empty)
    assert again.members({"event": "addtocart"}) == [f"v{n}" for n in range(9)]
    lost = next(parts.settings.archive.glob("p[0-9]*/*/*.parquet"))
    lost.unlink()
    with pytest.raises(Damaged, match=f"{lost} is missing. Mend: "):
        taken(parts, tmp_path / "second")
    assert not list(tmp_path.glob("second*"))


@pytest.mark.parametrize("harm", ["changed", "lost", "label"])
def test_a_backup_that_was_harmed_is_refused_before_anything_is_written(
    redis: Redis, settings: Settings, empty: Settings, tmp_path: Path, harm: str
) -> None:
    parts = shop(redis, settings, 2)
    folder = taken(parts, tmp_path / "backup")
    victim = next((folder / "archive").rglob("*.parquet"))
    match harm:
        case "changed":
            whole = victim.read_bytes()
            victim.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        case "lost":
            victim.unlink()
        case "label":
            (folder / "backup.json").unlink()
    with pytest.raises(BadSetup, match="Mend: "):
        restored(parts, folder, empty)
    with connections.open_redis(empty) as client:
        assert client.dbsize() == 0
    assert not empty.archive.exists()


def test_a_restore_never_overwrites(
    redis: Redis, settings: Settings, empty: Settings, tmp_path: Path
) -> None:
    parts = shop(redis, settings, 2)
    folder = taken(parts, tmp_path / "backup")
    with pytest.raises(BadSetup, match="COLLECTOR_PARTITIONS is 4"):
        restored(parts, folder, empty.model_copy(update={"partitions": 4}))
    with connections.open_redis(empty) as client:
        client.set("somebody's", 1)
        with pytest.raises(BadSetup, match="not empty"):
            restored(parts, folder, empty)
        client.delete("somebody's")
    shutil.copytree(parts.settings.archive, empty.archive)
    with pytest.raises(BadSetup, match="holds an archive"):
        restored(parts, folder, empty)


def test_a_restore_that_breaks_leaves_nothing(
    redis: Redis, settings: Settings, empty: Settings, tmp_path: Path
) -> None:
    parts = shop(redis, settings, 2)
    folder = taken(parts, tmp_path / "backup")

    def broken(number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(folder, check(folder, empty, ()), empty, (), parts.clock, told=broken)
    with connections.open_redis(empty) as client:
        assert client.dbsize() == 0
    assert not [path for path in empty.archive.rglob("*") if path.is_file()]
    assert answers(restored(parts, folder, empty)) == answers(parts)


def test_who_was_erased_since_stays_so(
    redis: Redis, settings: Settings, empty: Settings, tmp_path: Path
) -> None:
    parts = shop(redis, settings, 2)
    folder = taken(parts, tmp_path / "backup")
    mark = visitor_mark(parts.installation.secret, TAG, "v4")
    at = iso(parts.now + 60)
    # What the lost installation's archive folder still tells; its number of partitions was another.
    Proofs(tmp_path / "lost", 11).append(
        TAG, "erasure", [Erasure("r1", visitor_name(mark), at, at, at)], parts.now
    )
    again = restored(parts, folder, empty, tmp_path / "lost")
    again.now += 120
    parts.now += 120
    told, before = answers(again), answers(parts)
    assert any("v4" in members for members in before)
    assert told == [[visitor for visitor in members if visitor != "v4"] for members in before]
    assert again.archive.events(TAG, "v4") == []
    again.flush()
    for number in range(2):
        again.writer(number).erase(TAG)
    for file in empty.archive.glob(f"p[0-9]*/{TAG}/*.parquet"):
        assert "v4" not in pq.read_table(file, columns=["visitor"])["visitor"].to_pylist()
    assert again.archive.events(TAG, "v4") == []


def test_no_dead_letter_nor_waiting_event_of_who_was_erased_since_comes_back(
    redis: Redis, settings: Settings, empty: Settings, tmp_path: Path
) -> None:
    parts = Parts(redis, settings, partitions=2)
    parts.send(happened("anna"), happened("bert"))
    for number in range(2):
        if entries := read.after(redis, number, "0-0", 10):
            parts.partition(number).apply(entries, failed="KeyError")
    parts.flush()
    parts.send(happened("anna"), happened("carl"))  # the first of the tag to be applied
    folder = taken(parts, tmp_path / "backup")
    mark = visitor_mark(parts.installation.secret, TAG, "anna")
    at = iso(parts.now + 60)
    Proofs(tmp_path / "lost", 0).append(TAG, "erasure", [Erasure("r1", visitor_name(mark), at, at, at)], NOW)
    again = restored(parts, folder, empty, tmp_path / "lost")
    kept = [each.letter.payload for number in range(2) for each in dead.letters(again.client, number)]
    assert len(kept) == 1 and b"bert" in kept[0]
    again.now += 120
    assert again.members({"event": "addtocart"}) == ["carl"]


@pytest.mark.parametrize("wrong", ["missing", "no-archive"])
def test_a_folder_that_can_tell_of_no_erasure_is_refused_before_anything_is_restored(
    redis: Redis, settings: Settings, empty: Settings, tmp_path: Path, wrong: str
) -> None:
    parts = shop(redis, settings, 2)
    folder = taken(parts, tmp_path / "backup")
    (tmp_path / "no-archive").mkdir()
    with pytest.raises(BadSetup, match=rf"{wrong} .*Mend: "):
        restored(parts, folder, empty, tmp_path / wrong)
    with connections.open_redis(empty) as client:
        assert client.dbsize() == 0
    assert not empty.archive.exists()
