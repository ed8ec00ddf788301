"""The embedded server: one a folder, found on any machine, gone with its parent, nothing lost in between."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from collector import connections, embedded, leash
from collector.embedded import Embedded, Server, find_servers
from collector.settings import BadSetup, Settings

HOLD = """
import sys, time
from pathlib import Path
from collector import log
from collector.embedded import Embedded
from collector.settings import Settings
log.configure("error")
server = Embedded(Settings(data_dir=Path(sys.argv[1])))
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture(params=find_servers(), ids=str)
def binary(request: pytest.FixtureRequest) -> Server:
    found: Server = request.param
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def killed_parent(folder: Settings) -> Iterator[Callable[[], int]]:
    """Starts a parent with a server, writes a key, kills the parent with -9; the server's pid."""
    parents: list[subprocess.Popen[str]] = []

    def killed() -> int:
        parent = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder.data_dir)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        parents.append(parent)
        assert parent.stdout
        pid = int(parent.stdout.readline())
        with connections.open_redis(folder) as client:
            client.set("kept", "yes")
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        return pid

    yield killed
    for parent in parents:
        parent.kill()
        parent.wait()
        assert parent.stdout
        parent.stdout.close()


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent to look does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(state.strip()) and "Z" not in state


def await_end(pid: int) -> None:
    end = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < end, f"{pid} still runs"
        time.sleep(0.02)


def test_what_was_written_is_there_at_the_next_start(folder: Settings, binary: Server) -> None:
    with Embedded(folder, binary), connections.open_redis(folder) as client:
        client.set("kept", "yes")
    with Embedded(folder, binary), connections.open_redis(folder) as client:
        assert client.get("kept") == b"yes"


@pytest.mark.parametrize("durability", ["always", "everysec"])
def test_a_server_is_set_up_for_the_promises(folder: Settings, binary: Server, durability: str) -> None:
    chosen = folder.model_copy(update={"durability": durability})
    with Embedded(chosen, binary), connections.open_redis(chosen) as client:
        connections.check_server(client, chosen)
        config = client.config_get("*")
    assert config["appendfsync"] == durability
    assert config["aof-use-rdb-preamble"] == config["rdbcompression"] == "no"  # so that erasures can be proven
    assert config["save"] == ""
    assert config["port"] == "0"
    assert config["maxmemory-policy"] == "noeviction"
    assert int(config["maxmemory"]) > 0
    assert config["hash-max-listpack-entries"] == config["set-max-intset-entries"] == "512"


def test_a_second_start_on_the_folder_is_refused_in_one_line(folder: Settings) -> None:
    with Embedded(folder) as first:
        with pytest.raises(BadSetup, match="in use by another collector") as refused:
            Embedded(folder).start()
        assert "\n" not in str(refused.value)
        assert connections.url(folder) == first.url  # and the first is left alone


def test_a_clean_stop_leaves_no_pointer_and_no_process(folder: Settings) -> None:
    with Embedded(folder) as server:
        pid = server.pid
    assert not alive(pid)
    with pytest.raises(BadSetup, match="holds no running one"):
        connections.url(folder)


def test_the_server_ends_when_its_parent_is_killed(killed_parent: Callable[[], int]) -> None:
    await_end(killed_parent())


def test_after_a_killed_parent_nothing_is_lost(folder: Settings, killed_parent: Callable[[], int]) -> None:
    killed_parent()
    with Embedded(folder), connections.open_redis(folder) as client:
        assert client.get("kept") == b"yes"


def test_an_orphan_is_stopped_cleanly_before_a_new_start(folder: Settings) -> None:
    first = Embedded(folder)
    first.start()
    with connections.open_redis(folder) as client:
        client.set("kept", "yes")
    os.close(first._lock)  # as if the parent were gone and the kernel had not told the server
    first._lock = -1
    with Embedded(folder) as second, connections.open_redis(folder) as client:
        assert client.get("kept") == b"yes"
        assert second.pid != first.pid
        assert not first.running
    assert b"Calling fsync() on the AOF file" in (folder.data_dir / "redis" / "server.log").read_bytes()
    first.stop()


def test_a_killed_server_is_launched_again_at_the_same_address(folder: Settings) -> None:
    with Embedded(folder) as server, connections.open_redis(folder) as client:
        client.set("kept", "yes")
        before = server.url
        os.kill(server.pid, signal.SIGKILL)
        await_end(server.pid)
        assert not server.running
        server.launch()
        assert server.url == before
        with connections.open_redis(folder) as again:
            assert again.get("kept") == b"yes"


def test_a_path_too_long_for_a_socket_is_no_obstacle(tmp_path: Path) -> None:
    deep = Settings(data_dir=tmp_path.joinpath(*["a-folder-with-a-long-name"] * 6))
    with Embedded(deep) as server, connections.open_redis(deep) as client:
        assert client.ping()
        short = server._socket.parent
        assert short.stat().st_mode & 0o077 == 0
    assert not short.exists()


def test_a_path_with_spaces_and_signs_is_no_obstacle(tmp_path: Path) -> None:
    odd = Settings(data_dir=tmp_path / "müller & co #1 50%")
    with Embedded(odd), connections.open_redis(odd) as client:
        assert client.ping()


def test_an_unwritable_folder_is_said_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(BadSetup, match=r"cannot be written .* Mend: ") as refused:
        Embedded(Settings(data_dir=file / "data")).start()
    assert "\n" not in str(refused.value)


def test_a_server_that_ends_at_once_is_quoted(folder: Settings, tmp_path: Path) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho no such luck\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(BadSetup, match="no such luck"):
        Embedded(folder, Server("redis", (7, 0, 0), broken)).start()
    with Embedded(folder):
        pass  # and the folder is free again


def test_files_are_opened_only_by_a_server_that_can_read_them() -> None:
    redis_7, valkey_9 = (Server("redis", (7, 0, 15), Path()), Server("valkey", (9, 1, 2), Path()))
    assert valkey_9.reads("redis", (7, 0, 15))
    assert valkey_9.reads("valkey", (9, 1, 2))
    assert not valkey_9.reads("redis", (8, 0, 0))
    assert not valkey_9.reads("valkey", (9, 2, 0))
    assert not redis_7.reads("valkey", (9, 1, 2))


def test_installing_redis_later_does_not_strand_the_data_of_valkey(folder: Settings) -> None:
    valkey = [server for server in find_servers() if server.flavour == "valkey"]
    if not valkey:
        pytest.skip("no Valkey on this machine")
    with Embedded(folder, valkey[0]), connections.open_redis(folder) as client:
        client.set("kept", "yes")
        client.bgrewriteaof()
    with Embedded(folder), connections.open_redis(folder) as client:
        assert client.get("kept") == b"yes"


@pytest.mark.parametrize("watcher", [False, True], ids=["kernel", "watcher"])
def test_a_leash_ends_the_command_with_its_parent(watcher: bool, tmp_path: Path) -> None:
    if not watcher and not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells a child of its parent's end")
    holder = (
        "import sys, time; from collector import leash;"
        f"print(leash.start(['sleep', '60'], watcher={watcher}).pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        time.sleep(0.2)  # the leash is taken up by the child itself, after the fork
        assert alive(pid)
        parent.kill()
        await_end(pid)


def test_a_leash_is_not_felt_by_the_command() -> None:
    child = leash.start([sys.executable, "-c", "raise SystemExit(7)"])
    assert child.wait(10) == 7


def test_the_session_server_answers(redis: redis.Redis) -> None:
    assert redis.ping()


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_container_s_limit_counts_as_the_memory_that_there_is(tmp_path: Path, name: str) -> None:
    machine = embedded._memory(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("268435456\n")
    assert embedded._memory(tmp_path) == 268_435_456 < machine
    (tmp_path / name).write_text("max\n")
    assert embedded._memory(tmp_path) == machine
