import time

from collector.connections import Redis
from collector.worker.leases import Leases


def leases(redis: Redis, name: str, life: float = 60) -> Leases:
    return Leases(redis, name, 8, life)


def test_one_worker_has_all_and_leads(redis: Redis) -> None:
    one = leases(redis, "one")
    assert one.round() == set(range(8))
    assert one.leads


def test_workers_come_to_fair_shares_without_a_partition_twice(redis: Redis) -> None:
    workers = [leases(redis, name) for name in ("one", "two", "three")]
    for _ in range(4):
        for worker in workers:
            worker.round()
    owned = [worker.owned for worker in workers]
    assert sorted(number for some in owned for number in some) == list(range(8))
    assert max(map(len, owned)) <= 3
    assert [worker.leads for worker in workers].count(True) == 1


def test_what_a_stopped_worker_had_is_free_at_once(redis: Redis) -> None:
    one, two = leases(redis, "one"), leases(redis, "two")
    one.round()
    assert two.round() == set()
    one.release()
    assert (one.owned, one.leads) == (set(), False)
    assert two.round() == set(range(8))
    assert two.leads


def test_what_a_dead_worker_had_moves_after_its_life(redis: Redis) -> None:
    dead, other = leases(redis, "dead", 1.0), leases(redis, "other", 1.0)
    dead.round()
    assert other.round() == set()
    time.sleep(1.1)
    assert other.round() == set(range(8))
    assert dead.round() == set()
    assert not dead.leads


def test_nobody_gives_up_another_s_lease(redis: Redis) -> None:
    late, other = leases(redis, "late", 0.2), leases(redis, "other")
    late.round()
    time.sleep(0.3)
    other.round()
    late.release()
    assert not leases(redis, "third").round() & other.owned
    assert len(other.round()) == 4
