"""Past: a file imported end to end, audiences filled from the archive, and a past instant asked of it."""

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from collector.clock import DAY, iso
from loadtest.report import Asked, Line, at_least
from loadtest.rig import PATIENCE, Api, Rig
from loadtest.traffic import CATEGORIES, NAMES

IMPORT_GOAL = 40_000  # events a second
RULES = (
    {"event": "addtocart", "exclude": [{"event": "checkout"}], "retention_days": 30},
    {"event_data": {"product_category": "c3"}, "retention_days": 60},
)  # three leaves
LONGEST = 540  # days; nothing of the generated file is older


def measure(asked: Asked) -> Iterator[Line]:
    """The CLI's import with worker and archive at work, unpinned; then everything over the API."""
    with Rig() as rig:
        _, url = rig.serve("--only", "query")
        rig.start("worker")
        count = 200_000 if asked.quick else 1_200_000
        file = asked.file or _generate(rig.settings.data_dir / "past.csv", count)
        started = time.perf_counter()
        command = rig.start(
            "import", str(file), "--tag", rig.tag.id, "--consent-attested", "measured", "--json"
        )
        if command.wait(600):
            raise RuntimeError(f"the import failed:\n{rig.said(command)}")
        took = time.perf_counter() - started
        api = Api(url)
        now = int(time.time())
        instant = iso(now)
        count = json.loads(rig.said(command))["accepted"]
        yield at_least(
            "import end to end: events/s",
            count / took,
            IMPORT_GOAL,
            f"{count:,} events of a {'given' if asked.file else 'generated'} CSV, {took:.1f} s from the command's "
            "start to its end: read, checked, appended, applied and archived",
        )
        started = time.perf_counter()
        made = [
            api.ask("POST", "/v1/audiences", {"tag": rig.tag.id, "name": "past", "rule": rule})["id"]
            for rule in RULES
        ]
        shown = [ready(api, audience) for audience in made]
        took = time.perf_counter() - started
        yield Line(
            "backfill of 3 leaves to READY",
            f"{took:.1f} s",
            beside=f"{count:,} events in the archive, {3 * count / took:,.0f} events/s and leaf; "
            f"sizes {' and '.join(format(one['size'], ',') for one in shown)}",
        )
        times = []
        for audience, one in zip(made, shown, strict=True):
            started = time.perf_counter()
            past = api.ask("GET", f"/v1/audiences/{audience}/size?as_of={instant}")["size"]
            times.append(time.perf_counter() - started)
            # The file's events are older than a day or in every window at both seconds.
            if abs(past - one["size"]) > 0.001 * count:
                raise RuntimeError(f"as_of says {past}, the columns {one['size']}")
        yield Line(
            "as_of over the same",
            f"{max(times):.2f} s",
            beside="the slower of the two audiences, from the archive",
        )


def _generate(file: Path, count: int) -> Path:
    """A CSV of shoppers over the longest lookback, a tenth as many visitors as events."""
    random = Random(1)
    now = int(time.time())
    with file.open("w", newline="") as sink:
        rows = csv.writer(sink)
        rows.writerow(("event_time", "visitor", "event", "product_id", "product_category", "value"))
        for _ in range(count):
            product = random.randrange(1_000)
            rows.writerow(
                (
                    now - DAY - random.randrange(LONGEST * DAY - 2 * DAY),
                    f"v{random.randrange(count // 10):07d}",
                    NAMES[product % 4],
                    f"A{product}",
                    f"c{product % CATEGORIES}",
                    product % 200,
                )
            )
    return file


def ready(api: Api, audience: str) -> dict[str, Any]:
    """Wait until an audience has all of its past; what the API shows of it."""
    end = time.monotonic() + 2 * PATIENCE
    while True:
        shown: dict[str, Any] = api.ask("GET", f"/v1/audiences/{audience}")
        if shown["status"] in ("READY", "TOO_SMALL"):
            return shown
        if shown["status"] == "FAILED" or time.monotonic() > end:
            raise RuntimeError(f"the audience does not get ready: {shown}")
        time.sleep(0.05)
