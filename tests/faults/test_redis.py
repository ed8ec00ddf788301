"""Redis away, slow, full or gone back in time: what was acknowledged is there, and it all resumes by itself."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import redis

from collector import connections
from collector.settings import Settings
from tests.faults.account import Account
from tests.faults.conftest import LONG, Plants, Tried, only_long, rounds
from tests.faults.plant import PARTITIONS, Plant, until
from tests.faults.proxy import Proxy

SECONDS = 6.0 if LONG else 1.5  # that a fault lasts: longer than a client's and an append's patience


@contextmanager
def frozen(plant: Plant, _: Proxy) -> Iterator[None]:
    plant.redis.send(signal.SIGSTOP)
    yield
    plant.redis.send(signal.SIGCONT)


@contextmanager
def refused(_: Plant, proxy: Proxy) -> Iterator[None]:
    proxy.refuse()
    yield
    proxy.accept()


@contextmanager
def slow(_: Plant, proxy: Proxy) -> Iterator[None]:
    proxy.delay, proxy.drip = 0.05, 512
    yield
    proxy.delay, proxy.drip = 0, 0


@contextmanager
def half_open(_: Plant, proxy: Proxy) -> Iterator[None]:
    proxy.silent = True
    yield
    proxy.silent = False


@contextmanager
def cut_mid_frame(_: Plant, proxy: Proxy) -> Iterator[None]:
    """Most answers are cut after their event was stored: the senders repeat what is there."""
    before, proxy.cut_after = proxy.cuts, 11
    yield
    proxy.cut_after = -1
    assert proxy.cuts > before + 5


@contextmanager
def loading(plant: Plant, _: Proxy) -> Iterator[None]:
    plant.client.bgrewriteaof()
    until(lambda: not plant.client.info("persistence")["aof_rewrite_in_progress"], "the file is rewritten")
    plant.redis.kill()
    # A few hundred keys, each so many µs: it loads for as long as the other faults last, and says LOADING.
    plant.start_redis(key_load_delay=int(SECONDS * 1e6 / 400), loading_process_events_interval_bytes=1_024)
    yield
    plant.await_redis()


@contextmanager
def misconf(plant: Plant, _: Proxy) -> Iterator[None]:
    """A snapshot fails, and Redis takes no writes until one succeeds."""
    (plant.folder / "redis" / "in-the-way").mkdir(exist_ok=True)
    plant.client.config_set("dbfilename", "in-the-way")
    plant.client.config_set("save", "3600 1")
    plant.client.bgsave()
    until(lambda: plant.client.info("persistence")["rdb_last_bgsave_status"] == "err", "a snapshot fails")
    yield
    plant.client.config_set("save", "")


@contextmanager
def out_of_memory(plant: Plant, _: Proxy) -> Iterator[None]:
    """What waits is drained all the same."""
    plant.client.config_set("maxmemory", 1)
    until(lambda: all(not waiting(plant, number) for number in range(PARTITIONS)), "the workers drain")
    yield
    plant.client.config_set("maxmemory", 0)


def waiting(plant: Plant, number: int) -> bool:
    cursor = plant.client.hget(f"{{p{number:02d}}}:state", "cursor") or b"0-0"
    return bool(plant.client.xrange(f"{{p{number:02d}}}:events", b"(" + cursor, count=1))


FAULTS: dict[str, Callable[..., object]] = {
    "Redis frozen (SIGSTOP), which then executes what had timed out": frozen,
    "Redis refuses connections and resets those that are open": refused,
    "Redis slow: 50 ms and 512 bytes a piece": slow,
    "half-open connections: neither side hears of the other": half_open,
    "answers of Redis cut in the middle of a frame": cut_mid_frame,
    "Redis LOADING": loading,
    "Redis answers MISCONF": misconf,
    "Redis out of memory": out_of_memory,
}


def test_a_server_that_is_still_loading_is_waited_for_and_not_called_badly_set_up(
    plants: Plants, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it reads its file it says that it keeps none. It may be done by the time of the next question."""
    plant = plants()
    for number in range(200):
        plant.client.set(f"key:{number}", "x" * 1_000)
    plant.client.bgrewriteaof()
    until(lambda: not plant.client.info("persistence")["aof_rewrite_in_progress"], "the file is rewritten")
    plant.redis.kill()
    plant.start_redis(key_load_delay=10_000, loading_process_events_interval_bytes=1_024)
    config_get = plant.client.config_get

    def late(*asked: str) -> object:
        plant.await_redis()
        return config_get(*asked)

    monkeypatch.setattr(plant.client, "config_get", late)
    until(lambda: told_of_loading(plant), "it loads")
    with pytest.raises(redis.BusyLoadingError):
        connections.check_server(plant.client, Settings())
    plant.await_redis()
    connections.check_server(plant.client, Settings())


def told_of_loading(plant: Plant) -> bool:
    with contextlib.suppress(redis.RedisError):
        return bool(plant.client.info("persistence")["loading"])
    return False


@pytest.mark.timeout(900)
def test_redis_comes_and_goes(plants: Plants, tried: Tried) -> None:
    """One fault after the other on one installation, under load all the while; it recovers by itself from each."""
    plant = plants(lease_seconds=1)
    with Proxy(plant.port) as proxy:
        plant.door = proxy.port
        edge, workers = plant.edge().await_ready(), [plant.worker(), plant.worker()]
        account = Account(plant, [edge])
        seen: dict[str, float] = {}
        for fault, cause in FAULTS.items():
            for _ in range(rounds(1, 3)):
                account.load.await_acknowledged()
                with cause(plant, proxy):  # type: ignore[attr-defined]
                    time.sleep(SECONDS)
                begun = time.monotonic()
                account.load.await_acknowledged(1)
                account.await_applied()
                seen[fault] = max(seen.get(fault, 0.0), time.monotonic() - begun)
                assert edge.unit.running, edge.unit.text
                assert all(worker.running for worker in workers), [worker.text for worker in workers]
        closed = account.close()
    for fault, seconds in seen.items():
        tried(
            "Redis may fail in any way, and it resumes by itself",
            fault,
            rounds(1, 3),
            closed,
            f"resumed in {seconds:.1f} s",
        )


@pytest.mark.timeout(1_500)
@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler to watch Redis's syncs")
@pytest.mark.parametrize("durability", ["always", "everysec"])
def test_a_power_cut_loses_nothing_that_was_acknowledged(
    plants: Plants, tried: Tried, durability: str
) -> None:
    """Redis is killed, and each of its files cut back to its last completed sync: what a disk owes after a power cut.

    What is proven: no acknowledgement goes out before the sync of what it acknowledges. What is not: that the disk
    keeps what it says it has synced. With everysec the same cut does lose events, as that setting says: without that
    this test would prove nothing.
    """
    always = durability == "always"
    if not always and not LONG:
        pytest.skip("a minute for `make faults`: what everysec loses, for comparison")
    plant, times = plants(durability=durability), rounds(3, 50 if always else 10)
    watch = watch_syncs(plant)
    edge, worker = plant.edge().await_ready(), plant.worker()
    account = Account(plant, [edge], pause=0.002)
    chance, cut = random.Random(7), 0
    if not always:
        time.sleep(2)  # the tag at least survives the first cut
    for _ in range(times):
        account.load.await_acknowledged()
        time.sleep(chance.uniform(0, 0.5))
        plant.redis.kill()
        cut += cut_back(plant)
        plant.start_redis(watch)
        plant.await_redis()
    assert edge.unit.running
    assert worker.running
    if not always:
        account.load.ledger.excuse(0, time.monotonic())
    closed = account.close()
    promise = (
        "A 2xx means on disk"
        if always
        else "everysec may lose about a second: it does, so the row above proves something"
    )
    tried(promise, f"power cut under appendfsync {durability}", times, closed, f"{cut:,} bytes were cut off")
    assert always or closed["lost"] > 0


def watcher(folder: Path) -> Path:
    """The library that notes what is synced, see synced.c."""
    library, source = folder / "synced.so", Path(__file__).with_name("synced.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def watch_syncs(plant: Plant) -> dict[str, str]:
    """Start Redis anew, with a library in front of fdatasync that notes how long each file was; its environment."""
    plant.redis.kill()
    watch = {"LD_PRELOAD": str(watcher(plant.folder)), "SYNCED": str(plant.folder / "synced")}
    plant.start_redis(watch)
    plant.await_redis()
    return watch


def cut_back(plant: Plant) -> int:
    """Cut each of the append-only files back to its last sync; how many bytes went."""
    synced: dict[str, int] = {}
    for line in (plant.folder / "synced").read_text().splitlines():
        size, _, path = line.partition(" ")
        synced[path] = int(size)
    gone = 0
    for file in plant.aof.glob("*.incr.aof"):
        length = file.stat().st_size
        kept = min(synced.get(str(file.resolve()), 0), length)
        os.truncate(file, kept)
        gone += length - kept
    return gone


@only_long
@pytest.mark.timeout(300)
def test_a_redis_that_went_back_in_time_agrees_with_the_files_that_stayed(
    plants: Plants, tried: Tried
) -> None:
    """A failover may lose the last writes; files that were put in force since then are as if they were not there."""
    plant, times, seconds = plants(flush_seconds=0.3), rounds(1, 10), 2.0
    edge, worker = plant.edge().await_ready(), plant.worker()
    account = Account(plant, [edge])
    lost: list[tuple[float, float]] = []
    for _ in range(times):
        account.load.await_acknowledged(100)
        then = time.monotonic()
        plant.redis.send(signal.SIGSTOP)
        shutil.copytree(plant.aof, plant.folder / "then")
        plant.redis.send(signal.SIGCONT)
        time.sleep(seconds)
        account.load.await_acknowledged(1)
        until(
            partial(plant.archived_since, plant.archived()),
            "files are put in force that are not in that copy",
        )
        plant.redis.kill()
        now = time.monotonic()
        shutil.rmtree(plant.aof)
        (plant.folder / "then").rename(plant.aof)
        plant.redis.start()
        plant.await_redis()
        lost.append((then, now))
    assert worker.running
    ledger = account.load.stop()
    for then, now in lost:  # what only those seconds had is gone with its Redis; nobody could keep that
        ledger.excuse(then, now)
    closed = account.close()
    tried(
        "Files follow Redis",
        f"Redis goes back by {seconds:.0f} s, the archive stays",
        times,
        closed,
        "lost: what only the lost seconds had",
    )


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk of so many megabytes. Skips where this user cannot mount one."""
    folder.mkdir(parents=True)
    options = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(options, capture_output=True).returncode != 0:
        pytest.skip("needs root and the right to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill the disk to its last byte with a file, which is to be deleted."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(b"\0" * 65_536)
                file.flush()
        except OSError:
            return filler


@only_long
@pytest.mark.timeout(300)
def test_a_full_disk_under_redis_loses_nothing(plants: Plants, tried: Tried, tmp_path: Path) -> None:
    times = rounds(1, 3)
    with small_disk(tmp_path / "plant" / "redis", 48) as disk:
        plant = plants()
        edge, worker = plant.edge().await_ready(), plant.worker()
        account = Account(plant, [edge])
        for _ in range(times):
            account.load.await_acknowledged()
            filler = fill(disk)
            until(lambda: not plant.redis.running, "Redis ends: under `always` it rather ends than lies")
            time.sleep(1)
            filler.unlink()
            plant.redis.start()
            plant.await_redis()
        assert worker.running
        closed = account.close()
    tried("A 2xx means on disk", "the disk of Redis is full", times, closed)


@only_long
@pytest.mark.timeout(300)
def test_a_full_archive_disk_holds_nothing_up_but_the_archive(
    plants: Plants, tried: Tried, tmp_path: Path
) -> None:
    times = rounds(1, 3)
    with small_disk(tmp_path / "plant" / "data" / "archive", 16) as disk:
        plant = plants(flush_seconds=0.5)
        edge, worker = plant.edge().await_ready(), plant.worker()
        account = Account(plant, [edge])
        for _ in range(times):
            account.load.await_acknowledged()
            filler = fill(disk)
            until(lambda: "chore_failed" in worker.text, "the worker says so")
            account.load.await_acknowledged(50)  # the edge and the columns go on
            account.await_applied()  # the columns go on
            filler.unlink()
            until(partial(plant.archived_since, plant.archived()), "the archive goes on")
            assert not list(disk.rglob("*.partial")), "half-written files stay and fill the disk"
        closed = account.close()
    tried("A full archive disk holds up nothing else", "the disk of the archive is full", times, closed)
