"""An import that is killed, or whose server dies, goes on where it broke: no line is lost, none counts twice."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import connections, keys, tags
from collector.connections import Redis
from collector.embedded import Embedded
from collector.event import decode_streamed
from collector.settings import Settings, load

LINES = 60_000
ENOUGH = 5_000  # stored events at which the import is broken: well before its end


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Embedded]:
    """A server that may be killed."""
    with Embedded(Settings(data_dir=tmp_path)) as embedded:
        yield embedded


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Events of which one in three brings an id of its own, and all are different."""
    path = tmp_path / "past.csv"
    with path.open("w", newline="") as out:
        write = csv.writer(out).writerow
        write(("event_time", "visitor", "event", "event_id", "number"))
        for number in range(LINES):
            write(
                (
                    1_000_000 + number,
                    f"v{number % 997}",
                    "lead",
                    "" if number % 3 else f"own-{number}",
                    number,
                )
            )
    return path


class Importing:
    """`collector import` of the file, as a process."""

    def __init__(self, server: Embedded, file: Path) -> None:
        self.settings = load(redis_url=server.url, data_dir=file.parent)
        self.client: Redis = connections.open_redis(self.settings)
        self._tag = tags.create_tag(self.client, "shop", ["https://shop.example"], "opt_in")[0].id
        self._file = file

    def start(self) -> subprocess.Popen[str]:
        command = ["import", str(self._file), "--tag", self._tag, "--consent-attested", "asked", "--no-wait"]
        return subprocess.Popen(
            [sys.executable, "-m", "collector", *command],
            env={**os.environ, "COLLECTOR_REDIS_URL": self.settings.redis_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stored(self) -> int:
        return sum(self.client.xlen(keys.events(number)) for number in range(self.settings.partitions))

    def await_stored(self, enough: int) -> None:
        end = time.monotonic() + 30
        while self.stored() < enough:
            assert time.monotonic() < end
            time.sleep(0.005)

    def numbers(self) -> Counter[object]:
        """How often each line is in the streams."""
        return Counter(
            decode_streamed(fields[b"e"]).data["number"]
            for number in range(self.settings.partitions)
            for _, fields in self.client.xrange(keys.events(number))
        )


@pytest.fixture
def importing(own_server: Embedded, file: Path) -> Iterator[Importing]:
    found = Importing(own_server, file)
    with found.client:
        yield found


def test_a_killed_import_goes_on_where_it_broke(importing: Importing) -> None:
    for round_ in (1, 2):
        running = importing.start()
        importing.await_stored(round_ * ENOUGH)
        running.kill()
        running.communicate()
    assert importing.stored() < LINES
    running = importing.start()
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "stored by an earlier run" in said
    assert importing.numbers() == Counter(range(LINES))


def test_an_import_outlives_a_killed_server(importing: Importing, own_server: Embedded) -> None:
    running = importing.start()
    importing.await_stored(ENOUGH)
    os.kill(own_server.pid, signal.SIGKILL)
    while own_server.running:
        time.sleep(0.01)
    assert running.poll() is None
    own_server.launch()
    said, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (0, ""), said
    assert importing.numbers() == Counter(range(LINES))


def test_two_imports_of_one_file_at_once_are_one(importing: Importing) -> None:
    both = [importing.start(), importing.start()]
    for running in both:
        running.communicate(timeout=120)
        assert running.returncode == 0
    assert importing.numbers() == Counter(range(LINES))
