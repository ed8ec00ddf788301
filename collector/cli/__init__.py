"""The commands: the only place where the parts are put together. One file each; this one lists them."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from collector import log
from collector.cli import audience, dead, demo, doctor, imports, key, recovery, roles, tag, up, visitor
from collector.connections import RedisFailure
from collector.settings import BadSetup

app = typer.Typer(
    name="collector",
    help="A self-hosted retargeting tag and audience engine.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(up.up)
app.command()(roles.serve)
app.command()(roles.worker)
app.command()(demo.demo)
app.command()(doctor.doctor)
app.command()(recovery.backup)
app.command()(recovery.restore)
app.command()(recovery.rebuild)
app.add_typer(tag.app, name="tag")
app.add_typer(key.app, name="key")
app.add_typer(audience.app, name="audience")
app.add_typer(dead.app, name="dead")
app.command(name="import")(imports.import_file)
app.command()(visitor.forget)
app.command()(visitor.subject)
app.command()(visitor.erasures)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("collector"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """What comes before a command."""


def main() -> None:
    """Run the command line. Misuse and bad set-ups end with one line and exit 2, no server with 1."""
    log.configure("warning")  # roles say more, when they know their setting
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="collector", standalone_mode=False)
    except BadSetup as error:
        _end(str(error), 2)
    except typer.TyperException as error:
        _end(f"{error.format_message().rstrip('.')}. Mend: see `collector --help`.", 2)
    except RedisFailure as error:
        said = str(error).rstrip(".")
        _end(f"Redis does not answer ({said}). Mend: start it, or ask `collector doctor`.", 1)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _end(message: str, code: int) -> None:
    typer.echo(" ".join(message.split()), err=True)
    sys.exit(code)
