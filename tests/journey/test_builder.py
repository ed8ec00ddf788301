"""Audiences are made, read and taken away in a real browser, whatever has been written into their events."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from collector.connections import Redis
from collector.settings import Settings
from tests.conftest import Start
from tests.journey.room import ADMIN_KEY, furnish
from tests.unit.parts import happened, ordinals

HERE = Path(__file__).parent
NASTY = """"><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}'"""


@pytest.mark.slow
def test_a_marketer_makes_audiences_reads_them_and_takes_them_away(
    start: Start, redis: Redis, settings: Settings
) -> None:
    node = shutil.which("node")
    assert node, "The browser test needs Node 20 or later."
    parts, shop = furnish(redis, settings)
    url = f"https://marl.example/{NASTY}"
    nasty = [
        happened(who, NASTY.lower(), age=60, now=parts.now, tag=shop, url=url, data={"product_name": NASTY})
        for who in ordinals(12)
    ]
    parts.send(*nasty)
    parts.work()
    chosen = {"partitions": 1, "admin_key": ADMIN_KEY, "archive_dir": parts.settings.archive}
    address = start("serve", **chosen).await_ready()
    start("worker", **chosen)
    ran = subprocess.run(
        [node, "--test", str(HERE / "builder.test.js")],
        env={**os.environ, "COLLECTOR": address, "KEY": ADMIN_KEY, "SHOP": shop, "NASTY": NASTY},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
