"""Rig: the product's own processes on a data folder that goes with it, each pinned as told and ended by its pid."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from collector import connections, leash, tags
from collector.connections import Redis
from collector.embedded import Embedded, find_servers
from collector.settings import Settings
from collector.stream.partitions import open_installation

FIRST, SECOND = 0, 1  # the two cores that a measure spreads its processes over
PATIENCE = 60.0  # seconds for a process to start; on a busy machine it takes ten
STOP = 20.0  # seconds that the contract gives a stop
ORIGIN = "https://shop.example"
ADMIN_KEY = "the-admin-key-of-a-benchmark"


class Rig:
    """A server with AOF always, a tag, and whatever roles are started. To be used with `with`.

    core: pin everything started to that core; None leaves it to the system. settings override the defaults.
    """

    def __init__(self, *, server_core: int | None = None, **settings: object) -> None:
        # On the disk where `up` keeps its data: elsewhere a temporary folder may be memory, and fsync free.
        Path("data").mkdir(exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(dir="data", prefix="load-", ignore_cleanup_errors=True)
        self._chosen: dict[str, object] = {
            "data_dir": Path(self._folder.name).absolute(),
            "admin_key": ADMIN_KEY,
            "drain_seconds": 0,
            **settings,
        }
        self.settings = Settings(**self._chosen)  # type: ignore[arg-type]
        self.server = Embedded(self.settings)
        self._server_core = server_core
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.server.start()
        pin(self.server.pid, self._server_core)
        self.client: Redis = connections.open_redis(self.settings)
        self.installation = open_installation(self.client, self.settings)
        self.tag, self.server_key = tags.create_tag(self.client, "load", [ORIGIN], "opt_in")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._running):
            self.end(process)
        self.client.close()
        self.server.stop()
        self._folder.cleanup()

    def start(self, *command: str, core: int | None = None, **settings: object) -> subprocess.Popen[bytes]:
        """A role of the product in a process of its own."""
        chosen = {**self._chosen, **settings}
        environment = {f"COLLECTOR_{name.upper()}": str(value) for name, value in chosen.items()}
        return self.run([sys.executable, "-m", "collector", *command], environment, core)

    def run(
        self, command: Iterable[str], environment: Mapping[str, str] = {}, core: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Any process, to be ended with the rig; its output goes to the file that said() reads."""
        with self._output(len(self._running)).open("wb") as output:
            process = leash.start(list(command), env={**os.environ, **environment}, output=output)
        pin(process.pid, core)
        self._running.append(process)
        return process

    def said(self, process: subprocess.Popen[bytes]) -> str:
        return self._output(self._running.index(process)).read_text(errors="replace")

    def serve(self, *command: str, core: int | None = None) -> tuple[subprocess.Popen[bytes], str]:
        """Start `serve` on a free port; the process and its URL, once it listens."""
        process = self.start("serve", *command, core=core, port=0)
        end = time.monotonic() + PATIENCE
        while not (found := re.search(r'"port": (\d+)', said := self.said(process))):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"serve did not start:\n{said}")
            time.sleep(0.02)
        return process, f"http://127.0.0.1:{found[1]}"

    def listen(
        self, command: Iterable[str], port: int, core: int | None = None
    ) -> tuple[subprocess.Popen[bytes], str]:
        """Start any server on a port of its own; the process and its URL, once it listens."""
        process = self.run(command, core=core)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"it does not listen:\n{self.said(process)}") from None
                time.sleep(0.05)
            else:
                return process, f"http://127.0.0.1:{port}"

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Stop a process, and wait for its end."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _output(self, number: int) -> Path:
        return self.settings.data_dir / f"{number}.out"


class Api:
    """A marketer's connection to the API, kept open."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The answer's JSON, or None if it is empty. Raises RuntimeError for anything but a 2xx."""
        sent = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, sent, headers or {"authorization": f"Bearer {ADMIN_KEY}"})
        answer = self._connection.getresponse()
        text = answer.read()
        if not 200 <= answer.status < 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return json.loads(text) if text else None


def fetch(url: str) -> str:
    """What a plain GET answers. Raises OSError."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"{url} answers {answer.status}")
    return text


def pin(pid: int, core: int | None) -> None:
    """Keep a process and its threads on one core, where the system can."""
    if core is None or sys.platform != "linux":
        return
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core % (os.cpu_count() or 1)})


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def processor_seconds(pid: int) -> float:
    """The seconds of processor that a process and its children have used; 0 where the system does not tell it so."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(processor_seconds(int(child)) for child in children)


def resident_bytes(pid: int) -> int:
    """The memory of a process; 0 where the system does not tell it so."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def server_name() -> str:
    return str(find_servers()[0])
