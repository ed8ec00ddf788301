"""`collector up --demo`: a newcomer opens the shop, and sees tag and audiences at work within seconds."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import PATIENCE, Live, Start
from tests.ports import free_port

HERE = Path(__file__).parent


@pytest.fixture
def live(start: Start, tmp_path: Path) -> Iterator[Live]:
    """`up --demo`, once it greets."""
    running = start("up", "--demo", redis_url="", data_dir=tmp_path / "kept")
    running.await_text("Collector is ready")
    yield running
    assert running.stop(signal.SIGINT) == 0


def shown(live: Live, pattern: str) -> str:
    found = re.search(pattern, live.text)
    assert found, live.text
    return found[1]


def shop(live: Live) -> str:
    return shown(live, r"Demo shop +(\S+)")


def collector(live: Live) -> str:
    return shown(live, r"ready at (http://\S+)\. ")


def admin_key(live: Live) -> str:
    return shown(live, r"Admin key +(\S+)")


def await_audiences(live: Live) -> None:
    end = time.monotonic() + PATIENCE
    while not httpx.get(f"{shop(live)}/panel/state", timeout=PATIENCE).json()["audiences"]:
        assert time.monotonic() < end
        time.sleep(0.2)


def test_the_greeting_names_the_shop_and_the_shop_is_there(live: Live) -> None:
    assert httpx.get(shop(live)).status_code == 200
    page = httpx.get(f"{shop(live)}/shop/").text
    assert f'src="{collector(live)}/tag.js"' in page


def test_shoppers_move_the_audiences_and_the_key_stays_on_the_server(live: Live) -> None:
    end = time.monotonic() + 2 * PATIENCE
    while True:
        answer = httpx.get(f"{shop(live)}/panel/state")
        assert "marketer_" not in answer.text
        state = answer.json()
        if any(row["size"] for row in state["audiences"]) and state["shoppers"]["fates"]:
            break
        assert time.monotonic() < end, state
        time.sleep(0.5)
    for path in ("/", "/shop/", "/shop/p/moss", "/static/panel.js"):
        assert "marketer_" not in httpx.get(shop(live) + path).text
    live.await_text("Left a cart")  # in the console's line as well


def test_ctrl_c_ends_with_one_line_and_no_trace_of_what_ran(live: Live) -> None:
    httpx.get(f"{shop(live)}/panel/state")
    assert live.stop(signal.SIGINT) == 0
    said = live.text.partition("all audiences, with their sizes\n")[2].strip().splitlines()
    assert said[-1].startswith("Stopped. Everything is kept in ")
    assert all(line.startswith("events: ") for line in said[:-1]), said
    with pytest.raises(httpx.TransportError):
        httpx.get(shop(live))


def test_a_second_run_has_the_same_tag_and_audiences(start: Start, tmp_path: Path) -> None:
    names = []
    for _ in range(2):
        running = start("up", "--demo", redis_url="", data_dir=tmp_path / "kept")
        running.await_text("Collector is ready")
        headers = {"authorization": f"Bearer {admin_key(running)}"}
        url = collector(running)
        await_audiences(running)
        found = httpx.get(f"{url}/v1/audiences", headers=headers).json()["items"]
        names.append(sorted((audience["id"], audience["name"]) for audience in found))
        tags = httpx.get(f"{url}/v1/tags", headers=headers).json()["items"]
        assert [tag["name"] for tag in tags] == ["my site", "demo shop"]
        assert shop(running) in tags[1]["origins"]  # another port than the last time, and still let in
        assert running.stop() == 0
    assert names[0] == names[1]
    assert len(names[0]) == 3


def test_a_taken_shop_port_is_no_obstacle(start: Start, tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port + 1)):
        running = start("up", "--demo", redis_url="", data_dir=tmp_path / "kept", port=port)
        running.await_text("Collector is ready")
        assert httpx.get(shop(running)).status_code == 200
        assert not shop(running).endswith(f":{port + 1}")


@pytest.mark.slow
def test_a_visitor_refuses_buys_and_withdraws_in_a_real_browser(live: Live) -> None:
    node = shutil.which("node")
    assert node, "The browser test needs Node 20 or later."
    ran = subprocess.run(
        [node, "--test", str(HERE / "demo_shop.test.js")],
        env={
            **os.environ,
            "SHOP": shop(live),
            "COLLECTOR": collector(live),
            "KEY": admin_key(live),
        },
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
