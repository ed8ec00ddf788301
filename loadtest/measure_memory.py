"""Memory: what a visitor, a leaf and an event id take in Redis."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice
from typing import NamedTuple

from collector import clock, connections, keys
from collector.audience.registry import Registry
from collector.consent import ConsentedEvent
from collector.event import Event
from collector.ingest.commit import GROUP
from collector.stream.append import Appender
from collector.stream.read import Entry
from collector.worker.partition import Partition
from loadtest.report import Asked, Line, at_most
from loadtest.rig import Rig
from loadtest.traffic import GRANTED, events

VISITOR_GOAL, LEAF_GOAL, ID_GOAL = 30.0, 4.5, 10.0  # bytes
MANY = 1_000_000  # what the goals are for: with fewer, what there is once weighs on each
BATCH = 2_000
LEAVES = 3


class Memory(NamedTuple):
    used: int
    resident: int


def measure(asked: Asked) -> Iterator[Line]:
    """Visitors through the worker's own step (a partition applies entries), ids through the append script."""
    visitors = 100_000 if asked.quick else MANY
    with Rig() as rig:
        registry = Registry(rig.client, rig.installation, rig.settings, clock.system)
        empty = memory(rig)
        for number in range(LEAVES):
            registry.create(
                rig.tag.id, "a leaf", "", {"event_data": {"value": {">=": -number}}, "prefill": False}
            )
        apply(rig)(events(rig.tag.id, visitors, visitors, int(time.time()) + 1))
        full = memory(rig)
        tenants = [keys.tenant(number, rig.tag.id) for number in range(rig.installation.partitions)]
        for tenant in tenants:
            for key in rig.client.scan_iter(f"{tenant}:col:*", count=1_000):
                rig.client.delete(key)
        bare = memory(rig)
        known = sum(int(rig.client.hget(f"{tenant}:meta", "visitors")) for tenant in tenants)
        beside = f"{known:,} visitors; used_memory {(bare.used - empty.used) / 2**20:,.0f} MiB"
        yield at_most(
            "Redis bytes a visitor: dictionary with the ids",
            (bare.used - empty.used) / known,
            VISITOR_GOAL,
            f"{beside}; resident {(full.resident - empty.resident) / known:,.1f} bytes a visitor "
            f"with {LEAVES} leaves and the fragments of the filling",
            digits=1,
        )
        yield at_most(
            "Redis bytes a visitor and leaf",
            (full.used - bare.used) / known / (LEAVES + 1),
            LEAF_GOAL,
            f"{LEAVES} leaves that everybody matches, and the built-in one: when a visitor was last seen; "
            f"the goals are for {MANY:,} visitors",
            digits=2,
        )
    with Rig() as rig:
        empty = memory(rig)
        asyncio.run(_append(rig, visitors))
        for number in range(rig.installation.partitions):
            rig.client.delete(keys.events(number))
        full = memory(rig)
        yield at_most(
            "Redis bytes an event id",
            (full.used - empty.used) / visitors,
            ID_GOAL,
            f"{visitors:,} ids, streams deleted; resident {(full.resident - empty.resident) / visitors:,.1f} "
            "with the room that the streams left",
            digits=2,
        )


def apply(rig: Rig) -> Callable[[Iterable[ConsentedEvent]], None]:
    """A step that applies events without a stream, in batches as large as the worker reads them."""
    work = [
        Partition(rig.client, rig.installation, number, rig.settings, clock.system)
        for number in range(rig.installation.partitions)
    ]
    numbers = count(1)
    started = int(time.time())

    def step(some: Iterable[ConsentedEvent]) -> None:
        waiting: list[list[Entry]] = [[] for _ in work]
        for sealed in some:
            event = sealed.bare
            at = rig.installation.partition(event.tag, event.visitor)
            waiting[at].append(Entry(b"%d-%d" % (started * 1000, next(numbers)), sealed.payload()))
            if len(waiting[at]) == BATCH:
                work[at].apply(waiting[at])
                waiting[at].clear()
        for at, entries in enumerate(waiting):
            if entries:
                work[at].apply(entries)

    return step


async def _append(rig: Rig, number: int) -> None:
    """Events with ids, in groups as large as the edge's; small ones, since the streams go again."""
    now = int(time.time())
    small = (
        GRANTED.seal(
            Event(
                tag=rig.tag.id,
                visitor=f"{n * 2_654_435_761 % 2**32:032x}",
                event="id",
                event_id=str(n),
                event_time=now,
                received_at=now * 1000,
            )
        )
        for n in range(number)
    )
    async with connections.open_async(rig.settings, timeout=30.0) as client:
        appender = Appender(client, rig.installation, rig.settings)
        while batch := list(islice(small, GROUP)):
            await appender.append(batch)


def memory(rig: Rig) -> Memory:
    """What Redis takes now, its free room given back."""
    rig.client.memory_purge()
    info: dict[str, int] = rig.client.info("memory")
    return Memory(info["used_memory"], info["used_memory_rss"])
