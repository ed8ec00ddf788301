"""What every test may ask for: a real server, settings that point at it, live processes of the product."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from collector import connections
from collector.embedded import Embedded, Server, find_servers
from collector.settings import Settings, load

PATIENCE = 20.0  # seconds: what a stop may take by contract
STARTING = 60.0  # seconds: far more than a start takes; a machine of ten times the load took more than 20


@pytest.fixture(scope="session", autouse=True)
def _no_foreign_settings() -> Iterator[None]:
    """The settings of whoever runs the tests do not reach them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("COLLECTOR_")]:
            if name != "COLLECTOR_TEST_SERVER":
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def server_binary() -> Server:
    """What the tests run on: the best server found, or the first of COLLECTOR_TEST_SERVER=redis|valkey."""
    wanted = os.environ.get("COLLECTOR_TEST_SERVER", "")
    found = [server for server in find_servers() if wanted in ("", server.flavour)]
    assert found, f"no {wanted or 'redis or valkey'} server on this machine"
    return found[0]


@pytest.fixture(scope="session")
def server(server_binary: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """One server for the session, with AOF always, as in production."""
    with Embedded(Settings(data_dir=tmp_path_factory.mktemp("server")), server_binary) as embedded:
        yield embedded


@pytest.fixture
def settings(server: Embedded, tmp_path: Path) -> Settings:
    """The defaults, on the session's server, with a data folder of the test's own."""
    return load(redis_url=server.url, data_dir=tmp_path / "data")


@pytest.fixture
def redis(settings: Settings) -> Iterator[connections.Redis]:
    """A waiting client that answers bytes; the database is empty."""
    with connections.open_redis(settings) as client:
        client.flushall()
        yield client


class Live:
    """A running command of the product: `python -m collector …`, its output in a file."""

    def __init__(self, command: list[str], environment: dict[str, str], output: Path) -> None:
        self.output = output
        self.command = command
        with output.open("ab") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "collector", *command],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                # A shell lets what it starts in the background ignore Ctrl-C, and so would its children.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(errors="replace")

    @property
    def logged(self) -> list[dict[str, object]]:
        """The log lines among what it has printed, oldest first."""
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]

    def await_text(self, wanted: str, patience: float = STARTING) -> None:
        """Wait until it has printed `wanted`; fails when it ends before, or the patience does."""
        end = time.monotonic() + patience
        while wanted not in self.text:
            assert self.process.poll() is None, (
                f"{self.command} ended {self.process.returncode}:\n{self.text}"
            )
            assert time.monotonic() < end, f"{self.command} did not say {wanted!r}:\n{self.text}"
            time.sleep(0.02)

    @property
    def url(self) -> str:
        """Where it listens, once it does."""
        self.await_text('"listening"')
        port = next(line["port"] for line in self.logged if line["event"] == "listening")
        return f"http://127.0.0.1:{port}"

    def await_ready(self) -> str:
        """Its URL, once /readyz says yes."""
        url, end = self.url, time.monotonic() + STARTING
        while True:
            answer = httpx.get(f"{url}/readyz")
            if answer.status_code == 200:
                return url
            assert time.monotonic() < end, f"not ready: {answer.text}\n{self.text}"
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and wait for the end; the exit code. Fails after PATIENCE."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)


Start = Callable[..., Live]


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    """start("serve") or start("worker"): a live process on the test's settings, ended with the test.

    Keywords are settings, which override; serve listens on a free port unless told.
    """
    running: list[Live] = []

    def start(*command: str, **overrides: object) -> Live:
        chosen = {
            "redis_url": settings.redis_url,
            "data_dir": settings.data_dir,
            "port": 0,
            "drain_seconds": 0,
            **overrides,
        }
        environment = {f"COLLECTOR_{name.upper()}": str(value) for name, value in chosen.items()}
        live = Live(list(command), environment, tmp_path / f"{len(running)}-{command[0]}.out")
        running.append(live)
        return live

    yield start
    for live in reversed(running):
        if live.process.poll() is None:
            live.process.kill()
            live.process.wait()
