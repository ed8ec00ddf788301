"""Replicas that start at once agree on what they share."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from collector.cli import roles
from collector.settings import load


def test_processes_of_one_number_that_start_at_once_make_one_admin_key(tmp_path: Path) -> None:
    """As replicas in containers do on a volume that they share: each is process 1."""
    together = Barrier(8)

    def start(folder: Path) -> str:
        together.wait(10)
        return roles.admin_key(load(data_dir=folder))

    with ThreadPoolExecutor(8) as replicas:
        for round in range(20):
            folder = tmp_path / str(round)
            keys = set(replicas.map(start, [folder] * 8))
            assert keys == {(folder / "admin.key").read_text().strip()}
            assert [file.name for file in folder.iterdir()] == ["admin.key"]
