"""Parts: an installation within the test's own process, each part moved by hand."""

import asyncio
from collections.abc import Sequence
from typing import Any

from collector import connections
from collector.archive.scan import Archive
from collector.archive.write import Writer
from collector.audience.columns import Columns
from collector.audience.registry import Registry
from collector.audience.sizes import Sizes
from collector.connections import Redis
from collector.consent import ConsentedEvent, Signals, decide, word
from collector.event import Event
from collector.settings import Settings
from collector.stream import read
from collector.stream.append import Appender
from collector.stream.partitions import open_installation
from collector.worker import backfill
from collector.worker.partition import Partition

TAG = "2612345678901"
OTHER_TAG = "2612345678902"
NOW = 1_763_750_000
GRANTED = Signals(consent=word("granted"))
GPC = Signals(consent=word("granted"), sec_gpc="1")
LIMITED = Signals(consent={**word("granted"), "ad_personalization": "denied"})
WITHDRAWN = Signals(withdraw=True)

_minted = iter(range(1 << 62))


def happened(visitor: str, name: str = "addtocart", *, age: int = 0, **fields: Any) -> Event:
    """An event `age` seconds before it was received, at NOW unless `now` says else; with an id of its own."""
    now = fields.pop("now", NOW)
    given = {"tag": TAG, "event_id": f"id-{next(_minted)}", **fields}
    return Event(visitor=visitor, event=name, event_time=now - age, received_at=now * 1000, **given)


def sealed(happening: Event, signals: Signals = GRANTED) -> ConsentedEvent:
    decision = decide(signals, "opt_in", now=happening.received_at // 1000)
    return decision.withdrawal(happening) if signals.withdraw else decision.seal(happening)


class Parts:
    """An installation; `now` is its clock."""

    def __init__(self, client: Redis, settings: Settings, **overrides: Any) -> None:
        """overrides: of settings; there is one partition unless they say else."""
        self.client = client
        self.settings = settings.model_copy(update={"partitions": 1, **overrides})
        self.now = NOW
        self.installation = open_installation(client, self.settings)
        self.registry = Registry(client, self.installation, self.settings, self.clock)
        self.sizes = Sizes(client, self.installation)
        self.archive = Archive(client, self.installation, self.settings)

    def clock(self) -> float:
        return float(self.now)

    def columns(self, number: int = 0) -> Columns:
        return Columns(self.client, self.installation, number)

    def writer(self, number: int = 0) -> Writer:
        return Writer(self.client, self.installation, number, self.settings, self.clock)

    def partition(self, number: int = 0) -> Partition:
        return Partition(self.client, self.installation, number, self.settings, self.clock)

    def send(self, *happenings: Event, signals: Signals = GRANTED) -> list[bool]:
        """Append each with these signals; where it was no repeat."""
        return self.append([sealed(happening, signals) for happening in happenings])

    def append(self, group: Sequence[ConsentedEvent]) -> list[bool]:
        async def once() -> list[bool]:
            client = connections.open_async(self.settings, timeout=10)
            try:
                return await Appender(client, self.installation, self.settings).append(group)
            finally:
                await client.aclose()

        return asyncio.run(once())

    def apply(self) -> None:
        """Apply all that waits."""
        for number in range(self.installation.partitions):
            partition = self.partition(number)
            while entries := read.after(self.client, number, partition.cursor, 2_000):
                partition.apply(entries)

    def flush(self) -> None:
        """Write all that waits to the archive."""
        for number in range(self.installation.partitions):
            while self.writer(number).flush():
                pass

    def fill(self) -> None:
        """Fill every leaf that wants its past."""
        for number in range(self.installation.partitions):
            backfill.fill(self.columns(number), self.writer(number), 0)

    def work(self) -> None:
        self.apply()
        self.flush()
        self.fill()

    def members(self, rule: dict[str, Any], *, tag: str = TAG) -> list[str]:
        """The members of a new audience with this rule, now, sorted."""
        audience = self.registry.create(tag, "an audience", "", rule)
        self.work()
        runs = self.sizes.members(tag, audience.question(self.now))
        return sorted(visitor for _, visitors in runs for visitor in visitors)


def everything(client: Redis) -> dict[bytes, bytes]:
    """What the server holds."""
    return {key: client.dump(key) for key in client.scan_iter(count=10_000)}


def ordinals(count: int) -> list[str]:
    """That many browser visitors."""
    return [f"{place:032x}" for place in range(count)]
