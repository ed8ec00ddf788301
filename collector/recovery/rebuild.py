"""Rebuild: dictionaries, columns and event ids anew from the archive, also in another number of partitions."""

import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from collector import connections, keys
from collector.clock import Clock
from collector.connections import Redis
from collector.ingest.importing import Head
from collector.recovery import snapshot
from collector.recovery.remake import Busy, Databases, Draft, remake
from collector.recovery.repartition import repartition
from collector.settings import BadSetup, Settings
from collector.stream.partitions import REMADE, Installation, open_installation

_head = msgspec.json.Decoder(Head).decode


def rebuild(settings: Settings, partitions: int | None, clock: Clock, *, told: Callable[[int], None]) -> int:
    """Remake the installation in so many partitions, None: as many as it has; how many it has now.

    Nothing else may work meanwhile. Until the last step the installation is as it was, and if that step is not
    reached it stays so. Raises BadSetup, connections.Unavailable.
    """
    with connections.open_redis(settings) as client:
        connections.database_of(client)  # said before anything is stopped for it
        before = int(client.hget(keys.INSTALLATION, "partitions") or 0)
        if not before:
            raise BadSetup(
                "There is nothing to rebuild. Mend: point COLLECTOR_DATA_DIR or COLLECTOR_REDIS_URL at it."
            )
        installation = open_installation(client, settings.model_copy(update={"partitions": before}), REMADE)
        check_alone(client)
        _check_room(client, settings)
        if partitions not in (None, before):
            _check_imports(client)
    watched = [keys.INSTALLATION, keys.TAGS, keys.API_KEYS, keys.AUDIENCES, keys.IMPORTS]
    for number in range(before):
        watched += [keys.state(number), keys.events(number)]
    with Databases(settings, watched) as databases:
        live = databases.live
        shares = [snapshot.share(live, number) for number in range(before)]
        draft = Draft(
            installation,
            snapshot.common(live),
            shares,
            [partial(snapshot.tail, live, number, share) for number, share in enumerate(shares)],
        )
        if partitions not in (None, before):
            draft = repartition(draft, partitions or before, settings.archive)
        remake(databases.spare, draft, settings, clock, told=told)
        check_alone(live)
        try:
            databases.swap()
        except Busy:
            raise BadSetup(
                "Something wrote to the installation meanwhile, so it was left as it is. "
                "Mend: stop `up`, serve, worker and commands, and run it again."
            ) from None
        sweep(live, draft.installation, settings)
    return draft.installation.partitions


def check_alone(client: Redis) -> None:
    """Raises BadSetup when another process of the collector is connected to the server."""
    if others := connections.others(client):
        names = ", ".join(name.removeprefix("collector:") for name in others)
        raise BadSetup(
            f"The installation is in use ({names}, as host:pid). Mend: stop `up`, every serve and every worker first."
        )


def sweep(client: Redis, installation: Installation, settings: Settings) -> None:
    """Delete the archive files that no manifest names. Only while nobody writes new ones."""
    for number, folder in _parts(settings.archive):
        for tag in folder.iterdir():
            known = set()
            if number < installation.partitions:
                known = {name.decode() for name in client.hkeys(f"{keys.tenant(number, tag.name)}:manifest")}
            for file in tag.iterdir():
                if file.suffix == ".partial" or file.stem not in known:
                    file.unlink()
        if number >= installation.partitions:
            shutil.rmtree(folder)
    for number, folder in _parts(settings.archive / "proof"):
        if number >= installation.partitions:
            shutil.rmtree(folder)


def _parts(folder: Path) -> Iterator[tuple[int, Path]]:
    """The partitions' folders, and nothing that somebody laid beside them."""
    for path in sorted(folder.glob("p[0-9]*")):
        if re.fullmatch(r"p\d{2,}", path.name):
            yield int(path.name[1:]), path


def _check_room(client: Redis, settings: Settings) -> None:
    info = client.info("memory")
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    if most and 2 * used > most:
        raise BadSetup(
            f"Redis holds {used >> 20} MiB of {most >> 20}; the new columns lie beside the old ones for a while. "
            f"Mend: raise maxmemory to {2 * used >> 20} MiB or more meanwhile."
        )


def _check_imports(client: Redis) -> None:
    for name, raw in client.hgetall(keys.IMPORTS).items():
        if not _head(raw).finished_at:
            tag = name.decode().partition(":")[0]
            raise BadSetup(
                f"An import for tag {tag} is not finished, and what it has stored is counted by partition. "
                "Mend: run that `collector import` again, to its end, first."
            )
