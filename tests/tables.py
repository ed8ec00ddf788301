"""The tables of docs/ that the code knows: `make tables` writes them, test_docs.py compares them."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer.main
from prometheus_client.metrics import MetricWrapperBase

from collector import metrics, outcomes
from collector.cli import app
from collector.settings import Settings
from loadtest import scale

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- from the code: make tables -->", "<!-- end -->"


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def settings() -> str:
    def rows() -> Iterator[Sequence[str]]:
        for name, field in Settings.model_fields.items():
            default = "" if field.default is None else str(field.default)
            if isinstance(field.default, bool):
                default = default.lower()
            yield f"`COLLECTOR_{name.upper()}`", f"`{default}`" if default else "", field.description or ""

    return table(("Setting", "Default", "Meaning"), rows())


def metric_names() -> str:
    def rows() -> Iterator[Sequence[str]]:
        for metric in vars(metrics).values():
            if isinstance(metric, MetricWrapperBase):
                shown = next(iter(metric.describe()))
                name = shown.name + ("_total" if shown.type == "counter" else "")
                labels = ", ".join(f"`{label}`" for label in metric._labelnames)
                yield f"`{name}`", shown.type, labels, shown.documentation

    return table(("Metric", "Type", "Labels", "Meaning"), rows())


def fates() -> str:
    rows = ((f"`{fate.outcome}`", f"`{fate.reason}`", fate.fault, fate.meaning) for fate in outcomes.TABLE)
    return table(("Outcome", "Reason", "Whose doing", "Meaning"), rows)


def consent() -> str:
    """What the tests hold the decision to, at the edge and in the tag: every vector, in both regimes."""

    def told(expected: dict[str, str]) -> str:
        reason = f" `{expected['reason']}`" if expected["reason"] else ""
        mark = f", {expected['mark']}" if expected["mark"] else ""
        return f"{expected['verdict']}{reason}{mark}"

    vectors = json.loads((Path(__file__).parent / "vectors/consent.json").read_text())
    rows = ((case["promise"], *(told(case["expect"][regime]) for regime in ("opt_in", "opt_out"))) for case in vectors)
    return table(("Signals", "opt_in", "opt_out"), rows)


def faults() -> str:
    """The newest row of each fault in the results of `make faults`, which some of may have been run on another day."""
    head: list[str] = []
    newest: dict[str, str] = {}  # promise and fault → row, its day before its time
    pages = sorted((DOCS.parent / "loadtest" / "results").glob("*-faults.md"))
    for page in pages:
        lines = [line for line in page.read_text().splitlines() if line.startswith("|")]
        head = lines[:2]
        for line in lines[2:]:
            promise, fault, *figures, at = line.strip("| ").split(" | ")
            newest[f"{promise} | {fault}"] = " | ".join([*figures, f"{page.name[5:10]} {at}"])
    rows = "\n".join([*head, *(f"| {key} | {row} |" for key, row in sorted(newest.items()))])
    names = ", ".join(f"[{page.name}](../loadtest/results/{page.name})" for page in pages)
    return f"From {names}:\n\n{rows}"


def commands() -> str:
    """A section a command: its usage, what it does, its options."""
    return "\n\n".join(_sections("collector", typer.main.get_command(app)))


def _sections(path: str, command: Any) -> Iterator[str]:
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from _sections(f"{path} {name}", child)
    if hasattr(command, "commands"):
        return
    arguments = [
        param for param in command.params if param.param_type_name == "argument" and not param.hidden
    ]
    usage = " ".join([path, *(param.name.upper() for param in arguments)])
    rows = [
        (", ".join(f"`{opt}`" for opt in param.opts), param.help or "")
        for param in command.params
        if param.param_type_name == "option"
    ]
    options = "\n\n" + table(("Option", "Meaning"), iter(rows)) if rows else ""
    yield f"### `{usage}`\n\n{' '.join(command.help.split())}{options}"


TABLES: dict[str, Callable[[], str]] = {
    "settings.md": settings,
    "metrics.md": metric_names,
    "outcomes.md": fates,
    "cli.md": commands,
    "faults.md": faults,
    "consent.md": consent,
    "scale.md": scale.markdown,
}


def written(document: str) -> str:
    """What stands between the marks of a document."""
    found = re.search(f"{re.escape(BEGIN)}\n\n(.*)\n\n{re.escape(END)}", document, re.DOTALL)
    return found[1] if found else ""


def write(name: str, content: str, begin: str = BEGIN) -> None:
    """Put it between the marks of a document."""
    file = DOCS / name
    before, _, rest = file.read_text().partition(begin)
    file.write_text(f"{before}{begin}\n\n{content}\n\n{END}{rest.partition(END)[2]}")


def main() -> None:
    for name, make in TABLES.items():
        write(name, make())


if __name__ == "__main__":
    main()
