"""Tags: the registry of tags and API keys in Redis, and the edge's copy of it."""

import asyncio
import hashlib
import hmac
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from redis.exceptions import ConnectionError as RedisConnectionError

from collector import connections, disk, keys, log, names
from collector.clock import DAY, Clock, system
from collector.connections import AsyncRedis, Redis, Unavailable
from collector.consent import Regime
from collector.settings import BadSetup, Settings
from collector.stream.partitions import Installation

Role = Literal["admin", "marketer", "server"]

OVERLAP = DAY  # for which a replaced key still works, so that nothing stops while the new one is put in
ADMIN = "the admin key"  # its name: the key of COLLECTOR_ADMIN_KEY or the data folder, let in at every start

SNAPSHOT = "snapshot.json"
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
        whole = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise BadSetup(f"{text!r} is more than an origin. Mend: {whole} and no more.")
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
    named, checked = _named(name), _checked(origins)
    while True:
        tag = Tag(
            id=str(10**12 + secrets.randbelow(9 * 10**12)),
            name=named,
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


def edit(client: Redis, tag: Tag, name: str, origins: Sequence[str], regime: Regime) -> Tag:
    """The tag with another name, other origins and another regime; edges know within a second. Raises BadSetup."""
    changed = msgspec.structs.replace(tag, name=_named(name), origins=_checked(origins), regime=regime)
    client.hset(keys.TAGS, tag.id, _write(changed))
    return changed


def list_tags(client: Redis) -> list[Tag]:
    """Every tag, the oldest first."""
    records: list[bytes] = client.hvals(keys.TAGS)
    return sorted(map(_read_tag, records), key=lambda tag: (tag.created_at, tag.name, tag.id))


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
        name=names.check(name, "The key's name"),
        role=role,
        tags=None if tags is None else tuple(tags),
        consent_attested=names.check(consent_attested, "The reason for consent"),
        created_at=int(clock()),
        expires_at=expires_at,
    )
    client.hset(keys.API_KEYS, sha256, _write(key))
    return key, presented


def list_keys(client: Redis) -> list[ApiKey]:
    """Every key's record, the oldest first."""
    records: list[bytes] = client.hvals(keys.API_KEYS)
    return sorted(map(_read_key, records), key=lambda key: (key.created_at, key.name, key.id))


def rotate(
    client: Redis, old: ApiKey, *, overlap: int = OVERLAP, clock: Clock = system
) -> tuple[ApiKey, str]:
    """Another key that may do the same, until the same end. The old one ends after the overlap, in seconds."""
    made = create_key(
        client,
        old.name,
        old.role,
        tags=old.tags,
        consent_attested=old.consent_attested,
        expires_at=old.expires_at,
        clock=clock,
    )
    expire(client, old.id, int(clock()) + overlap)
    return made


def expire(client: Redis, key_id: str, at: int) -> bool:
    """Let a key end at a Unix second, unless it ends before. False when there is none of this id."""
    return _change(
        client, key_id, lambda key: msgspec.structs.replace(key, expires_at=min(at, key.expires_at or at))
    )


def revoke(client: Redis, key_id: str, *, clock: Clock = system) -> bool:
    """End a key at once. False when there is none of this id."""
    return _change(client, key_id, lambda key: msgspec.structs.replace(key, revoked_at=int(clock())))


def _change(client: Redis, key_id: str, change: Callable[[ApiKey], ApiKey]) -> bool:
    """Change a key's record as it is by then: who ends it must not be undone by who replaces it at that moment."""
    sha256 = next((key.sha256 for key in list_keys(client) if key.id == key_id), None)
    if sha256 is None:
        return False

    found = connections.change(client, keys.API_KEYS, sha256, lambda record: _write(change(_read_key(record))))
    return found is not None


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


def _named(name: str) -> str:
    if not name.strip():
        raise BadSetup("The tag has no name. Mend: give it one, such as the shop's.")
    return names.check(name, "The tag's name")


def _checked(origins: Sequence[str]) -> tuple[str, ...]:
    if not origins:
        raise BadSetup(
            "The tag has no origin. Mend: name each site that may send events, as https://shop.example."
        )
    return tuple(dict.fromkeys(check_origin(origin) for origin in origins))


def _under(origin: str, known: str) -> bool:
    head, _, tail = known.partition("*")
    label = origin.removeprefix(head).removesuffix(tail)
    return origin == head + label + tail and bool(_HOST.fullmatch(label))


class Snapshot(msgspec.Struct, frozen=True):
    """What an edge must know to take events while Redis is away. No key is in it: servers wait until Redis is back.

    The secret is, since visitors of servers and event ids are hashed with it: the file is its owner's alone.
    """

    partitions: int
    secret: str  # the installation's, hex
    tags: list[Tag]

    @property
    def installation(self) -> Installation:
        return Installation(self.partitions, bytes.fromhex(self.secret))


def read_snapshot(settings: Settings) -> Snapshot | None:
    """The snapshot of the spool's folder; None when there is none that can be read, or for other partitions."""
    try:
        found = msgspec.json.decode((settings.spool / SNAPSHOT).read_bytes(), type=Snapshot)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.partitions == settings.partitions else None


def _save(folder: Path, snapshot: Snapshot) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, fresh = tempfile.mkstemp(dir=folder, prefix=SNAPSHOT)  # mode 0600
    with os.fdopen(descriptor, "wb") as file:
        file.write(_write(snapshot))
    disk.settle(Path(fresh), folder / SNAPSHOT)


class TagCache:
    """The edge's copy of tags and keys: a second old at most, and of use while Redis is away.

    `away`: Redis did not answer when last asked; what is known stays in force, and nobody waits for the next answer.
    `foreign`: it did, but holds another installation, or none, whose tags these are not.
    """

    def __init__(
        self, client: AsyncRedis, settings: Settings, installation: Installation, *, clock: Clock = system
    ) -> None:
        self._client = client
        self._seconds = settings.tag_cache_seconds
        self._folder = settings.spool
        self._installation = installation
        self._clock = clock
        self._saved = read_snapshot(settings)
        if self._saved is not None and self._saved.installation != installation:
            self._saved = None
        self._tags = {tag.id: tag for tag in self._saved.tags} if self._saved else {}
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._keys: dict[str, tuple[float, ApiKey]] = {}
        self._log = log.get("tags")
        self.away = False
        self.foreign = False

    async def get(self, tag: str) -> Tag | None:
        """The tag, or None when Redis says that there is none.

        Raises connections.Unavailable for a tag that this edge has never seen while Redis cannot be asked.
        """
        if time.monotonic() - self._read_at >= self._seconds:
            reading = self._refresh()
            if not self.away:
                await asyncio.shield(reading)  # one reader, whoever of its many waiters goes away
        known = self._tags.get(tag)
        if known is not None or not TAG_ID.fullmatch(tag):
            return known
        record = await self._ask(keys.TAGS, tag)
        if record is None:
            return None
        self._tags[tag] = found = _read_tag(record)
        return found

    async def key(self, presented: str) -> ApiKey | None:
        """The usable key that was presented; while Redis is away one that it was asked for before.

        Raises connections.Unavailable when Redis cannot be asked.
        """
        sha256, now = _sha256(presented), time.monotonic()
        asked_at, known = self._keys.get(sha256, (float("-inf"), None))
        if known is not None and (self.away or now - asked_at < self._seconds):
            if self.away:
                self._wake()
            return known if known.usable(self._clock()) else None
        try:
            key = _usable(await self._ask(keys.API_KEYS, sha256), sha256, self._clock())
        except Unavailable:
            if known is None:
                raise
            self._wake()
            return known if known.usable(self._clock()) else None
        self._keys.pop(sha256, None)
        if key is not None:
            self._keys[sha256] = (now, key)
        return key

    async def ask(self) -> bool:
        """Whether Redis answers now, with the installation that this edge serves."""
        await asyncio.shield(self._refresh())
        return not self.away

    async def _ask(self, table: str, field: str) -> bytes | None:
        if self.away:
            self._wake()  # thousands that each wait for a time-out of their own are no better answered
            raise RedisConnectionError("Redis was away a moment ago")
        record: bytes | None = await self._client.hget(table, field)
        return record

    def _wake(self) -> None:
        if time.monotonic() - self._read_at >= self._seconds:
            self._refresh()

    def _refresh(self) -> "asyncio.Task[None]":
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        return self._reading

    async def _read(self) -> None:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hmget(keys.INSTALLATION, "secret", "partitions").hgetall(keys.TAGS)
        try:
            (secret, partitions), records = await pipeline.execute()
        except Unavailable:
            self.away = True
            return
        finally:
            self._read_at = time.monotonic()
        known = self._installation.secret.hex().encode(), str(self._installation.partitions).encode()
        foreign = (secret, partitions) != known
        if foreign and not self.foreign:
            self._log.error(
                "Redis holds another installation than this edge serves: nothing is sent to it. "
                "Mend: restart this process, or point COLLECTOR_REDIS_URL at its own server."
            )
        self.away = self.foreign = foreign
        if not foreign:
            await self._keep([_read_tag(record) for record in records.values()])

    async def _keep(self, fresh: list[Tag]) -> None:
        self._tags = {tag.id: tag for tag in fresh}
        snapshot = Snapshot(self._installation.partitions, self._installation.secret.hex(), fresh)
        if snapshot == self._saved:
            return
        self._saved = snapshot
        try:
            await asyncio.to_thread(_save, self._folder, snapshot)
        except OSError as error:
            self._log.warning("tag snapshot not written", error=type(error).__name__)
