"""What every fault test may ask for: a plant, how long to go on, and the table that its outcome goes to."""

import datetime
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from collector.embedded import Server, find_servers
from tests.faults.plant import Plant

LONG = os.environ.get("COLLECTOR_FAULTS") == "long"  # make faults
RESULTS = Path(__file__).parent.parent.parent / "loadtest" / "results"

Plants = Callable[..., Plant]
Tried = Callable[..., None]
_rows: list[str] = []
_begun = time.monotonic()


only_long = pytest.mark.skipif(not LONG, reason="a part of `make faults`")


def rounds(short: int, long: int) -> int:
    """How often a fault is caused: in `make test`, in `make faults`."""
    return long if LONG else short


@pytest.fixture
def plants(tmp_path: Path, server_binary: Server) -> Iterator[Plants]:
    """plants(**settings): a running Redis, to which edges and workers are added. Gone with the test."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Plant(tmp_path / "plant", server_binary, **settings))


@pytest.fixture
def tried() -> Tried:
    """tried(promise, fault, times, account, seen): a row of the results."""

    def tried(promise: str, fault: str, times: int, account: Mapping[str, int], seen: str = "") -> None:
        figures = (f"{account[name]:,}" if name in account else "–" for name in ("acknowledged", "lost"))
        _rows.append(f"| {promise} | {fault} | {times} | {' | '.join(figures)} | {seen} |")
        if LONG:
            write_page()

    return tried


def write_page() -> None:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"
    minutes = (time.monotonic() - _begun) / 60
    (RESULTS / f"{today}-faults.md").write_text(
        "\n".join(
            [
                f"# Faults, {today}",
                "",
                f"- Machine: {machine}; Python {platform.python_version()}, {find_servers()[0]}.",
                f"- Repeat it with `make faults`; it took {minutes:.0f} minutes. Only tests that passed have a row.",
                "- Behind every row an account was closed, as docs/faults.md says.",
                "",
                "| promise | fault | times | acknowledged | lost | seen |",
                "| --- | --- | --- | --- | --- | --- |",
                *_rows,
                "",
            ]
        )
    )
