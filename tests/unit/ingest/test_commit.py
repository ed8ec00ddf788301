"""Commit: grouped, in order, and never more is told than Redis said."""

import asyncio
from collections.abc import Sequence

import pytest
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from collector.consent import ConsentedEvent, Signals, decide
from collector.event import Event
from collector.ingest.commit import GROUP, WAITING, Committer

DECISION = decide(Signals(attested="a test"), "opt_in")


def events(*ids: object) -> list[ConsentedEvent]:
    return [
        DECISION.seal(
            Event(tag="1", visitor="v", event="lead", event_id=str(each), event_time=0, received_at=0)
        )
        for each in ids
    ]


class Redis:
    """Stands for the network: takes groups when it is let, and fails when it is told."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.open = asyncio.Event()
        self.fault: Exception | None = None

    async def append(self, group: Sequence[ConsentedEvent]) -> list[bool]:
        self.groups.append([each.event.event_id for each in group])
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        return [each.event.event_id != "old" for each in group]


def test_what_comes_while_an_append_is_under_way_goes_together_in_the_next() -> None:
    async def run() -> None:
        redis = Redis()
        committer = Committer(redis)
        first = asyncio.create_task(committer.commit(events("a")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        rest = [asyncio.create_task(committer.commit(events(each, "old"))) for each in "bcd"]
        await asyncio.sleep(0)
        redis.open.set()
        assert await first == [True]
        assert [await each for each in rest] == [[True, False]] * 3
        assert redis.groups == [["a"], ["b", "old", "c", "old", "d", "old"]]

    asyncio.run(run())


@pytest.mark.parametrize("size", [GROUP - 1, GROUP, GROUP + 1, 2 * GROUP + 1])
def test_no_group_is_larger_than_its_limit_and_nothing_is_lost(size: int) -> None:
    async def run() -> None:
        redis = Redis()
        redis.open.set()
        assert await Committer(redis).commit(events(*range(size))) == [True] * size
        assert max(map(len, redis.groups)) <= GROUP
        assert [each for group in redis.groups for each in group] == [str(each) for each in range(size)]

    asyncio.run(run())


@pytest.mark.parametrize("fault", [RedisConnectionError("gone"), TimeoutError(), OSError()])
def test_a_failed_append_is_told_as_unknown_and_the_next_is_tried(fault: Exception) -> None:
    async def run() -> None:
        redis = Redis()
        redis.open.set()
        redis.fault = fault
        committer = Committer(redis)
        assert await committer.commit(events("a", "b")) == [None, None]
        redis.fault = None
        assert await committer.commit(events("a", "b")) == [True, True]

    asyncio.run(run())


def test_a_bug_reaches_its_requests_and_no_others() -> None:
    async def run() -> None:
        redis = Redis()
        redis.open.set()
        redis.fault = KeyError("bug")
        committer = Committer(redis)
        with pytest.raises(KeyError):
            await committer.commit(events("a"))
        redis.fault = None
        assert await committer.commit(events("b")) == [True]

    asyncio.run(run())


def test_a_visitor_who_hangs_up_takes_nobody_along() -> None:
    async def run() -> None:
        redis = Redis()
        committer = Committer(redis)
        gone = asyncio.create_task(committer.commit(events("a")))
        stays = asyncio.create_task(committer.commit(events("b")))
        await asyncio.sleep(0.01)
        gone.cancel()
        redis.open.set()
        assert await stays == [True]
        await committer.drain()
        assert redis.groups == [["a", "b"]]

    asyncio.run(run())


def test_memory_is_bounded_while_redis_stands_still() -> None:
    async def run() -> None:
        redis = Redis()
        committer = Committer(redis)
        full = [asyncio.create_task(committer.commit(events(*range(GROUP)))) for _ in range(WAITING // GROUP)]
        await asyncio.sleep(0.01)
        assert await committer.commit(events("one more")) == [None]
        redis.open.set()
        assert [await each for each in full] == [[True] * GROUP] * (WAITING // GROUP)
        assert await committer.commit(events("one more")) == [True]

    asyncio.run(run())


def test_drain_returns_when_nothing_waits() -> None:
    async def run() -> None:
        redis = Redis()
        committer = Committer(redis)
        await committer.drain()
        waiting = asyncio.create_task(committer.commit(events("a")))
        await asyncio.sleep(0.01)
        redis.open.set()
        await committer.drain()
        assert waiting.done() or await waiting == [True]

    asyncio.run(run())


class Disk:
    """Stands for the spool."""

    rows = 0
    failure = "full"

    def __init__(self) -> None:
        self.kept: list[str] = []

    async def put(self, group: Sequence[ConsentedEvent]) -> list[bool]:
        self.kept += [each.event.event_id for each in group]
        return [each.event.event_id != "no room" for each in group]

    async def purge(self, group: Sequence[ConsentedEvent]) -> None: ...


@pytest.mark.parametrize(
    "fault",
    [
        RedisConnectionError("gone"),
        TimeoutError(),
        BusyLoadingError("LOADING"),
        ReadOnlyError("READONLY"),
        ResponseError("MISCONF Errors writing to the AOF file"),
    ],
)
def test_the_spool_takes_what_redis_does_not_until_redis_is_back(fault: Exception) -> None:
    async def run() -> None:
        redis, disk = Redis(), Disk()
        redis.open.set()
        redis.fault = fault
        committer = Committer(redis, disk)
        assert await committer.commit(events("a", "no room")) == [True, None]
        assert await committer.commit(events("b")) == [True]
        assert redis.groups == [["a", "no room"]], "nobody waits for a second time-out"
        redis.fault = None
        committer.back()
        assert not disk.failure, "nothing is asked of it any more"
        assert await committer.commit(events("c", "old")) == [True, False]
        assert disk.kept == ["a", "no room", "b"]

    asyncio.run(run())


def test_a_full_redis_is_not_away_and_the_spool_takes_nothing() -> None:
    async def run() -> None:
        redis, disk = Redis(), Disk()
        redis.open.set()
        redis.fault = OutOfMemoryError("OOM command not allowed")
        committer = Committer(redis, disk)
        assert await committer.commit(events("a")) == [None]
        assert (committer.away, disk.kept) == (False, [])

    asyncio.run(run())
