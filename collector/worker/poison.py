"""Poison: find the event that a batch fails on, put it aside as a dead letter, and apply the others."""

import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from collector import log
from collector.connections import Unavailable
from collector.stream import read, scripts
from collector.stream.dead import TooMany
from collector.stream.read import Entry
from collector.worker.partition import Partition

TRIES = 3  # of the one event that is left: what fails for want of memory, say, may pass when tried again
PAUSE = 0.1  # seconds between them

logger = log.get("worker")


def apply(partition: Partition, entries: Sequence[Entry]) -> int:
    """partition.apply(), for any entries: one that makes it raise is found by halving and becomes a dead letter.

    Raises connections.Unavailable and dead.TooMany.
    """
    try:
        return partition.apply(entries)
    except Exception as error:
        if not _of_the_events(error):
            raise
        logger.warning("batch_failed", partition=partition.number, events=len(entries), error=_named(error))
    before, lineage = len(entries), partition.lineage
    partition.reload()
    if partition.lineage != lineage:
        return 0  # the entries are of a server that went
    cursor = read.parse(partition.cursor)  # a part of the batch may have been committed
    entries = [entry for entry in entries if read.parse(entry.id) > cursor]
    done = before - len(entries)
    if len(entries) <= 1:
        return done + sum(_put_aside(partition, entry) for entry in entries)
    half = len(entries) // 2
    applied = apply(partition, entries[:half])
    if applied < half:
        return done + applied  # another worker or an edit came between: the caller reads anew
    return done + applied + apply(partition, entries[half:])


def _put_aside(partition: Partition, entry: Entry) -> int:
    """Try the one entry some more times; then commit it as a dead letter."""
    failed, lineage = "", partition.lineage
    for _ in range(TRIES - 1):
        time.sleep(PAUSE)
        try:
            return partition.apply([entry])
        except Exception as error:
            if not _of_the_events(error):
                raise
            failed = type(error).__name__
            logger.warning(
                "event_failed", partition=partition.number, id=entry.id.decode(), error=_named(error)
            )
            partition.reload()
            if partition.lineage != lineage:
                return 0
    return partition.apply([entry], failed=failed)


def _of_the_events(error: Exception) -> bool:
    """Whether the events may be at fault: not when Redis does not answer, nor when too many were put aside."""
    return scripts.failed(error) or not isinstance(error, (*Unavailable, TooMany))


def _named(error: Exception) -> str:
    """Which exception, raised where. Never its message: that may quote the event."""
    *_, frame = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
