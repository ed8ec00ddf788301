"""Redis as the containers have it: deploy/redis/start, its configuration and its users, without a container."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import redis

from collector.embedded import Server
from tests.ports import free_port

SOURCE = Path(__file__).parents[2] / "deploy" / "redis"
ROLES = ("edge", "query", "serve", "worker", "admin", "recovery")
PATIENCE = 20.0  # seconds
OPERATOR = "user operator on >operator ~* &* +@all\n"  # the test's own: reads what was refused to the others


class DeployedRedis:
    """A server started by deploy/redis/start in a folder of its own."""

    def __init__(self, binary: Server, folder: Path, *options: str) -> None:
        self.folder = folder
        self._options = options
        self.secrets = folder / "secrets"
        self._etc = folder / "etc"
        if not self._etc.exists():
            shutil.copytree(SOURCE, self._etc)
            with (self._etc / "users.acl").open("a") as users:
                users.write(OPERATOR)
            for role in ROLES:
                (self.secrets / role).mkdir(parents=True)
        try:  # the URLs of an earlier start name its port
            self._port = urlsplit(self.url("admin")).port or 0
        except OSError:
            self._port = free_port()
        self._environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "REDIS_SERVER": str(binary.path),
            "REDIS_ADDRESS": f"127.0.0.1:{self._port}",
            "REDIS_MAXMEMORY": "256mb",
            "USERS_FILE": str(folder / "users.acl"),
            "SECRETS_DIR": str(self.secrets),
        }

    def launch(self) -> subprocess.Popen[str]:
        """The script, run as the container runs it."""
        return subprocess.Popen(
            ["sh", str(self._etc / "start"), "--port", str(self._port), "--bind", "127.0.0.1", *self._options],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def url(self, role: str) -> str:
        return (self.secrets / role / "collector_redis_url").read_text().strip()

    def cluster(self, role: str) -> str:
        """The same for a server that is a cluster's."""
        return self.url(role).replace("redis://", "redis+cluster://").removesuffix("/0")

    def client(self, role: str) -> redis.Redis:
        """A client of the role, whose password is the one that the script made."""
        return redis.Redis.from_url(self.url(role), protocol=2)

    @property
    def operator(self) -> redis.Redis:
        return redis.Redis(port=self._port, username="operator", password="operator", protocol=2)

    def __enter__(self) -> Self:
        self._process = self.launch()
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.operator.ping()
                return self
            except redis.RedisError:
                if self._process.poll() is not None or time.monotonic() > end:
                    self.__exit__()
                    raise AssertionError(self._process.communicate()[0]) from None
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        assert self._process.stdout
        self._process.stdout.close()
