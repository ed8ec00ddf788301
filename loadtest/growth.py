"""Growth: how memory, sizes and the worker go with visitors, audiences and days: curves as CSV and SVG."""

import argparse
import csv
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from collector import clock
from collector.audience.registry import Registry
from collector.audience.rules import parse
from collector.audience.sizes import Question, Sizes
from loadtest.measure_memory import apply, memory
from loadtest.measure_sizes import milliseconds
from loadtest.measure_worker import append, work_off
from loadtest.plot import svg
from loadtest.report import RESULTS, machine
from loadtest.rig import SECOND, Api, Rig, server_name
from loadtest.traffic import events, rules

VISITORS = (10_000, 100_000, 1_000_000, 10_000_000)
AUDIENCES = (1, 10, 20, 100, 1_000)
DAYS = (1, 2, 7, 30, 90, 180, 365, 540)
LONGEST = 540  # days that the visitors' last times are spread over
RULE = {"event": "addtocart", "retention_days": 30, "exclude": [{"event": "checkout"}], "prefill": False}
FLUSH = 2  # seconds: the archive is written while the worker applies
LISTED = 1_000  # audiences that one listing may show


class Curves(NamedTuple):
    """One table of numbers, the first column across, and the plots made of it: name → (unit, columns)."""

    name: str
    across: str
    rows: list[dict[str, float]]
    plots: dict[str, tuple[str, tuple[str, ...]]]


def visitors(counts: tuple[int, ...]) -> Iterator[Curves]:
    """One installation that grows: every visitor once, by the worker's own step; two leaves."""
    grown: list[dict[str, float]] = []
    with Rig(server_core=SECOND) as rig:
        registry = Registry(rig.client, rig.installation, rig.settings, clock.system)
        registry.create(rig.tag.id, "carted, not bought", "", RULE)
        now = int(time.time())
        rule = parse(RULE)
        question = Question.of(rule, 0, now)
        empty, had, written = memory(rig), 0, _file(rig)
        step = apply(rig)
        for count in counts:
            # Another seed for every stretch: other visitors.
            step(events(rig.tag.id, count - had, count - had, now, seed=count, past_days=LONGEST))
            full, had = memory(rig), count
            kept = Sizes(rig.client, rig.installation)
            grown.append(
                {
                    "visitors": count,
                    "used_memory_bytes": full.used - empty.used,
                    "bytes_a_visitor": (full.used - empty.used) / count,
                    "resident_bytes_a_visitor": (full.resident - empty.resident) / count,
                    "aof_bytes_an_event": (_file(rig) - written) / count,
                    "size_cold_ms": milliseconds(
                        lambda: Sizes(rig.client, rig.installation).size(rig.tag.id, question)
                    ),
                    "size_warm_ms": milliseconds(partial(kept.size, rig.tag.id, question)),
                    "curve_ms": milliseconds(partial(kept.curve, rig.tag.id, rule, at=now, floor=0)),
                }
            )
            print(grown[-1], flush=True)
        days: list[dict[str, float]] = []
        for each in DAYS:
            asked = Question.of(rule, 0, now, each)
            days.append(
                {
                    "days": each,
                    "size": kept.size(rig.tag.id, asked),
                    "size_warm_ms": milliseconds(partial(kept.size, rig.tag.id, asked)),
                }
            )
            print(days[-1], flush=True)
    yield Curves(
        "visitors",
        "visitors",
        grown,
        {
            "memory": ("Redis bytes a visitor, two leaves", ("bytes_a_visitor", "resident_bytes_a_visitor")),
            "sizes": ("milliseconds", ("size_cold_ms", "size_warm_ms", "curve_ms")),
        },
    )
    yield Curves(
        "days", "lookback, days", days, {"sizes": ("milliseconds; members", ("size_warm_ms", "size"))}
    )


def audiences(counts: tuple[int, ...], total: int) -> Iterator[Curves]:
    """A new installation for each number of audiences: the worker's rate, what it costs, and the list of all sizes."""
    found: list[dict[str, float]] = []
    for count in counts:
        with Rig(server_core=SECOND, flush_seconds=FLUSH) as rig:
            registry = Registry(rig.client, rig.installation, rig.settings, clock.system)
            for rule in rules(count):
                registry.create(rig.tag.id, "a leaf", "", {**rule, "prefill": False})
            sealed = list(events(rig.tag.id, total, total // 10, int(time.time()) + 1))
            before, file = memory(rig), _file(rig)
            append(rig, sealed)
            stream, appended = memory(rig).used - before.used, _file(rig)
            done = work_off(rig, total, archived=True)
            _, url = rig.serve("--only", "query")
            api = Api(url)
            path = f"/v1/audiences?tag={rig.tag.id}&limit={LISTED}"
            api.ask("GET", path)
            found.append(
                {
                    "audiences": count,
                    "worker_events_per_s": done.rate,
                    "worker_us_an_event": done.own,
                    "redis_us_an_event": done.server,
                    "stream_bytes_an_event": stream / total,
                    "append_aof_bytes_an_event": (appended - file) / total,
                    "apply_aof_bytes_an_event": (_file(rig) - appended) / total,
                    "archive_bytes_an_event": _archived(rig) / total,
                    "list_warm_ms": milliseconds(partial(api.ask, "GET", path)),
                }
            )
            print(found[-1], flush=True)
    yield Curves(
        "audiences",
        "audiences, three of which match an event",
        found,
        {
            "worker": ("events a second and core", ("worker_events_per_s",)),
            "list": ("milliseconds for the list with all sizes", ("list_warm_ms",)),
        },
    )


def _file(rig: Rig) -> int:
    """Bytes of Redis' append-only file; it must not be rewritten meanwhile."""
    rig.client.config_set("auto-aof-rewrite-percentage", 0)
    return int(rig.client.info("persistence")["aof_current_size"])


def _archived(rig: Rig) -> int:
    return sum(file.stat().st_size for file in rig.settings.archive.rglob("*.parquet"))


def keep(curves: Curves, start: str) -> list[Path]:
    """Write a CSV, and an SVG for each of its plots; the files."""
    table = RESULTS / f"{start}-growth-{curves.name}.csv"
    first, *_ = curves.rows[0]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(curves.rows[0]))
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in curves.rows)
    files = [table]
    for plot, (unit, columns) in curves.plots.items():
        lines = {name: [(row[first], row[name]) for row in curves.rows if row[name] > 0] for name in columns}
        files.append(RESULTS / f"{start}-growth-{curves.name}-{plot}.svg")
        files[-1].write_text(svg(f"{curves.name}: {plot}", curves.across, unit, lines))
    return files


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer, smaller steps")
    asked = parser.parse_args()
    start = datetime.now(UTC).strftime("%Y-%m-%d") + ("-quick" if asked.quick else "")
    files: list[Path] = []
    for curves in (
        *audiences(AUDIENCES[:4] if asked.quick else AUDIENCES, 20_000 if asked.quick else 200_000),
        *visitors(VISITORS[:2] if asked.quick else VISITORS),
    ):
        files += keep(curves, start)
    page = RESULTS / f"{start}-growth.md"
    given = " ARGS=--quick" if asked.quick else ""
    pictures = "\n".join(f"![{file.stem}]({file.name})" for file in files if file.suffix == ".svg")
    head = f"# Growth, {start}\n\n{machine(server_name())}\n- Repeat it with `make growth{given}`."
    page.write_text(f"{head}\n\n{pictures}\n")
    print(*files, page, sep="\n")


if __name__ == "__main__":
    main()
