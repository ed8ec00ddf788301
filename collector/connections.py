"""The one place that opens Redis, for whichever part asks: waiting clients and asyncio clients alike."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncNode
from redis.asyncio.cluster import ClusterPipeline as AsyncPipeline
from redis.asyncio.connection import parse_url as parse_async_url
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import ExponentialBackoff
from redis.cluster import ClusterNode
from redis.connection import parse_url
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from collector.settings import BadSetup, Settings

if TYPE_CHECKING:
    # redis-py's hints change from version to version, and name waiting and asyncio answers alike.
    Redis: TypeAlias = Any
    AsyncRedis: TypeAlias = Any
else:
    Redis = redis.Redis
    AsyncRedis = redis.asyncio.Redis

RedisFailure = (RedisError, RedisClusterException)  # redis-py gives the second no ancestor of its own
Unavailable = (*RedisFailure, OSError, TimeoutError)
"""What a caller sees when Redis cannot answer."""

NAME = f"collector:{socket.gethostname()}:{os.getpid()}"
"""What a server's CLIENT LIST calls the connections of this process."""

SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")
SENTINELS_OWN = ("username", "password")  # of the Sentinels, as sentinel_username and so on
RESP = 2  # the protocol: with it answers have the same shapes from Redis 7.0 and Valkey 9
TEXT = {"decode_responses", "encoding", "encoding_errors"}  # answers are bytes here
FORMS = (
    "redis://host:6379/0, rediss://…, unix:///path, redis+cluster://host:6379,host:6379 "
    "or redis+sentinel://host:26379,host:26379/name"
)


class Several(NamedTuple):
    """A URL that names several servers. base: the URL of the first one alone, with what all have in common."""

    kind: str
    base: str
    hosts: list[tuple[str, int]]
    name: str


def url(settings: Settings) -> str:
    """The server's URL: the setting, else the embedded server of the data folder.

    Raises BadSetup when there is neither.
    """
    if settings.redis_url:
        _check_url(settings.redis_url)
        _check_options(settings.redis_url)
        return settings.redis_url
    pointer = settings.data_dir / "redis.url"
    try:
        return pointer.read_text().strip()
    except OSError:
        raise BadSetup(
            f"No Redis server: COLLECTOR_REDIS_URL is empty and {settings.data_dir} holds no running one. "
            "Mend: start `collector up`, or set COLLECTOR_REDIS_URL."
        ) from None


def _check_url(address: str) -> None:
    """Raises BadSetup that quotes no more than the scheme: the password may be anywhere in what cannot be read."""
    try:
        parts = urlsplit(address)
        known = parts.scheme in SCHEMES
        one = known and parts.scheme.startswith("redis") and "+" not in parts.scheme
        if one:
            parse_url(address)  # type: ignore[no-untyped-call]
    except ValueError:
        raise BadSetup(f"COLLECTOR_REDIS_URL cannot be read. Mend: use {FORMS}.") from None
    if not known:
        raise BadSetup(
            f"COLLECTOR_REDIS_URL starts with {parts.scheme!r}, which is no Redis URL. Mend: use {FORMS}."
        )
    if one and (parts.fragment or not (parts.path.strip("/") or "0").isdigit()):
        raise BadSetup(
            "COLLECTOR_REDIS_URL ends its host too early. Mend: in a password write / ? # @ as %2F %3F %23 %40."
        )


def _check_options(address: str) -> None:
    """Raises BadSetup for an option that cannot be used here. It is not quoted: it may be the rest of a password."""
    many = several(address)
    try:
        options = dict(parse_url(many.base if many else address))  # type: ignore[no-untyped-call]
        if many and many.kind == "sentinel":
            for name in SENTINELS_OWN:
                options.pop(f"sentinel_{name}", None)
        redis.ConnectionPool(**options).make_connection()  # does not connect yet
        usable = not TEXT & options.keys() and int(options.get("protocol", RESP)) == RESP
    except (TypeError, ValueError, RedisError):
        usable = False
    if not usable:
        raise BadSetup(
            "COLLECTOR_REDIS_URL has an option behind its ? that cannot be used. "
            "Mend: see docs/cluster.md; in a password write ? as %3F."
        )


def several(address: str) -> Several | None:
    """What a cluster's or Sentinels' URL says; None for the URL of one server. Raises BadSetup.

    redis+cluster://[user:password@]host:port[,host:port…][?options]
    redis+sentinel://[user:password@]host:port[,host:port…]/name[/database][?options]; the options may hold
    sentinel_username and sentinel_password.
    """
    parts = urlsplit(address)
    scheme, _, kind = parts.scheme.partition("+")
    if not kind:
        return None
    login, at, listed = parts.netloc.rpartition("@")
    default = 6379 if kind == "cluster" else 26379
    try:
        places = [urlsplit(f"//{host}") for host in listed.split(",")]
        hosts = [(str(place.hostname), place.port or default) for place in places if place.hostname]
    except ValueError:
        hosts = []
    name, _, database = parts.path.strip("/").partition("/")
    if kind == "cluster":
        name, database = "", name
    if not hosts or len(hosts) != len(places) or (kind == "cluster") != (not name):
        raise BadSetup(f"COLLECTOR_REDIS_URL is no {kind}'s URL. Mend: use {FORMS}.")
    if kind == "cluster" and database not in ("", "0"):
        raise BadSetup(
            f"COLLECTOR_REDIS_URL names database {database}, but a cluster has only 0. Mend: leave it out."
        )
    host = f"[{hosts[0][0]}]" if ":" in hosts[0][0] else hosts[0][0]
    base = f"{scheme}://{login}{at}{host}:{hosts[0][1]}/{database}"
    return Several(kind, f"{base}?{parts.query}" if parts.query else base, hosts, name)


def open_redis(settings: Settings, *, timeout: float = 30.0, database: int | None = None) -> Redis:
    """A waiting client that answers bytes. Commands are not retried: the callers know what may be sent twice.

    database: another than the URL's, see database_of(). A cluster is asked for its nodes at once, so that Unavailable
    is possible here.
    """
    # Columns come in megabytes: with reads of 64 KiB, the default, fetching them takes half as long again.
    options = {"socket_read_size": 1 << 18, **_options(timeout)}
    address = url(settings)
    many = several(address)
    if many and many.kind == "cluster":
        nodes = [ClusterNode(*host) for host in many.hosts]  # type: ignore[no-untyped-call]
        try:
            return redis.RedisCluster.from_url(many.base, startup_nodes=nodes, **options)
        except RedisClusterException as error:
            raise redis.ConnectionError(str(error)) from None
    if many:
        client = _of_sentinels(Sentinel, dict(parse_url(many.base)), many, options)  # type: ignore[no-untyped-call]
    else:
        client = redis.Redis.from_url(address, **options)
    if database is not None:
        client.connection_pool.connection_kwargs["db"] = database
    return client


def open_async(settings: Settings, *, timeout: float) -> AsyncRedis:
    """An asyncio client that answers bytes. Commands are not retried, as above."""
    address, options = url(settings), _options(timeout)
    many = several(address)
    if many is None:
        return redis.asyncio.Redis.from_url(address, **options)
    if many.kind == "cluster":
        nodes = [AsyncNode(*host) for host in many.hosts]
        return _AsyncCluster.from_url(many.base, startup_nodes=nodes, **options)
    return _of_sentinels(AsyncSentinel, dict(parse_async_url(many.base)), many, options)


def _of_sentinels(kind: Any, common: dict[str, Any], many: Several, options: dict[str, Any]) -> Any:
    """A client of the primary that the Sentinels name; asked again for each new connection."""
    own = {
        name: common.pop(f"sentinel_{name}")
        for name in SENTINELS_OWN
        if f"sentinel_{name}" in common
    }
    secure = {"ssl": True} if common.pop("connection_class", None) else {}
    secure |= {name: value for name, value in common.items() if name.startswith("ssl_")}
    for name in ("host", "port"):
        common.pop(name)
    sentinels = kind(many.hosts, sentinel_kwargs={**options, **secure, **own})
    return sentinels.master_for(many.name, **{**options, **common, **secure})  # the URL's win, as for one server


class _AsyncCluster(redis.asyncio.RedisCluster):
    def pipeline(self, *args: Any, **options: Any) -> AsyncPipeline:
        return _AsyncPipeline(self, *args, **options)  # type: ignore[abstract]  # of redis-py's hints only


class _AsyncPipeline(AsyncPipeline):
    """redis-py's own looks for the new primaries only where it may send everything again."""

    async def execute(self, *args: Any, **options: Any) -> list[Any]:
        try:
            return await super().execute(*args, **options)
        except Unavailable:
            await self.cluster_client.aclose()  # the next command asks for the nodes anew
            raise


def clustered(client: Redis | AsyncRedis) -> bool:
    """Whether the client speaks to a cluster, where only keys of one slot go into one command."""
    return isinstance(client, (redis.RedisCluster, redis.asyncio.RedisCluster))


def database_of(client: Redis) -> int:
    """The number of the client's database. Raises BadSetup for a cluster, which has no others."""
    if clustered(client):
        raise BadSetup(
            "This works in a second database, and a cluster has none. "
            "Mend: do it on a single server; see docs/cluster.md."
        )
    number: int = client.connection_pool.connection_kwargs.get("db", 0)
    return number


def primaries(client: Redis) -> list[Redis]:
    """A client for each server that takes writes."""
    return _each(client, client.get_primaries()) if clustered(client) else [client]


def servers(client: Redis) -> list[Redis]:
    """A client for each server that holds data, a cluster's replicas included."""
    if not clustered(client):
        return [client]
    client.nodes_manager.initialize()  # a replica that came later is on no list until somebody asks
    return _each(client, client.get_nodes())


def _each(client: Redis, nodes: Sequence[ClusterNode]) -> list[Redis]:
    return [client.get_redis_connection(node) for node in nodes]


def reached(server: Redis, replicas: int, patience_ms: int) -> int:
    """How many replicas have all that the server has written by now, waiting for so many."""
    pipeline = server.pipeline(transaction=False)
    pipeline.ping()  # WAIT means what was written when its connection last asked for something
    pipeline.execute_command("WAIT", replicas, patience_ms)
    return int(pipeline.execute()[1])


def change(
    client: Redis, key: str, field: str, changed: Callable[[bytes], bytes]
) -> tuple[bytes, bytes] | None:
    """Put what `changed` makes of a hash's record in its place: (the record before, the one after); None without one.

    It is asked again of the new record when another was first: who changes or deletes at the same time is not undone.
    """

    def write(pipeline: Redis) -> tuple[bytes, bytes] | None:
        before: bytes | None = pipeline.hget(key, field)
        if before is None:
            return None
        after = changed(before)
        pipeline.multi()
        pipeline.hset(key, field, after)
        return before, after

    found: tuple[bytes, bytes] | None = client.transaction(write, key, value_from_callable=True)
    return found


def lineages(client: Redis, keys: Sequence[str]) -> list[str]:
    """For each key: which history of writes its server goes on with. A failover or a restart begins another.

    What was read of one must not be written to another, nor kept as the other's: while Sentinels are not of one mind,
    some connections of a process may speak to the old primary, and others to the new one.
    """
    if not clustered(client):
        return [_lineage(client)] * len(keys)
    nodes = [client.get_node_from_key(key) for key in keys]
    known = {node: _lineage(client.get_redis_connection(node)) for node in set(nodes)}
    return [known[node] for node in nodes]


@contextmanager
def steady(client: Redis, keys: Sequence[str]) -> Iterator[list[str]]:
    """The lineages of the keys' servers, for reads of a cluster that cannot ask in the same breath.

    Raises redis.ConnectionError at the end when they are no longer the same.
    """
    before = lineages(client, keys)
    yield before
    if lineages(client, keys) != before:
        raise redis.ConnectionError("A slot has moved to another server meanwhile.")


def _lineage(server: Redis) -> str:
    return lineage_of(server.execute_command(b"INFO", "replication"))  # as bytes, which are not parsed


def lineage_of(replication: bytes) -> str:
    """The lineage in the answer to INFO replication."""
    return replication.partition(b"master_replid:")[2][:40].decode()


def fullest(infos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of INFO memory from several servers, that of the one nearest to its maxmemory. Pure."""

    def fill(info: dict[str, Any]) -> tuple[float, int]:
        used = int(info["used_memory"])
        return used / (int(info.get("maxmemory", 0)) or float("inf")), used

    return max(infos, key=fill)


def memory(client: Redis) -> dict[str, Any]:
    """INFO memory; of a cluster's primaries that of the fullest, since its partitions stop first."""
    return fullest([server.info("memory") for server in primaries(client)])


async def memory_async(client: AsyncRedis) -> dict[str, Any]:
    """The same from an asyncio client."""
    if not clustered(client):
        info: dict[str, Any] = await client.info("memory")
        return info
    await client.initialize()
    nodes = client.get_primaries()
    return fullest([await client.execute_command("INFO", "memory", target_nodes=node) for node in nodes])


def _options(timeout: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": min(timeout, 5.0),
        "retry": Retry(ExponentialBackoff(), 0),
        "protocol": RESP,
        "health_check_interval": 0,
        "client_name": NAME,
    }


def others(client: Redis) -> list[str]:
    """The names of the collector's other processes that are connected to the server."""
    names = {str(known["name"]) for server in primaries(client) for known in server.client_list()} - {NAME}
    return sorted(name for name in names if name.startswith("collector:"))


def check_server(client: Redis, settings: Settings) -> None:
    """Refuse a server that could break a promise: too old, no AOF, weaker fsync, or one that evicts.

    Raises BadSetup with all that is wrong and the mends, and Unavailable while a server loads its data. A managed
    server that hides CONFIG is judged by INFO, as far as that goes. Of a cluster each primary is looked at.
    """
    faults = dict(fault for server in primaries(client) for fault in _faults(server, settings))
    if faults:
        raise BadSetup(f"{'; '.join(faults)}. Mend: {'; '.join(faults.values())}.")


def _faults(client: Redis, settings: Settings) -> Iterator[tuple[str, str]]:
    """(what is wrong and why, the mend) of each promise that the server could break."""
    info: dict[str, Any] = client.info()
    if info.get("loading"):  # meanwhile it says that it keeps no file, and the next answer may be of a later moment
        raise redis.BusyLoadingError("Redis is loading its data.")
    if int(str(info["redis_version"]).split(".")[0]) < 7:
        yield f"Redis {info['redis_version']} is too old", "use Redis ≥ 7.0 or Valkey ≥ 8"
    if not settings.check_server:
        return
    config = _config(client)
    if config.get("maxmemory-policy", str(info.get("maxmemory_policy"))) != "noeviction":
        yield "Redis may evict keys, so events could vanish", "maxmemory-policy noeviction"
    if not info.get("aof_enabled"):
        yield "Redis keeps no append-only file, so a 2xx would not be on disk", "appendonly yes"
    fsync = config.get("appendfsync", settings.durability)
    if fsync == "no" or (settings.durability == "always" and fsync != "always"):
        yield (
            f"Redis has appendfsync {fsync}, but COLLECTOR_DURABILITY is {settings.durability}",
            "appendfsync always, or COLLECTOR_DURABILITY=everysec if a second may be lost",
        )


def _config(client: Redis) -> dict[str, str]:
    """The settings that promises rest on; none where the server hides them."""
    try:
        told = client.config_get("append*", "maxmemory-policy")
    except redis.ResponseError:
        return {}
    return {_text(name): _text(value) for name, value in told.items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
