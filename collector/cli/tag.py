"""`collector tag …`: the websites' tags, and what to paste for them."""

from typing import Annotated

import typer

from collector import clock, tags
from collector.cli.opening import Json, opened, print_json
from collector.cli.options import DataDir
from collector.cli.snippet import address, snippet
from collector.consent import Regime

app = typer.Typer(help="The websites' tags.")

TagId = Annotated[str, typer.Argument(metavar="TAG", help="The tag's id.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What people call the site.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[URL]...", hidden=True)] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            "--origin",
            help="A site that may send events: https://shop.example, or https://*.shop.example for its subdomains. "
            "Repeatable.",
        ),
    ] = None,
    regime: Annotated[
        Regime, typer.Option("--regime", help="What counts without a consent signal.")
    ] = "opt_in",
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Create a tag for a website, and its server key."""
    with opened(data_dir) as it:
        # More than one may follow one --origin.
        tag, server_key = tags.create_tag(it.client, name, [*(origin or []), *(more or [])], regime)
    if as_json:
        print_json({"tag": tag.id, "server_key": server_key})
        return
    typer.echo(f"Tag         {tag.id}")
    typer.echo(f"Server key  {server_key}  (shown this once)")
    typer.echo(f"To paste    collector tag snippet {tag.id}")


@app.command(name="list")
def list_tags(as_json: Json = False, data_dir: DataDir = None) -> None:
    """The tags, oldest first."""
    with opened(data_dir) as it:
        found = tags.list_tags(it.client)
    if as_json:
        print_json(
            [
                {
                    "tag": tag.id,
                    "name": tag.name,
                    "origins": tag.origins,
                    "regime": tag.regime,
                    "created_at": clock.iso(tag.created_at),
                }
                for tag in found
            ]
        )
        return
    for tag in found:
        typer.echo(f"{tag.id}  {tag.regime:<7}  {tag.name}  {' '.join(tag.origins)}")


@app.command(name="snippet")
def print_snippet(
    tag: TagId,
    pinned: Annotated[
        bool, typer.Option("--pinned", help="This version of the tag for good, with its hash.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """The lines to paste into the pages, and nothing else."""
    with opened(data_dir) as it:
        typer.echo(snippet(address(it.settings), it.tag(tag), vendor=it.settings.tcf_vendor_id, pinned=pinned))
