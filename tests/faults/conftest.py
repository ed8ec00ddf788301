"""What every fault test may ask for: a plant, how long to go on, and the table that its outcome goes to."""

import datetime
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from collector.embedded import Server, find_servers
from tests.faults.plant import Plant

LONG = os.environ.get("COLLECTOR_FAULTS") == "long"  # make faults
RESULTS = Path(__file__).parent.parent.parent / "loadtest" / "results"

Plants = Callable[..., Plant]
Tried = Callable[..., None]
HEAD = ("promise", "fault", "times", "acknowledged", "lost", "seen", "UTC")


only_long = pytest.mark.skipif(not LONG, reason="a part of `make faults`")


def rounds(short: int, long: int) -> int:
    """How often a fault is caused: in `make test`, in `make faults`."""
    return long if LONG else short


@pytest.fixture
def plants(tmp_path: Path, server_binary: Server) -> Iterator[Plants]:
    """plants(**settings): a running Redis, to which edges and workers are added. Gone with the test."""
    folders = (tmp_path / name for name in ("plant", "elsewhere", "somewhere", "anywhere"))
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Plant(next(folders), server_binary, **settings))


@pytest.fixture
def tried() -> Tried:
    """tried(promise, fault, times, account, seen): a row of the results."""

    def tried(promise: str, fault: str, times: int, account: Mapping[str, int], seen: str = "") -> None:
        figures = (f"{account[name]:,}" if name in account else "–" for name in ("acknowledged", "lost"))
        if LONG:
            write_page((promise, fault, str(times), *figures, seen))

    return tried


def write_page(row: Sequence[str]) -> None:
    """Put a row on today's page, in place of one of an earlier run: faults may be caused in several runs."""
    now = datetime.datetime.now(datetime.UTC)
    page = RESULTS / f"{now.date().isoformat()}-faults.md"
    before = page.read_text().splitlines() if page.exists() else []
    rows = [line for line in before if line.startswith("| ") and not line.startswith(("| promise", "| ---"))]
    fresh = "| " + " | ".join((*row, f"{now:%H:%M}")) + " |"
    same = "| " + " | ".join(row[:2]) + " | "
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"
    page.write_text(
        "\n".join(
            [
                f"# Faults, {now.date().isoformat()}",
                "",
                f"- Machine: {machine}; Python {platform.python_version()}, {find_servers()[0]}.",
                "- Repeat it with `make faults`. A row is of the last time that its test passed, at the time it gives.",
                "- Behind every row an account was closed, as docs/faults.md says.",
                "",
                "| " + " | ".join(HEAD) + " |",
                "| " + " | ".join("---" for _ in HEAD) + " |",
                *sorted([line for line in rows if not line.startswith(same)] + [fresh]),
                "",
            ]
        )
    )
