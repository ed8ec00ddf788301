"""The chores, in one table: what is done now and then, how often, and on what."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from collector import keys
from collector.archive.write import Writer
from collector.audience.columns import CHUNK, SEEN, Columns, column_key, seconds
from collector.audience.registry import Registry
from collector.audience.rules import LONGEST_DAYS
from collector.audience.sizes import Sizes
from collector.clock import DAY, Clock
from collector.connections import Redis
from collector.settings import Settings
from collector.stream import read
from collector.stream.partitions import Installation
from collector.worker import backfill, erasure, gauges

EXPIRED_AT_ONCE = 200  # visitors in one call: each costs the server some 2 µs a leaf


class Duty:
    """What a chore works with: one partition of the installation."""

    def __init__(
        self, client: Redis, installation: Installation, number: int, settings: Settings, clock: Clock
    ) -> None:
        self.client = client
        self.installation = installation
        self.number = number
        self.settings = settings
        self.clock = clock
        self.columns = Columns(client, installation, number)
        self.writer = Writer(client, installation, number, settings, clock)
        self.erasures: bytes | None = None  # as many as erase_rows has seen to
        self.rewrite = erasure.Rewrite(client, installation, settings, clock)

    def horizon(self) -> int:
        """The second before which nothing can be in any window."""
        return int(self.clock()) - LONGEST_DAYS * DAY

    def tags(self) -> list[str]:
        members: set[bytes] = self.client.smembers(f"{keys.partition(self.number)}:tags")
        return sorted(tag.decode() for tag in members)


class Chore(NamedTuple):
    """every: seconds between two times, from the settings. once: for the installation, not for each partition.

    slow: it may take minutes, so it has a thread that nothing urgent waits for.
    """

    name: str
    every: Callable[[Settings], float]
    do: Callable[[Duty], object]
    once: bool = False
    slow: bool = False


def flush(duty: Duty) -> None:
    while duty.writer.due() and duty.writer.flush():
        pass


def fill_leaves(duty: Duty) -> None:
    backfill.fill(duty.columns, duty.writer, duty.horizon())


def erase_rows(duty: Duty) -> None:
    """Looks only when there was an erasure since it looked last."""
    erasures = duty.client.hget(keys.state(duty.number), "erasures")
    if erasures != duty.erasures:
        for tag in duty.tags():
            duty.writer.erase(tag)
        duty.erasures = erasures


def sweep_erased(duty: Duty) -> None:
    erasure.sweep(duty.client, duty.number, duty.writer, duty.clock)


def rewrite_file(duty: Duty) -> None:
    duty.rewrite.step()


def retire_records(duty: Duty) -> None:
    if days := duty.settings.consent_retention_days:
        duty.writer.proofs.retire(days, duty.clock())


def merge_files(duty: Duty) -> None:
    for tag in duty.tags():
        duty.writer.merge(tag)


def retire_files(duty: Duty) -> None:
    for tag in duty.tags():
        duty.writer.retire(tag)


def collect_garbage(duty: Duty) -> None:
    duty.writer.manifest.collect_garbage(duty.clock())


def trim(duty: Duty) -> None:
    """Below both cursors: also what was archived before it was applied."""
    read.trim(duty.client, duty.number)


def expire_visitors(duty: Duty) -> None:
    """Visitors unseen for longer than the longest lookback leave the dictionary, and their ordinals are free."""
    for tag, row in duty.columns.load().tags.items():
        for chunk in range(-(-row.next // CHUNK)):
            raw = duty.client.get(column_key(keys.tenant(duty.number, tag), SEEN, 0, chunk))
            last = seconds(raw)
            gone = np.flatnonzero((last > 0) & (last < duty.horizon())) + chunk * CHUNK
            for first in range(0, len(gone), EXPIRED_AT_ONCE):
                duty.columns.expire(
                    tag, duty.horizon(), [int(n) for n in gone[first : first + EXPIRED_AT_ONCE]]
                )


def measure(duty: Duty) -> None:
    gauges.partition(duty.client, duty.number, duty.columns, duty.clock())


def measure_archive(duty: Duty) -> None:
    gauges.archive(duty.client, duty.number)


def measure_installation(duty: Duty) -> None:
    gauges.installation(duty.client, duty.installation, duty.settings, duty.clock())


def record_sizes(duty: Duty) -> None:
    """The size of every audience that is ready, into its history."""
    registry = Registry(duty.client, duty.installation, duty.settings, duty.clock)
    sizes = Sizes(duty.client, duty.installation)
    audiences = registry.all()
    for audience, standing in zip(audiences, registry.standings(audiences), strict=True):
        if standing.status == "READY":
            registry.record(audience, sizes.size(audience.tag, audience.question(int(duty.clock()))))


def drop_unused_leaves(duty: Duty) -> None:
    Registry(duty.client, duty.installation, duty.settings, duty.clock).drop_unused_leaves()


TABLE = (
    Chore("flush", lambda settings: 0.0, flush),
    Chore("fill_leaves", lambda settings: 0.0, fill_leaves, slow=True),
    Chore("erase_rows", lambda settings: 1.0, erase_rows, slow=True),
    Chore("sweep_erased", lambda settings: 1.0, sweep_erased, slow=True),
    Chore("rewrite_file", lambda settings: 0.5, rewrite_file, once=True),
    Chore("retire_records", lambda settings: 3_600.0, retire_records),
    Chore("trim", lambda settings: 1.0, trim),
    Chore("measure", lambda settings: 5.0, measure),
    Chore("measure_archive", lambda settings: 30.0, measure_archive),
    Chore("measure_installation", lambda settings: 5.0, measure_installation, once=True),
    Chore("merge_files", lambda settings: 60.0, merge_files, slow=True),
    Chore("collect_garbage", lambda settings: 60.0, collect_garbage),
    Chore("retire_files", lambda settings: 3_600.0, retire_files, slow=True),
    Chore("expire_visitors", lambda settings: 3_600.0, expire_visitors),
    Chore("drop_unused_leaves", lambda settings: 60.0, drop_unused_leaves, once=True, slow=True),
    Chore("record_sizes", lambda settings: settings.history_seconds, record_sizes, once=True, slow=True),
)
