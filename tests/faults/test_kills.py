"""Whatever dies, at whatever moment, what was acknowledged is there, once, and counts once."""

import random
import signal
import time
from functools import partial

import pytest

from tests.faults.account import Account
from tests.faults.conftest import Plants, Tried, only_long, rounds
from tests.faults.plant import PARTITIONS, Edge, Plant, Unit, until

TAKEOVER = 10.0  # seconds: what a dead worker's partitions may wait


def progress(plant: Plant, account: Account) -> None:
    """Wait until new events have been acknowledged, and some of them applied."""
    before = [plant.client.hget(f"{{p{n:02d}}}:state", "cursor") for n in range(PARTITIONS)]
    account.load.await_acknowledged()
    until(
        lambda: before != [plant.client.hget(f"{{p{n:02d}}}:state", "cursor") for n in range(PARTITIONS)],
        "a cursor moves",
    )


@pytest.mark.timeout(1_500)
def test_kill_9_of_edge_worker_and_redis_in_a_loop(plants: Plants, tried: Tried) -> None:
    plant, chance, times = plants(), random.Random(5), rounds(2, 100)
    edge, worker = plant.edge().await_ready(), plant.worker()
    account = Account(plant, [edge])
    for _ in range(times):
        progress(plant, account)
        victims = [edge.unit, worker, plant.redis]
        chance.shuffle(victims)
        for victim in victims:
            time.sleep(chance.uniform(0, 0.3))
            victim.kill()
            victim.start()
        plant.await_redis()
        for unit in (edge.unit, worker):
            assert unit.running, unit.text  # one that ended by itself is a failure
    closed = account.close()
    tried(
        "A 2xx means stored, and counts once", "kill -9 of edge, worker and Redis under load", times, closed
    )


@pytest.mark.timeout(900)
def test_a_dead_workers_partitions_are_taken_over(plants: Plants, tried: Tried) -> None:
    """With the lease as it comes, and load all the while."""
    plant, times = plants(lease_seconds=5), rounds(1, 20)
    edge = plant.edge().await_ready()
    workers = [plant.worker(), plant.worker()]
    account = Account(plant, [edge], pause=0.05)
    slowest = 0.0
    for _ in range(times):
        until(lambda: len(plant.owners() - {None}) == 2 and None not in plant.owners(), "two workers share")
        victim = workers.pop(0)
        assert plant.owns(victim)
        victim.kill()
        seconds = until(partial(plant.all_owned_without, victim), "every lease has a live owner")
        slowest = max(slowest, seconds)
        victim.start()
        workers.append(victim)
    assert slowest <= TAKEOVER
    closed = account.close()
    tried(
        "A dead worker's partitions move within 10 s",
        "kill -9 of one of two workers",
        times,
        closed,
        f"slowest {slowest:.1f} s",
    )


@pytest.mark.timeout(900)
def test_replicas_come_and_go(plants: Plants, tried: Tried) -> None:
    """One edge and one worker, then four of each, then one again, with the lease as it comes."""
    plant, times = plants(lease_seconds=5), rounds(1, 10)
    edges, workers = [plant.edge().await_ready()], [plant.worker()]
    account = Account(plant, edges, pause=0.05)
    edge_units, worker_units = [plant.edge().unit for _ in range(3)], [plant.worker() for _ in range(3)]
    slowest = 0.0
    for number in range(times):
        if number:
            for unit in (*edge_units, *worker_units):
                unit.start()
        edges += [Edge(unit).await_ready() for unit in edge_units]
        until(lambda: plant.client.zcard("{c}:workers") == 4, "four workers have signed in")
        slowest = max(
            slowest, until(lambda: all(map(plant.owns, (*workers, *worker_units))), "each has its share")
        )
        account.load.await_acknowledged(100)
        del edges[1:]
        for unit in (*edge_units, *worker_units):
            assert unit.stop() == 0, unit.text
        slowest = max(
            slowest, until(partial(plant.all_owned_without, *worker_units), "the first has all again")
        )
        account.load.await_acknowledged()
    assert slowest <= TAKEOVER
    closed = account.close()
    tried(
        "Replicas come and go",
        "edges and workers from one to four and back to one, under load",
        times,
        closed,
        f"leases shared anew in {slowest:.1f} s at most",
    )


@only_long
@pytest.mark.timeout(900)
def test_rolling_restarts_refuse_nobody(plants: Plants, tried: Tried) -> None:
    """One edge and one worker after the other is told to stop, ends with 0 in time, and comes back."""
    plant, times = plants(), rounds(1, 10)
    edges = [plant.edge().await_ready(), plant.edge().await_ready()]
    workers = [plant.worker(), plant.worker()]
    account = Account(plant, edges)
    for _ in range(times):
        for unit in (edges[0].unit, workers[0], edges[1].unit, workers[1]):
            account.load.await_acknowledged()
            assert unit.stop() == 0, unit.text
            unit.start()
            for edge in edges:
                edge.await_ready()
    closed = account.close()
    answers = {
        status: told for status, told in account.load.ledger.told.items() if status not in ("0", "200")
    }
    assert answers == {}, "a request that an edge took was not answered with 200"
    tried(
        "A stop refuses no request it took, and exits 0 in time",
        "SIGTERM of each of two edges and two workers in turn",
        4 * times,
        closed,
    )


@only_long
@pytest.mark.timeout(300)
def test_a_worker_that_wakes_up_after_its_lease_does_no_harm(plants: Plants, tried: Tried) -> None:
    """Two workers then believe in the same partitions, until one of them notices."""
    plant, times = plants(lease_seconds=1), rounds(2, 20)
    edge = plant.edge().await_ready()
    workers: list[Unit] = [plant.worker(), plant.worker()]
    account = Account(plant, [edge])
    for number in range(times):
        sleeper = workers[number % 2]
        until(partial(plant.owns, sleeper), "it owns some")
        account.load.await_acknowledged()
        sleeper.send(signal.SIGSTOP)
        until(partial(plant.all_owned_without, sleeper), "the other has taken over")
        account.load.await_acknowledged()
        sleeper.send(signal.SIGCONT)
    closed = account.close()
    tried(
        "Two workers on a partition count nothing twice",
        "a worker stopped past its lease, woken up",
        times,
        closed,
    )
