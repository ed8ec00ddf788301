"""The plant: Redis, edges and workers as processes of their own, on a folder of their own, to be hurt one by one."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from collector import leash
from collector.connections import Redis
from collector.embedded import Server
from tests.ports import free_port

PATIENCE = 60.0  # seconds for anything to recover: two cores start three Pythons at once here
ADMIN_KEY = "the-admin-key-of-a-fault"
ORIGIN = "https://shop.example"
PARTITIONS = 4


def until(true: Callable[[], Any], what: str, patience: float = PATIENCE, pause: float = 0.02) -> float:
    """Wait until it is true; the seconds that it took. Fails when the patience is over."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() < begun + patience, f"{what}: not within {patience:.0f} s"
        time.sleep(pause)
    return time.monotonic() - begun


class Unit:
    """One process that can be started again and again."""

    def __init__(self, command: Iterable[object], environment: Mapping[str, str], output: Path) -> None:
        self._command = [str(part) for part in command]
        self._environment = {**os.environ, **environment}
        self.output = output
        self.start()

    def start(self, command: Sequence[str] = (), environment: Mapping[str, str] = {}) -> None:
        """Start it, as ever or with another command and more environment."""
        with self.output.open("ab") as sink:
            self._from = sink.tell()
            self.process = leash.start(
                command or self._command, env={**self._environment, **environment}, output=sink
            )

    @property
    def text(self) -> str:
        """What it has said since its last start."""
        return self.output.read_bytes()[self._from :].decode(errors="replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        if self.running:
            self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and its end."""
        self.send(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code, within the 20 s of the contract."""
        self.send(signal.SIGTERM)
        return self.process.wait(20)


class Plant:
    """To be used with `with`. settings: COLLECTOR_* for every role; a role's own go to edge() and worker()."""

    def __init__(self, folder: Path, server: Server, **settings: object) -> None:
        self.folder = folder
        self.aof = folder / "redis" / "appendonlydir"
        self.archive = folder / "data" / "archive"
        self._server = server
        self.port = free_port()
        self.door = self.port  # where the product looks for Redis: a proxy's port, once there is one
        self._settings: dict[str, object] = {
            "data_dir": folder / "data",
            "admin_key": ADMIN_KEY,
            "partitions": PARTITIONS,
            "drain_seconds": 0,
            "append_timeout": 1,
            "lease_seconds": 2,
            "flush_seconds": 1,
            "bot_filter": False,
            **settings,
        }
        self.units: list[Unit] = []

    def __enter__(self) -> Self:
        (self.folder / "redis").mkdir(parents=True, exist_ok=True)
        self.redis = self.unit("redis", self.redis_command(), {})
        self.client: Redis = redis.Redis(
            port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0), protocol=2
        )
        self.await_redis()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for unit in reversed(self.units):
            unit.kill()
        self.client.close()

    @property
    def url(self) -> str:
        """What the product is told of Redis."""
        return f"redis://127.0.0.1:{self.door}"

    def redis_command(self, **options: object) -> list[str]:
        chosen = {
            "port": self.port,
            "dir": self.folder / "redis",
            "save": "",
            "appendonly": "yes",
            "appendfsync": self._settings.get("durability", "always"),
            "maxmemory-policy": "noeviction",
            "enable-protected-configs": "yes",
            "enable-debug-command": "yes",
            "loglevel": "warning",
            **options,
        }
        parts = (
            part for name, value in chosen.items() for part in (f"--{name.replace('_', '-')}", str(value))
        )
        return [str(self._server.path), *parts]

    def start_redis(self, environment: Mapping[str, str] = {}, **options: object) -> None:
        """Start Redis again, this once with more environment and options («-» for «_» in their names)."""
        self.redis.start(self.redis_command(**options), environment)

    def unit(self, name: str, command: Iterable[object], environment: Mapping[str, str]) -> Unit:
        made = Unit(command, environment, self.folder / f"{len(self.units)}-{name}.out")
        self.units.append(made)
        return made

    def role(self, *command: object, module: str = "collector", **settings: object) -> Unit:
        """`collector …` on this plant; with a module, what that makes of it (see saboteur.py)."""
        chosen = {**self._settings, "redis_url": self.url, **settings}
        environment = {f"COLLECTOR_{name.upper()}": str(value) for name, value in chosen.items()}
        return self.unit(str(command[-1]), [sys.executable, "-m", module, *command], environment)

    def edge(self, *, module: str = "collector", before: Iterable[object] = ()) -> "Edge":
        return Edge(self.role(*before, "serve", module=module, port=free_port()))

    def worker(self, *, module: str = "collector", before: Iterable[object] = (), **settings: object) -> Unit:
        return self.role(*before, "worker", module=module, **settings)

    def await_redis(self) -> None:
        until(self.answers, "Redis answers")

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except (redis.RedisError, OSError):
            return False

    def owners(self) -> set[bytes | None]:
        """Who holds the leases; None among them while one is free."""
        return set(self.client.mget([f"{{p{n:02d}}}:lease" for n in range(PARTITIONS)]))

    def owns(self, unit: Unit) -> bool:
        """Whether the worker holds any lease."""
        return any(f"-{unit.process.pid}-".encode() in (owner or b"") for owner in self.owners())

    def all_owned_without(self, *units: Unit) -> bool:
        return None not in self.owners() and not any(map(self.owns, units))

    def archived(self) -> list[bytes | None]:
        """How far the archive of each partition is."""
        return [self.client.hget(f"{{p{n:02d}}}:state", "archived") for n in range(PARTITIONS)]

    def archived_since(self, before: Sequence[bytes | None]) -> bool:
        """Whether the archive of every partition has gone on."""
        return all(was != now for was, now in zip(before, self.archived(), strict=True))

    def collector(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """A command of the product, run to its end."""
        chosen = {**self._settings, "redis_url": self.url}
        environment = {
            **os.environ,
            **{f"COLLECTOR_{name.upper()}": str(value) for name, value in chosen.items()},
        }
        line = [sys.executable, "-m", "collector", *command]
        return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=PATIENCE)


class Edge:
    """A `serve`, and how to ask it."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit

    @property
    def port(self) -> int:
        """Where it listens; 0 while it does not. The same after each start."""
        found = re.search(r'"port": (\d+)', self.unit.text)
        return int(found[1]) if found else 0

    def await_ready(self) -> Self:
        def ready() -> bool:
            assert self.unit.running, self.unit.text
            return self.ask("GET", "/readyz")[0] == 200

        until(ready, "an edge is ready", pause=0.1)
        return self

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] = {}
    ) -> tuple[int, bytes]:
        """(status, body); status 0 when there was no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port or 9, timeout=PATIENCE)
        headers = {"authorization": f"Bearer {ADMIN_KEY}", **headers}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def told(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of a 2xx, asked for again while the answer is 503, 409 or none."""
        end = time.monotonic() + PATIENCE
        while True:
            status, raw = self.ask(method, path, body)
            if 200 <= status < 300:
                return json.loads(raw)
            assert status in (0, 409, 503) and time.monotonic() < end, (
                f"{method} {path}: {status} {raw[:300]!r}"
            )
            time.sleep(0.2)
