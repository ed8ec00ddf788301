"""A role that is told to stop surprises no one: readiness goes first, requests are finished, exit 0."""

import os
import signal
import socket
import time

import httpx
import orjson
import pytest

from collector import connections, keys, tags
from collector.embedded import Embedded
from collector.settings import Settings
from tests.conftest import Start
from tests.contract.test_cli import collector

ORIGIN = "https://shop.example"


def body(redis: connections.Redis) -> bytes:
    """An event that the edge accepts."""
    tag, _ = tags.create_tag(redis, "shop", [ORIGIN], "opt_out")
    event = {"event": "pagevisit", "event_id": "1", "event_time": time.time(), "url": ORIGIN + "/"}
    return orjson.dumps({"tag": tag.id, "visitor": "0" * 31 + "1", "events": [event]})


def test_readiness_goes_before_the_port_and_the_exit_code_is_0(
    start: Start, redis: connections.Redis
) -> None:
    sent = body(redis)
    live = start("serve", drain_seconds=3)
    url = live.await_ready()
    live.process.send_signal(signal.SIGTERM)
    end = time.monotonic() + 2.5
    while (answer := httpx.get(f"{url}/readyz")).status_code == 200:
        assert time.monotonic() < end
    assert answer.status_code == 503
    assert httpx.post(f"{url}/v1/events", content=sent, headers={"origin": ORIGIN}).status_code == 200
    assert live.stop() == 0


def test_a_request_under_way_is_answered_before_the_end(start: Start, redis: connections.Redis) -> None:
    sent = body(redis)
    live = start("serve")
    url = httpx.URL(live.await_ready())
    assert url.port
    with socket.create_connection((url.host, url.port), timeout=10) as page:
        head = (
            f"POST /v1/events HTTP/1.1\r\nhost: c\r\norigin: {ORIGIN}\r\ncontent-length: {len(sent)}\r\n\r\n"
        )
        page.sendall(head.encode() + sent[:20])
        time.sleep(0.2)  # long enough for the edge to wait for the rest
        live.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        page.sendall(sent[20:])
        assert page.recv(65_536).startswith(b"HTTP/1.1 200 ")
    assert live.stop() == 0


@pytest.mark.parametrize("half", ["edge", "query"])
def test_a_half_alone_answers_ops_and_not_the_other_half(
    start: Start, redis: connections.Redis, half: str
) -> None:
    url = start("serve", "--only", half).await_ready()
    assert httpx.get(f"{url}/healthz").status_code == 200
    assert httpx.get(f"{url}/metrics").status_code == 200
    assert (httpx.get(f"{url}/tag.js").status_code != 404) == (half == "edge")
    assert (httpx.get(f"{url}/v1/audiences").status_code != 404) == (half == "query")


def test_a_worker_whose_metrics_port_is_taken_says_so_in_one_line(
    settings: Settings, redis: connections.Redis
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = collector("worker", redis_url=settings.redis_url, worker_metrics_port=port)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1 and f"port {port}" in ran.stderr and "Mend: " in ran.stderr


def test_the_admin_key_is_let_in_and_a_new_one_ends_the_old(start: Start, redis: connections.Redis) -> None:
    start("serve", admin_key="first").await_ready()
    found = tags.lookup(redis, "first")
    assert found
    assert (found.role, found.tags) == ("admin", None)
    start("serve", admin_key="second").await_ready()
    assert tags.lookup(redis, "second")
    assert tags.lookup(redis, "first") is None


def test_the_edge_alone_needs_no_admin_key(
    start: Start, redis: connections.Redis, settings: Settings
) -> None:
    start("serve", "--only", "edge").await_ready()
    assert tags.list_keys(redis) == []
    assert not (settings.data_dir / "admin.key").exists()


def test_the_server_keeps_its_name_to_itself(start: Start, redis: connections.Redis) -> None:
    answer = httpx.get(f"{start('serve').await_ready()}/healthz", headers={"x-forwarded-for": "192.0.2.1"})
    assert "server" not in answer.headers


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_worker_stops_with_exit_code_0(
    start: Start, redis: connections.Redis, number: signal.Signals
) -> None:
    live = start("worker")
    end = time.monotonic() + 10
    while not redis.exists(keys.WORKERS):
        assert time.monotonic() < end, live.text
        time.sleep(0.05)
    assert live.stop(number) == 0


def test_a_frozen_redis_is_waited_for_at_the_start(
    start: Start, redis: connections.Redis, server: Embedded
) -> None:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        live = start("serve")
        time.sleep(1)
        assert live.process.poll() is None
    finally:
        os.kill(server.pid, signal.SIGCONT)
    live.await_ready()


@pytest.mark.parametrize("role", ["serve", "worker", "up"])
def test_a_setting_that_does_not_exist_is_warned_of_once(start: Start, redis: connections.Redis, role: str) -> None:
    live = start(role, foo=1)
    live.await_text("Collector is ready" if role == "up" else "no such setting", 60)
    live.stop()
    (warning,) = (line for line in live.logged if "no such setting" in str(line["event"]))
    assert (warning["level"], warning["part"], warning["names"]) == ("warning", role, ["COLLECTOR_FOO"])
