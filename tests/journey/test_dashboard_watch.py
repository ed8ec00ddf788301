"""The pages for tags, privacy and operations, in a real browser, with a real edge and worker behind them."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from collector import keys
from collector.connections import Redis
from collector.event import StreamedEvent, encode
from collector.settings import Settings
from collector.stream.dead import Letter, pack
from tests.conftest import Start
from tests.journey.room import ADMIN_KEY, furnish

HERE = Path(__file__).parent


@pytest.mark.slow
def test_an_install_a_visitors_right_and_a_night_call_are_minded(
    start: Start, redis: Redis, settings: Settings
) -> None:
    node = shutil.which("node")
    assert node, "The browser test needs Node 20 or later."
    parts, shop = furnish(redis, settings)
    now = int(time.time())
    dead = StreamedEvent(
        tag=shop,
        visitor="of-the-letter",
        event="lead",
        event_id="1",
        event_time=now,
        received_at=now * 1000,
        verdict="full",
    )
    letter = f"{(now - 60) * 1000}-0"
    redis.hset(keys.dead(0), f"0:{letter}", pack(Letter("failed", "KeyError", encode(dead))))
    chosen = {"partitions": 1, "admin_key": ADMIN_KEY, "archive_dir": parts.settings.archive, "flush_seconds": 1}
    url = start("serve", **chosen).await_ready()
    start("worker", **chosen)
    ran = subprocess.run(
        [node, "--test", str(HERE / "watch.test.js")],
        env={**os.environ, "COLLECTOR": url, "KEY": ADMIN_KEY, "SHOP": shop, "DEAD": letter},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # What consent forbade has left no name anywhere, and no visitor stands in the feeds or in the log.
    kept = [redis.xrange(key) for key in (*redis.scan_iter("{c}:feed:*"), keys.AUDIT)]
    assert len(kept) == 3
    for name in ("told-by-none", "a" * 32, "c" * 32, "d" * 32):
        assert name not in repr(kept), name
