"""Backup: a snapshot and its archive files as a folder, and such a folder as a snapshot again.

    backup.json         what it is, and the SHA-256 of every other file; written last
    installation        the installation and the keys of no partition (msgpack)
    settings.env        the settings that were given, as environment lines
    admin.key           the admin key, if the data folder kept one
    p07/share           partition 7 at one moment (msgpack)
    p07/tail            the stream behind the files: length (8 bytes), then a page of (id, payload) (msgpack), …
    archive/p07/…       the archive files in force
    archive/proof/…     who consented to what, and what was erased

Whoever holds it holds visitors' data and the installation's secret: the folder is its owner's alone.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import msgspec

from collector import clock, disk
from collector.archive import whole
from collector.archive.manifest import File, Manifest
from collector.connections import Redis
from collector.recovery import snapshot
from collector.recovery.remake import Draft
from collector.recovery.snapshot import Moved, Record, Share
from collector.settings import BadSetup, Settings
from collector.stream import read
from collector.stream.partitions import REMADE, SCHEMA, Installation

FORMAT = 1
TRIES = 10  # a partition that is flushed, or a file that an erasure removes, while it is copied: taken anew
PIECE = 1 << 20  # bytes copied at a time

Told = Callable[[int], None]
"""Hears of each partition that is done."""


class Label(msgspec.Struct):
    """backup.json. files: path in the folder → [SHA-256, bytes]."""

    format: int
    schema: str
    version: str
    made_at: str
    partitions: int
    files: dict[str, tuple[str, int]]


class Common(msgspec.Struct):
    """The file `installation`."""

    secret: bytes
    records: list[Record]


def take(
    client: Redis, installation: Installation, settings: Settings, folder: Path, now: float, *, told: Told
) -> Label:
    """Write a backup into a new folder, while the product works.

    Raises BadSetup, Moved, connections.Unavailable, and whole.Damaged rather than save a file that is not whole.
    """
    if folder.exists():
        raise BadSetup(f"{folder} is there already. Mend: name a new folder for each backup.")
    draft = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True, mode=0o700)
        label = _write(client, installation, settings, draft, now, told)
        draft.rename(folder)
        disk.sync(folder.parent)
    except OSError as error:
        raise BadSetup(
            f"The backup cannot be written ({error}). Mend: choose a disk with room and rights."
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return label


def _write(
    client: Redis, installation: Installation, settings: Settings, folder: Path, now: float, told: Told
) -> Label:
    files: dict[str, tuple[str, int]] = {}

    def put(name: str, content: bytes) -> None:
        files[name] = _store(folder / name, iter([content]))

    # Before the partitions: an audience's conditions are registered before its record is written.
    common = Common(installation.secret, snapshot.common(client))
    put("installation", msgspec.msgpack.encode(common))
    given = {name: getattr(settings, name) for name in sorted(settings.model_fields_set)}
    put(
        "settings.env",
        "".join(f"COLLECTOR_{name.upper()}={value}\n" for name, value in given.items()).encode(),
    )
    if (kept := settings.data_dir / "admin.key").exists():
        put("admin.key", kept.read_bytes())
    for number in range(installation.partitions):
        files |= _partition(client, number, settings, folder)
        told(number)
    for source in sorted((settings.archive / "proof").glob("*/*/*.ndjson")):
        path = f"archive/{source.relative_to(settings.archive)}"
        files[path] = _store(folder / path, _pieces(source))
    label = Label(
        FORMAT, SCHEMA.decode(), version("collector"), clock.iso(now), installation.partitions, files
    )
    _store(folder / "backup.json", iter([msgspec.json.format(msgspec.json.encode(label), indent=1)]))
    return label


def _partition(client: Redis, number: int, settings: Settings, folder: Path) -> dict[str, tuple[str, int]]:
    """Copy a partition: the share first, then what it names. Files never change, so none is of another moment."""
    manifest = Manifest(client, number, settings.archive)
    name = f"p{number:02d}"
    for _ in range(TRIES):
        files = {}
        share = snapshot.share(client, number)
        files[f"{name}/share"] = _store(folder / name / "share", iter([msgspec.msgpack.encode(share)]))
        try:
            pages = map(_framed, snapshot.tail(client, number, share))
            files[f"{name}/tail"] = _store(folder / name / "tail", pages)
            for tag, holding in share.tags.items():
                for file in holding.files:
                    path = f"archive/{name}/{tag}/{file.name}.parquet"
                    files[path] = _copy_in(manifest, tag, file, folder / path)
        except Moved:
            shutil.rmtree(folder / name)
            shutil.rmtree(folder / "archive" / name, ignore_errors=True)
            continue
        return files
    raise Moved


def _copy_in(manifest: Manifest, tag: str, file: File, target: Path) -> tuple[str, int]:
    """Copy an archive file. Raises Moved when it went since the share was taken, and whole.Damaged when it is lost."""
    source = manifest.path(tag, file.name)
    try:
        stored = _store(target, _pieces(source))
    except FileNotFoundError:
        if file not in manifest.past(tag).files:  # what is in force is never deleted
            raise Moved from None
        raise whole.Damaged(
            f"The archive file {source} is missing. "
            "Mend: put it back from a backup, or correct COLLECTOR_ARCHIVE_DIR."
        ) from None
    whole.check(target, file.bytes, file.crc)
    return stored


def check(folder: Path) -> Label:
    """The label of a backup whose every file is whole. Raises BadSetup."""
    try:
        label = msgspec.json.decode((folder / "backup.json").read_bytes(), type=Label)
        for name, (digest, _) in label.files.items():
            if _digest(_pieces(folder / name)) != digest:
                raise BadSetup(f"{folder / name} is not what was written. Mend: restore another backup.")
    except (OSError, msgspec.MsgspecError) as error:
        raise BadSetup(
            f"{folder} is no whole backup ({error}). Mend: name a folder that `collector backup` made."
        ) from None
    if label.format != FORMAT or label.schema.encode() not in REMADE:
        raise BadSetup(
            f"{folder} was written by collector {label.version}, in a form that this version cannot read. "
            "Mend: restore it with that version, then upgrade."
        )
    return label


def draft(folder: Path, label: Label) -> Draft:
    """The installation that a checked backup holds."""
    common = msgspec.msgpack.decode((folder / "installation").read_bytes(), type=Common)
    names = [f"p{number:02d}" for number in range(label.partitions)]
    shares = [msgspec.msgpack.decode((folder / name / "share").read_bytes(), type=Share) for name in names]
    return Draft(
        Installation(label.partitions, common.secret),
        common.records,
        shares,
        [lambda path=folder / name / "tail": _pages(path) for name in names],  # type: ignore[misc]
    )


def archived(label: Label) -> list[Path]:
    """The archive's files in a backup, as paths below the archive's folder."""
    return [Path(name).relative_to("archive") for name in label.files if name.startswith("archive/")]


def copy_out(folder: Path, path: Path, archive: Path) -> None:
    """Copy one of archived() to where it is read. Raises OSError."""
    _store(archive / path, _pieces(folder / "archive" / path), mode=0o644)


def _store(path: Path, pieces: Iterator[bytes], *, mode: int = 0o600) -> tuple[str, int]:
    """Write a file, on disk when this returns: (SHA-256, bytes)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as output:
        path.chmod(mode)
        for piece in pieces:
            digest.update(piece)
            size += output.write(piece)
        output.flush()
        os.fsync(output.fileno())
    disk.sync(path.parent)
    return digest.hexdigest(), size


def _digest(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        while piece := source.read(PIECE):
            yield piece


def _framed(page: list[read.Entry]) -> bytes:
    packed = msgspec.msgpack.encode([(entry.id, entry.payload) for entry in page])
    return len(packed).to_bytes(8, "big") + packed


def _pages(path: Path) -> Iterator[list[read.Entry]]:
    source: BinaryIO
    with path.open("rb") as source:
        while head := source.read(8):
            page = msgspec.msgpack.decode(
                source.read(int.from_bytes(head, "big")), type=list[tuple[bytes, bytes]]
            )
            yield [read.Entry(id_, payload) for id_, payload in page]
