"""`collector up`: one command starts everything, mends what dies, stops as one, loses nothing between runs."""

import errno
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from collector.cli.up import room
from collector.settings import BadSetup
from tests.conftest import Live, Start

PATIENCE = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def started(start: Start, folder: Path) -> Live:
    """`up` on the folder, once it says that it is ready."""
    live = start("up", redis_url="", data_dir=folder)
    live.await_text("Collector is ready")
    return live


def url(live: Live) -> str:
    found = re.search(r"ready at (http://\S+)\. ", live.text)
    assert found
    return found[1]


def shown(live: Live, name: str) -> str:
    found = re.search(rf"{name} +(\S+)", live.text)
    assert found
    return found[1]


def children(live: Live) -> dict[str, int]:
    """The processes right below `up`: what they are → pid."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,command="], capture_output=True, text=True).stdout
    found = {}
    for line in listed.splitlines():
        pid, parent, command = line.split(None, 2)
        if int(parent) == live.process.pid:
            kinds = ("redis-server", "valkey-server", "collector serve", "collector worker")
            found[next((kind for kind in kinds if kind in command), command)] = int(pid)
    return found


def server(found: dict[str, int]) -> int:
    return next(pid for name, pid in found.items() if name.endswith("-server"))


def await_end(pids: list[int]) -> None:
    end = time.monotonic() + PATIENCE
    while alive := [pid for pid in pids if _exists(pid)]:
        assert time.monotonic() < end, f"{alive} still run"
        time.sleep(0.05)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def await_ready(at: str) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if httpx.get(f"{at}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_starts_everything_and_stops_it_cleanly(
    start: Start, folder: Path, number: signal.Signals
) -> None:
    live = started(start, folder)
    assert httpx.get(f"{url(live)}/readyz").status_code == 200
    running = children(live)
    assert len(running) == 3
    assert live.stop(number) == 0
    await_end(list(running.values()))
    assert "Traceback" not in live.text
    assert not (folder / "redis.url").exists()


def test_a_snippet_names_the_port_that_up_was_given(start: Start, folder: Path) -> None:
    live = started(start, folder)
    tag = shown(live, "Tag")
    command = [sys.executable, "-m", "collector", "tag", "snippet", tag, "--data-dir", str(folder)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("COLLECTOR_")}
    printed = subprocess.run(command, env=clean, capture_output=True, text=True, check=True).stdout
    assert f"{url(live)}/tag.js" in printed
    assert "another site needs a tag of its own" in live.text  # the first tag takes events of this machine's pages only


def test_a_second_run_finds_everything_as_the_first_left_it(start: Start, folder: Path) -> None:
    first = started(start, folder)
    assert first.stop() == 0
    second = started(start, folder)
    assert shown(second, "Tag") == shown(first, "Tag")
    assert shown(second, "Admin key") == shown(first, "Admin key")
    kept = folder / "admin.key"
    assert kept.read_text().strip() == shown(first, "Admin key")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_the_admin_key_of_the_environment_is_taken_and_not_kept(start: Start, folder: Path) -> None:
    live = start("up", redis_url="", data_dir=folder, admin_key="chosen")
    live.await_text("Collector is ready")
    assert shown(live, "Admin key") == "chosen"
    assert not (folder / "admin.key").exists()


def test_nothing_outlives_a_killed_up_and_the_next_one_starts(start: Start, folder: Path) -> None:
    live = started(start, folder)
    running = children(live)
    live.process.kill()
    live.process.wait()
    await_end(list(running.values()))
    assert shown(started(start, folder), "Tag") == shown(live, "Tag")


@pytest.mark.parametrize("role", ["serve", "worker"])
def test_a_killed_role_is_started_again(start: Start, folder: Path, role: str) -> None:
    live = started(start, folder)
    before = children(live)[f"collector {role}"]
    os.kill(before, signal.SIGKILL)
    live.await_text(f"The {role} ended (SIGKILL); it starts again in 0.5 s.")
    await_ready(url(live))
    end = time.monotonic() + PATIENCE
    while children(live).get(f"collector {role}", before) == before:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_killed_server_is_started_again_with_its_data(start: Start, folder: Path) -> None:
    live = started(start, folder)
    os.kill(server(children(live)), signal.SIGKILL)
    live.await_text("The embedded server ended; it starts again.")
    await_ready(url(live))
    assert live.stop() == 0
    assert shown(started(start, folder), "Tag") == shown(live, "Tag")


def test_a_disk_without_room_is_refused_with_the_mend(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(folder.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5 << 20))
    with pytest.raises(BadSetup, match=r"has 5 MB left.* Mend: "), room(folder):
        pytest.fail("went on")


def test_a_disk_that_fills_up_is_said_with_the_mend(folder: Path) -> None:
    with pytest.raises(BadSetup, match=r"is full.* Mend: "), room(folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
