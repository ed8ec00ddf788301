"""Links that work once: to sign in as the holder of the admin key, or to choose a password."""

import hashlib
import secrets
from typing import Literal

import msgspec

from collector import keys
from collector.connections import Redis

ENTER_SECONDS = 86_400  # of the link that `up` prints
INVITE_SECONDS = 7 * 86_400

ENTERED = "by the link of the console"  # beside the sign-in in the log


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What a link is for. enter: a session by an admin key (its id); invite: a login's password."""

    kind: Literal["enter", "invite"]
    key: str = ""
    login: str = ""


_read = msgspec.json.Decoder(Link).decode
_write = msgspec.json.Encoder().encode


def make(client: Redis, link: Link, seconds: int) -> str:
    """The token of a new link, good for so many seconds."""
    token = secrets.token_urlsafe(24)
    client.set(_key(token), _write(link), ex=seconds)
    return token


def look(client: Redis, token: str) -> Link | None:
    """What a link is for, without using it up: whoever previews a link opens nothing."""
    record: bytes | None = client.get(_key(token))
    return None if record is None else _read(record)


def use(client: Redis, token: str) -> Link | None:
    """The same, and the link is gone. Of two at once, one gets it."""
    record: bytes | None = client.getdel(_key(token))
    return None if record is None else _read(record)


def path(token: str) -> str:
    return f"/dashboard/link/{token}"


def _key(token: str) -> str:
    return keys.link(hashlib.sha256(token.encode()).hexdigest())
