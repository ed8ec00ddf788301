"""Erasure: what is swept, what waits, and what a proof is given for."""

import os
import signal
import time
from pathlib import Path

import pytest

from collector import connections, keys
from collector.archive.proof import find
from collector.connections import Redis, Unavailable
from collector.embedded import Embedded, Server
from collector.settings import Settings, load
from collector.stream import pending
from collector.stream.pending import Pending
from collector.worker.erasure import LARGE, Rewrite, sweep
from tests.unit.parts import NOW, TAG, Parts, happened

LATE = 60  # seconds after which no file counts as young


def waiting(parts: Parts) -> list[Pending]:
    return pending.all_of(parts.client, [0])[0]


def swept(parts: Parts) -> bool:
    sweep(parts.client, 0, parts.writer(), parts.clock)
    return all(each.swept for each in waiting(parts))


def age_files(parts: Parts) -> None:
    then = time.time() - LATE
    for path in parts.settings.archive.rglob("p00/**/*.*"):
        os.utime(path, (then, then))


def bytes_of_stream(parts: Parts) -> bytes:
    raw: bytes = parts.client.dump(keys.events(0)) or b""
    return raw


@pytest.fixture
def parts(redis: Redis, settings: Settings) -> Parts:
    parts = Parts(redis, settings)
    parts.send(*(happened(who, age=10) for who in ("anna", "bert", "anna")))
    parts.apply()
    parts.flush()
    return parts


def forget(parts: Parts, who: str) -> None:
    parts.columns().forget(TAG, who, "tombstone", NOW)


def test_a_stream_is_swept_once_it_is_applied_and_archived_and_holds_no_byte_of_the_erased(
    parts: Parts,
) -> None:
    parts.send(happened("anna", age=5), happened("bert", event_id="kept"))
    forget(parts, "anna")
    assert not swept(parts)  # neither applied nor archived
    parts.apply()
    assert not swept(parts)
    assert b"anna" in bytes_of_stream(parts)
    parts.flush()
    parts.send(happened("bert", event_id="newer"))
    assert swept(parts)
    assert b"anna" not in bytes_of_stream(parts)
    assert [parts.client.xlen(keys.events(0)), b"newer" in bytes_of_stream(parts)] == [1, True]
    parts.work()
    assert parts.members({"event": "addtocart"}) == ["bert"]
    assert {event.event_id for event in parts.archive.events(TAG, "bert")} >= {"kept", "newer"}


def test_a_node_that_was_trimmed_in_part_is_written_anew(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.send(happened("anna", age=5))
    parts.apply()
    forget(parts, "anna")
    writer = parts.writer()
    commit = writer.manifest.flush

    def meanwhile(*args: object) -> bool:
        parts.send(happened("bert"))  # comes into the same node, before that is trimmed
        return commit(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(writer.manifest, "flush", meanwhile)
    assert writer.flush() == 1
    assert b"anna" in bytes_of_stream(parts)  # deleted, and there all the same
    assert swept(parts)
    assert b"anna" not in bytes_of_stream(parts)
    assert parts.client.xlen(keys.events(0)) == 1


def test_files_that_a_merge_replaced_go_at_once_and_so_do_those_of_a_writer_that_died(parts: Parts) -> None:
    for _ in range(parts.settings.compact_files):
        parts.send(happened("anna", age=5), happened("bert"))
        parts.apply()
        parts.flush()
    assert parts.writer().merge(TAG)
    folder = next(parts.settings.archive.rglob("*.parquet")).parent
    orphan = folder / "1-0-deadbeef.parquet"
    orphan.write_bytes(b"anna")
    half = folder / "2-0-deadbeef.partial"
    half.write_bytes(b"anna")
    forget(parts, "anna")
    assert not swept(parts)  # a young file may be that of a writer at work
    assert orphan.exists()
    age_files(parts)
    assert swept(parts)
    assert not orphan.exists() and not half.exists()
    assert {path.stem for path in folder.iterdir()} == {
        file.name for file in parts.writer().manifest.past(TAG).files
    }


def test_a_writer_that_slept_through_a_sweep_cannot_put_its_file_in_force(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.send(happened("anna", age=5), happened("bert"))
    parts.apply()
    sleeper = parts.writer()
    commit = sleeper.manifest.flush

    def late(*args: object) -> bool:
        age_files(parts)
        forget(parts, "anna")
        sweep(parts.client, 0, parts.writer(), parts.clock)
        return commit(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(sleeper.manifest, "flush", late)
    assert sleeper.flush() == 0
    parts.flush()
    assert [event.visitor for event in parts.archive.events(TAG, "bert")] == ["bert"] * 2
    for file in parts.writer().manifest.past(TAG).files:
        assert parts.writer().manifest.path(TAG, file.name).exists()


def test_an_event_that_comes_late_opens_the_erasure_again(parts: Parts) -> None:
    forget(parts, "anna")
    assert swept(parts)
    parts.send(happened("anna", age=5))
    parts.apply()
    parts.flush()
    assert not all(each.swept for each in waiting(parts))
    assert swept(parts)
    assert b"anna" not in bytes_of_stream(parts)


def test_a_full_redis_holds_up_no_erasure(parts: Parts) -> None:
    """Nor an event that comes late, which would hold up the archive, and so the stream, and so keep Redis full."""
    forget(parts, "anna")
    parts.send(happened("anna", age=5), happened("bert"))
    left = parts.writer().manifest.path(TAG, "left-by-a-writer-that-died")
    left.touch()
    parts.client.config_set("maxmemory", 1)
    try:
        parts.apply()
        parts.flush()
        age_files(parts)
        assert swept(parts)
    finally:
        parts.client.config_set("maxmemory", 0)
    assert not left.exists()


def rewrite_until_idle(parts: Parts, rewrite: Rewrite) -> None:
    for _ in range(200):
        rewrite.step()
        if not parts.client.info("persistence")["aof_rewrite_in_progress"] and not waiting(parts):
            return
        time.sleep(0.05)


def test_a_proof_is_given_after_a_rewrite_and_not_before_it_is_due(parts: Parts, redis: Redis) -> None:
    rewrite = Rewrite(redis, parts.installation, parts.settings, parts.clock)
    forget(parts, "anna")
    rewrite.step()
    assert swept(parts)
    rewrite.step()
    rewrite.step()
    assert len(waiting(parts)) == 1  # six hours may gather erasures for one rewrite
    parts.now += int(parts.settings.erasure_seconds) + 1
    rewrite_until_idle(parts, rewrite)
    assert waiting(parts) == []
    (proof,) = find(parts.settings.archive, TAG, "erasure")
    assert proof["visitor"] == keys.visitor_name(keys.visitor_mark(parts.installation.secret, TAG, "anna"))
    assert proof["asked_at"] == proof["rows_gone_at"] == "2025-11-21T18:33:20Z"
    assert proof["files_rewritten_at"] == "2025-11-22T00:33:21Z"


def test_a_request_spares_the_wait_and_what_came_back_meanwhile_gets_no_proof(
    parts: Parts, redis: Redis
) -> None:
    rewrite = Rewrite(redis, parts.installation, parts.settings, parts.clock)
    for who in ("anna", "bert"):
        forget(parts, who)
    assert swept(parts)
    redis.set(keys.ERASE_NOW, NOW)
    rewrite.step()
    parts.send(happened("bert", age=5))
    parts.apply()
    parts.flush()
    for _ in range(100):
        rewrite.step()
        if len(waiting(parts)) == 1:
            break
        time.sleep(0.05)
    (left,) = waiting(parts)
    assert left.mark == keys.visitor_mark(parts.installation.secret, TAG, "bert") and not left.swept
    assert Path(parts.settings.archive / "proof").exists()


def logs(client: Redis) -> dict[str, str]:
    """What the server's own logs quote."""
    asked = {"slow": ["SLOWLOG", "GET", "-1"]}
    if client.config_get("commandlog-*"):
        asked |= {kind: ["COMMANDLOG", "GET", "-1", kind] for kind in LARGE}
    return {kind: repr(client.execute_command(*words)) for kind, words in asked.items()}


def test_no_log_of_the_server_quotes_the_erased(parts: Parts, redis: Redis) -> None:
    limits = {
        **redis.config_get("slowlog-log-slower-than"),
        **redis.config_get("commandlog-request-larger-than"),
    }
    for name in limits:
        redis.config_set(name, 0)
    parts.send(happened("anna", age=5))
    for name in limits:
        redis.config_set(name, -1)
    assert [kind for kind, quoted in logs(redis).items() if "anna" in quoted] == ["slow", *LARGE][: len(limits)]
    parts.apply()
    parts.flush()
    forget(parts, "anna")
    assert swept(parts)
    redis.set(keys.ERASE_NOW, NOW)
    rewrite_until_idle(parts, Rewrite(redis, parts.installation, parts.settings, parts.clock))
    assert waiting(parts) == []
    assert [kind for kind, quoted in logs(redis).items() if "anna" in quoted] == []
    for name, value in limits.items():
        redis.config_set(name, value)


def test_a_server_that_died_in_the_middle_of_a_rewrite_proves_nothing(
    server_binary: Server, tmp_path: Path
) -> None:
    """It says afterwards that its last rewrite went well: it knows of none."""
    settings = load(data_dir=tmp_path)
    with Embedded(settings, server_binary) as server, connections.open_redis(settings) as client:
        parts = Parts(client, settings)
        rewrite = Rewrite(client, parts.installation, parts.settings, parts.clock)
        parts.send(happened("anna", age=10))
        parts.apply()
        parts.flush()
        forget(parts, "anna")
        assert swept(parts)
        client.set(keys.ERASE_NOW, NOW)
        client.config_set("rdb-key-save-delay", 100_000)  # µs a key: a rewrite that takes a second
        rewrite.step()
        assert client.info("persistence")["aof_rewrite_in_progress"]
        os.kill(server.pid, signal.SIGKILL)
        while server.running:
            time.sleep(0.01)
        with pytest.raises(Unavailable):
            rewrite.step()
        server.launch()
        rewrite.step()
        assert len(waiting(parts)) == 1
        assert find(parts.settings.archive, TAG, "erasure") == []
        rewrite_until_idle(parts, rewrite)
        assert waiting(parts) == []
