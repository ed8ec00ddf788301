from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from collector import keys
from collector.archive import write
from collector.clock import DAY
from collector.connections import Redis
from collector.settings import Settings
from tests.stateful.interruption import Killed, files_are_steps, interrupted
from tests.unit.parts import GPC, LIMITED, NOW, OTHER_TAG, TAG, WITHDRAWN, Parts, happened


def rows(parts: Parts, tag: str = TAG) -> Counter[str]:
    """event_id → how many rows of the files in force."""
    manifest = parts.writer().manifest
    found: Counter[str] = Counter()
    for file in manifest.past(tag).files:
        table = pq.read_table(manifest.path(tag, file.name))
        assert (table.num_rows, manifest.path(tag, file.name).stat().st_size) == (file.rows, file.bytes)
        found.update(str(one) for one in table["event_id"].to_pylist())
    return found


def on_disk(parts: Parts) -> list[Path]:
    return sorted(parts.settings.archive.rglob("*.parquet"))


def ids(count: int, start: int = 0) -> Counter[str]:
    return Counter(str(n) for n in range(start, start + count))


def send(parts: Parts, count: int, start: int = 0, visitor: str = "anna", age: int = 0) -> None:
    parts.send(*(happened(visitor, event_id=str(n), age=age) for n in range(start, start + count)))


def test_each_event_becomes_one_row_of_its_tag(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, flush_events=4)
    send(parts, 6)
    parts.send(happened("anna", event_id="limited"), signals=LIMITED)
    parts.send(happened("anna", event_id="barring"), signals=GPC)
    parts.send(happened("anna", event_id="other", tag=OTHER_TAG))
    redis.xadd(keys.events(0), {"e": b"rubbish"})
    parts.flush()
    assert rows(parts) == ids(6) + Counter(["limited", "barring"])
    assert rows(parts, OTHER_TAG) == Counter(["other"])
    assert parts.writer().flush() == 0


def test_the_archive_can_be_ahead_of_the_audiences(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    send(parts, 3)
    parts.flush()
    assert redis.xlen(keys.events(0)) == 3
    parts.apply()
    parts.flush()
    assert rows(parts) == ids(3)


def test_of_two_writers_one_wins_and_the_other_leaves_nothing(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    send(parts, 3)

    def other() -> None:
        assert parts.writer().flush() == 3

    late = parts.writer()
    steps = 6  # of the loser: cursor, page, no more, marks of the tag; then its file
    with files_are_steps(), interrupted(redis, steps, False, other):
        assert late.flush() == 0
    assert rows(parts) == ids(3)
    assert len(on_disk(parts)) == 1


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("at", range(1, 10))
def test_a_writer_killed_anywhere_loses_and_repeats_nothing(
    redis: Redis, settings: Settings, at: int, before: bool
) -> None:
    parts = Parts(redis, settings)
    send(parts, 3)
    parts.apply()

    def killed() -> None:
        raise Killed

    with files_are_steps(), interrupted(redis, at, before, killed):
        try:
            parts.writer().flush()
        except Killed:
            parts.now += 1
    send(parts, 3, 3)
    parts.apply()
    parts.flush()
    assert rows(parts) == ids(6)
    assert [event.event_id for event in parts.archive.events(TAG, "anna")] == list(ids(6))


def test_what_is_erased_before_the_flush_never_reaches_a_file(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    send(parts, 3)
    send(parts, 1, 3, "bert")
    parts.send(happened("anna"), signals=WITHDRAWN)
    parts.apply()
    parts.flush()
    assert rows(parts) == ids(1, 3)


@pytest.mark.parametrize("at", range(1, 9))
def test_what_is_erased_while_a_file_is_written_is_in_no_file(
    redis: Redis, settings: Settings, at: int
) -> None:
    parts = Parts(redis, settings)
    send(parts, 3)
    send(parts, 2, 3, "bert")

    def erase() -> None:
        parts.columns().forget(TAG, "anna", "tombstone", NOW)

    with files_are_steps(), interrupted(redis, at, True, erase):
        parts.writer().flush()
    parts.flush()
    parts.writer().erase(TAG)
    assert rows(parts) == ids(2, 3)
    written = [pq.read_table(path)["visitor"].to_pylist() for path in on_disk(parts)]
    assert "anna" not in [visitor for visitors in written for visitor in visitors]


def test_an_erasure_takes_every_row_up_to_its_second_and_the_old_files_at_once(
    redis: Redis, settings: Settings
) -> None:
    parts = Parts(redis, settings)
    for start in (0, 10, 20):
        send(parts, 2, start, "anna", age=100 - start)
        send(parts, 2, start + 2, "bert")
        parts.flush()
    send(parts, 2, 30, "bert")
    parts.flush()
    untouched = parts.writer().manifest.past(TAG).files[-1]
    parts.columns().forget(TAG, "anna", "tombstone", NOW - 90)
    assert parts.writer().erase(TAG)
    assert not parts.writer().erase(TAG)
    left = [*map(str, [2, 3, 12, 13, 20, 21, 22, 23, 30, 31])]
    assert rows(parts) == Counter(left)
    assert untouched in parts.writer().manifest.past(TAG).files
    found = [one for path in on_disk(parts) for one in pq.read_table(path)["event_id"].to_pylist()]
    assert Counter(found) == Counter(left)


def test_merging_keeps_every_row_and_its_columns(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, compact_files=4)
    for start in range(0, 12, 3):
        parts.send(
            *(
                happened("anna", event_id=str(n), url=f"u{n}", data={"value": n, "own": "x"})
                for n in range(start, start + 3)
            )
        )
        assert not parts.writer().merge(TAG)
        parts.apply()
        parts.flush()
    before = parts.archive.events(TAG, "anna")
    assert parts.writer().merge(TAG)
    assert rows(parts) == ids(12)
    assert len(parts.writer().manifest.past(TAG).files) == 1
    assert parts.archive.events(TAG, "anna") == before
    assert len(on_disk(parts)) == 5  # readers may have the old ones open
    parts.now += int(settings.garbage_seconds)
    parts.writer().manifest.collect_garbage(parts.now)
    assert len(on_disk(parts)) == 1


def test_large_files_are_left_alone(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "SMALL", 3)
    parts = Parts(redis, settings, compact_files=2)
    for start, count in ((0, 3), (3, 2), (5, 2)):
        send(parts, count, start)
        parts.flush()
    large = parts.writer().manifest.past(TAG).files[0]
    assert parts.writer().merge(TAG)
    files = parts.writer().manifest.past(TAG).files
    assert large in files
    assert sorted(file.rows for file in files) == [3, 4]
    assert rows(parts) == ids(7)


def test_files_past_the_retention_go_and_no_others(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, retention_days=30)
    send(parts, 2, 0, age=31 * DAY)
    parts.flush()
    send(parts, 1, 2, age=31 * DAY)
    send(parts, 1, 3, age=29 * DAY)
    parts.flush()
    assert parts.writer().retire(TAG)
    assert not parts.writer().retire(TAG)
    assert rows(parts) == ids(2, 2)


def test_a_flush_is_due_by_number_by_age_and_on_demand(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, flush_events=3, flush_seconds=30)
    assert not parts.writer().due()
    send(parts, 1)
    parts.now = int(redis.time()[0])
    assert not parts.writer().due()
    parts.now += 31
    assert parts.writer().due()
    parts.now -= 31
    redis.hset(keys.state(0), "flush_to", redis.xrevrange(keys.events(0), count=1)[0][0])
    assert parts.writer().due()
    parts.flush()
    assert not parts.writer().due()
    send(parts, 3, 1)
    assert parts.writer().due()


def test_a_merged_file_tells_its_newest_row_wherever_that_lies(redis: Redis, settings: Settings) -> None:
    """A file that is left alone may lie between two that were merged: later merges take rows out of order."""
    parts = Parts(redis, settings)
    for _ in range(3):
        parts.send(happened("anna"))
        parts.apply()
        parts.flush()
    writer = parts.writer()
    past = writer.manifest.past(TAG)
    first, _, third = past.files
    assert writer._rewrite(TAG, past, [first, third])
    past = writer.manifest.past(TAG)
    assert writer._rewrite(TAG, past, past.files)
    (whole,) = writer.manifest.past(TAG).files
    assert (whole.first, whole.last) == (first.first, third.last)
