"""A real shop's 15 months are imported: every window, past and live, has the size that the file itself gives."""

import csv
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from collector.clock import parse_iso
from tests.conftest import Live

FILE = Path(__file__).parents[3] / "shared" / "data" / "merchstore.csv.gz"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # the first test waits for a million events, twice
    pytest.mark.skipif(
        not FILE.exists(), reason="../shared/data/merchstore.csv.gz is not beside the checkout"
    ),
]

DAY = 86_400
END = "2021-02-01T00:00:00Z"
CART: dict[str, Any] = {"event": "addtocart", "retention_days": 30}
BOUGHT: dict[str, Any] = {"event": "checkout", "retention_days": 30}
LEFT: dict[str, Any] = {**CART, "exclude": [{"event": "checkout"}]}
SINCE: dict[str, Any] = {**CART, "exclude": [{"event": "checkout", "since": "match"}]}  # the dashboard's case
OFTEN: dict[str, Any] = {**CART, "min_count": 3}
APPAREL: dict[str, Any] = {**CART, "event_data": {"product_category": "Apparel"}}
KNOWN = {  # from the README beside the file: days → cart, checkout, cart and not bought
    1: (98, 0, 98),
    7: (987, 99, 906),
    14: (1_964, 434, 1_600),
    30: (3_770, 807, 3_126),
    60: (10_001, 2_543, 7_914),
    92: (12_545, 4_066, 9_893),
}


class Row(NamedTuple):
    time: int
    visitor: str
    event: str
    category: str


class Shop:
    """A collector with a tag whose traffic has true times, and one whose last event was when its import began."""

    def __init__(self, http: httpx.Client, folder: Path) -> None:
        self._http = http
        self.url = str(http.base_url).rstrip("/")
        self._folder = folder
        self.true, self.shifted = self.tag("true"), self.tag("shifted")
        self.before = self.audience(self.shifted, LEFT)
        self.import_file(self.true)
        said = self.import_file(self.shifted, "--shift-end-to", "now")
        (end_at,) = re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said)
        self.end_at = int(parse_iso(end_at))

    def tag(self, name: str) -> str:
        answer = self._http.post("/v1/tags", json={"name": name, "origins": ["https://shop.example"]})
        tag: str = answer.raise_for_status().json()["tag"]
        return tag

    def import_file(self, tag: str, *more: str) -> str:
        command = ["import", str(FILE), "--tag", tag, "--consent-attested", "the sample is anonymous", *more]
        ran = subprocess.run(
            [sys.executable, "-m", "collector", *command, "--data-dir", str(self._folder)],
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        return ran.stdout

    def audience(self, tag: str, rule: dict[str, Any]) -> str:
        answer = self._http.post("/v1/audiences", json={"tag": tag, "name": "a", "rule": rule})
        audience: str = answer.raise_for_status().json()["id"]
        return audience

    def ready(self, tag: str, rule: dict[str, Any]) -> str:
        """A new audience, once it is ready."""
        audience, end = self.audience(tag, rule), time.monotonic() + 60
        while (shown := self._http.get(f"/v1/audiences/{audience}").json())["status"] == "INITIALIZING":
            assert time.monotonic() < end, shown
            time.sleep(0.1)
        assert shown["status"] in ("READY", "TOO_SMALL")
        return audience

    def size(self, audience: str, days: int = 30, as_of: str | None = None) -> tuple[int, int]:
        """(size, the second it is of)."""
        asked = {"lookback_days": str(days), **({"as_of": as_of} if as_of else {})}
        answer = self._http.get(f"/v1/audiences/{audience}/size", params=asked).raise_for_status().json()
        assert answer["lookback_days"] == days
        return answer["size"], int(parse_iso(answer["as_of"]))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("merchstore")
    environment = {"COLLECTOR_DATA_DIR": str(folder), "COLLECTOR_PORT": "0", "COLLECTOR_ADMIN_KEY": "k"}
    live = Live(["up"], environment, folder / "up.out")
    try:
        live.await_text("Collector is ready")
        found = re.search(r"ready at (http://\S+)\. ", live.text)
        assert found
        with httpx.Client(base_url=found[1], headers={"authorization": "Bearer k"}, timeout=60) as http:
            yield Shop(http, folder)
    finally:
        live.stop()


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """The file's carts and checkouts."""
    with gzip.open(FILE, "rt", newline="") as text:
        return [
            Row(int(row["event_time"]), row["visitor"], row["event"], row["product_category"])
            for row in csv.DictReader(text)
            if row["event"] in ("addtocart", "checkout")
        ]


def brute_force(rows: list[Row], rule: dict[str, Any], days: int, at: int) -> int:
    """The size, from the rows themselves."""
    times: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if at - days * DAY <= row.time <= at:
            times[row.visitor].append(row)

    def matches(row: Row) -> bool:
        return row.event == rule["event"] and ("event_data" not in rule or row.category == "Apparel")

    def bought(some: list[Row]) -> bool:
        after = max(row.time for row in some if matches(row)) if rule["exclude"][0].get("since") else 0
        return any(row.event == "checkout" and row.time >= after for row in some)

    return sum(
        sum(map(matches, some)) >= rule.get("min_count", 1) and not ("exclude" in rule and bought(some))
        for some in times.values()
    )


class Last(dict[str, int]):
    """Visitor → the last second at which the event happened."""

    def __init__(self, rows: list[Row], event: str, at: int) -> None:
        super().__init__()
        for row in rows:
            if row.event == event and row.time <= at:
                self[row.visitor] = max(row.time, self.get(row.visitor, 0))


def left_since(carts: Last, buys: Last, low: int) -> set[str]:
    """Who has put something in the cart since that second, and not bought since they did."""
    return {who for who, last in carts.items() if last >= low and buys.get(who, 0) < last}


def moved(shop: Shop, rows: list[Row], last: int) -> list[Row]:
    return [row._replace(time=row.time + shop.end_at - last) for row in rows]


@pytest.fixture(scope="module")
def shifted(shop: Shop, rows: list[Row]) -> list[Row]:
    """The rows as the second tag has them."""
    with gzip.open(FILE, "rt") as text:
        last = max(int(line.split(",", 1)[0]) for line in list(text)[1:])
    return moved(shop, rows, last)


@pytest.mark.parametrize("days", KNOWN)
def test_every_window_of_the_past_has_its_known_size(shop: Shop, rows: list[Row], days: int) -> None:
    at = int(parse_iso(END))
    rules = (CART, BOUGHT, LEFT)
    assert tuple(brute_force(rows, rule, days, at) for rule in rules) == KNOWN[days]
    audiences = [shop.audience(shop.true, rule) for rule in rules]
    assert [shop.size(audience, days, END) for audience in audiences] == [(size, at) for size in KNOWN[days]]


@pytest.mark.parametrize("days", [*KNOWN, 540])
def test_every_live_window_is_what_the_file_says(shop: Shop, shifted: list[Row], days: int) -> None:
    size, at = shop.size(shop.before, days)
    assert size == brute_force(shifted, LEFT, days, at)


def test_an_audience_made_afterwards_knows_the_past(shop: Shop, shifted: list[Row]) -> None:
    later = shop.ready(shop.shifted, {**LEFT, "retention_days": 92})
    fresh = shop.ready(shop.shifted, {"event": ["addtocart"], "exclude": [{"event": ["checkout", "lead"]}]})
    for days in KNOWN:
        for audience in (later, fresh):
            size, at = shop.size(audience, days)
            assert size == brute_force(shifted, LEFT, days, at) > 0


def test_an_audience_without_past_starts_at_nothing(shop: Shop) -> None:
    assert shop.size(shop.ready(shop.shifted, {**LEFT, "prefill": False}))[0] == 0


@pytest.mark.parametrize(
    ("rule", "known"), [(OFTEN, 3_639), (APPAREL, 2_876)], ids=["min_count", "event_data"]
)
def test_counts_and_event_data_have_their_known_sizes(
    shop: Shop, rows: list[Row], shifted: list[Row], rule: dict[str, Any], known: int
) -> None:
    assert shop.size(shop.audience(shop.true, rule), 30, END)[0] == known
    assert brute_force(rows, rule, 30, int(parse_iso(END))) == known
    size, at = shop.size(shop.ready(shop.shifted, rule))
    assert size == brute_force(shifted, rule, 30, at)


def test_from_first_run_to_an_exported_abandoned_cart_audience_in_the_browser(
    shop: Shop, rows: list[Row], shifted: list[Row], tmp_path: Path
) -> None:
    """Its size, its curve at every point, and the exported visitors are those of the file."""
    node = shutil.which("node")
    assert node, "The browser test needs Node 20 or later."
    ran = subprocess.run(
        [node, str(Path(__file__).with_name("abandoned_cart.mjs"))],
        env={
            **os.environ,
            "COLLECTOR": shop.url,
            "KEY": "k",
            "SHOP": shop.shifted,
            "FOUND": str(tmp_path / "found.json"),
        },
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    print(ran.stdout)  # noqa: T201 (how long it took)
    found = json.loads((tmp_path / "found.json").read_text())
    carts, buys = Last(shifted, "addtocart", found["at"]), Last(shifted, "checkout", found["at"])
    brute = [left_since(carts, buys, found["at"] - days * DAY) for days in range(1, 541)]
    assert [len(some) for some in brute] == found["curve"]
    assert len(brute[29]) == brute_force(shifted, SINCE, 30, found["at"]) == found["curve"][29]
    # The page, the preview and the file are of other seconds than the curve.
    moments = [left_since(carts, buys, at - 30 * DAY) for at in range(found["began"], found["until"] + 1)]
    assert set(found["members"]) in moments
    assert len(found["members"]) == len(set(found["members"]))
    assert {found["preview"], found["size"]} <= {len(some) for some in moments}
    # The file ends minutes before midnight, and the shop's README counts from midnight on; who bought before the cart
    # is no longer left out.
    assert KNOWN[30][2] - 30 <= len(brute[29]) <= brute_force(rows, SINCE, 30, int(parse_iso(END))) + 30


def test_the_same_file_again_changes_nothing(shop: Shop, shifted: list[Row]) -> None:
    often = shop.ready(shop.shifted, OFTEN)
    said = shop.import_file(shop.shifted, "--shift-end-to", "now")
    assert "already" in said
    size, at = shop.size(often)
    assert size == brute_force(shifted, OFTEN, 30, at)
