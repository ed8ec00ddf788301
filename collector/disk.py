"""Disk: what has to be there after a power cut."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Put a file, or the names in a folder, on disk: without its name a file that survives cannot be found."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def settle(partial: Path, path: Path) -> Path:
    """Put a file that is wholly written under its name, both on disk when this returns; its path."""
    sync(partial)
    partial.replace(path)
    sync(path.parent)
    return path
