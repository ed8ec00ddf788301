"""The account: a client that keeps a ledger of all it sent, and what must be true of it in the end."""

import contextlib
import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from copy import copy
from functools import partial
from typing import Any, NamedTuple, Self

import pyarrow.parquet as pq

from tests import oracle
from tests.faults.plant import ORIGIN, PARTITIONS, PATIENCE, Edge, Plant, until

GRANTED = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "granted")
NAMES = ("pagevisit", "addtocart", "checkout")
RULES: Mapping[str, Mapping[str, Any]] = {
    "visited": {"event": "pagevisit", "retention_days": 30},
    "thrice": {"event": "addtocart", "min_count": 3, "retention_days": 30},
    "left a cart": {"event": "addtocart", "exclude": [{"event": "checkout", "since": "match"}]},
}
VISITORS = 300  # few, so that counts of three and purchases after a cart come about
GIVES_UP = 0.1  # of the requests that fail are never sent again: their fate stays unknown
TIMEOUT = 4.0  # seconds a client waits for an answer


class Row(NamedTuple):
    """An event as it is stored: what the client said of it."""

    event_id: str
    visitor: str
    event: str
    time: int


class Answer(NamedTuple):
    """When the request was begun that was answered, and when the answer was noted; monotonic seconds."""

    asked: float
    noted: float


class Ledger:
    """What was sent and what was acknowledged, by event id. Fates that are never learnt may go either way."""

    def __init__(self) -> None:
        self.sent: dict[str, Row] = {}
        self.acknowledged: dict[str, Answer] = {}  # event id → the first answer that took it
        self.excused: set[str] = set()  # acknowledged, and may be lost all the same
        self.told: Counter[str] = Counter()
        self.lock = threading.Lock()

    def excuse(self, since: float, until: float) -> None:
        """What was stored between two monotonic seconds may be lost: the fault gave back an older Redis.

        That is what was asked before the end and answered after the beginning, however late the answer was noted.
        """
        answers = list(self.acknowledged.items())
        self.excused |= {name for name, (asked, noted) in answers if asked <= until and noted >= since}


class Load:
    """Shoppers in threads. A request that fails goes to the next edge, with the same event ids, as the tag would."""

    def __init__(
        self,
        edges: Sequence[Edge],
        tag: str,
        *,
        threads: int = 4,
        pause: float = 0.01,
        timeout: float = TIMEOUT,
    ) -> None:
        self.ledger = Ledger()
        self._timeout = timeout
        self._edges = edges
        self._tag = tag
        self._pause = pause
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._shop, args=(n,), daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def await_acknowledged(self, more: int = 20) -> None:
        """Wait until so many more events have been acknowledged than now."""
        wanted = len(self.ledger.acknowledged) + more
        until(lambda: len(self.ledger.acknowledged) >= wanted, f"{more} more events are acknowledged")

    def stop(self) -> Ledger:
        """Let each shopper have its last request acknowledged, and end."""
        self._stop.set()
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive(), f"a shopper is never answered: {self.ledger.told}"
        return self.ledger

    def _shop(self, number: int) -> None:
        chance = random.Random(number)
        serial = 0
        while not self._stop.is_set():
            visitor = f"{chance.randrange(VISITORS):032x}"
            rows = []
            for _ in range(chance.choice((1, 1, 3))):
                serial += 1
                # Seconds of a past day: a step of the clock by less moves none of them.
                happened = int(time.time()) - 3 * oracle.DAY - chance.randrange(3_600)
                rows.append(Row(f"{number}-{serial}", visitor, chance.choice(NAMES), happened))
            with self.ledger.lock:
                self.ledger.sent.update((row.event_id, row) for row in rows)
            self._send(rows, chance)
            time.sleep(self._pause)

    def _send(self, rows: Sequence[Row], chance: random.Random) -> None:
        events = [
            {"event": r.event, "event_id": r.event_id, "event_time": r.time, "url": ORIGIN} for r in rows
        ]
        body = json.dumps(
            {"tag": self._tag, "visitor": rows[0].visitor, "consent": GRANTED, "events": events}
        )
        end = time.monotonic() + 80
        while time.monotonic() < end:
            asked = time.monotonic()
            status, results = self._post(chance.choice(self._edges), body)
            self.ledger.told[str(status)] += 1
            outcomes = [result["outcome"] for result in results]
            for row, outcome in zip(rows, outcomes, strict=False):
                if outcome in ("accepted", "duplicate"):
                    self.ledger.acknowledged.setdefault(row.event_id, Answer(asked, time.monotonic()))
            if outcomes and "retry" not in outcomes:
                assert set(outcomes) <= {"accepted", "duplicate"}, outcomes
                return
            if chance.random() < GIVES_UP:
                return
            time.sleep(0.1)

    def _post(self, edge: Edge, body: str) -> tuple[int, list[dict[str, str]]]:
        connection = http.client.HTTPConnection("127.0.0.1", edge.port or 9, timeout=self._timeout)
        try:
            connection.request("POST", "/v1/events", body, {"origin": ORIGIN, "content-type": "text/plain"})
            answer = connection.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException):
            return 0, []
        finally:
            connection.close()
        return answer.status, json.loads(raw)["results"] if answer.status == 200 else []


class Account:
    """A tag, its audiences, the load on it; close() compares it all."""

    def __init__(self, plant: Plant, edges: Sequence[Edge], **load: Any) -> None:
        self.plant = plant
        self._edge = edges[0].await_ready()
        made = self._edge.told("POST", "/v1/tags", {"name": "shop", "origins": [ORIGIN]})
        self.tag: str = made["tag"]
        self.audiences = {
            name: self._edge.told("POST", "/v1/audiences", {"tag": self.tag, "name": name, "rule": rule})[
                "id"
            ]
            for name, rule in RULES.items()
        }
        self.load = Load(edges, self.tag, **load)

    def moved(self, plant: Plant, edge: Edge) -> Self:
        """The same account where the same tag and audiences are kept by another plant."""
        there = copy(self)
        there.plant, there._edge = plant, edge
        return there

    def settled(self) -> bool:
        """Whether every partition's worker has applied all that its stream has."""
        for number in range(PARTITIONS):
            cursor = self.plant.client.hget(f"{{p{number:02d}}}:state", "cursor") or b"0-0"
            if self.plant.client.xrange(f"{{p{number:02d}}}:events", b"(" + cursor, count=1):
                return False
        return True

    def await_applied(self) -> None:
        """Wait until all that the streams have at this moment is applied, whatever comes after it."""
        newest = {
            number: entries[0][0]
            for number in range(PARTITIONS)
            if (entries := self.plant.client.xrevrange(f"{{p{number:02d}}}:events", count=1))
        }

        def passed() -> bool:
            cursors = (self.plant.client.hget(f"{{p{n:02d}}}:state", "cursor") or b"0-0" for n in newest)
            return all(
                _place(cursor) >= _place(last) for cursor, last in zip(cursors, newest.values(), strict=True)
            )

        until(passed, "the workers go on", pause=0.1)

    def stored(self) -> list[Row]:
        """Every event of the tag in archive and streams, read by nothing of the product."""
        return [row for number in range(PARTITIONS) for row in self._stored(number)]

    def _stored(self, number: int) -> list[Row]:
        found: list[Row] = []
        columns = ["event_id", "visitor", "event", "event_time"]
        prefix = f"{{p{number:02d}}}"
        archived = self.plant.client.hget(f"{prefix}:state", "archived") or b"0-0"
        for name in self.plant.client.hkeys(f"{prefix}:{self.tag}:manifest"):
            path = self.plant.archive / f"p{number:02d}" / self.tag / f"{name.decode()}.parquet"
            table = pq.read_table(path, columns=columns)
            found += [Row(*row) for row in zip(*(table[c].to_pylist() for c in columns), strict=True)]
        for _, fields in self.plant.client.xrange(f"{prefix}:events", b"(" + archived):
            with contextlib.suppress(ValueError):  # bytes that are no event: of a test that put them there
                event = json.loads(fields[b"e"])
                if event["tag"] == self.tag:
                    found.append(Row(*(event[c] for c in columns)))
        if (self.plant.client.hget(f"{prefix}:state", "archived") or b"0-0") != archived:
            return self._stored(
                number
            )  # some went from the stream to a file meanwhile, and were seen twice or not
        return found

    def close(self) -> dict[str, int]:
        """End the load, let everything settle, compare; what the ledger and the store hold."""
        ledger = self.load.stop()
        rows = self.compare(ledger.acknowledged.keys() - ledger.excused)
        return {
            "sent": len(ledger.sent),
            "acknowledged": len(ledger.acknowledged),
            "stored": len(rows),
            "lost": len(ledger.acknowledged.keys() - {row.event_id for row in rows}),
        }

    def compare(self, promised: Set[str]) -> list[Row]:
        """Wait until what is promised is stored, and compare all that is with what was sent; what is stored."""
        ledger = self.load.ledger
        rows: list[Row] = []

        def whole() -> bool:
            # A spool drains after the acknowledgement: so what is promised is waited for.
            rows[:] = self.stored() if self.settled() else []
            return promised <= {row.event_id for row in rows}

        try:
            until(whole, "every acknowledged event is stored and applied", 2 * PATIENCE, 0.3)
        except AssertionError:
            missing = sorted(promised - {row.event_id for row in self.stored()})
            raise AssertionError(f"{len(missing)} acknowledged events are lost: {missing[:5]}") from None
        twice = [name for name, times in Counter(row.event_id for row in rows).items() if times > 1]
        assert not twice, f"{len(twice)} events are stored twice: {twice[:5]}"
        foreign = [row for row in rows if ledger.sent.get(row.event_id) != row]
        assert not foreign, f"stored is not what was sent: {foreign[:3]}"
        self._ask(rows)
        return rows

    def _known(self, path: str) -> bool:
        return bool(self._edge.told("GET", path)["status"] != "INITIALIZING")

    def _ask(self, rows: Sequence[Row]) -> None:
        """Every audience, now and as of now, against the brute-force model."""
        events = [row._asdict() for row in rows]
        for name, rule in RULES.items():
            path = f"/v1/audiences/{self.audiences[name]}"
            until(partial(self._known, path), "an audience is ready")
            wanted = oracle.members(events, rule, at=int(time.time()))
            size = self._edge.told("GET", f"{path}/size")["size"]
            assert size == len(wanted), f"{name}: {size} members, not {len(wanted)}"
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            size = self._edge.told("GET", f"{path}/size?as_of={now}")["size"]
            assert size == len(wanted), f"{name} as of now: {size} members, not {len(wanted)}"


def _place(entry: bytes) -> tuple[int, int]:
    ms, seq = entry.split(b"-")
    return int(ms), int(seq)
