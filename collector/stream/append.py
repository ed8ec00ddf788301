"""Append: the only way into a stream, for events that consent has sealed."""

import hashlib
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.exceptions import NoScriptError

from collector import event as events
from collector import keys
from collector.connections import AsyncRedis, Redis
from collector.consent import ConsentedEvent
from collector.settings import Settings
from collector.stream import scripts
from collector.stream.partitions import Installation

APPENDED, DUPLICATE, EARLIER = 1, 0, 2
SCRIPT = scripts.source("stream", "append", "buckets")
Packed = tuple[int, int | str, bytes]
"""An event as the script takes it: partition, event_mark(), StreamedEvent as JSON. Of what consent sealed only."""
DIGEST = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()  # what EVALSHA knows it by


class Appender:
    """Appends groups of events, one round trip a group."""

    def __init__(self, client: AsyncRedis, installation: Installation, settings: Settings) -> None:
        self._pool = client.connection_pool
        self._installation = installation
        self._window = settings.id_window

    async def append(self, group: Sequence[ConsentedEvent]) -> list[bool]:
        """Append each event unless it is a repeat; as append_packed."""
        return await self.append_packed([_pack(sealed.event, self._installation) for sealed in group])

    async def append_packed(self, group: Sequence[Packed]) -> list[bool]:
        """Append each event unless it is a repeat; True where it was appended and is on disk.

        Raises connections.Unavailable when Redis cannot take the group. Whether it is stored is then unknown: the
        caller may repeat it as it is, since the event ids make a repeat harmless.
        """
        streams, args = _arguments(group, self._window)
        try:
            results = await self._run("EVALSHA", DIGEST, streams, args)
        except NoScriptError:
            results = await self._run("EVAL", SCRIPT, streams, args)
        return [result == APPENDED for result in results]

    async def _run(
        self, command: str, script: str, streams: list[str], args: list[str | bytes | int]
    ) -> list[int]:
        """One call, packed in C. redis-py packs for asyncio in Python: half of an append's time at the edge."""
        parts: Any = (command, script, len(streams), *streams, *args)  # hiredis' hints know tuples of one
        packed = hiredis.pack_command(parts)
        connection = await self._pool.get_connection()
        try:
            await connection.send_packed_command(packed)
            results: list[int] = await connection.read_response()
        finally:
            await self._pool.release(connection)
        return results


class Importer:
    """Appends the lines of an import. What an earlier run of the same import appended is passed over."""

    def __init__(self, client: Redis, installation: Installation, settings: Settings, ledger: str) -> None:
        self._installation = installation
        self._window = settings.id_window
        self._ledger = ledger
        self._streams = [keys.events(number) for number in range(installation.partitions)]
        self._script = client.register_script(SCRIPT)

    def append(self, lines: Sequence[tuple[int, bool, ConsentedEvent]]) -> list[int]:
        """Append (line number, whether its event_id came with it, event); line numbers rise from call to call.

        A line without an event_id of its own needs no id memory: the ledger in its partition knows the line.
        Returns APPENDED, DUPLICATE or EARLIER for each. Raises connections.Unavailable.
        """
        places: dict[int, int] = {}
        args: list[str | bytes | int] = [self._window, self._ledger]
        for number, own_id, sealed in lines:
            event = sealed.event
            partition = self._installation.partition(event.tag, event.visitor)
            args += (
                places.setdefault(partition, len(places) + 1),
                event_mark(event, self._installation.secret) if own_id else "",
                events.encode(event),
                number,
            )
        streams = [self._streams[partition] for partition in places]
        results: list[int] = self._script(keys=streams, args=args)
        return results


def _pack(event: events.StreamedEvent, installation: Installation) -> Packed:
    return (
        installation.partition(event.tag, event.visitor),
        event_mark(event, installation.secret),
        events.encode(event),
    )


def _arguments(group: Sequence[Packed], window: int) -> tuple[list[str], list[str | bytes | int]]:
    places: dict[int, int] = {}
    args: list[str | bytes | int] = [window, ""]
    for partition, mark, payload in group:
        args += (places.setdefault(partition, len(places) + 1), mark, payload)
    return [keys.events(number) for number in places], args


def event_mark(event: events.StreamedEvent, secret: bytes) -> int | str:
    """The id to test; a withdrawal has none, since repeating it changes nothing."""
    if not event.event_id:
        return ""
    return keys.event_mark(secret, event.tag, event.visitor, event.event, event.event_id)
