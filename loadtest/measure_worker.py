"""Worker: events a second of one core with twenty leaves and three matches an event, from full streams."""

import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from collector import clock
from collector.audience.match import Matcher
from collector.audience.registry import Registry
from collector.audience.rules import parse
from collector.consent import ConsentedEvent
from collector.stream.append import Importer
from loadtest.report import Asked, Line, at_least
from loadtest.rig import FIRST, PATIENCE, SECOND, Rig, fetch, free_port, processor_seconds
from loadtest.traffic import MATCHES, RULES, events, rules

GOAL = 80_000  # events a second and core
LEAVES = (20, 100, 1_000)
NEVER = 10**9
LOOK = 0.1  # seconds between looks at the worker's own counter


def measure(asked: Asked) -> Iterator[Line]:
    """The worker process alone on one core, Redis on the other: without archive files, then with them."""
    count = 100_000 if asked.quick else 400_000
    for leaves in LEAVES:
        done = _run(count, leaves, archived=False)
        title = f"worker, {leaves:,} leaves, {MATCHES} matches an event: events/s"
        beside = f"{done}; one event in ten of a new visitor; archive idle"
        if leaves == LEAVES[0]:
            yield at_least(title, done.rate, GOAL, beside)
        else:
            yield Line(title, f"{done.rate:,.0f}", beside=beside)
    done = _run(count, LEAVES[0], archived=True)
    yield Line(
        f"worker, {LEAVES[0]} leaves, applied and archived: events/s", f"{done.rate:,.0f}", beside=str(done)
    )


class Done(NamedTuple):
    """Events a second; µs of processor an event: the worker's, Redis', of that Redis' scripts."""

    rate: float
    own: float
    server: float
    script: float

    def __str__(self) -> str:
        return (
            f"worker {self.own:.1f} µs of processor an event; Redis {self.server:.1f}, "
            f"of which apply and resolve {self.script:.1f}"
        )


def _run(count: int, leaves: int, *, archived: bool) -> Done:
    when = {"flush_seconds": 1} if archived else {"flush_events": NEVER, "flush_seconds": NEVER}
    with Rig(server_core=SECOND, **when) as rig:
        tag = rig.tag.id
        registry = Registry(rig.client, rig.installation, rig.settings, clock.system)
        for rule in rules(leaves):
            registry.create(tag, "a leaf", "", {**rule, "prefill": False})
        now = int(time.time()) + 1
        sealed = list(events(tag, count, count // 10, now))
        _check_matches(tag, sealed[:1_000])
        append(rig, sealed)
        return work_off(rig, count, archived=archived)


def work_off(rig: Rig, count: int, *, archived: bool) -> Done:
    """Start a worker on the first core and wait until it has applied `count` events, which the streams hold.

    archived: until it has written them to the archive too.
    """
    before: dict[str, Any] = rig.client.info("all")
    port = free_port()
    worker = rig.start("worker", core=FIRST, worker_metrics_port=port)
    first = last = (0.0, 0, 0.0)
    end = time.monotonic() + PATIENCE
    while last[1] < count:
        time.sleep(LOOK)
        last = (time.perf_counter(), _told(port, archived), processor_seconds(worker.pid))
        if not first[1]:
            first = last
        if time.monotonic() > end:
            raise RuntimeError(f"the worker is done with {last[1]} of {count}:\n{rig.said(worker)}")
    after: dict[str, Any] = rig.client.info("all")
    done = last[1] - first[1]
    script = sum(
        after[key]["usec"] - before.get(key, {"usec": 0})["usec"]
        for key in after
        if key.startswith("cmdstat_eval")
    )
    server = sum(after[key] - before[key] for key in ("used_cpu_user", "used_cpu_sys"))
    return Done(
        done / (last[0] - first[0]),
        1e6 * (last[2] - first[2]) / done,
        1e6 * server / count,
        script / count,
    )


def append(rig: Rig, sealed: list[ConsentedEvent], ledger: str = "bench:events") -> float:
    """Append events as an import does, without an id memory; events a second. Of one ledger each line goes in once."""
    importer = Importer(rig.client, rig.installation, rig.settings, ledger)
    started = time.perf_counter()
    for number, batch in enumerate(_thousands(sealed)):
        importer.append([importer.pack(number * 1_000 + place, False, one) for place, one in enumerate(batch, 1)])
    return len(sealed) / (time.perf_counter() - started)


def _thousands(sealed: list[ConsentedEvent]) -> Iterator[list[ConsentedEvent]]:
    for first in range(0, len(sealed), 1_000):
        yield sealed[first : first + 1_000]


def _check_matches(tag: str, sealed: list[ConsentedEvent]) -> None:
    matcher = Matcher({tag: [parse(rule).leaves()[0] for rule in RULES]})
    wrong = [one for one in sealed if len(matcher.match(one.bare)) != MATCHES]
    if wrong:
        raise RuntimeError(f"{len(wrong)} events do not match {MATCHES} leaves")


def _told(port: int, archived: bool) -> int:
    """Events that the worker says it has applied, and archived if that is asked."""
    try:
        text = fetch(f"http://127.0.0.1:{port}/metrics")
    except OSError:  # not started yet
        return 0
    names = ("applied_events", "archived_rows") if archived else ("applied_events",)
    found = [re.search(rf"^collector_{name}_total (\S+)$", text, re.MULTILINE) for name in names]
    return min(int(float(each[1])) if each else 0 for each in found)
