"""Open loop: requests go out when they are due, answered or not, and latency counts from then: no omission.

`python -m loadtest.openloop URL TAG --rate R --seconds S` prints one line of JSON, see Told. A process of its own,
so that it can be pinned. It selects and sends by itself: event loops wait in whole milliseconds.
"""

import argparse
import json
import random
import secrets
import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from loadtest.rig import ORIGIN

CONNECTIONS = 256  # more than are ever busy below saturation
KEPT = 3.0  # seconds for which an idle connection is trusted: the edge closes them after five
LAST = 10.0  # seconds for the last answers
PRODUCTS = 1_000
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
GRANTED = '{"ad_storage":"granted","ad_user_data":"granted","ad_personalization":"granted"}'


class Window(NamedTuple):
    """Answers to the requests that were due in one stretch of time: how many, and milliseconds from due to answer."""

    answered: int
    p50: float
    p99: float
    p999: float


class Told(NamedTuple):
    """What one run did. late: ms by which the client itself sent the last of 100 requests after it was due."""

    offered: float  # requests a second
    answered: int
    accepted: int  # events, as the answers tell
    errors: int  # requests with another answer than 200, or none
    visitors: int  # different ones
    late: float
    busy: float  # share of a core
    whole: Window
    windows: list[Window]


class Shoppers:
    """Requests of visitors from a population, each event with an id never seen before."""

    def __init__(self, host: str, tag: str, events: int, population: int, seed: int | None = None) -> None:
        self._random = random.Random(seed)
        self.seen: set[int] = set()
        self._population, self._events = population, events
        run = secrets.token_hex(12)
        self._body = f'{{"tag":"{tag}","consent":{GRANTED},"visitor":"{run}'
        self._head = (
            f"POST /v1/events HTTP/1.1\r\nHost: {host}\r\nOrigin: {ORIGIN}\r\nUser-Agent: {BROWSER}\r\n"
            "Content-Type: text/plain\r\nContent-Length: "
        )
        self._event = f'{{"event_id":"{secrets.token_hex(8)}'
        names = ("pagevisit", "pagevisit", "viewcategory", "addtocart", "checkout")
        self._rest = [
            f'","event":"{names[n % 5]}","url":"{ORIGIN}/s{n % 6}/product-{n}?colour=red",'
            f'"referrer":"https://search.example/","data":{{"value":{n % 200}.5,"currency":"EUR",'
            f'"product_category":"c{n % 6}","line_items":[{{"product_id":"A{n}","product_name":"Walking shoes",'
            f'"product_price":{n % 200}.5,"product_quantity":1}}]}}}}'
            for n in range(PRODUCTS)
        ]
        self._number = 0

    def request(self) -> bytes:
        visitor = self._random.randrange(self._population)
        self.seen.add(visitor)
        parts = []
        for _ in range(self._events):
            self._number += 1
            parts.append(f"{self._event}{self._number:x}{self._rest[self._random.randrange(PRODUCTS)]}")
        body = f'{self._body}{visitor:08x}","events":[{",".join(parts)}]}}'
        return f"{self._head}{len(body)}\r\n\r\n{body}".encode()


class Answer(NamedTuple):
    """One request's end: seconds from the start at which it was due, ms until sent and until answered; the answer."""

    due: float
    sent: float
    took: float
    raw: bytes


def run(
    address: tuple[str, int],
    shoppers: Shoppers,
    rate: float,
    seconds: float,
    connections: int = CONNECTIONS,
) -> Iterator[Answer]:
    """Send for so long, at random instants that were fixed beforehand, `rate` a second on average.

    An answer that never comes is empty. Raises OSError when nobody listens.
    """
    idle = deque((_open(address), 0.0) for _ in range(connections))  # with the second of their last answer
    busy: dict[socket.socket, tuple[float, float, bytes]] = {}  # when due, when sent, answer so far
    waiting: deque[float] = deque()
    start = time.perf_counter()
    due = 0.0
    while True:
        now = time.perf_counter() - start
        while due <= now and due < seconds:
            waiting.append(due)
            due += random.expovariate(rate)
        while waiting and idle:
            connection, since = idle.popleft()
            if now - since > KEPT:
                connection.close()
                connection = _open(address)
            connection.sendall(shoppers.request())
            busy[connection] = (waiting.popleft(), time.perf_counter() - start, b"")
        if due >= seconds and not waiting and (not busy or now > seconds + LAST):
            break
        wait = due - (time.perf_counter() - start) if due < seconds else 0.1
        for connection in select.select(list(busy), [], [], max(wait, 0))[0]:
            since, sent, got = busy.pop(connection)
            raw = got + (more := connection.recv(65_536))
            if more and not _whole(raw):
                busy[connection] = (since, sent, raw)
                continue
            if not more:
                connection.close()
                connection = _open(address)
            ended = time.perf_counter() - start
            idle.append((connection, ended))
            yield Answer(since, 1000 * (sent - since), 1000 * (ended - since), raw if more else b"")
    for since, sent, _ in busy.values():
        yield Answer(since, 1000 * (sent - since), 1000 * LAST, b"")
    for each in (*busy, *(connection for connection, _ in idle)):
        each.close()


def _open(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _whole(raw: bytes) -> bool:
    head, found, body = raw.partition(b"\r\n\r\n")
    _, has, length = head.lower().partition(b"content-length:")
    return bool(found) and (not has or len(body) >= int(length.split(b"\r\n", 1)[0]))


def tell(answers: Iterator[Answer], rate: float, seconds: float, every: float, shoppers: Shoppers) -> Told:
    """Run it to its end."""
    stretches: list[list[float]] = [[] for _ in range(max(1, int(seconds / every)))]
    late: list[float] = []
    accepted = errors = 0
    for answer in answers:
        stretches[min(int(answer.due / every), len(stretches) - 1)].append(answer.took)
        late.append(answer.sent)
        accepted += answer.raw.count(b'"outcome":"accepted"')
        errors += not answer.raw.startswith(b"HTTP/1.1 200")
    whole = _window([took for some in stretches for took in some])
    return Told(
        rate,
        whole.answered - errors,
        accepted,
        errors,
        len(shoppers.seen),
        share(late, 0.99),
        time.process_time() / seconds,
        whole,
        [_window(some) for some in stretches],
    )


def share(some: list[float], part: float) -> float:
    """The value that `part` of all stay below; 0 of none."""
    return sorted(some)[min(int(part * len(some)), len(some) - 1)] if some else 0.0


def _window(some: list[float]) -> Window:
    return Window(len(some), *(round(share(some, part), 3) for part in (0.5, 0.99, 0.999)))


def read(said: str) -> Told:
    """What a run printed. Raises RuntimeError when it printed something else."""
    try:
        told = json.loads(said.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise RuntimeError(f"the client failed:\n{said}") from None
    windows = [Window(*each) for each in told["windows"]]
    return Told(**{**told, "whole": Window(*told["whole"]), "windows": windows})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.openloop", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("tag")
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--events", type=int, default=1, help="events a request")
    parser.add_argument("--population", type=int, default=2**31, help="visitors to choose from")
    parser.add_argument("--every", type=float, default=10.0, help="seconds of a window")
    asked = parser.parse_args()
    parts = urlsplit(asked.url)
    shoppers = Shoppers(parts.netloc, asked.tag, asked.events, asked.population)
    answers = run((parts.hostname or "", parts.port or 80), shoppers, asked.rate, asked.seconds)
    told = tell(answers, asked.rate, asked.seconds, asked.every, shoppers)
    print(json.dumps(told._asdict()))


if __name__ == "__main__":
    main()
