"""`collector forget`, `subject` and `erasures`: a visitor's rights, and the proof that they were honoured."""

import time
from typing import Annotated

import typer

from collector import clock
from collector.archive.scan import Moved
from collector.archive.whole import Damaged
from collector.cli.opening import Json, TagOption, fail, opened, print_json
from collector.cli.options import DataDir
from collector.query.engine import Engine

Visitor = Annotated[str, typer.Argument(metavar="VISITOR", help="The visitor's id.")]
PATIENCE = 60.0  # seconds for the worker to prove an erasure; a rewrite of 1 GB takes a few
LOOK = 0.2  # seconds between looks


def forget(
    visitor: Visitor,
    tag: TagOption,
    now: Annotated[
        bool, typer.Option("--now", help="Clean all files without delay, and wait for the proof.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Erase a visitor: out of every audience at once, out of every file within 24 h."""
    with opened(data_dir) as it:
        known = it.tag(tag).id
        held = _held(it.engine, known, visitor)
        until = it.engine.erase(known, visitor, now=now)
        typer.echo(f"Erased, with all that happened up to {clock.iso(until)}.")
        if not held:
            typer.echo("Nothing was kept of this visitor: see whether id and tag are the right ones.")
        if now:
            typer.echo(f"Proven: no file holds the visitor since {_proven(it.engine, known, visitor)}.")


def subject(visitor: Visitor, tag: TagOption, data_dir: DataDir = None) -> None:
    """All that is known of a visitor, as JSON."""
    with opened(data_dir) as it:
        print_json(it.engine.visitor(it.tag(tag).id, visitor))


def erasures(tag: TagOption, as_json: Json = False, data_dir: DataDir = None) -> None:
    """The erasures of a tag: those that are proven, and what the others wait for."""
    with opened(data_dir) as it:
        found = it.engine.erasures(it.tag(tag).id)
    if as_json:
        print_json(found)
        return
    for one in found:
        state = f"waits for {one['waits_for']}" if one["waits_for"] else f"proven {one['files_rewritten_at']}"
        typer.echo(f"{one['visitor']}  asked {one['asked_at']}  {state}")


def _held(engine: Engine, tag: str, visitor: str) -> bool:
    """Whether anything was kept of the visitor; where that cannot be read, the erasure must not wait for it."""
    try:
        return engine.holds(tag, visitor)
    except (Damaged, Moved):
        return True


def _proven(engine: Engine, tag: str, visitor: str) -> str:
    end = time.monotonic() + PATIENCE
    while waiting := [one for one in engine.erasures(tag, visitor) if one["waits_for"]]:
        if time.monotonic() > end:
            fail(
                f"There is no proof yet: it waits for {waiting[0]['waits_for']}. "
                "Mend: see that `collector worker` runs, then ask `collector erasures`."
            )
        time.sleep(LOOK)
    return str(engine.erasures(tag, visitor)[-1]["files_rewritten_at"])
