"""Scale: a plan for any rate and any number of visitors, computed from the newest results. docs/scale.md shows it."""

import csv
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from loadtest.measure_peers import COST, DURABLE, SINGLE, TENS, title
from loadtest.openloop import Shoppers
from loadtest.report import RESULTS

GB, TB = 1e9, 1e12
LEAVES = 100  # conditions of one tag that are kept; the row of growth that the worker's cost is taken from
PLANES = LEAVES + 1  # with the built-in one: when a visitor was last seen
BUSY = (
    0.6  # of a core: above it waiting grows faster than work, and a lost machine's share has to go somewhere
)
SHARD = (
    32 * GB
)  # data of one Redis: what a copy of it to a replica or a rewrite of its file takes minutes for
ROOM = 1.5  # memory of the machine to data: fragments, and pages copied while the file is rewritten
REPLICAS = 1
BACKLOG = 600  # seconds of traffic that streams hold while no worker runs
WINDOW, SHORT_WINDOW = (
    172_800,
    3_600,
)  # seconds of event ids: the default, and one that covers the tag's own repeats
GENERATIONS = 2  # an id is kept for up to two windows
PARTITIONS = 1_024  # the most that the setting takes
COLUMNS = 8 << 30  # bytes, COLLECTOR_MAX_COLUMN_BYTES' default
DAYS = 540  # that the archive is kept
VISITORS = 1_000  # to one event a second: those of the plan's largest size, 1 M events/s and 1,000 M visitors
PATIENCE = 1.0  # seconds that somebody waits for a size
# Dollars a month, of no provider: put in your own.
CORE, MEMORY, DISK, OBJECTS = 20.0, 3.0, 0.10, 0.02  # a core; a GB of memory, of disk, of object storage


class Costs(NamedTuple):
    """What was measured. µs of processor an event, bytes, milliseconds a visitor; sources: the files' names."""

    single: float  # edge
    tens: float
    append: float  # Redis, for tens
    apply: float  # Redis, for the worker
    worker: float
    visitor: float  # bytes
    leaf: float
    id: float
    stream: float
    file: float  # append-only file, an event: appended and applied
    archived: float
    request: float  # bytes on the wire an event, in tens
    cold: float  # ms a visitor and leaf
    warm: float
    sources: tuple[str, ...]


class Missing(Exception):
    """No result holds a number that the plan needs."""


def measured(folder: Path = RESULTS) -> Costs:
    """From the newest result that holds each number; a rough one only where there is no other. Raises Missing."""
    sources: list[str] = []

    def row(name: str) -> list[str]:
        start = f"| {name} |"
        for file in newest(folder, "*-bench*.md"):
            for line in file.read_text().splitlines():
                if line.startswith(start) and "not measured" not in line:
                    sources.append(file.name)
                    return [cell.strip() for cell in line.strip("|").split(" | ")]
        raise Missing(f"no result of make bench has a row {name!r}")

    def cost(name: str) -> tuple[float, float]:
        found = COST.search(row(name)[-1])
        if not found:
            raise Missing(f"the row {name!r} does not tell its cost")
        return float(found[1]), float(found[2])

    def number(name: str) -> float:
        return float(re.sub(r"[^\d.].*", "", row(name)[1].replace(",", "")))

    def curve(name: str) -> list[dict[str, float]]:
        for file in newest(folder, f"*-growth-{name}.csv"):
            sources.append(file.name)
            with file.open() as lines:
                return [{key: float(value) for key, value in line.items()} for line in csv.DictReader(lines)]
        raise Missing(f"no result of make growth has the curve {name!r}")

    (single, _), (tens, append) = (cost(title(peer, DURABLE, 1)) for peer in (SINGLE, TENS))
    worker = next(line for line in curve("audiences") if line["audiences"] == LEAVES)
    largest = curve("visitors")[-1]
    return Costs(
        single=single,
        tens=tens,
        append=append,
        apply=worker["redis_us_an_event"],
        worker=worker["worker_us_an_event"],
        visitor=number("Redis bytes a visitor: dictionary with the ids"),
        leaf=number("Redis bytes a visitor and leaf"),
        id=number("Redis bytes an event id"),
        stream=worker["stream_bytes_an_event"],
        file=worker["append_aof_bytes_an_event"] + worker["apply_aof_bytes_an_event"],
        archived=worker["archive_bytes_an_event"],
        request=len(Shoppers("collect.example", "0" * 13, 10, 2**31, seed=1).request()) / 10,
        cold=largest["size_cold_ms"] / largest["visitors"],
        warm=largest["size_warm_ms"] / largest["visitors"],
        sources=tuple(dict.fromkeys(sources)),
    )


def newest(folder: Path, pattern: str) -> list[Path]:
    """The newest first, rough ones last."""
    found = sorted(folder.glob(pattern), reverse=True)
    return sorted(found, key=lambda file: "quick" in file.name)


class Plan(NamedTuple):
    """What a rate (events/s) and a number of visitors take. Cores at BUSY; bytes; event ids kept for SHORT_WINDOW."""

    rate: float
    visitors: float
    edge: float
    edge_single: float
    worker: float
    redis: float  # busy cores, not processes
    dictionary: float
    columns: float
    ids: float
    ids_default: float
    streams: float
    shards: int
    partitions: int
    written: float  # bytes a second to all append-only files
    network: float  # bytes a second to all edges
    archive: float
    cold: float  # seconds of one query process
    warm: float
    dollars: float  # a month


def plan(costs: Costs, rate: float, visitors: float) -> Plan:
    """The arithmetic: every cost times its number, divided by how full things may be."""
    cores = rate / 1e6 / BUSY  # for a µs an event
    redis = (costs.append + costs.apply) * cores
    dictionary, columns = costs.visitor * visitors, costs.leaf * PLANES * visitors
    ids, ids_default = (costs.id * rate * GENERATIONS * window for window in (SHORT_WINDOW, WINDOW))
    streams = costs.stream * rate * BACKLOG
    data = dictionary + columns + ids + streams
    shards = max(1, math.ceil(redis), math.ceil(data / SHARD))
    archive = costs.archived * rate * 86_400 * DAYS
    copies = 1 + REPLICAS
    # A replica is not read, but it takes every write: a core for each Redis, and its file twice, for rewrites.
    processors = costs.tens * cores + costs.worker * cores + shards * copies
    dollars = (
        processors * CORE
        + data * ROOM * copies / GB * MEMORY
        + data * 2 * copies / GB * DISK
        + archive / GB * OBJECTS
    )
    return Plan(
        rate,
        visitors,
        costs.tens * cores,
        costs.single * cores,
        costs.worker * cores,
        redis,
        dictionary,
        columns,
        ids,
        ids_default,
        streams,
        shards,
        min(PARTITIONS, max(16, 2 ** math.ceil(math.log2(4 * shards)))),
        costs.file * rate,
        costs.request * rate,
        archive,
        costs.cold * visitors / 1e3,
        costs.warm * visitors / 1e3,
        dollars,
    )


class Limit(NamedTuple):
    """At how many events a second, with VISITORS to each, one thing ends; and what to do then."""

    rate: float
    what: str
    then: str


def limits(costs: Costs) -> list[Limit]:
    """What breaks first, first."""
    each = VISITORS * (costs.visitor + PLANES * costs.leaf)
    found = [
        Limit(
            SHARD / (costs.id * GENERATIONS * WINDOW),
            f"{SHARD / GB:.0f} GB full of event ids of 48 hours",
            f"`COLLECTOR_ID_WINDOW={SHORT_WINDOW}`: {WINDOW / SHORT_WINDOW:.0f} times as far",
        ),
        Limit(
            COLUMNS / (costs.leaf * PLANES * VISITORS),
            f"8 GiB of columns ({LEAVES} conditions): the next audience is refused",
            "`COLLECTOR_MAX_COLUMN_BYTES`, and memory for it",
        ),
        Limit(SHARD / each, f"{SHARD / GB:.0f} GB full of visitors and columns", "a cluster"),
        Limit(1e6 / costs.single, "one edge process, one event a request", "`serve` replicas"),
        Limit(1e6 / costs.tens, "one edge process, ten events a request", "`serve` replicas"),
        Limit(1e6 / costs.worker, "one worker process", "`worker` replicas, up to one a partition"),
        Limit(1e6 / (costs.append + costs.apply), "the one thread of one Redis", "a cluster"),
        Limit(
            PATIENCE * 1e3 / (costs.cold * VISITORS),
            f"a cold size in {PATIENCE:.0f} s",
            "`serve --only query` keeps chunks: the second question takes the warm time",
        ),
        Limit(
            PATIENCE * 1e3 / (costs.warm * VISITORS),
            f"a warm size in {PATIENCE:.0f} s",
            "nothing yet: one process asks for all partitions; it would have to be spread",
        ),
        Limit(
            PARTITIONS * BUSY * 1e6 / (costs.append + costs.apply),
            f"{PARTITIONS:,} Redis with one partition each",
            "a second installation, tags split between them",
        ),
    ]
    return sorted(found)


SIZES = ((1e4, 1e7), (1e5, 1e8), (1e6, 1e9))


def markdown(costs: Costs | None = None) -> str:
    """What stands in docs/scale.md: costs, plan, limits."""
    costs = costs or measured()
    return "\n\n".join(_sections(costs))


def _sections(costs: Costs) -> Iterator[str]:
    links = ", ".join(f"[{name}](../loadtest/results/{name})" for name in costs.sources)
    rough = " **Some of it is rough (`--quick`).**" if any("quick" in name for name in costs.sources) else ""
    yield f"## What was measured\n\nFrom {links}.{rough}"
    yield _table(
        ("an event costs", "µs of a core"),
        [
            ("edge, one event a request", f"{costs.single:,.1f}"),
            ("edge, ten events a request", f"{costs.tens:,.1f}"),
            ("Redis, to append it (ten a request)", f"{costs.append:,.1f}"),
            (f"Redis, to read and apply it ({LEAVES} conditions)", f"{costs.apply:,.1f}"),
            (f"worker ({LEAVES} conditions), with the archive", f"{costs.worker:,.1f}"),
        ],
    )
    yield _table(
        ("", "bytes"),
        [
            ("a visitor in Redis", f"{costs.visitor:,.1f}"),
            ("a visitor and condition in Redis", f"{costs.leaf:,.2f}"),
            ("an event id in Redis", f"{costs.id:,.1f}"),
            ("an event in a stream", f"{costs.stream:,.0f}"),
            ("an event in the append-only file, appended and applied", f"{costs.file:,.0f}"),
            ("an event in the archive", f"{costs.archived:,.0f}"),
            ("an event on the wire, in tens", f"{costs.request:,.0f}"),
        ],
    )
    plans = [plan(costs, *size) for size in SIZES]
    rows: list[tuple[str, Callable[[Plan], str]]] = [
        ("edge cores, ten events a request", lambda one: f"{one.edge:,.1f}"),
        ("edge cores, one event a request", lambda one: f"{one.edge_single:,.1f}"),
        ("worker cores", lambda one: f"{one.worker:,.1f}"),
        ("Redis, busy cores", lambda one: f"{one.redis:,.1f}"),
        ("Redis: dictionaries of visitors, GB", lambda one: f"{one.dictionary / GB:,.1f}"),
        (f"Redis: columns of {LEAVES} conditions, GB", lambda one: f"{one.columns / GB:,.1f}"),
        ("Redis: event ids of one hour, GB", lambda one: f"{one.ids / GB:,.1f}"),
        ("the same of 48 hours (default), GB", lambda one: f"{one.ids_default / GB:,.0f}"),
        (
            f"Redis: streams, {BACKLOG // 60} minutes without a worker, GB",
            lambda one: f"{one.streams / GB:,.1f}",
        ),
        (
            f"Redis primaries of {SHARD / GB:.0f} GB, each with {REPLICAS} replica",
            lambda one: f"{one.shards:,}",
        ),
        ("partitions", lambda one: f"{one.partitions:,}"),
        (
            "written to append-only files, MB/s, all and a primary",
            lambda one: _each(one.written / 1e6, one.shards),
        ),
        ("network to the edges, Gbit/s", lambda one: f"{8 * one.network / 1e9:,.2f}"),
        (f"archive of {DAYS} days, TB", lambda one: f"{one.archive / TB:,.1f}"),
        ("a size, cold; warm, s (one query process)", lambda one: f"{one.cold:,.2f}; {one.warm:,.2f}"),
        ("dollars a month", lambda one: f"{_round(one.dollars):,.0f}"),
    ]
    head = ("", *(f"{one.rate:,.0f} events/s, {one.visitors / 1e6:,.0f} M visitors" for one in plans))
    yield "## The plan"
    yield _table(head, [(name, *(show(one) for one in plans)) for name, show in rows])
    yield f"## What breaks first\n\nWith {VISITORS:,} visitors to each event a second, in the order of growth:"
    yield _table(
        ("at events/s", "ends", "then"),
        [(f"{_round(one.rate):,.0f}", one.what, one.then) for one in limits(costs)],
    )


def _each(whole: float, parts: int) -> str:
    return f"{whole:,.0f}; {whole / parts:,.1f}"


def _round(value: float) -> float:
    """To two digits: more would be a lie."""
    return round(value, 1 - math.floor(math.log10(value)))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
