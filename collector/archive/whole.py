"""Whole: whether an archive file still is what was written. A reader that did not look would count wrongly, unseen."""

import zlib
from functools import lru_cache
from pathlib import Path

PIECE = 1 << 20  # bytes read at a time


class Damaged(Exception):
    """A file in force is not what was written. The message is one line, with the mend."""


def checksum(path: Path) -> int:
    """The CRC-32 of a file: about a second a gigabyte. Raises OSError."""
    found = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found = zlib.crc32(piece, found)
    return found


def check(path: Path, size: int, crc: int | None) -> None:
    """Raises Damaged unless the file has its size, and its checksum where one was kept (older files have none).

    The size is looked at every time, the checksum once in a process's life: names are never used again.
    """
    try:
        if path.stat().st_size != size:
            raise _damaged(path, "has another length than was written")
        if crc is not None:
            _check_content(path, crc)
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from None


@lru_cache(maxsize=65_536)
def _check_content(path: Path, crc: int) -> None:
    if checksum(path) != crc:
        raise _damaged(path, "has other bytes than were written")


def _damaged(path: Path, what: str) -> Damaged:
    return Damaged(f"The archive file {path.name} {what}. Mend: put it back from a backup.")
