"""Restore: a backup into an empty installation, less what was erased since."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from collector import clock as clocks
from collector import keys
from collector.clock import Clock
from collector.recovery import backup
from collector.recovery.rebuild import check_alone
from collector.recovery.remake import Busy, Databases, Draft, remake
from collector.recovery.snapshot import Holding
from collector.settings import BadSetup, Settings

MARGIN = 3_600  # seconds before the backup from which erasures are done again: clocks differ, and again is harmless

_record = msgspec.json.Decoder(dict[str, Any]).decode


def check(folder: Path, settings: Settings, erased: Sequence[Path]) -> backup.Label:
    """The label of a backup that can be restored here, as far as that is known without a server. Raises BadSetup."""
    label = backup.check(folder)
    if label.partitions != settings.partitions:
        raise BadSetup(
            f"The backup has {label.partitions} partitions, COLLECTOR_PARTITIONS is {settings.partitions}. "
            f"Mend: set it to {label.partitions}; `collector rebuild --partitions` can change that afterwards."
        )
    for place in erased:
        _check_tells(place)
    if any(settings.archive.glob("p[0-9]*/*/*.parquet")):
        raise BadSetup(
            f"{settings.archive} holds an archive, and a restore never overwrites. "
            "Mend: move it away, and name it with --erased, so that who was erased since stays so."
        )
    return label


def restore(
    folder: Path,
    label: backup.Label,
    settings: Settings,
    erased: Sequence[Path],
    clock: Clock,
    *,
    told: Callable[[int], None],
) -> int:
    """Restore the backup that check() has let pass; how many erasures were done again.

    erased: archive folders whose proof tells of erasures since; the one of the settings is looked at, too. Nothing is
    to be seen of it until all is there. Raises BadSetup, connections.Unavailable.
    """
    since = clocks.parse_iso(label.made_at) - MARGIN
    draft = backup.draft(folder, label)
    again = 0
    for place in (settings.archive, *erased):
        for tag, mark, until in _erasures(place, since):
            again += 1
            _erase(draft, tag, mark, until)
    copied: list[Path] = []
    try:
        with Databases(settings, [keys.INSTALLATION, keys.TAGS]) as databases:
            if databases.live.dbsize():
                raise BadSetup(
                    "The server is not empty, and a restore never overwrites. "
                    "Mend: restore to another COLLECTOR_DATA_DIR or COLLECTOR_REDIS_URL."
                )
            check_alone(databases.live)
            for path in backup.archived(label):
                if not (settings.archive / path).exists():  # proof of later months stays
                    copied.append(path)
                    backup.copy_out(folder, path, settings.archive)
            remake(databases.spare, draft, settings, clock, told=told)
            databases.swap()
    except BaseException as error:
        for path in copied:
            (settings.archive / path).unlink(missing_ok=True)
        if isinstance(error, Busy):
            raise BadSetup(
                "Somebody has begun to use the server. Mend: stop it, and restore again."
            ) from None
        if isinstance(error, OSError) and error.errno:
            raise BadSetup(f"The archive cannot be written ({error}). Mend: rights and room.") from None
        raise
    _keep_key(folder, label, settings)
    return again


def _check_tells(archive: Path) -> None:
    """Raises BadSetup unless the folder can tell of erasures: a wrong one would bring back whoever asked to go."""
    if not archive.is_dir():
        raise BadSetup(f"--erased {archive} is no folder. Mend: name the lost installation's archive folder.")
    if not (archive / "proof").is_dir():
        raise BadSetup(
            f"--erased {archive} holds no folder proof, so it is no archive. "
            "Mend: name the folder that holds it, mostly archive in the lost installation's data folder."
        )


def _erasures(archive: Path, since: float) -> Iterator[tuple[str, int, int]]:
    """(tag, mark, Unix second) of each withdrawal and erasure that the proof files tell of."""
    for path in sorted((archive / "proof").glob("*/*/*.ndjson")):
        with path.open("rb") as lines:
            for line in lines:
                try:
                    record = _record(line)
                except msgspec.DecodeError:
                    continue  # half a line of a process that died
                at = record.get("asked_at") or (
                    record.get("at") if record.get("verdict") == "withdrawal" else None
                )
                if at and (second := int(clocks.parse_iso(at))) >= since:
                    yield path.parent.name, int(record["visitor"], 16), second


def _erase(draft: Draft, tag: str, mark: int, until: int) -> None:
    """Put a tombstone wherever the visitor may be: the proof may be of another number of partitions.

    Dead letters go, as in audience/forget.lua. A share may know a tag by its stream's tail alone.
    """
    for share in draft.shares:
        holding = share.tags.setdefault(tag, Holding({}, {}, {}, [], []))
        if until > holding.tombs.get(mark, -1):
            holding.tombs[mark] = until
            holding.erasing.append(mark)
            share.erasures += 1
            share.dead = {
                field: letter for field, letter in share.dead.items() if field.partition(b":")[0] != b"%d" % mark
            }


def _keep_key(folder: Path, label: backup.Label, settings: Settings) -> None:
    kept = settings.data_dir / "admin.key"
    if "admin.key" in label.files and not kept.exists():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as output:
            output.write((folder / "admin.key").read_bytes())
