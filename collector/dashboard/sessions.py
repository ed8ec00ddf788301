"""Sessions: who is signed in. A cookie holds a random token, Redis its SHA-256: a copy of Redis signs nobody in."""

import hashlib
import secrets

import msgspec

from collector import keys
from collector.clock import Clock
from collector.connections import Redis
from collector.settings import Settings

TOUCH = 60  # seconds between two notes of when a session was last used


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One browser that is signed in, as a person (login) or by an admin key (its id). Unix seconds."""

    login: str = ""
    key: str = ""
    generation: int = 0
    created_at: int
    seen_at: int


_read = msgspec.json.Decoder(Session).decode
_write = msgspec.json.Encoder().encode


class Sessions:
    """The sessions of an installation. Blocks; raises connections.Unavailable when Redis cannot answer."""

    def __init__(self, client: Redis, settings: Settings, clock: Clock) -> None:
        self._client = client
        self._idle = int(settings.session_idle_seconds)
        self._longest = int(settings.session_seconds)
        self._clock = clock

    def begin(self, *, login: str = "", key: str = "", generation: int = 0) -> str:
        """A new session's token: for the cookie, and nowhere else."""
        token, now = secrets.token_urlsafe(32), int(self._clock())
        session = Session(login=login, key=key, generation=generation, created_at=now, seen_at=now)
        self._keep(token, session)
        return token

    def find(self, token: str) -> Session | None:
        """The session of a token, unless it has rested or lasted too long. It counts as used now."""
        record: bytes | None = self._client.get(_key(token)) if token else None
        if record is None:
            return None
        session, now = _read(record), int(self._clock())
        if now >= session.seen_at + self._idle or now >= session.created_at + self._longest:
            self.end(token)
            return None
        if now >= session.seen_at + TOUCH:
            self._keep(token, msgspec.structs.replace(session, seen_at=now), only_if_there=True)
        return session

    def end(self, token: str) -> None:
        self._client.delete(_key(token))

    def _keep(self, token: str, session: Session, *, only_if_there: bool = False) -> None:
        left = min(self._idle, session.created_at + self._longest - session.seen_at)
        self._client.set(_key(token), _write(session), ex=max(left, 1), xx=only_if_there)


def _key(token: str) -> str:
    return keys.session(hashlib.sha256(token.encode()).hexdigest())
