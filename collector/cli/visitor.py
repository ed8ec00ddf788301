"""`collector forget` and `collector subject`: a visitor's rights, erasure and access."""

from typing import Annotated

import typer

from collector import clock
from collector.cli.opening import TagOption, opened, print_json
from collector.cli.options import DataDir

Visitor = Annotated[str, typer.Argument(metavar="VISITOR", help="The visitor's id.")]


def forget(visitor: Visitor, tag: TagOption, data_dir: DataDir = None) -> None:
    """Erase a visitor: out of every audience at once, archive rows within 24 h."""
    with opened(data_dir) as it:
        until = it.engine.erase(it.tag(tag).id, visitor)
    typer.echo(f"Erased, with all that happened up to {clock.iso(until)}.")


def subject(visitor: Visitor, tag: TagOption, data_dir: DataDir = None) -> None:
    """All that is known of a visitor, as JSON."""
    with opened(data_dir) as it:
        print_json(it.engine.visitor(it.tag(tag).id, visitor))
