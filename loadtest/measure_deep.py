"""Deep: leaves filled from twenty million rows of a million visitors, and a past instant asked of them."""

import time
from collections.abc import Iterator
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collector import clock
from collector.archive import rows as archive_rows
from collector.archive import scan, sql
from collector.archive.manifest import Manifest
from collector.archive.write import Writer
from collector.audience.rules import parse
from collector.clock import DAY, iso
from collector.worker import backfill
from loadtest.load import rows
from loadtest.measure_past import RULES, ready
from loadtest.measure_worker import append
from loadtest.report import Asked, Line, at_least, at_most
from loadtest.rig import Api, Rig
from loadtest.traffic import events

COPIES = 20  # of each event, every one some weeks before the last
WEEKS = 3.5
SLICE = 50_000  # events sent at a time
SCAN_GOAL = 8_000_000  # rows a second and core
AS_OF_GOAL = 1.0  # seconds


def measure(asked: Asked) -> Iterator[Line]:
    """A million events through stream and worker; their rows are then copied into the past, file beside file."""
    visitors = 100_000 if asked.quick else 1_000_000
    with Rig() as rig:
        tag, now = rig.tag.id, int(time.time())
        worker = rig.start("worker")
        sealed = events(tag, visitors, visitors, now)
        for first in range(0, visitors, SLICE):
            append(rig, list(islice(sealed, SLICE)), f"bench:{first}")
        if rows(rig.settings, tag) != visitors:
            raise RuntimeError("not all events are in the archive")
        rig.end(worker)
        for number in range(rig.installation.partitions):
            _deepen(Writer(rig.client, rig.installation, number, rig.settings, clock.system), tag)
        total = rows(rig.settings, tag)
        yield at_least(
            f"scan of {total:,} archive rows for three leaves, rows/s and core",
            total / _scan(rig, tag),
            SCAN_GOAL,
            "the backfill's own query, one thread, file cache warm; a row is looked at once for all three",
        )
        _, url = rig.serve("--only", "query")
        rig.start("worker")
        api = Api(url)
        started = time.perf_counter()
        made = [
            api.ask("POST", "/v1/audiences", {"tag": tag, "name": "past", "rule": rule})["id"]
            for rule in RULES
        ]
        shown = [ready(api, audience) for audience in made]
        took = time.perf_counter() - started
        yield Line(
            f"{total:,} events of {visitors:,} visitors: three leaves from nothing to READY",
            f"{took:.1f} s",
            beside=f"{total / took:,.0f} rows/s, the merges into columns among it; "
            f"sizes {' and '.join(format(one['size'], ',') for one in shown)}",
        )
        instant, times = iso(int(time.time())), []
        for audience in made:
            started = time.perf_counter()
            api.ask("GET", f"/v1/audiences/{audience}/size?as_of={instant}")
            times.append(time.perf_counter() - started)
        yield at_most(
            f"as_of over {total:,} rows",
            max(times),
            AS_OF_GOAL,
            "the slower of the two audiences, over the API",
            unit=" s",
            digits=2,
        )


def _deepen(writer: Writer, tag: str) -> None:
    """One more file: the rows that there are, each again and again, further and further back."""
    past = writer.manifest.past(tag)
    table = pa.concat_tables(
        pq.read_table(writer.manifest.path(tag, file.name), schema=archive_rows.SCHEMA) for file in past.files
    )
    place = table.schema.get_field_index("event_time")
    copies = [
        table.set_column(place, "event_time", pc.subtract(table["event_time"], int(n * WEEKS * 7 * DAY)))
        for n in range(1, COPIES)
    ]
    new = writer._write(tag, pa.concat_tables(copies), {})
    if not writer.manifest.replace(tag, past.erasures, [], new, [], 0):
        raise RuntimeError("the manifest took no file")


def _scan(rig: Rig, tag: str) -> float:
    """The seconds that one thread takes to find the latest matches of all partitions."""
    leaves = [leaf for rule in RULES for leaf in parse(rule).leaves()]
    now = int(time.time()) + 1
    spans = [sql.Span(leaf, now - 540 * DAY, now) for leaf in leaves]
    best = float("inf")
    for _ in range(2):
        started = time.perf_counter()
        for number in range(rig.installation.partitions):
            manifest = Manifest(rig.client, number, rig.settings.archive)
            files = manifest.past(tag).files
            paths = [str(manifest.path(tag, file.name)) for file in files]
            query = sql.latest(
                spans, source="archived", marks="marks", until=(now * 1000, 0), extent=backfill.extent(files)
            )
            with scan.connect(paths, archive_rows.SCHEMA.empty_table(), {}) as connection:
                connection.execute("SET threads = 1")
                connection.execute(query).to_arrow_table()
        best = min(best, time.perf_counter() - started)
    return best
