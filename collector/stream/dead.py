"""Dead letters: what a worker could not apply, kept with its reason until somebody retries or drops it.

Each partition has a hash of them, `<visitor's mark, or 0>:<stream id>` → letter. The mark finds a visitor's letters
without reading them, for an erasure; 0 is a payload that names no visitor. A hash, since a stream keeps the bytes of
what is deleted from it. The archive leaves out what is here, so that a retry counts once.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

from collector import keys
from collector.connections import Redis
from collector.stream import read, scripts
from collector.stream.partitions import Installation
from collector.stream.read import Entry

Reason = Literal["undecodable", "failed"]


class TooMany(Exception):
    """So many dead letters that the fault is hardly the events'. The message is one line, with the mend."""


class Letter(msgspec.Struct, frozen=True):
    """Why an entry is dead (`error`: the exception's name, "" when it could not be read), and its bytes."""

    reason: Reason
    error: str
    payload: bytes


class Dead(NamedTuple):
    """A dead letter where it lies."""

    partition: int
    field: str
    letter: Letter

    @property
    def id(self) -> str:
        """How people name it: «partition/stream id»."""
        return f"{self.partition}/{self.field.partition(':')[2]}"


class _Whose(msgspec.Struct):
    tag: str
    visitor: str


# KEYS: dead, events. ARGV: the letter's field. The archive leaves out what has a letter: an entry that it has not
# passed yet would be in the past, and in no column.
DROP = scripts.allow_oom("""
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('XDEL', KEYS[2], string.match(ARGV[1], ':(.*)'))
return 1
""")

pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(Letter).decode
_read = msgspec.json.Decoder(_Whose).decode


def whose(payload: bytes) -> tuple[str, str] | None:
    """The tag and the visitor of an event that may be unreadable otherwise; None when it names none."""
    try:
        found = _read(payload)
    except (msgspec.DecodeError, UnicodeError):
        return None
    return found.tag, found.visitor


def field(installation: Installation, entry: Entry) -> str:
    """The field that an entry's letter lies in."""
    named = whose(entry.payload)
    mark = keys.visitor_mark(installation.secret, *named) if named else 0
    return f"{mark}:{entry.id.decode()}"


def check_room(client: Redis, partition: int, more: int, most: int) -> None:
    """Raises TooMany when a partition would have more letters than `most`: then the fault is not the events'."""
    kept: int = client.hlen(keys.dead(partition))
    if kept + more > most:
        raise TooMany(
            f"Partition {partition} has {kept} dead letters and would get {more} more, over "
            f"COLLECTOR_MAX_DEAD_LETTERS={most}. The worker stops rather than put everything aside. "
            "Mend: look at `collector dead list`; undo the last upgrade, or retry or drop what is there."
        )


def ids(client: Redis, partition: int) -> set[bytes]:
    """The stream ids of a partition's letters."""
    return {name.partition(b":")[2] for name in client.hkeys(keys.dead(partition))}


def letters(client: Redis, partition: int) -> Iterator[Dead]:
    """A partition's letters, the oldest first."""
    found = {name.decode(): value for name, value in client.hgetall(keys.dead(partition)).items()}
    for name in sorted(found, key=lambda name: read.parse(name.partition(":")[2])):
        yield Dead(partition, name, unpack(found[name]))


def count(client: Redis, installation: Installation) -> int:
    """How many there are in all."""
    return sum(client.hlen(keys.dead(number)) for number in range(installation.partitions))


def retry(client: Redis, dead: Dead) -> bool:
    """Append the letter's event to its stream again, as it was, and take the letter away; False if it has gone."""
    script = client.register_script(scripts.source("stream", "revive"))
    places = [keys.dead(dead.partition), keys.events(dead.partition)]
    return bool(script(keys=places, args=[dead.field, dead.letter.payload]))


def drop(client: Redis, dead: Dead) -> bool:
    """Take the letter away for good, and the event out of the stream; False if it has gone."""
    places = [keys.dead(dead.partition), keys.events(dead.partition)]
    return bool(client.register_script(DROP)(keys=places, args=[dead.field]))
