"""A visitor who asks to be forgotten, in whatever way, is in no store any more: proven by reading all of them."""

import gzip
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from collector.connections import Redis, open_redis
from collector.settings import load
from tests.conftest import Start
from tests.contract.test_cli import collector
from tests.journey.test_up_runs_everything_on_one_machine import url
from tests.stores import holding

ORIGIN = "https://shop.example"
BROWSER = {
    "origin": ORIGIN,
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
}
KEY = "k" * 40
GRANTED = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "granted")
WAYS = ("withdrawn by the tag", "withdrawn by a server", "forgotten by command", "deleted by the API")
STAYS = "who stays"
GONE_WITHIN = 2.0  # seconds until no audience has the visitor: the promise
PATIENCE = 60.0  # seconds for what is promised within a day, or at once on request, on a busy machine


def id_of(name: str) -> str:
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


def email_of(name: str) -> str:
    return hashlib.sha256(f"{name.replace(' ', '.')}@example.org".encode()).hexdigest()


def traces(name: str) -> list[bytes]:
    """What could be left of a visitor: the id as text and as bytes, the e-mail's hash, the order."""
    id_ = id_of(name)
    return [id_.encode(), bytes.fromhex(id_), email_of(name).encode(), f"order-{id_}".encode()]


class House:
    """A whole installation on one machine, as those see it who use it."""

    def __init__(self, api: httpx.Client, redis: Redis, folder: Path, logs: Path) -> None:
        self.api, self.redis, self.folder, self.logs = api, redis, folder, logs
        made = self.ask("POST", "/v1/tags", json={"name": "shop", "origins": [ORIGIN], "regime": "opt_in"})
        self.tag, self.server_key = made["tag"], made["server_key"]

    def ask(self, method: str, path: str, **more: Any) -> Any:
        answer = self.api.request(method, path, **more)
        assert answer.is_success, answer.text
        return answer.json()

    def body(self, name: str, *ages: float, **over: Any) -> dict[str, Any]:
        """Carts of a visitor, so many seconds ago."""
        events = [
            {
                "event": "addtocart",
                "event_time": time.time() - age,
                "url": f"{ORIGIN}/shoes",
                "data": {"order_id": f"order-{id_of(name)}", "value": 5},
            }
            for age in ages
        ]
        return {
            "tag": self.tag,
            "visitor": id_of(name),
            "consent": GRANTED,
            "user_data": {"em": email_of(name)},
            "events": events,
            **over,
        }

    def visit(self, name: str, *ages: float, **over: Any) -> list[str]:
        """The outcomes of a visitor's carts, sent by the tag."""
        sent = self.ask("POST", "/v1/events", json=self.body(name, *ages, **over), headers=BROWSER)
        return [result["outcome"] for result in sent["results"]]

    def members(self, audience: str) -> set[str]:
        text = self.api.get(f"/v1/audiences/{audience}/members").text
        return {json.loads(line)["visitor"] for line in text.splitlines()}

    def known(self, name: str) -> Any:
        return self.ask("GET", f"/v1/visitors/{id_of(name)}", params={"tag": self.tag})

    def erasures(self) -> Any:
        return self.ask("GET", "/v1/erasures", params={"tag": self.tag})["items"]

    def holding(self, name: str, *more: Path) -> set[str]:
        return holding(traces(name), self.redis, self.folder, self.logs, *more)

    def import_carts(self, file: Path, *names: str) -> None:
        """Carts of a day ago from a file; returns once worker and archive have passed them."""
        rows = [f"{int(time.time()) - 86_400 - n},{id_of(name)},addtocart" for n, name in enumerate(names)]
        file.write_bytes(gzip.compress("\n".join(["event_time,visitor,event", *rows]).encode()))
        done = collector(
            "import", str(file), "--tag", self.tag, "--consent-attested", "the till's", data_dir=self.folder
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
def house(start: Start, tmp_path: Path) -> Iterator[House]:
    folder = tmp_path / "kept"
    # No flush by age comes between the control's looks; what an erasure needs, it asks for.
    live = start("up", redis_url="", data_dir=folder, admin_key=KEY, flush_seconds=600)
    live.await_text("Collector is ready", PATIENCE)
    with (
        open_redis(load(data_dir=folder)) as redis,
        httpx.Client(base_url=url(live), headers={"authorization": f"Bearer {KEY}"}, timeout=30) as api,
    ):
        redis.config_set("slowlog-max-len", 100_000)
        redis.config_set("slowlog-log-slower-than", 0)  # it quotes commands: a store like any other
        yield House(api, redis, folder, live.output)


def awaited(ask: Callable[[], Any], wanted: Callable[[Any], bool], patience: float) -> Any:
    end = time.monotonic() + patience
    while not wanted(found := ask()):
        assert time.monotonic() < end, f"after {patience} s still {found}"
        time.sleep(0.05)
    return found


def forget(house: House, way: str) -> None:
    if way == "withdrawn by the tag":
        house.visit(way, withdraw=True)
    elif way == "withdrawn by a server":
        body = {**house.body(way), "withdraw": True}
        house.ask(
            "POST", "/v1/server/events", json=body, headers={"authorization": f"Bearer {house.server_key}"}
        )
    elif way == "deleted by the API":
        house.ask("DELETE", f"/v1/visitors/{id_of(way)}", params={"tag": house.tag})
    else:
        done = collector("forget", id_of(way), "--tag", house.tag, data_dir=house.folder)
        assert done.stdout.startswith("Erased, "), done.stderr


def all_proven(erasures: list[dict[str, Any]]) -> bool:
    return all(one["waits_for"] is None for one in erasures)


def test_forgotten_visitors_are_in_no_store_and_stragglers_stay_out(house: House, tmp_path: Path) -> None:
    everybody = {*WAYS, STAYS}
    for name in everybody:
        assert house.visit(name, 3_600, 60, 5) == ["accepted"] * 3
    audience = house.ask(
        "POST",
        "/v1/audiences",
        json={"tag": house.tag, "name": "carts", "rule": {"event": "addtocart", "retention_days": 30}},
    )["id"]
    house.import_carts(tmp_path / "past.csv.gz", *everybody)
    for name in everybody:
        house.visit(name, 1)
    awaited(lambda: house.members(audience), lambda found: found == set(map(id_of, everybody)), PATIENCE)

    house.redis.echo(
        id_of(STAYS)
    )  # the slow log shortens scripts' arguments, and so shows only some visitors

    # The control: this search finds a live visitor in each place, and what was put where nobody should.
    planted = tmp_path / "a.log", tmp_path / "spool.sqlite"
    planted[0].write_text(f"GET /?visitor={id_of(STAYS)}\n")
    with closing(sqlite3.connect(planted[1])) as spool, spool:
        spool.execute("CREATE TABLE waiting (payload BLOB)")
        spool.execute("INSERT INTO waiting VALUES (?)", (id_of(STAYS).encode(),))
    places = {"stream", "ids", "dump", "slow log", "aof", "parquet"}
    assert house.holding(STAYS, *planted) == places | {"sqlite", "file"}
    for name in WAYS:
        assert house.holding(name) | {"slow log"} == places, name
        assert len(house.known(name)["events"]) == 5

    house.redis.config_set("slowlog-log-slower-than", -1)  # else asking for the erased writes their ids there

    for way in WAYS:
        forget(house, way)
    awaited(lambda: house.members(audience), lambda found: found == {id_of(STAYS)}, GONE_WITHIN)
    for way in WAYS:
        shown = house.known(way)
        assert (shown["audiences"], shown["events"]) == ([], [])
    names = {one["visitor"] for one in house.erasures()}
    assert names == {house.known(way)["erasures"][0]["visitor"] for way in WAYS} and len(names) == len(WAYS)

    # Stragglers: sent before the erasure and coming after it, by the tag's queue and by a file.
    for way in WAYS:
        assert house.visit(way, 30) == ["accepted"]
    house.import_carts(tmp_path / "late.csv.gz", *WAYS)
    assert house.members(audience) == {id_of(STAYS)}

    said = collector("forget", id_of("a stranger"), "--tag", house.tag, "--now", data_dir=house.folder)
    assert "Proven" in said.stdout, said.stderr
    proven = awaited(house.erasures, all_proven, PATIENCE)
    assert names < {one["visitor"] for one in proven}
    for way in WAYS:
        awaited(lambda way=way: house.holding(way), lambda found: found == set(), PATIENCE)  # type: ignore[misc]
    assert {"ids", "dump", "aof", "parquet"} <= house.holding(STAYS)
    assert len(house.known(STAYS)["events"]) == 5

    # Who comes back with consent counts again, from then on.
    assert house.visit(WAYS[0], 0) == ["accepted"]
    awaited(lambda: house.members(audience), lambda found: found == {id_of(STAYS), id_of(WAYS[0])}, PATIENCE)
    assert len(house.known(WAYS[0])["events"]) == 1
