import threading

import pytest

from collector import connections, keys
from collector.audience.columns import column_key, seconds
from collector.audience.registry import GRACE
from collector.clock import DAY
from collector.connections import Redis
from collector.settings import Settings
from collector.worker import chores
from collector.worker.chores import Chore, Duty
from collector.worker.keeper import Keeper
from tests.unit.parts import NOW, TAG, Parts, happened, ordinals

CART = {"event": "addtocart", "retention_days": 540}


def duty(parts: Parts, number: int = 0) -> Duty:
    return Duty(parts.client, parts.installation, number, parts.settings, parts.clock)


def test_the_unseen_leave_and_who_returns_starts_anew(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores, "EXPIRED_AT_ONCE", 3)
    parts = Parts(redis, settings)
    audience = parts.registry.create(TAG, "", "", {**CART, "min_count": 2})
    parts.work()
    old = ordinals(10)
    parts.send(*(happened(visitor) for visitor in old for _ in range(2)))
    parts.now += 300 * DAY
    parts.send(*(happened("bert", now=parts.now) for _ in range(2)))
    parts.apply()
    parts.now += 241 * DAY
    chores.expire_visitors(duty(parts))
    row = parts.columns().load().tags[TAG]
    assert sorted(row.free) == list(range(10))
    parts.send(*(happened(visitor, now=parts.now) for visitor in old))
    parts.apply()
    assert parts.columns().load().tags[TAG].next == 11
    assert parts.sizes.size(TAG, audience.question(parts.now)) == 1
    plane = seconds(redis.get(column_key(keys.tenant(0, TAG), audience.parsed().leaves()[0].id, 1, 0)))
    assert not any(plane[:10])


def test_leaves_go_after_the_grace_unless_somebody_uses_them(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    kept, gone = parts.registry.create(TAG, "", "", CART), parts.registry.create(TAG, "", "", CART)
    lonely = parts.registry.create(TAG, "", "", {"event": "checkout"})
    parts.registry.delete(gone)
    parts.registry.delete(lonely)
    parts.now += GRACE
    chores.drop_unused_leaves(duty(parts))
    assert len(parts.columns().load().tags[TAG].leaves) == 2
    parts.now += 1
    chores.drop_unused_leaves(duty(parts))
    leaves = [leaf.id for leaf in parts.columns().load().tags[TAG].leaves]
    assert leaves == [leaf.id for leaf in kept.parsed().leaves()]


def test_only_sizes_that_are_ready_are_recorded(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    parts.send(happened("anna"))
    parts.apply()
    audience = parts.registry.create(TAG, "", "", CART)
    chores.record_sizes(duty(parts))
    parts.work()
    chores.record_sizes(duty(parts))
    chores.record_sizes(duty(parts))  # the same second
    parts.now += 60
    chores.record_sizes(duty(parts))
    assert parts.registry.history(audience) == [(NOW, 1), (NOW + 60, 1)]


def chore(name: str, done: list[tuple[str, int]], *, every: float = 10, once: bool = False) -> Chore:
    return Chore(name, lambda _: every, lambda duty: done.append((name, duty.number)), once)


def a_keeper(parts: Parts, *chores_: Chore, leads: bool = False) -> Keeper:
    made = Keeper(parts.client, parts.installation, parts.settings, parts.clock, chores_)
    made.owned, made.leads = frozenset({0, 2}), leads
    return made


class Impatient(threading.Event):
    """A stop that never comes, and for which nobody waits."""

    def wait(self, timeout: float | None = None) -> bool:
        return False


def test_a_keeper_does_what_is_due_where_it_owns(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, partitions=3)
    done: list[tuple[str, int]] = []
    table = (chore("often", done, every=0), chore("rarely", done), chore("once", done, once=True))
    follower, leader = a_keeper(parts, *table), a_keeper(parts, *table, leads=True)
    follower.round(Impatient())
    assert done == [("often", 0), ("often", 2), ("rarely", 0), ("rarely", 2)]
    done.clear()
    parts.now += 9
    follower.round(Impatient())
    assert done == [("often", 0), ("often", 2)]
    done.clear()
    leader.round(Impatient())
    assert done == [("often", 0), ("often", 2), ("rarely", 0), ("rarely", 2), ("once", 0)]


def test_a_keeper_does_all_at_once_when_it_comes_to_own_something(redis: Redis, settings: Settings) -> None:
    """It looks at its table before the first lease is there: an hourly chore that was due then is not done then."""
    parts = Parts(redis, settings, partitions=3)
    done: list[tuple[str, int]] = []
    made = a_keeper(parts, chore("rarely", done), chore("once", done, once=True))
    made.owned = frozenset()
    made.round(Impatient())
    assert done == []
    made.owned, made.leads = frozenset({1}), True
    made.round(Impatient())
    assert done == [("rarely", 1), ("once", 0)]
    made.round(Impatient())
    assert len(done) == 2


@pytest.mark.parametrize("error", [OSError("the disk is full"), ValueError("a file is corrupt")])
def test_a_chore_that_fails_keeps_neither_the_others_nor_other_partitions(
    redis: Redis, settings: Settings, error: Exception
) -> None:
    parts = Parts(redis, settings, partitions=3)
    done: list[tuple[str, int]] = []

    def fail(duty: Duty) -> None:
        done.append(("failing", duty.number))
        raise error

    keeper = a_keeper(parts, Chore("failing", lambda _: 0, fail), chore("next", done, every=0))
    keeper.round(Impatient())
    assert done == [("failing", 0), ("failing", 2), ("next", 0), ("next", 2)]
    done.clear()
    parts.now += 9
    keeper.round(Impatient())
    assert done == [("next", 0), ("next", 2)], "it rests where it failed"
    done.clear()
    parts.now += 1
    keeper.round(Impatient())
    assert done == [("failing", 0), ("failing", 2), ("next", 0), ("next", 2)]


def test_a_keeper_survives_a_server_that_is_away(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    parts.client = connections.open_redis(settings.model_copy(update={"redis_url": "unix:///nowhere"}))
    made = a_keeper(parts, *chores.TABLE, leads=True)
    made.owned = frozenset({0})
    made.round(Impatient())


def test_a_stop_ends_a_round_between_two_chores(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, partitions=3)
    done: list[tuple[str, int]] = []
    stop = threading.Event()
    stopping = Chore("stopping", lambda _: 0, lambda _: stop.set())
    a_keeper(parts, chore("first", done), stopping, chore("next", done)).round(stop)
    assert {name for name, _ in done} == {"first"}


def test_the_table_has_each_chore_once() -> None:
    names = [one.name for one in chores.TABLE]
    assert len(names) == len(set(names))
    assert all(one.do.__name__ == one.name for one in chores.TABLE)
