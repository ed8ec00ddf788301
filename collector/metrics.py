"""Every metric, in one table. docs/metrics.md shows the same rows; a test compares them."""

from collections.abc import Iterable
from importlib.metadata import version

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter("collector_events_total", "Events by their fate (see docs/outcomes.md).", ["source", "outcome", "reason"])
REQUESTS = Counter("collector_requests_total", "Ingest requests by route and HTTP status.", ["route", "status"])
APPEND_SECONDS = Histogram(
    "collector_append_seconds",
    "Seconds from the start of a group's append to its answer from Redis.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
APPEND_GROUP = Histogram(
    "collector_append_group_events", "Events appended in one round trip.", buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
)
SPOOLED = Counter(
    "collector_spooled_events_total",
    "Events by what the spool did: spooled, then appended to a stream, duplicate (in it already) or erased by a withdrawal.",
    ["step"],
)
SPOOL_EVENTS = Gauge("collector_spool_events", "Events that wait in this process's spool.")
AWAY = Gauge("collector_redis_away", "1 while this edge writes to its spool because Redis takes nothing.")
HIGH_WATER = Gauge("collector_high_water", "1 while this edge answers 503 because Redis is above its high-water mark.")
TAG_LOST = Counter("collector_tag_lost_events_total", "Events that tags say they dropped, the oldest first, because too many waited for this collector.")
LIMITED = Counter("collector_limited_requests_total", "Requests that got 429, by the limit they met: ip or tag.", ["limit"])
APPLIED = Counter("collector_applied_events_total", "Events that this worker applied to audience columns.")
MERGES = Counter("collector_merges_total", "Column merges that this worker committed.")
CONFLICTS = Counter(
    "collector_conflicts_total", "Commits that a worker redid because cursor or epoch had moved.", ["commit"]
)
BATCH_SECONDS = Histogram(
    "collector_batch_seconds",
    "Seconds to match and apply one batch.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
FRESHNESS_SECONDS = Histogram(
    "collector_freshness_seconds",
    "Seconds from receipt of an event to its place in the columns, the oldest of each batch.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
ARCHIVED = Counter("collector_archived_rows_total", "Rows that this worker wrote to the archive.")
OWNED = Gauge("collector_owned_partitions", "Partitions whose lease this worker holds.")
CHORE_FAILURES = Counter("collector_chore_failures_total", "Rounds of a worker's chore that failed; its log says why.", ["chore"])
STREAM_EVENTS = Gauge("collector_stream_events", "Events in the partition's stream: not applied, not archived, or not trimmed yet.", ["partition"])
LAG_EVENTS = Gauge("collector_lag_events", "Events that wait to be applied; between none and all of the stream an estimate.", ["partition"])
LAG_SECONDS = Gauge(
    "collector_lag_seconds", "Age of the oldest event that waits to be applied; 0 when none does.", ["partition"]
)
UNARCHIVED_SECONDS = Gauge(
    "collector_unarchived_seconds", "Age of the oldest event that is not in the archive; 0 when all are.", ["partition"]
)
WAITING_LEAVES = Gauge("collector_waiting_leaves", "Conditions whose column in the partition wants more of the past.", ["partition"])
FAILED_LEAVES = Gauge("collector_failed_leaves", "Of those, the ones whose last backfill failed.", ["partition"])
VISITORS = Gauge("collector_visitors", "Visitors in the partition's dictionaries.", ["partition"])
ARCHIVE_FILES = Gauge("collector_archive_files", "Archive files in force in the partition.", ["partition"])
ARCHIVE_ROWS = Gauge("collector_archive_rows", "Rows in them.", ["partition"])
ARCHIVE_BYTES = Gauge("collector_archive_bytes", "Bytes in them.", ["partition"])
DEAD_LETTERS = Gauge("collector_dead_letters", "Dead letters kept in the partition.", ["partition"])
REDIS_BYTES = Gauge("collector_redis_used_bytes", "used_memory of the Redis server.")
REDIS_RESIDENT = Gauge("collector_redis_resident_bytes", "used_memory_rss of the Redis server.")
REDIS_MAX = Gauge("collector_redis_max_bytes", "maxmemory of the Redis server; 0: none.")
REDIS_MARK = Gauge("collector_redis_high_water_bytes", "used_memory above which events get 503; 0: none.")
WORKERS = Gauge("collector_workers", "Workers that have signed in.")
PARTITIONS = Gauge("collector_partitions", "Partitions of the installation.")
ARCHIVE_FREE = Gauge("collector_archive_free_bytes", "Free bytes on the archive's disk.")
ARCHIVE_DISK = Gauge("collector_archive_disk_bytes", "Bytes of the archive's disk.")
ERASURES = Gauge("collector_pending_erasures", "Erasures whose last trace, the append-only file, has not been rewritten yet.")
ERASURE_SECONDS = Gauge("collector_erasure_seconds", "Age of the oldest pending erasure, from its request; 0 when there is none.")
BUILD = Gauge("collector_build_info", "1, with the version of this process.", ["version"])
BUILD.labels(version("collector")).set(1)

_OF_A_PARTITION = (
    STREAM_EVENTS, LAG_EVENTS, LAG_SECONDS, UNARCHIVED_SECONDS, WAITING_LEAVES, FAILED_LEAVES, VISITORS,
    ARCHIVE_FILES, ARCHIVE_ROWS, ARCHIVE_BYTES, DEAD_LETTERS,
)  # fmt: skip
_OF_THE_INSTALLATION = (
    REDIS_BYTES, REDIS_RESIDENT, REDIS_MAX, REDIS_MARK, WORKERS, PARTITIONS, ARCHIVE_FREE, ARCHIVE_DISK, ERASURES,
    ERASURE_SECONDS,
)  # fmt: skip


def leave(partitions: Iterable[int]) -> None:
    """Show nothing of partitions that other workers measure from now on."""
    for gauge in _OF_A_PARTITION:
        for number in partitions:
            gauge.remove(f"{number:02d}")


def step_down() -> None:
    """Show nothing of the installation: another worker does its chores. NaN, which Prometheus passes over."""
    for gauge in _OF_THE_INSTALLATION:
        gauge.set(float("nan"))
