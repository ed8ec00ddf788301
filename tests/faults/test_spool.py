"""Redis away for longer than anybody waits: events are acknowledged from the edge's own disk, and none is lost."""

import random
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from tests.faults.account import GRANTED, VISITORS, Account
from tests.faults.conftest import LONG, Plants, Tried, rounds
from tests.faults.plant import ORIGIN, Edge, Plant, until
from tests.faults.test_redis import cut_back, watch_syncs, watcher

SECONDS = 60.0 if LONG else 3.0  # that Redis is away
PATIENT = 30.0  # seconds a client waits: here no request may go without its answer
LEFT_ALONE = 20.0  # seconds until a dead edge's spool is drained: drain.ORPHANS twice, on a busy machine


@pytest.mark.timeout(300)
def test_while_redis_is_away_everybody_is_answered_200_and_withdrawals_hold(
    plants: Plants, tried: Tried
) -> None:
    plant, times = plants(), rounds(1, 2)
    edge = plant.edge().await_ready()
    plant.worker()
    account = Account(plant, [edge], timeout=PATIENT)
    gone = []
    for number in range(times):
        account.load.await_acknowledged(50)
        account.await_applied()
        visitor = f"{VISITORS + number:032x}"
        gone.append(visitor)
        assert told(edge, account, visitor, "before") == 200
        plant.redis.kill()
        assert told(edge, account, visitor, "meanwhile") == 200
        assert told(edge, account, visitor) == 200
        time.sleep(SECONDS)
        account.load.await_acknowledged(50)
        assert plant.folder.joinpath("data", "spool", "0.db").stat().st_size > 0
        plant.redis.start()
        plant.await_redis()
        account.load.await_acknowledged(1)
    account.load.stop()
    until(lambda: {row.visitor for row in account.stored()}.isdisjoint(gone), "they are nowhere", pause=0.5)
    closed = account.close()
    assert set(account.load.ledger.told) == {"200"}
    tried(
        "While Redis is away events are spooled, and withdrawals hold",
        f"Redis is killed, and away for {SECONDS:.0f} s",
        times,
        closed,
        "every answer was 200",
    )


def told(edge: Edge, account: Account, visitor: str, event_id: str = "") -> int:
    """The status of an event of the visitor; without an id, of a withdrawal."""
    event = {"event": "addtocart", "event_id": event_id, "event_time": time.time() - 60}
    body = {"tag": account.tag, "visitor": visitor, "consent": GRANTED, "withdraw": not event_id}
    body["events"] = [event] if event_id else []
    return edge.ask("POST", "/v1/events", body, headers={"origin": ORIGIN})[0]


@pytest.mark.timeout(120)
def test_a_full_spool_answers_503_and_keeps_what_it_has(plants: Plants, tried: Tried) -> None:
    limit = 256 << 10
    plant = plants(spool_bytes=limit)
    edge = plant.edge().await_ready()
    plant.worker()
    account = Account(plant, [edge], timeout=PATIENT)
    account.load.await_acknowledged()
    account.await_applied()
    plant.redis.kill()
    until(lambda: account.load.ledger.told["503"], "the spool is full")
    assert (plant.folder / "data" / "spool" / "0.db").stat().st_size <= limit
    plant.redis.start()
    plant.await_redis()
    account.load.await_acknowledged()
    closed = account.close()
    assert set(account.load.ledger.told) == {"200", "503"}
    tried("A full spool refuses, and keeps what it has", f"a spool of {limit >> 10} KiB is full", 1, closed)


@pytest.mark.timeout(300)
def test_a_dead_edges_spool_is_drained_by_another(plants: Plants, tried: Tried) -> None:
    """The other one started while Redis was away, and knows the tags from the snapshot."""
    plant, times = plants(), rounds(1, 5)
    edges = [plant.edge().await_ready()]
    plant.worker()
    account = Account(plant, edges, timeout=PATIENT)
    spool = plant.folder / "data" / "spool"
    until(lambda: account.tag in (spool / "snapshot.json").read_text(), "the snapshot has the tag")
    slowest = 0.0
    for number in range(times):
        account.load.await_acknowledged()
        account.await_applied()
        plant.redis.kill()
        account.load.await_acknowledged()
        if not number:
            edges.append(plant.edge())
            await_alive(edges[1])
        account.load.await_acknowledged(100)
        until(lambda: len(waiting(spool)) == 2, "events wait in both spools")
        victim = edges[number % 2].unit
        victim.kill()
        plant.start_redis()
        plant.await_redis()
        slowest = max(slowest, until(lambda: not waiting(spool), "both are drained", pause=0.2))
        victim.start()
        await_alive(edges[number % 2])
    assert slowest <= LEFT_ALONE
    closed = account.close()
    tried(
        "A dead edge's spool is drained by another",
        "kill -9 of one of two edges with events in its spool",
        times,
        closed,
        f"slowest {slowest:.1f} s",
    )


def await_alive(edge: Edge) -> None:
    """Wait until it listens; unlike ready, it may be that while Redis is away."""
    until(lambda: edge.ask("GET", "/healthz")[0] == 200, "an edge is alive", pause=0.1)


def waiting(folder: Path) -> list[str]:
    """The spools that hold events; whoever took one over, and drained it, has removed it."""
    return [file.name for file in folder.glob("*.db") if events_in(file)]


def events_in(file: Path) -> int:
    base = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return int(base.execute("SELECT count(*) FROM spool").fetchone()[0])
    except sqlite3.OperationalError:  # removed since it was listed
        return 0
    finally:
        base.close()


@pytest.mark.timeout(1_500)
@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler to watch the syncs")
def test_a_power_cut_while_redis_is_away_loses_nothing_that_was_acknowledged(
    plants: Plants, tried: Tried
) -> None:
    """Redis's files and the spool's are cut back to what was synced, at a moment when the edge spools or drains."""
    plant, times, chance, bytes_gone = plants(), rounds(2, 50), random.Random(9), 0
    images = plant.folder / "images"
    images.mkdir()
    watch_redis = watch_syncs(plant)
    watch_edge = {"LD_PRELOAD": str(watcher(plant.folder)), "IMAGES": str(images)}
    edge = plant.edge().await_ready()
    edge.unit.kill()
    cut_spool(plant, images)  # nobody watched the syncs of these files: the next edge makes them anew
    edge.unit.start(environment=watch_edge)
    edge.await_ready()
    plant.worker()
    account = Account(plant, [edge], pause=0.002)
    for _ in range(times):
        account.load.await_acknowledged()
        account.await_applied()
        plant.redis.kill()
        bytes_gone += cut_back(plant)
        account.load.await_acknowledged()
        if chance.random() < 0.5:  # cut while it drains
            plant.start_redis(watch_redis)
            plant.await_redis()
        time.sleep(chance.uniform(0, 0.5))
        plant.redis.kill()
        edge.unit.kill()
        bytes_gone += cut_back(plant) + cut_spool(plant, images)
        edge.unit.start(environment=watch_edge)
        await_alive(edge)
        plant.start_redis(watch_redis)
        plant.await_redis()
    closed = account.close()
    tried(
        "A 2xx from the spool means on disk",
        "power cut of edge and Redis while Redis is away",
        times,
        closed,
        f"{bytes_gone:,} bytes were cut off",
    )


def cut_spool(plant: Plant, images: Path) -> int:
    """Give each file of the spool the content of its last sync; how many bytes went. The index is never synced."""
    gone = 0
    for file in (plant.folder / "data" / "spool").glob("*.db*"):
        size, image = file.stat().st_size, images / file.name
        file.unlink()
        if image.exists():
            shutil.copy(image, file)
            size -= image.stat().st_size  # a log that was emptied comes back as it was
        gone += max(size, 0)
    return gone
