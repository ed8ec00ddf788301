"""Flame: where the edge's and the worker's time goes under load, as an indented tree of functions with their share."""

import argparse
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from collector import clock
from collector.audience.registry import Registry
from loadtest.client import Client, Missing
from loadtest.measure_worker import append
from loadtest.report import RESULTS, machine
from loadtest.rig import FIRST, SECOND, Rig, server_name
from loadtest.traffic import RULES, events

LEAST = 0.01  # of all samples: what takes less is left out
RATE = 250  # samples a second
WAIT = 3  # seconds for the worker to find its partitions


def record(rig: Rig, pid: int, seconds: int) -> list[str]:
    """Samples of a process, each line its stack from the outside in and how often it was seen. Raises Missing."""
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if not spy:
        raise Missing("needs py-spy. Mend: make flame, which installs it.")
    file = rig.settings.data_dir / f"{pid}.stacks"
    options = [
        "--format",
        "raw",
        "--function",
        "--rate",
        str(RATE),
        "--duration",
        str(seconds),
        "-o",
        str(file),
    ]
    spying = rig.run([spy, "record", "--pid", str(pid), *options], core=SECOND)
    spying.wait(seconds + 60)
    if not file.exists():
        raise Missing(f"py-spy may not look: {rig.said(spying).strip()} Mend: run it as root.")
    return file.read_text().splitlines()


def tree(stacks: Sequence[str]) -> Iterator[str]:
    """Lines of the tree: the share of all samples in which a function was running or called another."""
    seen: Counter[tuple[str, ...]] = Counter()
    total = 0
    for line in stacks:
        names, _, times = line.rpartition(" ")
        path = tuple(names.split(";"))
        total += int(times)
        for depth in range(1, len(path) + 1):
            seen[path[:depth]] += int(times)

    called: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for path in seen:
        called.setdefault(path[:-1], []).append(path)

    def under(path: tuple[str, ...], depth: int) -> Iterator[str]:
        for child in sorted(called.get(path, ()), key=lambda each: -seen[each]):
            if seen[child] < LEAST * total:
                continue
            # A function that does nothing but call one other tells nothing.
            alone = any(seen[each] == seen[child] for each in called.get(child, ()))
            if not alone:
                yield f"{seen[child] / total:6.1%} {'  ' * depth}{child[-1]}"
            yield from under(child, depth + (not alone))

    yield from under((), 0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.flame", description=__doc__)
    parser.add_argument("--seconds", type=int, default=8)
    asked = parser.parse_args()
    count = 40_000 * asked.seconds  # more than a worker applies meanwhile
    parts: list[str] = []
    with Rig(server_core=SECOND) as rig:
        edge, url = rig.serve("--only", "edge", core=FIRST)
        client = Client(f"{url}/v1/events", rig.tag.id, asked.seconds + 2, core=SECOND)
        time.sleep(1)
        stacks = record(rig, edge.pid, asked.seconds)
        client.result()
        parts.append("## Edge, one event a request, at saturation\n\n" + _fence(stacks))
    with Rig(server_core=SECOND) as rig:
        registry = Registry(rig.client, rig.installation, rig.settings, clock.system)
        for rule in RULES:
            registry.create(rig.tag.id, "a leaf", "", {**rule, "prefill": False})
        append(rig, list(events(rig.tag.id, count, count // 10, int(time.time()) + 1)))
        worker = rig.start("worker", core=FIRST)
        time.sleep(WAIT)
        stacks = record(rig, worker.pid, asked.seconds)
        parts.append(f"## Worker, {len(RULES)} conditions, from full streams\n\n" + _fence(stacks))
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    head = (
        f"# Where the time goes, {today}\n\n{machine(server_name())}\n- Repeat it with `make flame`.\n"
        f"- Share of {RATE} samples a second in which a function ran or had called what ran; from {LEAST:.0%}."
    )
    file = RESULTS / f"{today}-flame.md"
    file.write_text("\n\n".join([head, *parts]) + "\n")
    print(file)


def _fence(stacks: Sequence[str]) -> str:
    return "\n".join(["```", *tree(stacks), "```"])


if __name__ == "__main__":
    main()
