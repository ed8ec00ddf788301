"""The ring: a real Redis Cluster, or a primary with Sentinels, as processes under a plant."""

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from collector import connections
from collector.connections import Redis
from collector.embedded import Server
from collector.settings import Settings
from tests.faults.plant import Plant, Unit, until
from tests.ports import free_port

SLOTS = 16_384
NODE_TIMEOUT = 1_500  # ms: a failover begins soon after it


class Member(Unit):
    """One server of the ring."""

    port: int

    @property
    def client(self) -> Redis:
        return redis.Redis(
            port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0), protocol=2, decode_responses=True
        )

    def ask(self, command: str, *args: object) -> Any:
        """The answer as the server gives it, but for text."""
        with self.client as client:
            return client.execute_command(command.encode(), *args)

    @property
    def role(self) -> str:
        """master, slave, or nothing while it does not answer."""
        with suppress(redis.RedisError, OSError):
            return str(self.ask("ROLE")[0])
        return ""

    @property
    def up(self) -> bool:
        with suppress(redis.RedisError, OSError):
            return bool(self.ask("PING"))
        return False


class Ring(Plant):
    """A plant on several servers; each kind below says which."""

    members: list[Member]

    def __init__(self, folder: Path, server: Server, **settings: object) -> None:
        super().__init__(folder, server, **settings)
        self.members = []

    def __enter__(self) -> Self:
        try:
            self.arrange()
        except BaseException:
            for unit in self.units:
                unit.kill()
            raise
        self.client = connections.open_redis(Settings(redis_url=self.url), timeout=5)
        self.client.set_retry(Retry(NoBackoff(), 3))  # the tests look on while servers come and go
        return self

    def arrange(self) -> None:
        """Start the servers and make them one."""
        raise NotImplementedError

    def member(self, name: str, *command: str, **options: object) -> Member:
        port = free_port()
        folder = self.folder / f"{name}-{len(self.members)}"
        folder.mkdir(parents=True)
        member = Member(
            self.redis_command(port=port, dir=folder, repl_diskless_sync_delay=0, **options) + list(command),
            {},
            folder / "out",
        )
        member.port = port
        self.units.append(member)
        self.members.append(member)
        return member


class Cluster(Ring):
    """Three primaries, and a replica of each."""

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{member.port}" for member in self.members[:3])

    def arrange(self) -> None:
        buses = [free_port() for _ in range(6)]
        for bus in buses:
            self.member(
                "node",
                cluster_enabled="yes",
                cluster_port=bus,
                cluster_node_timeout=NODE_TIMEOUT,
                cluster_replica_validity_factor=0,
                # As erasure's proof needs it: no ids hidden in a compressed base file.
                aof_use_rdb_preamble="no",
                rdbcompression="no",
            )
        until(lambda: all(member.up for member in self.members), "the nodes answer")
        for number, member in enumerate(self.members):
            member.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < 3:
                first, last = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
                member.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
            for other, bus in zip(self.members[:number], buses, strict=False):
                member.ask("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
        for primary, member in zip(self.members, self.members[3:], strict=False):
            until(partial(replicates, member, primary.ask("CLUSTER", "MYID")), "a replica knows its primary")
        until(self.whole, "the cluster is whole")

    def files_with(self, text: str) -> list[str]:
        """The folders of the nodes whose append-only files hold it."""
        return sorted(
            node.name
            for node in self.folder.glob("node-*")
            if any(text.encode() in file.read_bytes() for file in node.glob("appendonlydir/*.aof"))
        )

    def whole(self) -> bool:
        """Whether every node says that the cluster is well, and every primary has its replica."""
        well = all("cluster_state:ok" in member.ask("CLUSTER", "INFO") for member in self.members)
        return well and all(map(self.replicas_of, self.primaries()))

    def primaries(self) -> list[Member]:
        return [member for member in self.members if member.role == "master"]

    def replicas_of(self, primary: Member) -> list[Member]:
        """Those that are connected to it."""
        linked = {int(port) for _, port, _ in primary.ask("ROLE")[2]}
        return [member for member in self.members if member.port in linked]

    def holder(self, key: str) -> Member:
        """The primary that has a key, as the nodes see it now."""
        asked = self.primaries()[0]
        slot = asked.ask("CLUSTER", "KEYSLOT", key)
        for first, last, (_, port, *_), *_ in asked.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(member for member in self.members if member.port == port)
        raise AssertionError(f"nobody has slot {slot}")


def replicates(member: Member, primary: str) -> bool:
    with suppress(redis.ResponseError):
        return bool(member.ask("CLUSTER", "REPLICATE", primary))
    return False


class Pair(Ring):
    """A primary and a replica, which nobody watches."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.primary.port}"

    def arrange(self) -> None:
        self.primary = self.member("primary")
        until(lambda: self.primary.up, "the primary answers")
        self.replica = self.member("replica", "--replicaof", "127.0.0.1", str(self.primary.port))
        until(lambda: self.primary.ask("ROLE")[2], "the replica follows")


class Watched(Pair):
    """The same with three Sentinels."""

    NAME = "events"

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{member.port}" for member in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.NAME}"

    def arrange(self) -> None:
        super().arrange()
        self.sentinels = [self._sentinel() for _ in range(3)]
        for sentinel in self.sentinels:
            until(partial(knows, sentinel, self.NAME), "a Sentinel knows the others", pause=0.1)

    def _sentinel(self) -> Member:
        port = free_port()
        folder = self.folder / f"sentinel-{port}"
        folder.mkdir(parents=True)
        (folder / "sentinel.conf").write_text(
            f"port {port}\ndir {folder}\n"
            f"sentinel monitor {self.NAME} 127.0.0.1 {self.primary.port} 2\n"
            f"sentinel down-after-milliseconds {self.NAME} {NODE_TIMEOUT}\n"
            f"sentinel failover-timeout {self.NAME} 3000\n"
        )
        member = Member(self.sentinel_command(folder / "sentinel.conf"), {}, folder / "out")
        member.port = port
        self.units.append(member)
        return member

    def sentinel_command(self, configuration: Path) -> Iterable[object]:
        return [self._server.path, configuration, "--sentinel"]


def knows(sentinel: Member, name: str) -> bool:
    """Whether it has found the replica and the other two Sentinels."""
    if not sentinel.up:
        return False
    told = sentinel.ask("SENTINEL", "MASTER", name)
    fields = dict(zip(told[::2], told[1::2], strict=True))
    return (fields["num-slaves"], fields["num-other-sentinels"]) == ("1", "2")
