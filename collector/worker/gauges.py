"""Gauges: what a worker measures of its partitions, and of the installation while it leads."""

import shutil

from collector import connections, keys, metrics
from collector.archive.manifest import decode_file
from collector.audience.columns import Columns
from collector.connections import Redis
from collector.settings import Settings
from collector.stream import pending, read
from collector.stream.partitions import Installation


def partition(client: Redis, number: int, columns: Columns, now: float) -> None:
    """How far the partition's stream is applied and archived, and its columns filled."""
    label = f"{number:02d}"
    state = client.hmget(keys.state(number), ["cursor", "archived"])
    cursor, archived = ((entry or b"0-0").decode() for entry in state)
    length = client.xlen(keys.events(number))
    oldest = read.after(client, number, read.START, 1)
    waiting = read.after(client, number, cursor, 1)
    metrics.STREAM_EVENTS.labels(label).set(length)
    metrics.LAG_SECONDS.labels(label).set(_age(waiting, now))
    metrics.LAG_EVENTS.labels(label).set(
        behind(oldest[0].id, cursor, read.last_id(client, number), length) if waiting and oldest else 0
    )
    metrics.UNARCHIVED_SECONDS.labels(label).set(_age(read.after(client, number, archived, 1), now))
    metrics.DEAD_LETTERS.labels(label).set(client.hlen(keys.dead(number)))
    tags = sorted(tag.decode() for tag in client.smembers(f"{keys.partition(number)}:tags"))
    counts = [client.hget(f"{keys.tenant(number, tag)}:meta", "visitors") for tag in tags]
    metrics.VISITORS.labels(label).set(sum(int(count or 0) for count in counts))
    wanting = failed = 0
    for tag in columns.wanting():
        leaves = [leaf.decode() for leaf in client.smembers(f"{keys.tenant(number, tag)}:leaves")]
        for leaf in columns.progress(tag, leaves).leaves.values():
            wanting += leaf.wanted_from < leaf.covered_from
            failed += bool(leaf.failed)
    metrics.WAITING_LEAVES.labels(label).set(wanting)
    metrics.FAILED_LEAVES.labels(label).set(failed)


def archive(client: Redis, number: int) -> None:
    """What the partition's files in force come to."""
    label = f"{number:02d}"
    tags = sorted(tag.decode() for tag in client.smembers(f"{keys.partition(number)}:tags"))
    raws = [raw for tag in tags for raw in client.hvals(f"{keys.tenant(number, tag)}:manifest")]
    files = [decode_file(raw) for raw in raws]
    metrics.ARCHIVE_FILES.labels(label).set(len(files))
    metrics.ARCHIVE_ROWS.labels(label).set(sum(file.rows for file in files))
    metrics.ARCHIVE_BYTES.labels(label).set(sum(file.bytes for file in files))


def installation(client: Redis, of: Installation, settings: Settings, now: float) -> None:
    """The server, the workers, the archive's disk, and the erasures under way."""
    memory = connections.memory(client)
    most = int(memory.get("maxmemory", 0))
    metrics.REDIS_BYTES.set(memory["used_memory"])
    metrics.REDIS_RESIDENT.set(memory["used_memory_rss"])
    metrics.REDIS_MAX.set(most)
    metrics.REDIS_MARK.set(most * settings.high_water)
    metrics.WORKERS.set(client.zcard(keys.WORKERS))
    metrics.PARTITIONS.set(of.partitions)
    folder = settings.archive.absolute()
    disk = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists()))
    metrics.ARCHIVE_FREE.set(disk.free)
    metrics.ARCHIVE_DISK.set(disk.total)
    waiting = [each for some in pending.all_of(client, range(of.partitions)).values() for each in some]
    metrics.ERASURES.set(len(waiting))
    metrics.ERASURE_SECONDS.set(max((now - each.asked for each in waiting), default=0.0))


def behind(oldest: bytes, cursor: str, newest: str, length: int) -> int:
    """How many of a stream's `length` entries come after the cursor, which is below the newest.

    Exact when the cursor is below them all; else an estimate, as if they had come evenly: counting would read them.
    """
    first, here, last = read.parse(oldest), read.parse(cursor), read.parse(newest)
    if here < first:
        return length
    span = last[0] - first[0]
    return max(round(length * (last[0] - here[0]) / span) if span else 0, 1)


def _age(waiting: list[read.Entry], now: float) -> float:
    return max(now - read.parse(waiting[0].id)[0] / 1000, 0.0) if waiting else 0.0
