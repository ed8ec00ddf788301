"""Visible: how long until an acknowledged event shows in a size, and the highest rate at which that stays a second.

Everything runs as `collector up` runs it, unpinned, and the client beside it on the same machine.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

from collector import clock
from collector.audience.registry import Registry
from loadtest.client import Client
from loadtest.report import Asked, Line, at_most
from loadtest.rig import ORIGIN, PATIENCE, Api, Rig
from loadtest.traffic import RULES

MOST = 1.0  # seconds from event to size
EVERY = 0.05  # seconds between probes
LOOK = 0.01  # seconds between looks at the size
CONNECTIONS = 256  # so many that their pauses, not the answers, set the rate
MODERATE = 1_000  # events a second
STEPS = {
    1: (1_000, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000, 16_000, 24_000, 32_000),
    10: (5_000, 10_000, 20_000, 30_000, 40_000, 60_000, 90_000, 150_000),
}
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
GRANTED = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "granted")


def measure(asked: Asked) -> Iterator[Line]:
    """Twenty audiences and a probe's; an event a request, then ten, each at rising rates."""
    seconds = 4 if asked.quick else 6
    with Rig() as rig:
        _, url = rig.serve()
        rig.start("worker")
        registry = Registry(rig.client, rig.installation, rig.settings, clock.system)
        for rule in RULES:
            registry.create(rig.tag.id, "a leaf", "", {**rule, "prefill": False})
        probe = Probe(rig, url)
        _, some = _load(rig, url, probe, MODERATE, 1, seconds * 2)
        yield Line(
            f"event → size at {MODERATE:,} events/s, p50",
            f"{1000 * _share(some, 0.5):,.0f} ms",
            beside=f"{len(some)} probes through POST /v1/events and GET …/size",
        )
        yield at_most(
            f"event → size at {MODERATE:,} events/s, p99", 1000 * _share(some, 0.99), 1000 * MOST, unit=" ms"
        )
        for events, rates in STEPS.items():
            reached, slowest, story = 0.0, 0.0, []
            for rate in rates:
                acknowledged, some = _load(rig, url, probe, rate, events, seconds)
                late = _share(some, 0.99)
                story.append(f"{acknowledged:,.0f}: {late:.2f} s")
                if late > MOST:
                    break
                if acknowledged < 1.05 * reached:  # more was offered, no more was taken
                    break
                reached, slowest = acknowledged, late
            yield Line(
                f"events/s acknowledged and visible within 1 s, {events} a request",
                f"{reached:,.0f}",
                beside=f"p99 {slowest:.2f} s; edge, query, worker, archive, Redis and client on this machine; "
                f"events/s: p99 of each step: {'; '.join(story)}",
            )


class Probe:
    """Sends one event of a new visitor at a time and asks for the size until it counts."""

    def __init__(self, rig: Rig, url: str) -> None:
        self._api, self._edge = Api(url), Api(url)
        self._tag = rig.tag.id
        rule = {"event": "probe", "prefill": False}
        made = self._api.ask("POST", "/v1/audiences", {"tag": self._tag, "name": "probe", "rule": rule})
        self._audience: str = made["id"]
        end = time.monotonic() + PATIENCE
        while self._api.ask("GET", f"/v1/audiences/{self._audience}")["status"] == "INITIALIZING":
            if time.monotonic() > end:
                raise RuntimeError("the probe's audience does not get ready")
            time.sleep(0.1)
        self._size = self._ask()

    def run(self, stop: threading.Event, found: list[float]) -> None:
        """Probe until told to stop. An answer that took long counts for the probes that it kept from being sent."""
        while not stop.is_set():
            started = time.perf_counter()
            self._send()
            while self._ask() <= self._size:
                if time.perf_counter() - started > PATIENCE:
                    raise RuntimeError("a probe was never seen")
                time.sleep(LOOK)
            self._size += 1
            late = time.perf_counter() - started
            while late > 0:
                found.append(late)
                late -= EVERY
            time.sleep(max(0.0, started + EVERY - time.perf_counter()))

    def _send(self) -> None:
        body: dict[str, Any] = {
            "tag": self._tag,
            "visitor": secrets.token_hex(16),
            "consent": GRANTED,
            "events": [{"event": "probe"}],
        }
        headers = {"origin": ORIGIN, "user-agent": BROWSER}
        answer = self._edge.ask("POST", "/v1/events", body, headers)
        if answer["results"][0]["outcome"] != "accepted":
            raise RuntimeError(f"a probe was not accepted: {answer}")

    def _ask(self) -> int:
        return int(self._api.ask("GET", f"/v1/audiences/{self._audience}/size")["size"])


def _load(
    rig: Rig, url: str, probe: Probe, rate: int, events: int, seconds: int
) -> tuple[float, list[float]]:
    """(events acknowledged a second, seconds from event to size) under a client that offers about `rate` events/s."""
    pause = round(1000 * CONNECTIONS * events / rate)
    client = Client(
        f"{url}/v1/events", rig.tag.id, seconds, events=events, connections=CONNECTIONS, pause_ms=pause
    )
    time.sleep(1)
    stop, found = threading.Event(), list[float]()
    thread = threading.Thread(target=probe.run, args=(stop, found))
    thread.start()
    sent = client.result()
    stop.set()
    thread.join()
    return sent.events, found


def _share(some: list[float], share: float) -> float:
    return sorted(some)[min(int(share * len(some)), len(some) - 1)] if some else float("inf")
