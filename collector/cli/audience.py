"""`collector audience …`: audiences, their sizes for any window and instant, and their members."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from collector import clock, tags
from collector.cli.opening import Json, opened, print_json
from collector.cli.options import DataDir
from collector.event import decode_json
from collector.query import export
from collector.query.engine import Identity
from collector.query.export import Format
from collector.settings import BadSetup

app = typer.Typer(help="Audiences.")

AudienceId = Annotated[str, typer.Argument(metavar="ID", help="The audience's id.")]


class Draft(NamedTuple):
    """What a file says of an audience to be."""

    name: str
    description: str
    rule: object


@app.command()
def create(
    tag: Annotated[str, typer.Argument(metavar="TAG", help="The tag's id.")],
    file: Annotated[
        str, typer.Argument(help='{"name", "description", "rule"} or a rule alone; - reads stdin.')
    ],
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Create an audience. Says how much memory its new conditions take."""
    draft = _read(file, tag)
    with opened(data_dir) as it:
        weight = it.engine.registry.weight(it.tag(tag).id, draft.rule)
        audience = it.engine.registry.create(tag, draft.name, draft.description, draft.rule)
        shown = it.engine.describe([audience])[0]
    if as_json:
        print_json({**shown, "memory_bytes": weight})
        return
    typer.echo(f"Audience  {shown['id']}  {_state(shown)}")
    typer.echo(f"Memory    {weight:,} bytes for its new conditions")


@app.command(name="list")
def list_audiences(
    tag: Annotated[str | None, typer.Option("--tag", help="Of this tag alone.", show_default=False)] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """The audiences, oldest first, with their sizes."""
    with opened(data_dir) as it:
        found = it.engine.describe(it.engine.registry.all(None if tag is None else it.tag(tag).id))
        names = {each.id: each.name for each in tags.list_tags(it.client)}
    if as_json:
        print_json(found)
        return
    for shown in found:
        size = "" if shown["size"] is None else f"{shown['size']:,}"
        site = names.get(shown["tag"], shown["tag"])
        typer.echo(f"{shown['id']}  {site}  {size:>12}  {shown['name']}  {_state(shown)}")


@app.command()
def size(
    audience: AudienceId,
    lookback: Annotated[
        int | None,
        typer.Option("--lookback", min=1, max=540, help="Days; else the rule's.", show_default=False),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="A past instant in ISO 8601; else now.", show_default=False),
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """The size of an audience, for any window and instant."""
    with opened(data_dir) as it:
        found = it.engine.registry.get(audience)
        if as_of is None:
            it.engine.need_ready(found)
        members, at = it.engine.size(found, lookback, as_of)
        main = found.parsed().windows(lookback)[0]
    days = main.days if main.role == "main" else None
    if as_json:
        print_json({"size": members, "lookback_days": days, "as_of": clock.iso(at)})
        return
    window = "" if days is None else ", the last day" if days == 1 else f", the last {days} days"
    visitors = "visitor" if members == 1 else "visitors"
    typer.echo(f"{members} {visitors}{window}, as of {clock.iso(at)}")


@app.command(name="export")
def export_members(
    audience: AudienceId,
    kind: Annotated[Identity, typer.Option("--as", help="What to name the members by.")] = "visitor",
    form: Annotated[Format, typer.Option("--format", help="The form of the output.")] = "ndjson",
    data_dir: DataDir = None,
) -> None:
    """Write the members of an audience to stdout."""
    with opened(data_dir) as it:
        found = it.engine.registry.get(audience)
        runs = (members for _, members in it.engine.members(found, kind))
        try:
            for piece in export.write(kind, form, runs):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # the reader has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _state(shown: dict[str, Any]) -> str:
    reason = f": {shown['reason']}" if shown["reason"] else ""
    return f"{shown['status']}{reason}"


def _read(file: str, tag: str) -> Draft:
    """Raises BadSetup when the file holds nothing like an audience, or one of another tag."""
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        given = decode_json(raw)
    except OSError as error:
        raise BadSetup(f"{file} cannot be read ({error.strerror}). Mend: name a JSON file, or -.") from None
    except ValueError as error:
        raise BadSetup(f"{file} is no JSON ({error}). Mend: correct it; see docs/audiences.md.") from None
    draft = given if isinstance(given, dict) and "rule" in given else {"rule": given}
    if unknown := set(draft) - {*Draft._fields, "tag"}:
        raise BadSetup(
            f"{file} has an unknown key {min(unknown)}. Mend: name, description and rule are known."
        )
    if draft.get("tag", tag) != tag:
        raise BadSetup(f"{file} is of another tag than {tag}. Mend: take its tag out, or name that one.")
    name = draft.get("name", "audience" if file == "-" else Path(file).stem)
    description = draft.get("description") or ""
    if not isinstance(name, str) or not name.strip() or not isinstance(description, str):
        raise BadSetup(f"{file}: name and description must be text. Mend: correct them.")
    return Draft(name, description, draft["rule"])
