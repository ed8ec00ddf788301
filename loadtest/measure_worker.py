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
from loadtest.traffic import MATCHES, RULES, events

GOAL = 80_000  # events a second and core
NEVER = 10**9
LOOK = 0.1  # seconds between looks at the worker's own counter


def measure(asked: Asked) -> Iterator[Line]:
    """The worker process alone on one core, Redis on the other; first without, then with archive files."""
    count = 100_000 if asked.quick else 400_000
    for archive in (False, True):
        rate, own, server, script = _run(count, archive)
        flushed = "archive written meanwhile" if archive else "archive thread idle"
        yield at_least(
            f"worker, 20 leaves, 3 matches an event, {flushed}: events/s",
            rate,
            GOAL,
            f"worker {own:.1f} µs of processor an event; Redis {server:.1f}, of which apply and resolve {script:.1f}; "
            "one event in ten of a new visitor",
        )


class Done(NamedTuple):
    """Events a second; µs of processor an event: the worker's, Redis', of that Redis' scripts."""

    rate: float
    own: float
    server: float
    script: float


def _run(count: int, archive: bool) -> Done:
    later = {} if archive else {"flush_events": NEVER, "flush_seconds": NEVER}
    with Rig(server_core=SECOND, **later) as rig:
        tag = rig.tag.id
        registry = Registry(rig.client, rig.installation, rig.settings, clock.system)
        for rule in RULES:
            registry.create(tag, "a leaf", "", {**rule, "prefill": False})
        now = int(time.time()) + 1
        sealed = list(events(tag, count, count // 10, now))
        _check_matches(tag, sealed[:1_000])
        append(rig, sealed)
        return work_off(rig, count)


def work_off(rig: Rig, count: int) -> Done:
    """Start a worker on the first core and wait until it has applied `count` events, which the streams hold."""
    before: dict[str, Any] = rig.client.info("all")
    port = free_port()
    worker = rig.start("worker", core=FIRST, worker_metrics_port=port)
    first = last = (0.0, 0, 0.0)
    end = time.monotonic() + PATIENCE
    while last[1] < count:
        time.sleep(LOOK)
        last = (time.perf_counter(), _applied(port), processor_seconds(worker.pid))
        if not first[1]:
            first = last
        if time.monotonic() > end:
            raise RuntimeError(f"the worker applied {last[1]} of {count}:\n{rig.said(worker)}")
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
        importer.append([(number * 1_000 + place, False, one) for place, one in enumerate(batch, 1)])
    return len(sealed) / (time.perf_counter() - started)


def _thousands(sealed: list[ConsentedEvent]) -> Iterator[list[ConsentedEvent]]:
    for first in range(0, len(sealed), 1_000):
        yield sealed[first : first + 1_000]


def _check_matches(tag: str, sealed: list[ConsentedEvent]) -> None:
    matcher = Matcher({tag: [parse(rule).leaves()[0] for rule in RULES]})
    wrong = [one for one in sealed if len(matcher.match(one.bare)) != MATCHES]
    if wrong:
        raise RuntimeError(f"{len(wrong)} events do not match {MATCHES} leaves")


def _applied(port: int) -> int:
    try:
        text = fetch(f"http://127.0.0.1:{port}/metrics")
    except OSError:  # not started yet
        return 0
    found = re.search(r"^collector_applied_events_total (\S+)$", text, re.MULTILINE)
    return int(float(found[1])) if found else 0
