"""The one place that opens Redis, for whichever part asks: waiting clients and asyncio clients alike."""

import os
import socket
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from collector.settings import BadSetup, Settings

if TYPE_CHECKING:
    # redis-py's hints change from version to version, and name waiting and asyncio answers alike.
    Redis: TypeAlias = Any
    AsyncRedis: TypeAlias = Any
else:
    Redis = redis.Redis
    AsyncRedis = redis.asyncio.Redis

Unavailable = (RedisError, OSError, TimeoutError)
"""What a caller sees when Redis cannot answer."""

NAME = f"collector:{socket.gethostname()}:{os.getpid()}"
"""What a server's CLIENT LIST calls the connections of this process."""

SCHEMES = ("redis", "rediss", "unix")


def url(settings: Settings) -> str:
    """The server's URL: the setting, else the embedded server of the data folder.

    Raises BadSetup when there is neither.
    """
    if settings.redis_url:
        scheme = urlsplit(settings.redis_url).scheme
        if scheme not in SCHEMES:
            raise BadSetup(
                f"COLLECTOR_REDIS_URL starts with {scheme!r}, which is no Redis URL. "
                "Mend: use redis://host:6379/0, rediss://… or unix:///path."
            )
        return settings.redis_url
    pointer = settings.data_dir / "redis.url"
    try:
        return pointer.read_text().strip()
    except OSError:
        raise BadSetup(
            f"No Redis server: COLLECTOR_REDIS_URL is empty and {settings.data_dir} holds no running one. "
            "Mend: start `collector up`, or set COLLECTOR_REDIS_URL."
        ) from None


def open_redis(settings: Settings, *, timeout: float = 30.0, database: int | None = None) -> Redis:
    """A waiting client that answers bytes. Commands are not retried: the callers know what may be sent twice.

    database: another than the URL's.
    """
    # Columns come in megabytes: with reads of 64 KiB, the default, fetching them takes half as long again.
    client = redis.Redis.from_url(url(settings), socket_read_size=1 << 18, **_options(timeout))
    if database is not None:
        client.connection_pool.connection_kwargs["db"] = database
    return client


def open_async(settings: Settings, *, timeout: float) -> AsyncRedis:
    """An asyncio client that answers bytes. Commands are not retried, as above."""
    return redis.asyncio.Redis.from_url(url(settings), **_options(timeout))


def _options(timeout: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": min(timeout, 5.0),
        "retry": Retry(ExponentialBackoff(), 0),
        "protocol": 2,  # RESP2: the same shapes from Redis 7.0 and Valkey 9
        "health_check_interval": 0,
        "client_name": NAME,
    }


def others(client: Redis) -> list[str]:
    """The names of the collector's other processes that are connected to the server."""
    names = {str(known["name"]) for known in client.client_list()} - {NAME}
    return sorted(name for name in names if name.startswith("collector:"))


def check_server(client: Redis, settings: Settings) -> None:
    """Refuse a server that could break a promise: too old, no AOF, weaker fsync, or one that evicts.

    Raises BadSetup with the mend. A managed server that hides CONFIG is judged by INFO, as far as that goes.
    """
    info: dict[str, Any] = client.info()
    major = int(str(info["redis_version"]).split(".")[0])
    if major < 7:
        raise BadSetup(f"Redis {info['redis_version']} is too old. Mend: use Redis ≥ 7.0 or Valkey ≥ 8.")
    if not settings.check_server:
        return
    try:
        config: dict[str, str] = {
            _text(name): _text(value) for name, value in client.config_get("append*", "maxmemory-policy").items()
        }
    except redis.ResponseError:
        config = {}
    if config.get("maxmemory-policy", str(info.get("maxmemory_policy"))) != "noeviction":
        raise BadSetup("Redis may evict keys, so events could vanish. Mend: maxmemory-policy noeviction.")
    if not info.get("aof_enabled"):
        raise BadSetup("Redis keeps no append-only file, so a 2xx would not be on disk. Mend: appendonly yes.")
    fsync = config.get("appendfsync", settings.durability)
    if fsync == "no" or (settings.durability == "always" and fsync != "always"):
        raise BadSetup(
            f"Redis has appendfsync {fsync}, but COLLECTOR_DURABILITY is {settings.durability}. "
            "Mend: appendfsync always, or COLLECTOR_DURABILITY=everysec if a second may be lost."
        )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
