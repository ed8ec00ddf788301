"""Ops take a backup of a working installation, lose the machine, restore, and grow into more partitions."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collector import connections
from collector.connections import Redis
from collector.settings import Settings, load
from tests.conftest import Live, Start
from tests.contract.test_cli import collector
from tests.unit.parts import TAG, Parts, happened

RULE = {"event": "addtocart", "retention_days": 540}


def running(folder: Path, output: Path, **settings: object) -> Live:
    environment = {f"COLLECTOR_{name.upper()}": str(value) for name, value in settings.items()}
    live = Live(["up", "--data-dir", str(folder), "--port", "0"], environment, output)
    live.await_text("Collector is ready", 60)
    return live


def test_a_lost_machine_comes_back_and_grows(tmp_path: Path) -> None:
    first, second, folder = tmp_path / "first", tmp_path / "second", str(tmp_path / "backup")
    up = running(first, tmp_path / "first.out", partitions=2)
    try:
        settings = load(data_dir=first, partitions=2)
        with connections.open_redis(settings) as client:
            parts = Parts(client, settings, partitions=settings.partitions)
            parts.now = int(time.time())
            parts.send(*(happened(f"v{n}", now=parts.now, age=n * 3_600) for n in range(40)))
            audience = parts.registry.create(TAG, "carts", "", RULE).id
        assert collector("backup", folder, data_dir=first, partitions=2).returncode == 0
        refused = collector("rebuild", data_dir=first, partitions=2)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "is in use by another collector. Mend: stop that one" in refused.stderr
    finally:
        assert up.stop() == 0
    restored = collector("restore", folder, "--erased", str(first / "archive"), data_dir=second, partitions=2)
    assert restored.returncode == 0, restored.stderr
    assert "0 erasures since then were done again" in restored.stdout
    assert "is back: see docs/backup.md" in restored.stdout
    assert (second / "admin.key").read_bytes() == (first / "admin.key").read_bytes()
    again = collector("restore", folder, data_dir=second, partitions=2)
    assert again.returncode == 2
    assert "never overwrites. Mend: " in again.stderr
    grown = collector("rebuild", "--partitions", "3", data_dir=second, partitions=2)
    assert grown.returncode == 0, grown.stderr
    assert "Set COLLECTOR_PARTITIONS=3" in grown.stdout
    up = running(second, tmp_path / "second.out", partitions=3)
    try:
        settings = load(data_dir=second, partitions=3)
        with connections.open_redis(settings) as client:
            grown_up = Parts(client, settings, partitions=3)
            question = grown_up.registry.get(audience).question(int(time.time()))
            end = time.monotonic() + 20
            while grown_up.sizes.size(TAG, question) < 40 and time.monotonic() < end:
                time.sleep(0.05)
            assert grown_up.sizes.size(TAG, question) == 40
    finally:
        assert up.stop() == 0


def test_what_is_at_work_is_in_the_way_of_a_rebuild(start: Start, redis: Redis, settings: Settings) -> None:
    worker = start("worker")
    end = time.monotonic() + 20
    while not redis.exists("{c}:workers") and time.monotonic() < end:
        time.sleep(0.05)
    refused = collector("rebuild", redis_url=settings.redis_url, data_dir=settings.data_dir)
    assert refused.returncode == 2
    assert f":{worker.process.pid}," in refused.stderr
    assert "Mend: stop `up`, every serve and every worker first." in refused.stderr


@pytest.mark.parametrize("delay", [0.1, 0.8])
def test_a_rebuild_that_is_killed_leaves_an_installation_that_works(
    redis: Redis, settings: Settings, delay: float
) -> None:
    """kill -9, somewhere: the old one is in force, or the new one."""
    parts = Parts(redis, settings, partitions=1)
    audience = parts.registry.create(TAG, "carts", "", RULE)
    parts.send(*(happened(f"v{n}") for n in range(3_000)))
    parts.work()
    redis.connection_pool.disconnect()  # else this test is what is in the way
    given = {"COLLECTOR_REDIS_URL": settings.redis_url, "COLLECTOR_DATA_DIR": str(settings.data_dir)}
    command = [sys.executable, "-m", "collector", "rebuild", "--partitions", "2"]
    process = subprocess.Popen(
        command, env={**os.environ, **given}, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert process.stderr
    process.stderr.read(1)  # it has begun to count partitions
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    count = int(redis.hget("{c}:installation", "partitions"))
    assert count in (1, 2)
    left = Parts(redis, settings, partitions=count)
    assert left.sizes.size(TAG, audience.question(left.now)) == 3_000
    assert left.archive.size(TAG, audience.parsed(), at=left.now) == 3_000
    redis.connection_pool.disconnect()
    mended = collector(
        "rebuild", "--partitions", "2", redis_url=settings.redis_url, data_dir=settings.data_dir
    )
    assert mended.returncode == 0, mended.stderr
    left = Parts(redis, settings, partitions=2)
    assert left.sizes.size(TAG, audience.question(left.now)) == 3_000
    files = {path.stem for path in settings.archive.glob("p[0-9]*/*/*")}
    assert len(files) == 2  # nothing is left over
