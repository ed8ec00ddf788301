"""Report: measured lines, and the Markdown page that keeps them."""

import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).with_name("results")
LIBRARIES = ("uvicorn", "starlette", "redis", "hiredis", "orjson", "msgspec", "numpy", "duckdb", "pyarrow")


class Asked(NamedTuple):
    """What is wanted of a run: smaller and rougher; the CSV to import instead of a generated one."""

    quick: bool = False
    file: Path | None = None


class Line(NamedTuple):
    """One measure. goal and met: "" and None where there is nothing to reach. beside: what it was compared with."""

    measure: str
    value: str
    goal: str = ""
    met: bool | None = None
    beside: str = ""

    def row(self) -> str:
        met = {True: "yes", False: "**no**", None: ""}[self.met]
        return f"| {self.measure} | {self.value} | {self.goal} | {met} | {self.beside} |"


def at_least(measure: str, value: float, goal: float, beside: str = "", *, digits: int = 0) -> Line:
    """A measure that must reach its goal; one that does not says by how much."""
    short = "" if value >= goal else f" ({1 - value / goal:.0%} short)"
    return Line(measure, f"{value:,.{digits}f}{short}", f"≥ {goal:,.{digits}f}", value >= goal, beside)


def at_most(
    measure: str, value: float, goal: float, beside: str = "", *, unit: str = "", digits: int = 0
) -> Line:
    """A measure that must stay within its goal; one that does not says by how much."""
    over = "" if value <= goal else f" ({value / goal - 1:.0%} over)"
    return Line(measure, f"{value:,.{digits}f}{unit}{over}", f"≤ {goal:,g}{unit}", value <= goal, beside)


def page(
    date: str, server: str, command: str, seconds: float, lines: Sequence[Line], *, title: str = "Benchmark"
) -> str:
    """The whole result as Markdown."""
    rows = "\n".join(line.row() for line in lines)
    return f"""# {title}, {date}

{machine(server)}
- Repeat it with `{command}`; this run took {seconds:.0f} s.
- Absolute figures move from machine to machine, and with what else it does: compare within one run.

| measure | value | goal | met | beside, in the same run |
|---|---|---|---|---|
{rows}
"""


def machine(server: str) -> str:
    """What it was measured on, as lines of a list."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"- Machine: {_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}\n"
        f"- Python {platform.python_version()}, {server}, appendfsync always; {libraries}"
    )


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
