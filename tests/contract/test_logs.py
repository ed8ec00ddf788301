"""Every process logs one JSON object a line, to stderr, and nothing else."""

import json
import socket
import time

import httpx

from collector import connections
from collector.settings import Settings
from tests.conftest import PATIENCE, Start
from tests.contract.test_cli import collector


def test_each_line_of_a_role_is_an_object(start: Start, redis: connections.Redis) -> None:
    serve, worker = start("serve", log_level="debug"), start("worker", log_level="debug")
    serve.await_ready()
    redis.hset("{p03}:state", "cursor", "nonsense")  # something to complain of
    end = time.monotonic() + PATIENCE
    while "warning" not in levels(worker.logged) and time.monotonic() < end:
        time.sleep(0.1)
    for live in (serve, worker):
        live.stop()
        lines = [json.loads(line) for line in live.text.splitlines()]
        assert lines
        for line in lines:
            assert {"time", "level", "event", "part"} <= line.keys()
    assert "warning" in levels(worker.logged)


def test_who_goes_away_or_sends_what_is_no_form_is_no_fault_of_ours(start: Start) -> None:
    live = start("serve")
    url = live.await_ready()
    place = "127.0.0.1", int(url.rpartition(":")[2])
    for path in ("/v1/audiences", "/v1/events", "/v1/server/events", "/dashboard/sign-in"):
        with socket.create_connection(place) as line:
            line.sendall(f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf".encode())
    broken = httpx.post(
        f"{url}/dashboard/sign-in", content=b"nothing", headers={"content-type": "multipart/form-data"}
    )
    crowded = httpx.post(f"{url}/dashboard/sign-in", data={f"a{number}": "" for number in range(1_001)})
    assert (broken.status_code, crowded.status_code) == (400, 400)
    live.stop()
    assert "error" not in levels(live.logged)


def levels(lines: list[dict[str, object]]) -> set[object]:
    return {line["level"] for line in lines}


def test_a_command_keeps_its_output_free_of_logs(settings: Settings, redis: connections.Redis) -> None:
    ran = collector("rebuild", data_dir=settings.data_dir)  # it starts a server of its own, and stops it
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert "nothing to rebuild" in ran.stderr
    assert "server started" not in ran.stderr
