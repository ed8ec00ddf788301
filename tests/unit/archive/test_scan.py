import threading
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from collector import connections, keys
from collector.archive import database, rows, scan
from collector.archive.manifest import File, Manifest
from collector.archive.scan import Archive
from collector.archive.whole import Damaged
from collector.archive.write import Writer
from collector.audience.registry import TooMuch
from collector.audience.rules import parse
from collector.connections import Redis
from collector.settings import Settings
from collector.stream import read
from tests.unit.parts import GPC, LIMITED, NOW, TAG, WITHDRAWN, Parts, happened

ANY = parse({"retention_days": 540})


def test_what_waits_in_the_stream_counts_as_what_lies_in_files(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, partitions=3)
    parts.send(*(happened(f"v{n}") for n in range(10)))
    parts.apply()
    parts.flush()
    parts.send(*(happened(f"v{n}") for n in range(5, 15)))
    assert parts.archive.members(TAG, ANY, at=NOW) == sorted(f"v{n}" for n in range(15))


def test_each_row_is_read_once_while_it_moves_from_stream_to_file(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush and a trim right after the reader has seen the manifest: the tail is not where it was."""
    parts = Parts(redis, settings)
    parts.send(*(happened("anna", event_id=str(n)) for n in range(5)))
    parts.apply()
    after = read.after

    def moved(client: Redis, *args: object) -> list[read.Entry]:
        monkeypatch.setattr(read, "after", after)
        parts.flush()
        assert redis.xlen(keys.events(0)) == 0
        return after(client, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(read, "after", moved)
    told = [event.event_id for event in parts.archive.events(TAG, "anna")]
    assert sorted(told) == [str(n) for n in range(5)]


def test_a_question_that_memory_does_not_suffice_for_says_so(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(redis, settings)
    parts.send(*(happened(f"v{n}") for n in range(1_000)))
    parts.apply()
    parts.flush()
    monkeypatch.setattr(
        database, "connect", partial(database.connect, memory_limit="1KB", max_temp_directory_size="1KB")
    )
    with pytest.raises(TooMuch, match="more memory than this process has"):
        parts.archive.size(TAG, ANY, at=NOW)


def test_a_file_that_goes_away_after_it_was_looked_at_is_looked_for_again(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erasure with `now=true` leaves no replaced file behind, not even for those who are about to read it."""
    parts = Parts(redis, settings)
    parts.send(happened("anna"), happened("bert"))
    parts.apply()
    parts.flush()
    (file,) = settings.archive.rglob("*.parquet")
    aside = file.rename(file.with_suffix(".aside"))
    check = Manifest.check

    def late(manifest: Manifest, tag: str, file: File) -> Path:
        if not aside.exists():
            return check(manifest, tag, file)
        path = manifest.path(tag, file.name)
        aside.rename(path)
        return path.with_suffix(".gone")

    monkeypatch.setattr(Manifest, "check", late)
    assert parts.archive.size(TAG, ANY, at=NOW) == 2
    assert not aside.exists()


def test_every_answer_is_exact_while_flushes_and_merges_run(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, flush_events=3, compact_files=2, garbage_seconds=3_600)
    stop = threading.Event()

    def write() -> None:
        with connections.open_redis(parts.settings) as client:
            writer = Writer(client, parts.installation, 0, parts.settings, parts.clock)
            while not stop.is_set():
                writer.flush()
                writer.merge(TAG)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with connections.open_redis(parts.settings) as client:
            archive = Archive(client, parts.installation, parts.settings)
            for place in range(25):
                parts.send(*(happened("anna", event_id=f"{place}-{n}") for n in range(4)))
                parts.apply()
                told = Counter(event.event_id for event in archive.events(TAG, "anna"))
                assert told == Counter(f"{one}-{n}" for one in range(place + 1) for n in range(4))
    finally:
        stop.set()
        thread.join()


def test_what_nobody_can_decode_does_not_stop_an_answer(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    parts.send(happened("anna"))
    redis.xadd(keys.events(0), {"e": b"{broken"})
    redis.xadd(keys.events(0), {"e": b'{"tag": "\xff"}'})
    parts.send(happened("bert"))
    assert parts.archive.members(TAG, ANY, at=NOW) == ["anna", "bert"]
    parts.apply()
    parts.flush()
    assert parts.archive.members(TAG, ANY, at=NOW) == ["anna", "bert"]


def test_a_subject_is_told_what_is_barred_but_not_what_was_erased(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    parts.send(happened("anna", event_id="old", age=100))
    parts.send(happened("anna", event_id="gone", age=50, now=NOW - 10), signals=GPC)
    parts.send(happened("anna", now=NOW - 5), signals=WITHDRAWN)
    parts.send(happened("anna", event_id="limited"), signals=LIMITED)
    parts.send(happened("anna", event_id="barring"), signals=GPC)
    parts.send(happened("bert", event_id="another's"))
    for step in (parts.apply, parts.flush):
        step()
        assert {event.event_id for event in parts.archive.events(TAG, "anna")} == {"limited", "barring"}


def test_identities_are_those_of_rows_that_count(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    parts.send(happened("anna", age=100, user_data={"em": "before-the-bar"}))
    parts.send(happened("anna", age=50, user_data={"em": "barring"}, now=NOW - 10), signals=GPC)
    parts.send(happened("anna", user_data={"em": "limited"}), signals=LIMITED)
    parts.send(happened("anna", user_data={"em": "full"}), happened("bert", user_data={"em": "another's"}))
    for step in (parts.apply, parts.flush):
        step()
        assert parts.archive.identities(TAG, ["anna"], "em") == ["full"]


def test_the_archive_covers_from_its_oldest_row(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    assert parts.archive.covers(TAG) is None
    parts.send(happened("anna", age=100), happened("anna", age=700), happened("anna", age=3))
    parts.flush()
    covered = parts.archive.covers(TAG)
    assert covered is not None
    assert covered.timestamp() == NOW - 700


def test_what_does_not_fit_into_memory_is_for_nobody_to_read_and_goes_with_the_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with scan.connect([], rows.SCHEMA.empty_table(), {}) as connection:
        ((place,),) = connection.sql("SELECT current_setting('temp_directory')").fetchall()
        connection.execute("SET memory_limit = '60MB'")
        connection.execute("CREATE TABLE spilled AS SELECT md5(i::VARCHAR) AS visitor FROM range(4000000) AS t(i)")
        assert any(Path(place).iterdir())
        assert Path(place).stat().st_mode & 0o077 == 0
    assert not Path(place).exists()
    assert not any(tmp_path.iterdir())


def test_identities_are_looked_for_where_their_visitors_are(redis: Redis, settings: Settings) -> None:
    """An export asks for them run by run, and would read the files of every partition for each."""
    parts = Parts(redis, settings, partitions=3)
    people = {f"v{n}": f"{n:064x}" for n in range(12)}
    parts.send(*(happened(who, user_data={"em": digest}) for who, digest in people.items()))
    parts.apply()
    parts.flush()
    mine = [who for who in people if parts.installation.partition(TAG, who) == 1]
    for path in settings.archive.glob("p00/*/*.parquet"):
        path.unlink()
    assert parts.archive.identities(TAG, mine, "em") == sorted(people[who] for who in mine)
    with pytest.raises(Damaged):
        parts.archive.identities(TAG, list(people), "em")
