"""Redis away: 2xx all the while, and when it is back every acknowledged event is in its streams exactly once."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from collector import connections, keys, tags
from collector.embedded import Embedded, Server
from collector.event import decode_streamed
from collector.settings import Settings
from collector.stream import read
from collector.stream.partitions import SCHEMA
from tests.conftest import Live, Start

ORIGIN = "https://shop.example"
BROWSER = {
    "origin": ORIGIN,
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
}
GRANTED = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "granted")
AWAY = float(os.environ.get("COLLECTOR_TEST_AWAY_SECONDS", "3"))  # 60 for the promise to the letter
SENDERS = 4
PATIENCE = 20.0
# One for all: making one takes a tenth of a second. It keeps no connection, as the edges behind it come and go.
CLIENT = httpx.Client(timeout=PATIENCE, limits=httpx.Limits(max_keepalive_connections=0))


@pytest.fixture
def own(tmp_path: Path, server_binary: Server) -> Iterator[Embedded]:
    """A server of the test's own, to be stopped, frozen and emptied."""
    with Embedded(Settings(data_dir=tmp_path / "server"), server_binary) as embedded:
        yield embedded
        if embedded.running:
            os.kill(embedded.pid, signal.SIGCONT)


@pytest.fixture
def edge(start: Start, own: Embedded) -> Callable[..., Live]:
    """edge(): the edge in a process of its own on that server."""
    return lambda **over: start(
        "serve", "--only", "edge", **{"redis_url": own.url, "append_timeout": 0.5, **over}
    )


@pytest.fixture
def client(own: Embedded) -> Iterator[connections.Redis]:
    with connections.open_redis(Settings(redis_url=own.url)) as opened:
        yield opened


def body(tag: str, *ids: str, visitor: str = "a" * 32, **over: Any) -> dict[str, Any]:
    named = [{"event": "lead", "event_id": each} for each in ids]
    return {"tag": tag, "visitor": visitor, "consent": GRANTED, "events": named, **over}


def post(url: str, *given: Any, **over: Any) -> httpx.Response:
    return CLIENT.post(f"{url}/v1/events", json=body(*given, **over), headers=BROWSER)


def stored(client: connections.Redis) -> Counter[str]:
    """How often each event id is in the streams."""
    return Counter(
        decode_streamed(entry.payload).event_id
        for number in range(16)
        for entry in read.after(client, number, read.START, 100_000)
    )


def state(url: str) -> dict[str, Any]:
    found: dict[str, Any] = CLIENT.get(f"{url}/readyz").json()
    return found


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


class Senders:
    """Shoppers who send one event after the other and keep a ledger of what they were told."""

    def __init__(self, url: str, tag: str) -> None:
        self.told: list[tuple[str, int, str]] = []  # event id, status, outcome
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(url, tag, n)) for n in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def _send(self, url: str, tag: str, sender: int) -> None:
        with httpx.Client(base_url=url, timeout=PATIENCE, headers=BROWSER) as browser:
            number = 0
            while not self._end.is_set():
                event_id = f"{sender}-{number}"
                answer = browser.post("/v1/events", json=body(tag, event_id, visitor=f"{number % 50:032x}"))
                outcome = answer.json()["results"][0]["outcome"] if answer.status_code == 200 else ""
                self.told.append((event_id, answer.status_code, outcome))
                number += 1

    def stop(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("fault", ["killed", "frozen", "read-only"])
def test_a_minute_without_redis_is_2xx_throughout_and_every_event_once(
    fault: str, own: Embedded, client: connections.Redis, edge: Callable[..., Live]
) -> None:
    tag, _ = tags.create_tag(client, "shop", [ORIGIN], "opt_in")
    url = edge().await_ready()
    senders = Senders(url, tag.id)
    try:
        wait(lambda: len(senders.told) > 20)
        if fault == "killed":
            os.kill(own.pid, signal.SIGKILL)
        elif fault == "frozen":  # what it read before it froze, it executes afterwards
            os.kill(own.pid, signal.SIGSTOP)
        else:
            client.replicaof("127.0.0.1", 1)
        time.sleep(AWAY)
        assert state(url)["events"] == "spooled" and state(url)["spooled"] > 0
        if fault != "read-only":
            assert any("Redis does not answer" in reason for reason in state(url)["reasons"])
        if fault == "killed":
            wait(lambda: not own.running)
            own.launch()
        elif fault == "frozen":
            os.kill(own.pid, signal.SIGCONT)
        else:
            client.replicaof("NO", "ONE")
        wait(lambda: state(url)["events"] == "stored" and not state(url)["spooled"])
        time.sleep(0.3)
    finally:
        senders.stop()
    wait(lambda: not state(url)["spooled"])
    assert {(status, outcome) for _, status, outcome in senders.told} == {(200, "accepted")}
    assert stored(client) == Counter(event_id for event_id, _, _ in senders.told)
    assert len(senders.told) > 100


def test_a_spool_whose_process_was_killed_is_drained_by_another(
    own: Embedded, client: connections.Redis, edge: Callable[..., Live]
) -> None:
    tag, _ = tags.create_tag(client, "shop", [ORIGIN], "opt_in")
    first, second = edge(), edge()
    url = first.await_ready()
    second.await_ready()
    for live in (first, second):  # so that both know the tag
        assert post(live.url, tag.id, f"before {live.url}").status_code == 200
    os.kill(own.pid, signal.SIGSTOP)
    assert [post(url, tag.id, f"{n}").status_code for n in range(5)] == [200] * 5
    first.process.kill()
    first.process.wait()
    os.kill(own.pid, signal.SIGCONT)
    wait(lambda: stored(client).keys() >= {f"{n}" for n in range(5)})
    assert set(stored(client).values()) == {1}


def test_an_edge_that_starts_without_redis_takes_events_of_the_tags_that_it_knew(
    own: Embedded, client: connections.Redis, edge: Callable[..., Live]
) -> None:
    tag, _ = tags.create_tag(client, "shop", [ORIGIN], "opt_in")
    before = edge()
    assert post(before.await_ready(), tag.id, "before").status_code == 200
    assert before.stop() == 0
    own.stop()
    url = edge().url
    assert post(url, tag.id, "away", "away too").json()["results"][1]["outcome"] == "accepted"
    unknown = post(url, "1" * 13, "x")
    assert (unknown.status_code, unknown.headers["retry-after"]) == (503, "5"), "401 would be a guess"
    assert post(url, tag.id, "x", visitor="nobody").json()["results"][0]["reason"] == "bad_visitor"
    own.start()
    wait(lambda: stored(client) == {"before": 1, "away": 1, "away too": 1})
    wait(lambda: post(url, "1" * 13, "x").status_code == 401)


def test_another_installation_s_redis_gets_nothing_of_ours(
    own: Embedded, client: connections.Redis, edge: Callable[..., Live]
) -> None:
    tag, _ = tags.create_tag(client, "shop", [ORIGIN], "opt_in")
    before = edge()
    assert post(before.await_ready(), tag.id, "before").status_code == 200
    before.stop()
    own.stop()
    live = edge()
    assert post(live.url, tag.id, "ours").status_code == 200
    own.start()
    client.flushall()
    client.hset(keys.INSTALLATION, mapping={"secret": "00" * 32, "partitions": 16, "schema": SCHEMA})
    wait(lambda: any("another installation" in reason for reason in state(live.url)["reasons"]))
    time.sleep(0.5)
    assert state(live.url)["spooled"] == 1 and not stored(client)
    live.stop()
    again = edge()
    assert again.process.wait(PATIENCE) == 2
    assert "holds 1 events of another installation" in again.text


def test_a_withdrawal_while_redis_is_away_hides_what_waits_and_is_stored(
    own: Embedded, client: connections.Redis, edge: Callable[..., Live], settings: Settings
) -> None:
    tag, _ = tags.create_tag(client, "shop", [ORIGIN], "opt_in")
    url = edge().await_ready()
    assert post(url, tag.id, "before").status_code == 200
    own.stop()
    assert post(url, tag.id, "secret-word").status_code == 200
    assert post(url, tag.id, "another", visitor="b" * 32).status_code == 200

    def spool() -> bytes:
        return b"".join(file.read_bytes() for file in settings.spool.iterdir())

    assert b"secret-word" in spool()
    assert post(url, tag.id, withdraw=True).status_code == 200
    assert b"secret-word" not in spool() and b"another" in spool()
    own.start()
    wait(lambda: stored(client) == {"before": 1, "another": 1, "": 1})


def test_a_full_spool_is_503_with_retry_after_and_what_was_acknowledged_is_kept(
    own: Embedded, client: connections.Redis, edge: Callable[..., Live]
) -> None:
    tag, _ = tags.create_tag(client, "shop", [ORIGIN], "opt_in")
    url = edge(spool_bytes=100_000).await_ready()
    assert post(url, tag.id, "before").status_code == 200
    own.stop()
    acknowledged = {"before"}
    for number in range(1_000):
        some = [f"{number}-{place}" for place in range(10)]
        answer = post(url, tag.id, *some)
        if answer.status_code != 200:
            break
        acknowledged.update(some)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["results"][0]["outcome"] == "retry"
    assert any("The spool takes nothing" in reason for reason in state(url)["reasons"])
    own.start()
    wait(lambda: set(stored(client)) >= acknowledged)
    assert stored(client) == dict.fromkeys(acknowledged, 1)
    wait(lambda: post(url, tag.id, "after").status_code == 200)
    assert state(url)["reasons"] == [], "what the spool could not take is over"


def test_a_full_redis_is_503_not_spooled_and_resumes_by_itself(
    own: Embedded, client: connections.Redis, edge: Callable[..., Live]
) -> None:
    tag, _ = tags.create_tag(client, "shop", [ORIGIN], "opt_in")
    live = edge(high_water=0.5)
    url = live.await_ready()
    assert post(url, tag.id, "before").status_code == 200
    used = client.info("memory")["used_memory"]
    client.config_set("maxmemory", int(used * 1.5))
    wait(lambda: post(url, tag.id, "full").status_code == 503)
    assert any("high-water" in reason for reason in state(url)["reasons"])
    assert state(url)["spooled"] == 0 and state(url)["events"] == "refused"
    assert "collector_high_water 1.0" in CLIENT.get(f"{url}/metrics").text
    assert post(url, tag.id, withdraw=True).status_code == 200, "it makes room"
    client.config_set("maxmemory", used // 2)  # past the mark, and past the limit: OOM from the script
    assert post(url, tag.id, withdraw=True).status_code == 503
    client.config_set("maxmemory", 0)
    wait(lambda: post(url, tag.id, "after").status_code == 200)
    assert stored(client).keys() >= {"before", "after", ""}
    assert "Redis is above its high-water mark" in live.text and "Redis has room again" in live.text


def test_a_known_server_key_stays_known_while_redis_is_away(
    own: Embedded, client: connections.Redis, edge: Callable[..., Live]
) -> None:
    tag, key = tags.create_tag(client, "shop", [ORIGIN], "opt_in")
    url = edge(tag_cache_seconds=0.1).await_ready()

    def serve(event_id: str, presented: str) -> int:
        sent = body(tag.id, event_id)
        headers = {"authorization": f"Bearer {presented}"}
        return CLIENT.post(f"{url}/v1/server/events", json=sent, headers=headers).status_code

    assert serve("before", key) == 200
    own.stop()
    time.sleep(0.2)
    assert [serve(f"{n}", key) for n in range(3)] == [200] * 3
    assert serve("x", key + "x") == 503
    own.start()
    wait(lambda: stored(client) == dict.fromkeys(("before", "0", "1", "2"), 1))
    wait(lambda: serve("x", key + "x") == 401)


def test_a_worker_drains_a_redis_that_is_full(
    start: Start, own: Embedded, client: connections.Redis, edge: Callable[..., Live]
) -> None:
    """It starts when nothing can be written, and what it does makes room: events flow again by themselves."""
    tag, _ = tags.create_tag(client, "shop", [ORIGIN], "opt_in")
    url = edge().await_ready()
    padding = {"data": {"page_name": "x" * 2_000}}
    for number in range(20):
        events = [{"event": "lead", "event_id": f"{number}-{place}", **padding} for place in range(100)]
        assert post(url, tag.id, visitor=f"{number:032x}", events=events).status_code == 200
    empty = client.info("memory")["used_memory"] - sum(
        client.memory_usage(keys.events(number)) or 0 for number in range(16)
    )
    client.config_set("maxmemory", empty + 2_000_000)  # of 4 MB of events half fit
    wait(lambda: post(url, tag.id, "full").status_code == 503)
    with pytest.raises(connections.Unavailable):
        client.set("anything", "at all")
    worker = start("worker", redis_url=own.url, flush_seconds=0.5)
    wait(lambda: not sum(client.xlen(keys.events(number)) for number in range(16)))
    wait(lambda: post(url, tag.id, "after").status_code == 200)
    assert worker.stop() == 0


def test_a_worker_waits_for_a_redis_that_starts_after_it(
    start: Start, own: Embedded, client: connections.Redis, edge: Callable[..., Live]
) -> None:
    tag, _ = tags.create_tag(client, "shop", [ORIGIN], "opt_in")
    assert post(edge().await_ready(), tag.id, "before").status_code == 200
    url = own.url
    own.stop()
    worker, other = (start("worker", redis_url=url, flush_seconds=0.5) for _ in range(2))
    for each in (worker, other):
        each.await_text("redis_does_not_answer_yet")
    assert other.stop() == 0, "it is told to stop while it waits"
    own.start()
    wait(lambda: not sum(client.xlen(keys.events(number)) for number in range(16)))
    assert worker.stop() == 0
