"""Limits of a connection: what comes too slowly, too large or too often ends, and nobody else notices."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from collector import connections, tags
from collector.embedded import Embedded
from collector.settings import load
from tests.conftest import Live, Start

ORIGIN = "https://shop.example"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"
GRANTED = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "granted")
HEADERS, BODY = 1.0, 1.0  # seconds for each
MOST = 2_000  # bytes of headers
SLACK = 2.5  # seconds: looks, uvicorn's own, and a busy machine
TICK = 0.01  # seconds: uvloop reads its clock once a turn, in milliseconds, so that a limit may end as much early
HOST = b"host: collect.shop.example\r\n"


@pytest.fixture(scope="module")
def address(server: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Where an edge with short limits listens."""
    folder = tmp_path_factory.mktemp("edge")
    with connections.open_redis(load(redis_url=server.url)) as client:
        client.flushall()  # another file may have left an installation of its own
    chosen = {
        "redis_url": server.url,
        "data_dir": folder,
        "port": 0,
        "drain_seconds": 0,
        "header_timeout": HEADERS,
        "body_timeout": BODY,
        "max_header_bytes": MOST,
    }
    environment = {f"COLLECTOR_{name.upper()}": str(value) for name, value in chosen.items()}
    live = Live(["serve", "--only", "edge"], environment, folder / "output")
    yield "127.0.0.1", int(live.url.rpartition(":")[2])
    assert live.stop() == 0


def talk(address: tuple[str, int], *pieces: bytes, pause: float = 0.0) -> tuple[bytes, float]:
    """What the server says to these pieces, and after how many seconds it ends the connection."""
    started = time.monotonic()
    with closing(socket.create_connection(address, timeout=20)) as line:
        said = b""
        for piece in pieces:
            try:
                line.sendall(piece)
                line.settimeout(pause or 20)
                if pause:
                    said += (more := line.recv(65_536))
                    if not more:
                        return said, time.monotonic() - started
            except TimeoutError:
                continue
            except OSError:
                return said, time.monotonic() - started
        line.settimeout(20)
        try:
            while more := line.recv(65_536):
                said += more
        except OSError:
            pass
    return said, time.monotonic() - started


def status(said: bytes) -> int:
    return int(said.split(b" ", 2)[1]) if said else 0


def test_slow_headers_end_with_408(address: tuple[str, int]) -> None:
    drip = [b"GET /healthz HTTP/1.1\r\n", *[b"x-a: b\r\n"] * 100]
    said, seconds = talk(address, *drip, pause=0.1)
    assert status(said) == 408 and b'"slow_headers"' in said
    assert HEADERS - TICK <= seconds < HEADERS + SLACK


def test_the_second_request_of_a_connection_has_no_more_time_than_the_first(address: tuple[str, int]) -> None:
    first = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    said, seconds = talk(address, first, *[b"GET /healthz HTTP/1.1\r\n"], *[b"x-a: b\r\n"] * 100, pause=0.1)
    assert said.startswith(b"HTTP/1.1 200") and b"HTTP/1.1 408" in said
    assert seconds < HEADERS + SLACK


def test_a_connection_that_never_says_anything_is_closed(address: tuple[str, int]) -> None:
    said, seconds = talk(address)
    assert said == b"" and HEADERS - TICK <= seconds < HEADERS + SLACK


def test_an_idle_connection_is_closed(address: tuple[str, int]) -> None:
    said, seconds = talk(address, b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
    assert status(said) == 200
    assert 4 < seconds < 5 + SLACK, "uvicorn's five seconds for the next request"


@pytest.mark.parametrize("route", [b"/v1/events", b"/healthz"])
def test_a_slow_body_ends_also_for_a_route_that_reads_none(address: tuple[str, int], route: bytes) -> None:
    method = b"POST" if route == b"/v1/events" else b"GET"
    head = method + b" " + route + b" HTTP/1.1\r\ncontent-length: 1000\r\n" + HOST + b"\r\n"
    said, seconds = talk(address, head, *[b"x"] * 100, pause=0.1)
    assert status(said) == (408 if route == b"/v1/events" else 200)
    assert seconds < BODY + 1 + SLACK, "after the answer the rest does not hold the connection either"


@pytest.mark.parametrize("name", [b"cookie", b"x-any"])
@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize(("over", "wanted"), [(-1, 200), (0, 200), (1, 431)])
def test_headers_up_to_the_limit(
    address: tuple[str, int], name: bytes, pieces: int, over: int, wanted: int
) -> None:
    others = HOST + b"connection: close\r\n"
    value = b"c" * (MOST + over - len(others) - len(name) - 4)
    whole = b"GET /healthz HTTP/1.1\r\n" + others + name + b": " + value + b"\r\n\r\n"
    step = -(-len(whole) // pieces)
    said, _ = talk(address, *(whole[at : at + step] for at in range(0, len(whole), step)), pause=0.02)
    assert status(said) == wanted
    assert wanted == 200 or b'"headers_too_large"' in said


def test_headers_without_an_end_are_cut_off(address: tuple[str, int]) -> None:
    said, _ = talk(address, b"GET /healthz HTTP/1.1\r\n", *[b"x: " + b"y" * 10_000 + b"\r\n"] * 100)
    assert status(said) in (431, 0), "not the 408 of slow ones. 0: the answer was lost, as more was under way"


@pytest.mark.parametrize(("over", "wanted"), [(0, 404), (1, 414)])
def test_url_up_to_the_limit(address: tuple[str, int], over: int, wanted: int) -> None:
    path = b"/" + b"u" * (65_535 - 1 + over)
    said, _ = talk(address, b"GET " + path + b" HTTP/1.1\r\nconnection: close\r\n" + HOST + b"\r\n")
    assert status(said) == wanted


def test_too_many_requests_of_an_address_are_429_and_no_header_changes_it(
    start: Start, redis: connections.Redis
) -> None:
    """The test's own address is loopback, so it stands for a proxy, and names the visitor's."""
    tag, _ = tags.create_tag(redis, "shop", [ORIGIN], "opt_in")
    event: dict[str, Any] = {
        "tag": tag.id,
        "visitor": "a" * 32,
        "consent": GRANTED,
        "events": [{"event": "lead"}],
    }
    url = start("serve", "--only", "edge", rate_per_ip=1).await_ready()
    with httpx.Client(base_url=url, headers={"user-agent": FIREFOX}) as browser:

        def post(forwarded: str) -> httpx.Response:
            return browser.post(
                "/v1/events", json=event, headers={"origin": ORIGIN, "x-forwarded-for": forwarded}
            )

        told = [post(f"192.0.2.{number}, 203.0.113.5") for number in range(12)]
        statuses = [answer.status_code for answer in told]
        assert sorted(statuses) == statuses and 1 <= statuses.count(429) <= 2, "ten in ten seconds"
        assert 1 <= int(told[-1].headers["retry-after"]) <= 10
        assert told[-1].json()["error"]["code"] == "rate_limited"
        assert told[-1].headers["access-control-allow-origin"] == ORIGIN
        gif = browser.get("/v1/pixel.gif", headers={"x-forwarded-for": "203.0.113.5"})
        assert (gif.status_code, gif.headers["x-collector"]) == (429, "error rate_limited")
        assert post("203.0.113.6").status_code == 200
        assert 'collector_limited_requests_total{limit="ip"}' in browser.get("/metrics").text


def test_too_many_events_of_a_tag_are_429_but_its_withdrawals_are_taken(
    start: Start, redis: connections.Redis
) -> None:
    tag, _ = tags.create_tag(redis, "shop", [ORIGIN], "opt_in")
    other, _ = tags.create_tag(redis, "other", [ORIGIN], "opt_in")
    url = start("serve", "--only", "edge", rate_per_tag=1).await_ready()
    with httpx.Client(base_url=url, headers={"user-agent": FIREFOX, "origin": ORIGIN}) as browser:

        def post(to: str, **over: Any) -> int:
            event = {
                "tag": to,
                "visitor": "a" * 32,
                "consent": GRANTED,
                "events": [{"event": "lead"}] * 5,
                **over,
            }
            return browser.post("/v1/events", json=event).status_code

        assert [post(tag.id) for _ in range(3)] == [200, 200, 429]
        assert post(tag.id, withdraw=True, events=[]) == 200
        assert post(other.id) == 200
        counted = 'collector_events_total{outcome="retry",reason="rate_limited",source="web"} 5.0'
        assert counted in browser.get("/metrics").text


@pytest.mark.skipif(not shutil.which("slowhttptest"), reason="slowhttptest is not installed")
@pytest.mark.parametrize("mode", [["-H"], ["-B"], ["-X"]], ids=["slow headers", "slow body", "slow read"])
def test_slowhttptest_finds_the_service_available_throughout(
    address: tuple[str, int], mode: list[str]
) -> None:
    url = f"http://{address[0]}:{address[1]}/v1/events"
    command = ["slowhttptest", *mode, "-c", "300", "-r", "150", "-i", "1", "-l", "8", "-u", url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", ended.stdout)  # its colours
    available = re.findall(r"service available:\s+(\w+)", said)
    assert available and set(available) == {"YES"}, said[-2_000:]
    assert mode == ["-X"] or "No open connections left" in said, (
        "the edge ended them all, within the eight seconds"
    )
    assert httpx.get(url.replace("/v1/events", "/healthz")).status_code == 200


def test_requests_that_come_together_are_answered_in_their_order(address: tuple[str, int]) -> None:
    one = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    other = b"GET /v1/pixel.gif HTTP/1.1\r\n" + HOST + b"\r\n"
    said, _ = talk(address, one + other + one + b"GET /healthz HTTP/1.1\r\nconnection: close\r\n" + HOST + b"\r\n")
    statuses = re.findall(rb"HTTP/1\.1 (\d+) ", said)
    assert statuses == [b"200", b"400", b"200", b"200"]
    assert said.count(b'{"status":"ok"}') == 3
    assert said.count(b"connection: close") == 1


CHUNKED = b"POST /v1/events HTTP/1.1\r\ntransfer-encoding: chunked\r\n" + HOST + b"\r\n2\r\n{}\r\n0\r\n"


def test_what_follows_a_body_is_no_header(address: tuple[str, int]) -> None:
    """Proxies replace and check headers, not trailers: in them anybody could claim an address, or an origin."""
    said, _ = talk(address, CHUNKED + b"origin: https://trailer.example\r\n\r\n")
    assert status(said) == 400
    assert b"trailer.example" not in said


@pytest.mark.parametrize("line", [b"x:\r\n", b"x"])
def test_trailers_without_an_end_are_cut_off(address: tuple[str, int], line: bytes) -> None:
    said, _ = talk(address, CHUNKED, *[line * 10_000] * 100, pause=0.001)
    assert said == b"", "not the 408 of a body that did not come in time"


@pytest.mark.parametrize("pieces", [1, 2, 400])
def test_a_wish_for_another_protocol_is_not_heard(address: tuple[str, int], pieces: int) -> None:
    """Java's HttpClient has one in each request over http. The body is one for all that, never the next request."""
    wish = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    body = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    head = b"POST /v1/events HTTP/1.1\r\n" + HOST + wish + b"content-length: %d\r\n\r\n" % len(body)
    last = b"GET /healthz HTTP/1.1\r\nconnection: close, upgrade\r\nupgrade: websocket\r\n" + HOST + b"\r\n"
    whole = head + body + head + body + last
    cuts = [len(head), *range(len(head), len(whole), -(-len(whole) // pieces))] if pieces > 1 else [0]
    said, _ = talk(
        address, *(whole[at:end] for at, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)), pause=0.001
    )
    assert re.findall(rb"HTTP/1\.1 (\d+) ", said) == [b"400", b"400", b"200"]
    assert said.count(b'"bad_json"') == 2


def test_an_old_client_s_connection_is_closed_after_the_answer(address: tuple[str, int]) -> None:
    said, seconds = talk(address, b"GET /healthz HTTP/1.0\r\n" + HOST + b"\r\n")
    assert status(said) == 200
    assert said.endswith(b'\r\nconnection: close\r\n\r\n{"status":"ok"}')
    assert seconds < 4, "an idle one's has five"


def test_no_answer_repeats_control_characters_of_its_request(address: tuple[str, int]) -> None:
    for odd in (b"\x00", b"\x01", b"\x0b", b"\x7f", b"\xff"):
        origin = b"origin: https://a" + odd + b"b.example\r\n"
        said, _ = talk(address, b"GET /healthz HTTP/1.1\r\nconnection: close\r\n" + origin + HOST + b"\r\n")
        assert status(said) in (200, 400)
        assert not re.search(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]", said), odd


def test_the_answer_to_head_has_the_length_and_no_body(address: tuple[str, int]) -> None:
    said, _ = talk(address, b"HEAD /healthz HTTP/1.1\r\nconnection: close\r\n" + HOST + b"\r\n")
    assert status(said) == 200
    assert b"content-length: 15\r\n" in said and said.endswith(b"\r\n\r\n")
