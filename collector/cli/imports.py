"""`collector import`: past traffic from a file."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from collector import clock, connections
from collector.cli.opening import Json, TagOption, fail, opened, print_json
from collector.cli.options import DataDir
from collector.ingest.importing import SHOWN, Head, Import, NoWorker
from collector.ingest.lines import File
from collector.settings import BadSetup


def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a header or NDJSON, also as .gz.")],
    tag: TagOption,
    consent_attested: Annotated[
        str,
        typer.Option(
            "--consent-attested", help="Why the events have consent, where a line does not say for itself."
        ),
    ],
    shift_end_to: Annotated[
        Literal["now"] | None,
        typer.Option(
            "--shift-end-to", help="Move all times so that the last event is now.", show_default=False
        ),
    ] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return once all is on disk, before it is applied.")
    ] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Import past traffic. Imported again, the same file goes on where it broke, or changes nothing."""
    if not consent_attested.strip():
        raise BadSetup("--consent-attested is empty. Mend: say why the events have consent.")
    with opened(data_dir) as it, _bar() as bar:
        known = it.tag(tag)
        connections.check_server(it.client, it.settings)
        source = File(file, it.settings)
        job = Import(it.client, it.installation, it.settings, known, source, it.engine.clock)
        try:
            head = job.begin(consent_attested.strip(), shift=shift_end_to is not None)
            repeated = head.finished_at > 0
            if head.end_at and not as_json:
                typer.echo(f"The last event is put at {clock.iso(head.end_at)}.")
            _append(job, head, source, bar)
            if not no_wait:
                _settle(job, head, bar)
        except NoWorker:
            fail(
                "What was read is on disk, but no worker is alive to apply it. "
                "Mend: start `collector worker`; then the same command again to wait for it."
            )
    shown = {
        "status": "imported already" if repeated else "imported",
        "end_at": clock.iso(head.end_at) if head.end_at else None,
        "lines": head.lines,
        **{name: head.counts.get(name, 0) for name in ("accepted", "earlier", "duplicate", "refused")},
        "reasons": dict(job.reasons),
        "refusals": [refusal._asdict() for refusal in job.refusals],
    }
    if as_json:
        print_json(shown)
    else:
        _list_refusals(job)
        typer.echo("This file is imported already: nothing to do." if repeated else _summary(shown))
    if set(head.counts) == {"refused"}:
        raise typer.Exit(1)  # a script must not take the file for stored


def _list_refusals(job: Import) -> None:
    for refusal in job.refusals:
        typer.echo(f"line {refusal.line}: {refusal.reason}: {refusal.why}.", err=True)
    if job.reasons.total() > SHOWN:
        listed = ", ".join(f"{count:,} {reason}" for reason, count in job.reasons.most_common())
        typer.echo(
            f"These are the first {SHOWN} of {job.reasons.total():,} refused lines: {listed}.", err=True
        )


def _summary(shown: dict[str, Any]) -> str:
    parts = [f"{shown['accepted']:,} accepted"]
    if shown["earlier"]:
        parts.append(f"{shown['earlier']:,} stored by an earlier run")
    parts += [f"{shown[name]:,} {name}" for name in ("duplicate", "refused") if shown[name]]
    return f"Imported: {', '.join(parts)}."


def _append(job: Import, head: Head, source: File, bar: "Bar") -> None:
    # Every batch makes thousands of objects and no cycles: looking for some took a quarter of the time.
    gc.disable()
    try:
        for _ in job.run(head):
            bar("reading", source.position, source.size)
    finally:
        gc.enable()


def _settle(job: Import, head: Head, bar: "Bar") -> None:
    for share in job.settle(head):
        bar("applying", share, 1.0)


class Bar:
    """A progress bar on stderr; nothing at all where that is no terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: float, total: float) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done)


@contextmanager
def _bar() -> Iterator[Bar]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    ) as progress:
        yield Bar(progress)
