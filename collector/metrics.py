"""Every metric, in one table. docs/metrics.md shows the same rows; a test compares them."""

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
STREAM_EVENTS = Gauge("collector_stream_events", "Events in the partition's stream, trimmed or not yet.", ["partition"])
LAG_SECONDS = Gauge(
    "collector_lag_seconds", "Age of the oldest event that waits to be applied; 0 when none does.", ["partition"]
)
REDIS_BYTES = Gauge("collector_redis_used_bytes", "used_memory of the Redis server.")
