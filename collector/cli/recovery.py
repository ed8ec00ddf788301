"""`collector backup`, `collector restore` and `collector rebuild`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from redis.exceptions import OutOfMemoryError

from collector import clock, connections, keys
from collector.archive.whole import Damaged
from collector.cli.options import DataDir
from collector.embedded import Embedded
from collector.settings import BadSetup, Settings, load
from collector.stream.partitions import open_installation

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The backup's folder.")]


def backup(folder: Folder, data_dir: DataDir = None) -> None:
    """Write all that is needed to restore into a new FOLDER, while the product works."""
    from collector.recovery import backup as backups  # here and below: Arrow takes half a second to load
    from collector.recovery.snapshot import Moved

    settings = load(data_dir=data_dir)
    with _reached(settings) as settings, connections.open_redis(settings) as client:
        if not client.exists(keys.INSTALLATION):
            raise BadSetup(
                "There is nothing to back up. Mend: point COLLECTOR_DATA_DIR or COLLECTOR_REDIS_URL at it."
            )
        installation = open_installation(client, settings)
        try:
            with _progress(installation.partitions) as told:
                label = backups.take(client, installation, settings, folder, clock.system(), told=told)
        except Damaged as error:
            raise BadSetup(str(error)) from None
        except Moved:
            typer.echo(
                "The archive changed again and again while it was copied. Mend: try again later.", err=True
            )
            raise typer.Exit(1) from None
    size = sum(size for _, size in label.files.values())
    typer.echo(f"Backed up {len(label.files)} files, {size / 2**20:,.1f} MiB, to {folder}.")
    typer.echo("It holds visitors' data and the installation's secret: keep it as you keep those.")


def restore(
    folder: Folder,
    erased: Annotated[
        list[Path] | None,
        typer.Option(
            "--erased", help="An archive folder of the lost installation: who was erased since stays so."
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Restore FOLDER into an empty installation, whole or not at all."""
    from collector.recovery import restore as restoring

    settings = load(data_dir=data_dir)
    label = restoring.check(folder, settings, erased or [])  # first: what is refused makes no data folder
    with _alone(settings) as settings, _progress(settings.partitions) as told:
        again = restoring.restore(folder, label, settings, erased or [], clock.system, told=told)
    typer.echo(f"Restored {folder}; {again} erasures since then were done again.")
    if not again:
        typer.echo(
            "Who was erased since the backup, and is in no proof file here, is back: see docs/backup.md."
        )


def rebuild(
    partitions: Annotated[
        int | None,
        typer.Option(
            "--partitions", min=1, max=1024, help="Another number of partitions.", show_default=False
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Remake dictionaries and columns from the archive, with nothing else running."""
    from collector.recovery import rebuild as rebuilding

    settings = load(data_dir=data_dir)
    with _alone(settings) as given, _progress(partitions or settings.partitions) as told:
        count = rebuilding.rebuild(given, partitions, clock.system, told=told)
    typer.echo(f"Rebuilt, in {count} partitions.")
    if count != settings.partitions:
        typer.echo(f"Set COLLECTOR_PARTITIONS={count} for every process before you start it.")


@contextmanager
def _reached(settings: Settings) -> Iterator[Settings]:
    """The server: the one that runs, else the data folder's, started for the while."""
    try:
        with connections.open_redis(settings, timeout=10.0) as client:
            client.ping()
    except (BadSetup, *connections.Unavailable):
        if settings.redis_url:
            raise
    else:
        yield settings
        return
    if not (settings.data_dir / "redis").is_dir():
        connections.url(settings)  # raises: there is none
    with _alone(settings) as started:
        yield started


@contextmanager
def _alone(settings: Settings) -> Iterator[Settings]:
    """The server with nobody else on it: for the data folder's own, started for the while. Raises BadSetup."""
    try:
        if settings.redis_url:
            with connections.open_redis(settings) as client:
                connections.check_server(client, settings)
            yield settings
            return
        with Embedded(settings) as embedded:
            yield settings.model_copy(update={"redis_url": embedded.url})
    except Damaged as error:
        raise BadSetup(str(error)) from None
    except OutOfMemoryError:
        raise BadSetup(
            "Redis is full, so all was left as it is. Mend: raise maxmemory, and run it again."
        ) from None


@contextmanager
def _progress(partitions: int) -> Iterator[Callable[[int], None]]:
    """Tells on stderr how many partitions are done."""
    hidden = not sys.stderr.isatty()
    with typer.progressbar(length=partitions, label="Partitions", file=sys.stderr, hidden=hidden) as bar:
        yield lambda _: bar.update(1)
