"""A failover comes between reading and writing: what was read of one server is not written to its heir.

The heir lacks the newest events. They come again, under other stream ids, and must count once. While Sentinels are not
of one mind it takes no more than two connections of one process for that.
"""

from typing import Any

import pytest

from collector import keys
from collector.connections import Redis
from collector.settings import Settings
from collector.stream import read
from collector.worker import poison
from collector.worker.backfill import fill
from collector.worker.loop import Worker
from tests.stateful.interruption import interrupted
from tests.unit.parts import NOW, TAG, Parts, everything, happened

TWICE = {"event": "addtocart", "min_count": 2, "retention_days": 30}


@pytest.fixture
def parts(redis: Redis, settings: Settings) -> Parts:
    return Parts(redis, settings)


def begin_anew(redis: Redis) -> None:
    """Go on with another history of writes, as a replica does that takes over."""
    redis.replicaof("127.0.0.1", 1)
    redis.replicaof("NO", "ONE")


def fail_over(redis: Redis) -> None:
    """Nobody had the stream's newest entry; its sender has it stored again."""
    begin_anew(redis)
    stream = keys.events(0)
    ((newest, fields),) = redis.xrevrange(stream, count=1)
    redis.xdel(stream, newest)
    redis.xadd(stream, fields)


def size(parts: Parts, made: Any) -> int:
    return parts.sizes.size(TAG, made.question(parts.now))


def test_a_batch_of_the_old_primary_is_not_applied_by_the_new_one(parts: Parts) -> None:
    twice = parts.registry.create(TAG, "", "", TWICE)
    parts.work()
    parts.send(happened("anna"))
    worker = parts.partition()
    entries = read.after(parts.client, 0, worker.cursor, 10)
    fail_over(parts.client)
    before = everything(parts.client)
    assert worker.apply(entries) == 0
    assert everything(parts.client) == before
    assert worker.lineage != entries.lineage
    parts.apply()
    assert size(parts, twice) == 0
    parts.send(happened("anna"))
    parts.apply()
    assert size(parts, twice) == 1


@pytest.mark.parametrize("at", range(1, 5))
def test_wherever_a_worker_s_turn_is_cut_by_a_failover_all_counts_once(parts: Parts, at: int) -> None:
    """Read, resolve, commit: each may be answered by another server than the one before."""
    twice = parts.registry.create(TAG, "", "", TWICE)
    parts.work()
    parts.send(happened("anna"))
    worker = Worker(parts.client, parts.installation, parts.settings, "a worker", parts.clock)
    worker._leases.round()
    send, left = parts.client.connection_pool.get_connection, [at]

    def another(*args: Any, **options: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            left[0] = -1
            fail_over(parts.client)
        return send(*args, **options)

    worker._begin()
    parts.client.connection_pool.get_connection = another
    try:
        worker.step()
    finally:
        parts.client.connection_pool.get_connection = send
    assert left[0] < 0 or at == 4
    while worker.step():
        pass
    assert size(parts, twice) == 0
    parts.send(happened("anna"))
    worker.step()
    assert size(parts, twice) == 1


def test_a_page_of_the_old_primary_is_not_applied_on_beliefs_of_the_new_one(parts: Parts) -> None:
    parts.send(happened("anna"))
    worker = Worker(parts.client, parts.installation, parts.settings, "a worker", parts.clock)
    page = read.after(parts.client, 0, read.START, 10)
    fail_over(parts.client)
    partition = parts.partition()
    before = everything(parts.client)
    assert worker._apply((partition, page)), "it looks again at once"
    assert everything(parts.client) == before


def test_a_failing_batch_is_not_taken_apart_on_another_server(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.send(happened("anna"), happened("bert"))
    worker = parts.partition()
    entries = read.after(parts.client, 0, worker.cursor, 10)
    apply = worker.apply

    def broken(*args: Any, **options: Any) -> int:
        monkeypatch.setattr(worker, "apply", apply)
        fail_over(parts.client)
        raise ValueError

    monkeypatch.setattr(worker, "apply", broken)
    assert poison.apply(worker, entries) == 0
    assert worker.cursor == read.START


def test_a_file_of_what_the_old_primary_held_is_not_put_in_force(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.send(happened("anna", event_id="once"))
    parts.apply()
    writer = parts.writer()
    commit = writer.manifest.flush

    def late(*args: Any) -> bool:
        fail_over(parts.client)
        return commit(*args)

    monkeypatch.setattr(writer.manifest, "flush", late)
    assert writer.flush() == 0
    assert not list(parts.settings.archive.rglob("*.parquet"))
    parts.apply()
    parts.flush()
    assert [event.event_id for event in parts.archive.events(TAG, "anna")] == ["once"]


def test_files_are_not_merged_over_a_failover(parts: Parts) -> None:
    parts.send(happened("anna"))
    parts.apply()
    parts.flush()
    manifest = parts.writer().manifest
    past = manifest.past(TAG)
    begin_anew(parts.client)
    assert not manifest.replace(TAG, past.erasures, past.files, None, [], NOW)
    assert manifest.past(TAG).files == past.files


@pytest.mark.parametrize("at", range(1, 5))  # the fourth command merges
def test_a_past_of_the_old_primary_s_files_is_not_merged_into_the_new_one(parts: Parts, at: int) -> None:
    """It lists a file that the heir does not know, whose event comes again."""
    parts.send(happened("anna"))
    parts.apply()
    parts.flush()
    twice = parts.registry.create(TAG, "", "", TWICE)
    manifest = f"{keys.tenant(0, TAG)}:manifest"

    def heir() -> None:
        begin_anew(parts.client)
        parts.client.delete(manifest)

    with interrupted(parts.client, at, True, heir):
        fill(parts.columns(), parts.writer(), 0)
    assert not parts.client.exists(manifest)
    fill(parts.columns(), parts.writer(), 0)
    assert size(parts, twice) == 0
    parts.send(happened("anna"))
    parts.apply()
    assert size(parts, twice) == 0, "of the two that were told, one was lost with the old primary's files"


def test_a_question_is_answered_from_one_server(parts: Parts) -> None:
    """A chunk has the same version there with another content: it is not answered from memory."""
    visited = parts.registry.create(TAG, "", "", {"event": "addtocart"})
    parts.work()
    parts.send(happened("anna"), happened("bert"))
    parts.apply()
    assert size(parts, visited) == 2
    (leaf,) = visited.parsed().leaves()
    column = f"{keys.tenant(0, TAG)}:col:{leaf.id}:0:0"
    begin_anew(parts.client)
    parts.client.setrange(column, 4, b"\0\0\0\0")
    assert size(parts, visited) == 1
    parts.client.setrange(column, 0, b"\0\0\0\0")
    assert size(parts, visited) == 1, "within a lineage a version stands for a content"


def test_readers_of_the_past_read_again(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    parts.send(happened("anna"), happened("anna", event_id="again"))
    parts.apply()
    after = read.after

    def moved(*args: Any) -> read.Page:
        monkeypatch.setattr(read, "after", after)
        fail_over(parts.client)
        return after(*args)

    monkeypatch.setattr(read, "after", moved)
    assert len(parts.archive.events(TAG, "anna")) == 2
