"""Tags: the registry of tags and API keys in Redis, and the edge's copy of it."""

import asyncio
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from collector import keys, log
from collector.clock import Clock, system
from collector.connections import AsyncRedis, Redis, Unavailable
from collector.consent import Regime
from collector.settings import BadSetup, Settings

Role = Literal["admin", "marketer", "server"]

TAG_ID = re.compile(r"[0-9]{13}", re.ASCII)
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)
_DEFAULT_PORT = {"http": 80, "https": 443}


class Tag(msgspec.Struct, frozen=True, kw_only=True):
    """One website's tag."""

    id: str  # 13 digits
    name: str
    origins: tuple[str, ...]  # as check_origin gives them
    regime: Regime
    created_at: int  # Unix seconds

    def allows(self, origin: str) -> bool:
        """Whether a page of this origin (a browser's Origin header) may send events."""
        return origin in self.origins or any(_under(origin, known) for known in self.origins if "*" in known)


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the API. Only its SHA-256 is kept: the key itself is shown once."""

    id: str  # the first 16 hex digits of the SHA-256: names the key without giving it away
    sha256: str
    name: str
    role: Role
    tags: tuple[str, ...] | None = None  # None: every tag
    consent_attested: str = ""  # why events sent with it have consent; "" if each must say so
    created_at: int = 0  # Unix seconds, likewise the next two; 0 is never
    expires_at: int = 0
    revoked_at: int = 0

    def usable(self, now: float) -> bool:
        return not self.revoked_at and not (self.expires_at and self.expires_at <= now)

    def covers(self, tag: str) -> bool:
        return self.tags is None or tag in self.tags


_read_tag = msgspec.json.Decoder(Tag).decode
_read_key = msgspec.json.Decoder(ApiKey).decode
_read_snapshot = msgspec.json.Decoder(list[Tag]).decode
_write = msgspec.json.Encoder().encode


def check_origin(text: str) -> str:
    """An origin as browsers send it: scheme://host[:port], lower-case, without the scheme's own port.

    https://*.example.com stands for every subdomain of example.com at any depth, not for example.com itself.
    Raises BadSetup with what is wrong and the mend.
    """
    try:
        parts = urlsplit(text.strip().lower())
        port = parts.port
    except ValueError:
        raise BadSetup(f"{text!r} is no origin. Mend: write it as https://shop.example.") from None
    host = parts.hostname or ""
    named = host.removeprefix("*.")
    if parts.scheme not in _DEFAULT_PORT or not host:
        raise BadSetup(f"{text!r} is no origin. Mend: write it with its scheme, as https://shop.example.")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise BadSetup(f"{text!r} is more than an origin. Mend: {parts.scheme}://{host} and no more.")
    if not host.isascii():
        raise BadSetup(f"{text!r} is not what a browser sends. Mend: write the host in its xn--… form.")
    if host == "*" or (host != named and "." not in named):
        raise BadSetup(f"{text!r} covers too much. Mend: name a domain, as https://*.shop.example.")
    address = "[" in parts.netloc  # IPv6
    if not address and not _HOST.fullmatch(named):
        raise BadSetup(
            f"{text!r} has no valid host; only its first label may be *. Mend: https://*.shop.example."
        )
    shown = f"[{host}]" if address else host
    return f"{parts.scheme}://{shown}" + ("" if port in (None, _DEFAULT_PORT[parts.scheme]) else f":{port}")


def create_tag(
    client: Redis, name: str, origins: Sequence[str], regime: Regime, *, clock: Clock = system
) -> tuple[Tag, str]:
    """A new tag and its server key. Raises BadSetup for an origin that no browser sends."""
    if not name.strip():
        raise BadSetup("The tag has no name. Mend: give it one, such as the shop's.")
    if not origins:
        raise BadSetup(
            "The tag has no origin. Mend: name each site that may send events, as https://shop.example."
        )
    checked = tuple(dict.fromkeys(check_origin(origin) for origin in origins))
    while True:
        tag = Tag(
            id=str(10**12 + secrets.randbelow(9 * 10**12)),
            name=name.strip(),
            origins=checked,
            regime=regime,
            created_at=int(clock()),
        )
        if client.hsetnx(keys.TAGS, tag.id, _write(tag)):
            break
    _, presented = create_key(client, f"server key of {tag.name}", "server", tags=(tag.id,), clock=clock)
    return tag, presented


def allow(client: Redis, tag: Tag, origins: Sequence[str]) -> Tag:
    """The tag with these origins as well. Raises BadSetup for an origin that no browser sends."""
    wider = tuple(dict.fromkeys([*tag.origins, *(check_origin(origin) for origin in origins)]))
    if wider == tag.origins:
        return tag
    changed = msgspec.structs.replace(tag, origins=wider)
    client.hset(keys.TAGS, tag.id, _write(changed))
    return changed


def list_tags(client: Redis) -> list[Tag]:
    """Every tag, the oldest first."""
    records: list[bytes] = client.hvals(keys.TAGS)
    return sorted(map(_read_tag, records), key=lambda tag: (tag.created_at, tag.id))


def get(client: Redis, tag: str) -> Tag | None:
    record: bytes | None = client.hget(keys.TAGS, tag)
    return None if record is None else _read_tag(record)


def create_key(
    client: Redis,
    name: str,
    role: Role,
    *,
    tags: Sequence[str] | None = None,
    consent_attested: str = "",
    expires_at: int = 0,
    presented: str = "",
    clock: Clock = system,
) -> tuple[ApiKey, str]:
    """A new key's record, and the key itself, which nobody can read again.

    presented: fixes the key (COLLECTOR_ADMIN_KEY); a record that is there already is replaced.
    """
    presented = presented or f"{role}_{secrets.token_urlsafe(32)}"
    sha256 = _sha256(presented)
    key = ApiKey(
        id=sha256[:16],
        sha256=sha256,
        name=name,
        role=role,
        tags=None if tags is None else tuple(tags),
        consent_attested=consent_attested.strip(),
        created_at=int(clock()),
        expires_at=expires_at,
    )
    client.hset(keys.API_KEYS, sha256, _write(key))
    return key, presented


def list_keys(client: Redis) -> list[ApiKey]:
    """Every key's record, the oldest first."""
    records: list[bytes] = client.hvals(keys.API_KEYS)
    return sorted(map(_read_key, records), key=lambda key: (key.created_at, key.id))


def revoke(client: Redis, key_id: str, *, clock: Clock = system) -> bool:
    """End a key at once. False when there is none of this id."""
    for key in list_keys(client):
        if key.id == key_id:
            client.hset(
                keys.API_KEYS, key.sha256, _write(msgspec.structs.replace(key, revoked_at=int(clock())))
            )
            return True
    return False


def lookup(client: Redis, presented: str, *, clock: Clock = system) -> ApiKey | None:
    """The usable key that was presented, or None."""
    sha256 = _sha256(presented)
    return _usable(client.hget(keys.API_KEYS, sha256), sha256, clock())


def _usable(record: bytes | str | None, sha256: str, now: float) -> ApiKey | None:
    if record is None:
        return None
    key = _read_key(record)
    # The record was found by its digest, so timing tells nothing; this guards against a moved record.
    return key if hmac.compare_digest(key.sha256, sha256) and key.usable(now) else None


def _sha256(presented: str) -> str:
    return hashlib.sha256(presented.encode("utf-8", "surrogateescape")).hexdigest()


def _under(origin: str, known: str) -> bool:
    head, _, tail = known.partition("*")
    label = origin.removeprefix(head).removesuffix(tail)
    return origin == head + label + tail and bool(_HOST.fullmatch(label))


class TagCache:
    """The edge's copy of tags and keys: a second old at most, and of use while Redis is away.

    Its tags are kept in data_dir/tags.json, so that an edge which starts without Redis knows them.
    """

    def __init__(self, client: AsyncRedis, settings: Settings, *, clock: Clock = system) -> None:
        self._client = client
        self._seconds = settings.tag_cache_seconds
        self._snapshot = settings.data_dir / "tags.json"
        self._clock = clock
        self._tags = _load(self._snapshot)
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._keys: dict[str, tuple[float, ApiKey]] = {}
        self._log = log.get("tags")

    async def get(self, tag: str) -> Tag | None:
        """The tag, or None when Redis says that there is none.

        Raises connections.Unavailable for a tag that this edge has never seen while Redis cannot be asked.
        """
        if time.monotonic() - self._read_at >= self._seconds:
            await self._refresh()
        known = self._tags.get(tag)
        if known is not None or not TAG_ID.fullmatch(tag):
            return known
        record = await self._client.hget(keys.TAGS, tag)
        if record is None:
            return None
        self._tags[tag] = found = _read_tag(record)
        return found

    async def key(self, presented: str) -> ApiKey | None:
        """The usable key that was presented. Raises connections.Unavailable when Redis cannot be asked."""
        sha256, now = _sha256(presented), time.monotonic()
        cached = self._keys.get(sha256)
        if cached is not None and now - cached[0] < self._seconds:
            return cached[1] if cached[1].usable(self._clock()) else None
        self._keys.pop(sha256, None)
        key = _usable(await self._client.hget(keys.API_KEYS, sha256), sha256, self._clock())
        if key is not None:
            self._keys[sha256] = (now, key)
        return key

    async def _refresh(self) -> None:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)  # one reader, whoever of its many waiters goes away

    async def _read(self) -> None:
        try:
            records = await self._client.hgetall(keys.TAGS)
        except Unavailable:
            return  # what is known stays in force; unknown tags are asked for one by one
        finally:
            self._read_at = time.monotonic()
        fresh = {tag.id: tag for tag in map(_read_tag, records.values())}
        if fresh == self._tags:
            return
        self._tags = fresh
        try:
            await asyncio.to_thread(_save, self._snapshot, list(fresh.values()))
        except OSError as error:
            self._log.warning("tag snapshot not written", error=type(error).__name__)


def _load(path: Path) -> dict[str, Tag]:
    try:
        return {tag.id: tag for tag in _read_snapshot(path.read_bytes())}
    except (OSError, msgspec.MsgspecError):
        return {}


def _save(path: Path, tags: list[Tag]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_bytes(_write(tags))
    fresh.replace(path)
