"""The benchmark: every measure in one run, on the product's real path, printed and kept as dated Markdown."""

import argparse
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from loadtest import (
    measure_deep,
    measure_edge,
    measure_memory,
    measure_open,
    measure_past,
    measure_peers,
    measure_sizes,
    measure_visible,
    measure_worker,
)
from loadtest.client import Missing
from loadtest.report import RESULTS, Asked, Line, page
from loadtest.rig import server_name

Measure = Callable[[Asked], Iterator[Line]]
TABLE: dict[str, Measure] = {
    "edge": measure_edge.measure,
    "open": measure_open.measure,
    "peers": measure_peers.measure,
    "worker": measure_worker.measure,
    "visible": measure_visible.measure,
    "memory": measure_memory.measure,
    "sizes": measure_sizes.measure,
    "past": measure_past.measure,
    "deep": measure_deep.measure,
}


def main() -> None:
    """Run the measures asked for."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__)
    parser.add_argument("--only", metavar="A,B", help=f"some of: {', '.join(TABLE)}")
    parser.add_argument("--quick", action="store_true", help="smaller and shorter; the figures are rougher")
    parser.add_argument("--file", type=Path, help="a CSV to import, for «past»; else one is generated")
    options = parser.parse_args()
    asked = Asked(options.quick, options.file)
    chosen = options.only.split(",") if options.only else list(TABLE)
    if unknown := set(chosen) - set(TABLE):
        parser.error(f"no measure is called {', '.join(sorted(unknown))}")
    started = time.monotonic()
    lines: list[Line] = []
    for name in chosen:
        print(f"— {name}", flush=True)
        try:
            for line in TABLE[name](asked):
                lines.append(line)
                print(line.row(), flush=True)
        except Missing as missing:
            lines.append(Line(name, "not measured", beside=str(missing)))
            print(lines[-1].row(), flush=True)
    given = [
        *([f"--only {options.only}"] if options.only else []),
        *(["--quick"] if asked.quick else []),
        *([f"--file {asked.file.name}"] if asked.file else []),
    ]
    command = f"make bench ARGS='{' '.join(given)}'" if given else "make bench"
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    text = page(today, server_name(), command, time.monotonic() - started, lines)
    # A part or a rough run does not replace a whole one.
    suffix = "-".join(["bench", *(["quick"] if asked.quick else []), *(chosen if options.only else [])])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{today}-{suffix}.md").write_text(text)
    print("\n" + text)


if __name__ == "__main__":
    main()
