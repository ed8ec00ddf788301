"""People: who may sign in, as what, to which tags."""

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from collector import connections, keys
from collector.clock import Clock
from collector.connections import Redis

Rank = Literal["admin", "marketer", "viewer"]
RANKS: tuple[Rank, ...] = get_args(Rank)
LEAST_PASSWORD = 12  # characters
MOST_PASSWORD = 1_000
MOST_NAME = 200
AT_ONCE = 2  # hashes at a time, of 64 MiB and four threads each (argon2-cffi's defaults, those of RFC 9106)
WAITING = 8  # more that wait for one, of the forty threads that answer the API and the dashboard


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may sign in. Times are Unix seconds; 0 is never."""

    login: str  # an e-mail address, or any name without blanks; lower-case
    name: str
    rank: Rank
    tags: tuple[str, ...] | None = None  # None: every tag
    password: str = ""  # an argon2 hash; empty until the first one is chosen
    generation: int = 0  # a session of another one has ended
    created_at: int = 0
    signed_in_at: int = 0


class Taken(Exception):
    """There is somebody of this login."""


class Busy(Exception):
    """Too many passwords wait to be looked at, as when somebody guesses at all logins at once."""


_read = msgspec.json.Decoder(Person).decode
_write = msgspec.json.Encoder().encode


def login_of(text: str) -> str:
    """The one form of a login."""
    return text.strip().lower()


class People:
    """The people of an installation. Blocks; raises connections.Unavailable when Redis cannot answer.

    Who brings a password takes a place() first.
    """

    def __init__(self, client: Redis, clock: Clock, hasher: PasswordHasher | None = None) -> None:
        self._client = client
        self._clock = clock
        self._hasher = hasher or PasswordHasher()
        self._places = threading.BoundedSemaphore(AT_ONCE + WAITING)
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._nobody = self._hasher.hash("nobody's")

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among those whose passwords are hashed, for all that hangs on it: a try that would count, a link that
        would be spent. Raises Busy.
        """
        if not self._places.acquire(blocking=False):
            raise Busy
        try:
            yield
        finally:
            self._places.release()

    def all(self) -> list[Person]:
        """Everybody, the oldest first."""
        records: list[bytes] = self._client.hvals(keys.PEOPLE)
        return sorted(map(_read, records), key=lambda person: (person.created_at, person.login))

    def get(self, login: str) -> Person | None:
        record: bytes | None = self._client.hget(keys.PEOPLE, login_of(login))
        return None if record is None else _read(record)

    def any(self) -> bool:
        return bool(self._client.hlen(keys.PEOPLE))

    def add(
        self, login: str, name: str, rank: Rank, tags: Sequence[str] | None, password: str = ""
    ) -> Person:
        """Somebody new. Raises Taken."""
        person = Person(
            login=login_of(login),
            name=name.strip(),
            rank=rank,
            tags=None if tags is None else tuple(tags),
            password=self._hash(password) if password else "",
            generation=secrets.randbits(48),  # somebody later of the same login is somebody else
            created_at=int(self._clock()),
        )
        if not self._client.hsetnx(keys.PEOPLE, person.login, _write(person)):
            raise Taken
        return person

    def choose(self, login: str, rank: Rank, tags: Sequence[str] | None) -> Person | None:
        """Give somebody another rank or other tags; it counts from the next request on."""
        bound = None if tags is None else tuple(tags)
        return self._change(login, lambda who: msgspec.structs.replace(who, rank=rank, tags=bound))

    def set_password(self, login: str, password: str) -> Person | None:
        """A new password ends every session there was."""
        made = self._hash(password)
        return self._change(
            login,
            lambda who: msgspec.structs.replace(who, password=made, generation=who.generation + 1),
        )

    def end_sessions(self, login: str) -> Person | None:
        return self._change(login, lambda who: msgspec.structs.replace(who, generation=who.generation + 1))

    def remove(self, login: str) -> bool:
        """Take somebody's place away, and so the sessions."""
        return bool(self._client.hdel(keys.PEOPLE, login_of(login)))

    def check(self, login: str, password: str) -> Person | None:
        """The person whose password this is. A login that nobody has takes as long as a wrong password."""
        person = self.get(login)
        known = person.password if person and person.password else self._nobody
        try:
            with self._turns:
                self._hasher.verify(known, password)
        except (VerificationError, InvalidHashError):
            return None
        if person is None or not person.password:
            return None
        now = int(self._clock())
        return self._change(login, lambda who: msgspec.structs.replace(who, signed_in_at=now))

    def _hash(self, password: str) -> str:
        with self._turns:
            return self._hasher.hash(password)

    def _change(self, login: str, change: Callable[[Person], Person]) -> Person | None:
        found = connections.change(
            self._client, keys.PEOPLE, login_of(login), lambda record: _write(change(_read(record)))
        )
        return _read(found[1]) if found else None
