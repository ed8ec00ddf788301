"""The dashboard, in a real browser: from the first run to live sizes, keys and people."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from collector import tags
from collector.connections import Redis
from collector.settings import Settings
from tests.conftest import Start
from tests.journey.room import ADMIN_KEY, furnish

HERE = Path(__file__).parent


@pytest.mark.slow
def test_a_marketing_team_moves_in(start: Start, redis: Redis, settings: Settings) -> None:
    node = shutil.which("node")
    assert node, "The browser test needs Node 20 or later."
    parts, shop = furnish(redis, settings)
    _, server_key = tags.create_key(
        redis, "back end", "server", tags=[shop], consent_attested="the room's visitors agreed"
    )
    chosen = {"partitions": 1, "admin_key": ADMIN_KEY, "archive_dir": parts.settings.archive}
    url = start("serve", **chosen).await_ready()
    start("worker", **chosen)
    ran = subprocess.run(
        [node, "--test", str(HERE / "dashboard.test.js")],
        env={**os.environ, "COLLECTOR": url, "KEY": ADMIN_KEY, "SERVER_KEY": server_key, "SHOP": shop},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_link_that_up_prints_signs_in_once_and_an_open_stream_holds_up_no_stop(
    start: Start, tmp_path: Path
) -> None:
    live = start("up", redis_url="", data_dir=tmp_path / "kept")
    live.await_text("Collector is ready", 60)
    found = re.search(r"Dashboard +(\S+)", live.text)
    assert found
    with httpx.Client() as browser:
        page = browser.get(found[1])
        token = re.findall(r'name="token" value="([^"]+)"', page.text)[-1]
        assert browser.post(found[1], data={"token": token}).status_code == 303
        assert "No audience yet" in browser.get(urljoin(found[1], "/dashboard/audiences")).text
        assert browser.get(found[1]).status_code == 410
        with browser.stream("GET", urljoin(found[1], "/dashboard/audiences/live?ids=1")) as stream:
            assert next(stream.iter_lines()) == "data: []"
            begun = time.monotonic()
            assert live.stop() == 0
            assert time.monotonic() - begun < 10
