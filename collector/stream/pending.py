"""Pending: the erasures that are not proven yet, and what of the server's own memory stands between.

A partition has a hash of them: `<tag>:<visitor's mark>` → `<second asked> <id of the stream's newest entry then>`, and
` <second swept>` behind it once no row, file or stream node holds the visitor. Then only the append-only file does.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from collector import keys
from collector.connections import Redis
from collector.stream import read, scripts

MOST = 2_000  # entries written anew in one call: some 5 ms of the server's time

# KEYS: pending. ARGV: field, value as believed, new value or '' for none; again and again. An erasure that was asked
# for again meanwhile has another value, and stays.
MOVE = """
for i = 1, #ARGV, 3 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    if ARGV[i + 2] == '' then redis.call('HDEL', KEYS[1], ARGV[i])
    else redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2]) end
  end
end
"""


class Pending(NamedTuple):
    """An erasure under way. asked, swept: Unix seconds; swept is 0 until then."""

    tag: str
    mark: int
    asked: int
    newest: str
    swept: int

    @property
    def field(self) -> str:
        return f"{self.tag}:{self.mark}"

    @property
    def value(self) -> str:
        return f"{self.asked} {self.newest}" + (f" {self.swept}" if self.swept else "")


def all_of(client: Redis, partitions: Sequence[int]) -> dict[int, list[Pending]]:
    """The pending erasures of each partition, in one round trip."""
    pipeline = client.pipeline(transaction=False)
    for number in partitions:
        pipeline.hgetall(keys.pending(number))
    found = {}
    for number, flat in zip(partitions, pipeline.execute(), strict=True):
        found[number] = [_read(field.decode(), value.decode()) for field, value in flat.items()]
    return found


def reopen(client: Redis, partition: int, tag: str, late: Mapping[int, int], reached: str) -> None:
    """Events of erased visitors (mark → second of the tombstone) came late, up to an entry of the stream."""
    fields = [part for mark, until in late.items() for part in (f"{tag}:{mark}", f"{until} {reached}")]
    for first in range(0, len(fields), 2_000):
        scripts.drained(client, "HSET", keys.pending(partition), *fields[first : first + 2_000])


def swept(client: Redis, partition: int, some: Sequence[Pending], now: int) -> None:
    """Note that only the append-only file still holds them."""
    _move(client, partition, [(each, each._replace(swept=now).value) for each in some])


def done(client: Redis, partition: int, some: Sequence[Pending]) -> None:
    """Take them off the list."""
    _move(client, partition, [(each, "") for each in some])


def renew(client: Redis, partition: int, some: Sequence[Pending]) -> bool:
    """Free the stream of what it held when they were asked for; False while that is not applied and archived."""
    read.trim(client, partition)
    newest = max((each.newest for each in some), key=read.parse)
    script = client.register_script(scripts.source("stream", "renew", drains=True))
    return bool(script(keys=[keys.events(partition)], args=[newest, MOST]))


def _move(client: Redis, partition: int, moves: Sequence[tuple[Pending, str]]) -> None:
    script = client.register_script(scripts.allow_oom(MOVE))
    for first in range(0, len(moves), 1_000):
        args = [part for each, new in moves[first : first + 1_000] for part in (each.field, each.value, new)]
        script(keys=[keys.pending(partition)], args=args)


def _read(field: str, value: str) -> Pending:
    tag, mark = field.split(":")
    asked, newest, *since = value.split(" ")
    return Pending(tag, int(mark), int(asked), newest, int(since[0]) if since else 0)
