"""`collector dead …`: the events that a worker could not apply."""

from collections.abc import Iterator
from typing import Annotated

import typer

from collector import clock
from collector.cli.opening import Json, Opened, opened, print_json
from collector.cli.options import DataDir
from collector.settings import BadSetup
from collector.stream import dead, read
from collector.stream.dead import Dead

app = typer.Typer(help="The events that a worker could not apply.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The letter's id, see `collector dead list`.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Ids, see `collector dead list`.")]
All = Annotated[bool, typer.Option("--all", help="Every letter there is.")]


@app.command(name="list")
def list_letters(as_json: Json = False, data_dir: DataDir = None) -> None:
    """The dead letters, oldest first in each partition: id, arrival, reason. Nothing of their content."""
    with opened(data_dir) as it:
        found = [_shown(each) for each in _every(it)]
    if as_json:
        print_json(found)
        return
    for each in found:
        error = f" ({each['error']})" if each["error"] else ""
        typer.echo(f"{each['id']}  {each['at']}  {each['bytes']} bytes  {each['reason']}{error}")


@app.command()
def show(
    letter_id: Id,
    content: Annotated[
        bool, typer.Option("--content", help="The bytes too: they may hold personal data.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """One dead letter as JSON; what the event says only with --content."""
    with opened(data_dir) as it:
        found = _named(it, [letter_id])[0]
    payload = {"content": found.letter.payload.decode(errors="backslashreplace")} if content else {}
    print_json({**_shown(found), **payload})


@app.command()
def retry(letter_ids: Ids = None, every: All = False, data_dir: DataDir = None) -> None:
    """Put dead letters back into their streams, once what they died of is mended."""
    with opened(data_dir) as it:
        done = sum(dead.retry(it.client, each) for each in _chosen(it, letter_ids, every))
    typer.echo(f"{done} will be tried again.")


@app.command()
def drop(letter_ids: Ids = None, every: All = False, data_dir: DataDir = None) -> None:
    """Delete dead letters for good."""
    with opened(data_dir) as it:
        done = sum(dead.drop(it.client, each) for each in _chosen(it, letter_ids, every))
    typer.echo(f"{done} dropped.")


def _every(it: Opened) -> Iterator[Dead]:
    for number in range(it.installation.partitions):
        yield from dead.letters(it.client, number)


def _chosen(it: Opened, letter_ids: list[str] | None, every: bool) -> list[Dead]:
    """Raises BadSetup when neither ids nor --all were given, or both."""
    if bool(letter_ids) == every:
        raise BadSetup("Which dead letters is not clear. Mend: name their ids, or say --all.")
    return list(_every(it)) if every else _named(it, letter_ids or [])


def _named(it: Opened, letter_ids: list[str]) -> list[Dead]:
    known = {each.id: each for each in _every(it)}
    for letter_id in letter_ids:
        if letter_id not in known:
            raise BadSetup(f"There is no dead letter {letter_id}. Mend: `collector dead list` shows them.")
    return [known[letter_id] for letter_id in letter_ids]


def _shown(each: Dead) -> dict[str, str | int]:
    ms, _ = read.parse(each.id.partition("/")[2])
    return {
        "id": each.id,
        "at": clock.iso(ms / 1000),
        "reason": each.letter.reason,
        "error": each.letter.error,
        "bytes": len(each.letter.payload),
    }
