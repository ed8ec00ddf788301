"""Two tenants on one live installation, with a key of every kind: what all tests of security ask."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from collector import clock, connections, tags
from collector.embedded import Embedded, Server
from collector.settings import Settings
from collector.tags import ApiKey
from tests.conftest import PATIENCE, Live

ORIGIN = "https://shop.example"
ADMIN = "admin_of_the_tests_of_security"
GRANTED = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "granted")
VISITORS = ("anna", "bertil")  # of both tenants: equal ids that are different people
SECRET_NAME = "Kept from the other tenant"


class Tenant:
    """One website: its tag, its audience, a key of each role that is bound to it, and how each is presented."""

    def __init__(self, installation: "Installed", name: str, event: str) -> None:
        client = installation.client
        self.name = f"{SECRET_NAME} {name}"
        tag, self.server = tags.create_tag(client, self.name, [ORIGIN], "opt_in")
        self.tag = tag.id
        _, self.marketer = tags.create_key(client, f"marketer {name}", "marketer", tags=[self.tag])
        _, self.admin = tags.create_key(client, f"admin {name}", "admin", tags=[self.tag])
        self._installation = installation
        self.event = event
        self.send(*VISITORS, event=event)
        rule = {"event": event, "retention_days": 30}
        made = installation.ask(
            "POST",
            "/v1/audiences",
            ADMIN,
            json={"tag": self.tag, "name": self.name, "description": self.name, "rule": rule},
        )
        self.audience: str = made.json()["id"]

    def send(self, *visitors: str, **event: Any) -> httpx.Response:
        """One event each, by the server API."""
        events = [{"event": "pagevisit", "visitor": visitor, **event} for visitor in visitors]
        body = {"tag": self.tag, "consent": GRANTED, "events": events}
        return self._installation.ask("POST", "/v1/server/events", self.server, json=body)


class Installed:
    """A server of its own, `serve` and `worker` on it, and two tenants."""

    def __init__(
        self, settings: Settings, client: connections.Redis, url: str, serve: Live, worker: Live
    ) -> None:
        self.settings, self.client, self.serve, self.worker = settings, client, serve, worker
        self.http = httpx.Client(base_url=url, timeout=30)
        self.url = url
        self.one = Tenant(self, "one", "addtocart")
        self.other = Tenant(self, "other", "search")
        for tenant in (self.one, self.other):
            self.await_size(tenant.audience, len(VISITORS))

    def ask(self, method: str, path: str, key: str = "", **asked: Any) -> httpx.Response:
        """One request, with a Bearer key if one is named."""
        headers = {**({"authorization": f"Bearer {key}"} if key else {}), **asked.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **asked)

    def await_size(self, audience: str, size: int) -> None:
        end = time.monotonic() + PATIENCE
        while (shown := self.ask("GET", f"/v1/audiences/{audience}", ADMIN).json())["size"] != size:
            assert time.monotonic() < end, shown
            time.sleep(0.05)

    def key(self, role: tags.Role, **made: Any) -> tuple[ApiKey, str]:
        return tags.create_key(self.client, f"{role} of a test", role, **made)

    @property
    def expired(self) -> str:
        return self.key("admin", expires_at=int(clock.system()) - 1)[1]

    @property
    def revoked(self) -> str:
        key, presented = self.key("admin")
        tags.revoke(self.client, key.id)
        return presented


@pytest.fixture(scope="session")
def installed(server_binary: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """For all tests of security: each leaves the two tenants as they were."""
    folder = tmp_path_factory.mktemp("security")
    settings = Settings(data_dir=folder / "data", partitions=2)
    running: list[Live] = []
    with Embedded(settings, server_binary) as embedded:
        chosen = settings.model_copy(update={"redis_url": embedded.url})
        try:
            for command in ("serve", "worker"):
                running.append(Live([command], environment(chosen), folder / f"{command}.out"))
            running[0].await_text('"listening"', 3 * PATIENCE)
            with connections.open_redis(chosen) as client:
                installed = Installed(chosen, client, running[0].await_ready(), *running)
                yield installed
                installed.http.close()
        finally:
            for live in running:
                live.process.kill()
                live.process.wait()


def environment(settings: Settings) -> dict[str, str]:
    return {
        "COLLECTOR_REDIS_URL": settings.redis_url,
        "COLLECTOR_DATA_DIR": str(settings.data_dir),
        "COLLECTOR_PARTITIONS": str(settings.partitions),
        "COLLECTOR_PORT": "0",
        "COLLECTOR_DRAIN_SECONDS": "0",
        "COLLECTOR_FLUSH_SECONDS": "0.2",
        "COLLECTOR_ADMIN_KEY": ADMIN,
    }


@pytest.fixture
def logged(installed: Installed) -> "Log":
    return Log(installed.serve.output, installed.worker.output)


class Log:
    """What the two processes write from now on."""

    def __init__(self, *files: Path) -> None:
        self._files = [(file, file.stat().st_size) for file in files]

    @property
    def text(self) -> str:
        return "".join(file.read_bytes()[start:].decode() for file, start in self._files)

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()
