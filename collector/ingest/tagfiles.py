"""Tag files: the built tag and its compat listener, and every released version of both, as the edge serves them."""

import gzip
import hashlib
import re
from pathlib import Path
from typing import NamedTuple

STATIC = Path(__file__).parent / "static"

NEWEST = frozenset({"compat"})  # files beside the versions that are the newest of their kind, and so change

_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]*", re.ASCII)


class TagFile(NamedTuple):
    """One script."""

    plain: bytes
    gzipped: bytes
    etag: bytes


class TagFiles:
    """Reads scripts when they are first asked for, and again when they have changed on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, tuple[int, TagFile]] = {}

    def current(self) -> TagFile | None:
        return self._get(self._folder / "tag.js")

    def version(self, version: str) -> TagFile | None:
        """«1.2.3» of the tag, «compat-1.2.3», or one of NEWEST."""
        return self._get(self._folder / "tag" / f"{version}.js") if _VERSION.fullmatch(version) else None

    def _get(self, path: Path) -> TagFile | None:
        try:
            changed = path.stat().st_mtime_ns
            if path in self._read and self._read[path][0] == changed:
                return self._read[path][1]
            plain = path.read_bytes()
        except OSError:
            return None
        etag = f'"{hashlib.sha256(plain).hexdigest()[:32]}"'.encode()
        file = TagFile(plain, gzip.compress(plain, mtime=0), etag)
        self._read[path] = changed, file
        return file
