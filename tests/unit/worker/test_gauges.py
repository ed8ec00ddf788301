"""Gauges say how far behind a partition is, and nothing of what others measure."""

import math

import pytest
from prometheus_client import REGISTRY

from collector import keys, metrics
from collector.connections import Redis
from collector.settings import Settings
from collector.worker import gauges
from tests.unit.parts import TAG, Parts, happened

CART = {"event": "addtocart"}


def shown(name: str, number: int = 0) -> float | None:
    return REGISTRY.get_sample_value(f"collector_{name}", {"partition": f"{number:02d}"})


def measure(parts: Parts, after: float = 0) -> None:
    seconds, _ = parts.client.time()
    gauges.partition(parts.client, 0, parts.columns(), seconds + after)
    gauges.archive(parts.client, 0)


def test_what_waits_shows_until_it_is_applied_and_archived(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    measure(parts)
    behind = ("stream_events", "lag_events", "lag_seconds", "unarchived_seconds", "visitors", "archive_rows")
    assert [shown(name) for name in behind] == [0] * 6
    parts.send(*(happened(f"v{n}") for n in range(7)))
    measure(parts, 100)
    assert (shown("stream_events"), shown("lag_events")) == (7, 7)
    assert shown("lag_seconds") == shown("unarchived_seconds") == pytest.approx(100, abs=3)
    parts.apply()
    measure(parts, 100)
    assert (shown("stream_events"), shown("lag_events"), shown("lag_seconds")) == (7, 0, 0)
    assert shown("unarchived_seconds") == pytest.approx(100, abs=3)
    assert shown("visitors") == 7
    parts.flush()
    measure(parts, 100)
    assert (shown("stream_events"), shown("unarchived_seconds")) == (0, 0)
    assert (shown("archive_files"), shown("archive_rows")) == (1, 7)
    (file,) = parts.settings.archive.glob("p00/*/*.parquet")
    assert shown("archive_bytes") == file.stat().st_size


def test_columns_that_want_their_past_show(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    parts.send(happened("anna"))
    parts.work()
    parts.registry.create(TAG, "", "", CART)
    measure(parts)
    assert (shown("waiting_leaves"), shown("failed_leaves")) == (1, 0)
    leaf = parts.columns().load().tags[TAG].leaves[0].id
    parts.columns().fail(TAG, leaf, "IOException")
    measure(parts)
    assert (shown("waiting_leaves"), shown("failed_leaves")) == (1, 1)
    parts.fill()
    measure(parts)
    assert (shown("waiting_leaves"), shown("failed_leaves")) == (0, 0)


@pytest.mark.parametrize(
    ("cursor", "waiting"), [("0-0", 100), ("999-9", 100), ("1000-5", 100), ("1500-0", 50), ("1999-0", 1)]
)
def test_the_length_of_a_backlog_is_near_the_truth(cursor: str, waiting: int) -> None:
    assert gauges.behind(b"1000-0", cursor, "2000-0", 100) == pytest.approx(waiting, abs=1)


def test_a_partition_that_goes_takes_its_gauges_along(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    measure(parts)
    assert shown("lag_seconds") == 0
    metrics.leave([0, 1])
    for name in ("lag_seconds", "lag_events", "stream_events", "archive_bytes", "waiting_leaves", "visitors"):
        assert shown(name) is None


def test_who_no_longer_leads_shows_nothing_of_the_installation(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, high_water=0.5)
    redis.zadd(keys.WORKERS, {"a worker": 1})
    gauges.installation(redis, parts.installation, parts.settings, parts.now)
    most = redis.info("memory")["maxmemory"]
    assert REGISTRY.get_sample_value("collector_redis_high_water_bytes") == most / 2
    assert REGISTRY.get_sample_value("collector_workers") == 1
    assert (REGISTRY.get_sample_value("collector_archive_free_bytes") or 0) > 0
    metrics.step_down()
    assert math.isnan(REGISTRY.get_sample_value("collector_workers") or 0)


def test_the_age_of_the_oldest_erasure_shows_while_its_proof_is_waited_for(
    redis: Redis, settings: Settings
) -> None:
    parts = Parts(redis, settings)
    gauge = "collector_erasure_seconds"
    gauges.installation(redis, parts.installation, parts.settings, parts.now)
    assert REGISTRY.get_sample_value(gauge) == 0
    for visitor, at in (("anna", parts.now), ("bert", parts.now + 3_600)):
        parts.columns().forget(TAG, visitor, "tombstone", int(at))
    gauges.installation(redis, parts.installation, parts.settings, parts.now + 7_200)
    assert REGISTRY.get_sample_value(gauge) == 7_200
    assert REGISTRY.get_sample_value("collector_pending_erasures") == 2
    metrics.step_down()
    assert math.isnan(REGISTRY.get_sample_value("collector_pending_erasures") or 0)
