"""Soak: seven tenths of what the whole path takes, for minutes, while audiences come and go: what must stay flat."""

import argparse
import secrets
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any, NamedTuple

from loadtest.client import Client
from loadtest.load import fates, rows
from loadtest.measure_memory import memory
from loadtest.measure_open import send
from loadtest.report import RESULTS, Line, at_most, page
from loadtest.rig import PATIENCE, Api, Rig, resident_bytes, server_name
from loadtest.traffic import RULES

SHARE = 0.7  # of saturation
WARM = 10  # seconds in which saturation is found
POPULATION = 5_000  # visitors, few enough that all of them come soon: new ones would take memory rightly
MOST_AUDIENCES = 20  # at a time, beside the one that counts everybody
PAUSE = 0.5  # seconds between changes of audiences
LOOKS = 60  # samples of a run
MEMORY_GOAL, LATENCY_GOAL = 1.10, 1.5  # the last quarter to the second; a tenth is what allocators swing by


class Look(NamedTuple):
    """Bytes at an instant."""

    edge: int
    worker: int
    redis: int


class Changes(threading.Thread):
    """A marketer who creates, edits and deletes audiences, half of them over past traffic, until told to stop."""

    def __init__(self, url: str, tag: str) -> None:
        super().__init__()
        self._api, self._tag = Api(url), tag
        self.stopped = threading.Event()
        self.done = {"created": 0, "edited": 0, "deleted": 0}
        self.failure: Exception | None = None

    def run(self) -> None:
        made: list[str] = []
        try:
            while not self.stopped.wait(PAUSE):
                if len(made) < MOST_AUDIENCES:
                    asked = {"tag": self._tag, "name": "soak", "rule": self._rule()}
                    made.append(self._api.ask("POST", "/v1/audiences", asked)["id"])
                    self.done["created"] += 1
                    self._api.ask("PATCH", f"/v1/audiences/{secrets.choice(made)}", {"rule": self._rule()})
                    self.done["edited"] += 1
                else:
                    self._api.ask("DELETE", f"/v1/audiences/{made.pop(secrets.randbelow(len(made)))}")
                    self.done["deleted"] += 1
                self._api.ask("GET", f"/v1/audiences?tag={self._tag}")
        except Exception as error:
            self.failure = error

    def _rule(self) -> dict[str, Any]:
        kept = {"retention_days": secrets.randbelow(540) + 1, "prefill": bool(secrets.randbelow(2))}
        return {**secrets.choice(RULES), **kept}


class Looks(threading.Thread):
    """Looks at the memory of all parts, every so many seconds, until told to stop."""

    def __init__(self, rig: Rig, edge: int, worker: int, every: float) -> None:
        super().__init__()
        self._rig, self._pids, self._every = rig, (edge, worker), every
        self.stopped = threading.Event()
        self.found: list[Look] = []

    def run(self) -> None:
        while not self.stopped.wait(self._every):
            edge, worker = (resident_bytes(pid) for pid in self._pids)
            self.found.append(Look(edge, worker, memory(self._rig).used))


def growth(values: Sequence[float]) -> float:
    """How many times the median of the second quarter that of the last is."""
    quarter = max(1, len(values) // 4)
    return median(values[-quarter:]) / max(median(values[quarter : 2 * quarter]), 1e-9)


def soak(minutes: float, events: int) -> list[Line]:
    """Everything as `collector up` runs it, unpinned, the client beside it."""
    seconds = 60 * minutes
    # Event ids are kept for up to two windows: one that is short against the run lets their memory get level.
    with Rig(id_window=max(1, round(seconds / 10)), flush_seconds=5) as rig:
        edge, url = rig.serve()
        worker = rig.start("worker")
        rule = {"prefill": False, "event": ["pagevisit", "viewcategory", "addtocart", "checkout"]}
        counting = Api(url).ask(
            "POST", "/v1/audiences", {"tag": rig.tag.id, "name": "everybody", "rule": rule}
        )["id"]
        started = time.monotonic()
        Client(f"{url}/v1/events", rig.tag.id, WARM, events=events).result()
        before = rows(rig.settings, rig.tag.id)  # and the worker done with them: what the whole path takes
        known, told_before = _size(url, counting), fates(url)
        most = before / events / (time.monotonic() - started)
        print(f"saturation {most * events:,.0f} events/s", flush=True)
        changes = Changes(url, rig.tag.id)
        looks = Looks(rig, edge.pid, worker.pid, seconds / LOOKS)
        changes.start()
        looks.start()
        try:
            told = send(
                rig, url, SHARE * most, seconds, events=events, population=POPULATION, every=seconds / LOOKS
            )
        finally:
            for thread in (changes, looks):
                thread.stopped.set()
                thread.join()
        archived = rows(rig.settings, rig.tag.id) - before
        counted = fates(url) - told_before
        size = _settle(url, counting, known + told.visitors) - known
    accepted = counted["accepted full"]
    closed = not told.errors and told.accepted == accepted == archived and size == told.visitors
    done = ", ".join(f"{count} {what}" for what, count in changes.done.items())
    lines = [
        Line(
            "events accepted: told / counted / archived; visitors: sent / in the audience",
            f"{told.accepted:,} / {accepted:,} / {archived:,}; {told.visitors:,} / {size:,}",
            "equal",
            closed,
            f"{told.errors} errors; {told.offered * events:,.0f} of {most * events:,.0f} events/s, {minutes:g} minutes",
        ),
        Line(
            "audiences created, edited and deleted meanwhile",
            done,
            "no error",
            changes.failure is None,
            str(changes.failure or ""),
        ),
    ]
    for name, of in (("edge", 0), ("worker", 1), ("Redis (used_memory)", 2)):
        values = [look[of] for look in looks.found]
        course = " → ".join(f"{value / 2**20:,.0f}" for value in values[:: max(1, len(values) // 6)])
        lines.append(
            at_most(
                f"memory of {name}: last quarter to second",
                growth(values),
                MEMORY_GOAL,
                f"{course} MiB",
                digits=2,
            )
        )
    windows = [window.p99 for window in told.windows]
    course = " → ".join(f"{value:,.1f}" for value in windows[:: max(1, len(windows) // 6)])
    p50, p99, p999 = told.whole[1:]
    lines.append(
        at_most(
            "p99 from due to answer: last quarter to second",
            growth(windows),
            LATENCY_GOAL,
            f"{course} ms; all of it p50 {p50:.1f}, p99 {p99:.1f}, p99.9 {p999:.1f} ms",
            digits=2,
        )
    )
    return lines


def _size(url: str, audience: str) -> int:
    return int(Api(url).ask("GET", f"/v1/audiences/{audience}/size")["size"])


def _settle(url: str, audience: str, expected: int) -> int:
    """The size, once it is what is expected or has had its time."""
    end = time.monotonic() + PATIENCE
    while (size := _size(url, audience)) != expected and time.monotonic() < end:
        time.sleep(0.2)
    return size


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--events", type=int, default=1, help="events a request")
    asked = parser.parse_args()
    started = time.monotonic()
    lines = soak(asked.minutes, asked.events)
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    command = f"make soak ARGS='--minutes {asked.minutes:g} --events {asked.events}'"
    text = page(today, server_name(), command, time.monotonic() - started, lines, title="Soak")
    suffix = "" if asked.minutes >= parser.get_default("minutes") else "-short"
    (RESULTS / f"{today}-soak{suffix}.md").write_text(text)
    print(text)
    sys.exit(0 if all(line.met for line in lines) else 1)


if __name__ == "__main__":
    main()
