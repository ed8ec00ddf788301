"""Compose: the installation of docker-compose.yml on a real engine, and a shopper who keeps a ledger."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0  # seconds: a start with images that are there takes 20
OVERRIDE = "services:\n  worker:\n    environment: {COLLECTOR_FLUSH_SECONDS: '1'}\n"
CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
ORIGIN = "https://shop.example"


def engine() -> str:
    """Why there is no engine to try it on; "" when there is."""
    if not _compose():
        return "neither `docker compose` nor docker-compose is here"
    found = subprocess.run(["docker", "info"], capture_output=True)
    return "" if found.returncode == 0 else "no Docker engine answers"


def _compose() -> list[str]:
    if (
        shutil.which("docker")
        and not subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else []


def eventually(true: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, f"within {patience:.0f} s it did not come true that {what}"
        time.sleep(0.5)


class Compose:
    """A project of its own: names, ports, volumes and images that nobody else has."""

    def __init__(self, folder: Path) -> None:
        self.name = f"collector-test-{uuid.uuid4().hex[:8]}"
        self.https, self.http = free_port(), free_port()
        override = folder / "override.yml"
        override.write_text(OVERRIDE)
        self._command = [*_compose(), "-p", self.name]
        for file in (ROOT / "docker-compose.yml", override):
            self._command += ["-f", str(file)]
        self._environment = {
            **os.environ,
            "HTTPS_PORT": str(self.https),
            "HTTP_PORT": str(self.http),
            "COLLECTOR_PUBLIC_URL": f"https://localhost:{self.https}",
            **{
                f"COLLECTOR_{part}IMAGE": f"{self.name}-{part.lower()}image"
                for part in ("", "PROXY_", "REDIS_")
            },
        }

    def run(self, *arguments: str) -> str:
        """One compose command; its stdout. Fails when it ends in an error."""
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout

    def admin(self, *arguments: str) -> str:
        """A command of the operator, in a container of its own."""
        return self.run("run", "--rm", "-T", "admin", *arguments)

    def up(self, **replicas: int) -> None:
        """Start it, and wait until every container is healthy."""
        scale = [part for service, count in replicas.items() for part in ("--scale", f"{service}={count}")]
        self.run("up", "-d", *scale)
        eventually(
            lambda: all(state["Health"]["Status"] == "healthy" for state in self.states()), "all are healthy"
        )

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """What the engine says of each container of the service, or of all but those of single commands."""
        labels = [f"project={self.name}", "oneoff=False", *([f"service={service}"] if service else [])]
        wanted = [part for label in labels for part in ("--filter", f"label=com.docker.compose.{label}")]
        ids = _docker("ps", "--all", "--quiet", *wanted).split()
        found: list[dict[str, Any]] = json.loads(_docker("inspect", *ids)) if ids else []
        return found

    def states(self) -> list[dict[str, Any]]:
        return [container["State"] for container in self.containers()]

    def kill(self, service: str) -> None:
        """Kill -9 of one process, from outside: to the engine it is a crash, which it mends by itself."""
        container = self.containers(service)[0]
        os.kill(container["State"]["Pid"], signal.SIGKILL)

    def down(self, *arguments: str) -> None:
        self.run("--profile", "admin", "down", "--timeout", "30", *arguments)

    def logs(self) -> str:
        return self.run("logs", "--no-color")

    def certificate(self) -> ssl.SSLContext:
        """Trust in the certificate that the proxy made at its first start, and in no other."""
        return ssl.create_default_context(
            cadata=self.run("exec", "-T", "proxy", "cat", "/certificates/fullchain.pem")
        )

    def client(self, **headers: str) -> httpx.Client:
        """A client through the proxy, over TLS."""
        return httpx.Client(
            base_url=f"https://localhost:{self.https}", verify=self.certificate(), headers=headers, timeout=10
        )


class Shopper(threading.Thread):
    """Sends one event after the other until stop(), each until it is acknowledged: `acknowledged` is the ledger."""

    def __init__(self, client: httpx.Client, tag: str) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._tag = tag
        self._over = threading.Event()
        self.acknowledged: dict[str, str] = {}  # event id → visitor
        self.repeats = 0  # attempts beyond the first: what the faults cost

    def run(self) -> None:
        while not self._over.is_set():
            event, visitor = uuid.uuid4().hex, f"{len(self.acknowledged) // 2:032x}"
            while not self._send(event, visitor):
                self.repeats += 1
                time.sleep(0.2)
            self.acknowledged[event] = visitor

    def _send(self, event: str, visitor: str) -> bool:
        granted = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "granted")
        events = [{"event": "addtocart", "event_id": event}]
        try:
            answer = self._client.post(
                "/v1/events",
                json={"tag": self._tag, "visitor": visitor, "consent": granted, "events": events},
            )
        except httpx.HTTPError:
            return False
        if answer.status_code != 200:
            assert answer.status_code in (502, 503, 504), answer.text
            return False
        return answer.json()["results"][0]["outcome"] in ("accepted", "duplicate")

    def await_progress(self, count: int = 50) -> None:
        """Wait until that many more are acknowledged."""
        wanted = len(self.acknowledged) + count
        eventually(lambda: len(self.acknowledged) >= wanted, "events are acknowledged")

    def stop(self) -> None:
        self._over.set()
        self.join(PATIENCE)
        assert not self.is_alive()


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout
