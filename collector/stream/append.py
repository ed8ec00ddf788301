"""Append: the only way into a stream, for events that consent has sealed."""

import hashlib
from collections.abc import Sequence

import msgspec

from collector import keys
from collector.connections import AsyncRedis, Redis, clustered, primaries, reached
from collector.consent import ConsentedEvent
from collector.event import Event
from collector.settings import Settings
from collector.stream import scripts
from collector.stream.calls import Call, Calls, NotReplicated
from collector.stream.partitions import Installation

APPENDED, DUPLICATE, EARLIER = 1, 0, 2
SCRIPT = scripts.source("stream", "append", "buckets")
Packed = tuple[int, int | str, bytes]
"""An event as the script takes it: partition, event_mark(), StreamedEvent as JSON. Of what consent sealed only."""
PackedLine = tuple[int, int | str, bytes, int]
"""The same of an import, with the number of its line."""
_msgpack = msgspec.msgpack.Encoder().encode
DIGEST = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()  # what EVALSHA knows it by


class Appender:
    """Appends groups of events, one round trip a group.

    One server takes a group in one script call. A cluster takes a call a partition, which is a slot, side by side.
    """

    def __init__(self, client: AsyncRedis, installation: Installation, settings: Settings) -> None:
        self._calls = Calls(client, SCRIPT, DIGEST, settings)
        self._installation = installation
        self._window = settings.id_window

    async def append(self, group: Sequence[ConsentedEvent]) -> list[bool]:
        """Append each event unless it is a repeat; as append_packed."""
        return await self.append_packed(_pack(group, self._installation))

    async def append_packed(self, group: Sequence[Packed]) -> list[bool]:
        """Append each event unless it is a repeat; True where it was appended and is on disk.

        Raises connections.Unavailable when Redis cannot take the group. Whether it is stored is then unknown: the
        caller may repeat it as it is, since the event ids make a repeat harmless.
        """
        if not self._calls.clustered:
            (results,) = await self._calls.run([_call(group, self._window)])
            return [result == APPENDED for result in _digits(results)]
        parts = _of_slots(group)
        calls = [_call([group[place] for place in places], self._window) for places in parts]
        appended = [False] * len(group)
        for places, results in zip(parts, await self._calls.run(calls), strict=True):
            for place, result in zip(places, _digits(results), strict=True):
                appended[place] = result == APPENDED
        return appended


class Importer:
    """Appends the lines of an import. What an earlier run of the same import appended is passed over."""

    def __init__(self, client: Redis, installation: Installation, settings: Settings, ledger: str) -> None:
        self._client = client
        self._installation = installation
        self._window = settings.id_window
        self._replicas = settings.wait_replicas
        self._patience = int(settings.append_timeout * 1000)
        self._ledger = ledger
        self._script = client.register_script(SCRIPT)

    def pack(self, number: int, own_id: bool, sealed: ConsentedEvent) -> PackedLine:
        """A line as append() takes it. own_id: whether its event_id came with it.

        A line without an event_id of its own needs no id memory: the ledger in its partition knows the line.
        """
        event = sealed.bare
        mark = event_mark(event, self._installation.secret) if own_id else ""
        return self._installation.partition(event.tag, event.visitor), mark, sealed.payload(), number

    def append(self, lines: Sequence[PackedLine]) -> list[int]:
        """Append lines, whose numbers rise from call to call.

        Returns APPENDED, DUPLICATE or EARLIER for each. Raises connections.Unavailable.
        """
        if clustered(self._client):
            results = [APPENDED] * len(lines)
            for places in _of_slots(lines):
                found = self._append([lines[place] for place in places])
                for place, result in zip(places, found, strict=True):
                    results[place] = result
        else:
            results = self._append(lines)
        if self._replicas:
            self._await_replicas()
        return results

    def _append(self, lines: Sequence[PackedLine]) -> list[int]:
        call = _call(lines, self._window, self._ledger, [line[3] for line in lines])
        return _digits(self._script(keys=call.keys, args=call.args))

    def _await_replicas(self) -> None:
        for server in primaries(self._client):
            found = reached(server, self._replicas, self._patience)
            if found < self._replicas:
                raise NotReplicated(f"{found} of {self._replicas} replicas had it in time")


def _pack(group: Sequence[ConsentedEvent], installation: Installation) -> list[Packed]:
    packed: list[Packed] = []
    visitor, partition = ("", ""), 0
    for sealed in group:
        event = sealed.bare
        if visitor != (event.tag, event.visitor):  # of one request all have the same
            visitor = event.tag, event.visitor
            partition = installation.partition(*visitor)
        packed.append((partition, event_mark(event, installation.secret), sealed.payload()))
    return packed


def _of_slots(group: Sequence[Packed | PackedLine]) -> list[list[int]]:
    """The places in a group of each partition's events: a cluster's call is of one slot."""
    parts: dict[int, list[int]] = {}
    for place, packed in enumerate(group):
        parts.setdefault(packed[0], []).append(place)
    return list(parts.values())


def _call(
    group: Sequence[Packed] | Sequence[PackedLine], window: int, ledger: str = "", numbers: Sequence[int] = ()
) -> Call:
    streams: dict[int, int] = {}
    indices = [streams.setdefault(packed[0], len(streams) + 1) for packed in group]
    payloads = [packed[2] for packed in group]
    told = (indices, [str(packed[1]) for packed in group], list(map(len, payloads)), numbers)
    return Call([keys.events(number) for number in streams], (window, ledger, _msgpack(told), b"".join(payloads)))


def _digits(results: bytes) -> list[int]:
    return [digit - 48 for digit in results]


def event_mark(event: Event, secret: bytes) -> int | str:
    """The id to test; a withdrawal has none, since repeating it changes nothing."""
    if not event.event_id:
        return ""
    return keys.event_mark(secret, event.tag, event.visitor, event.event, event.event_id)
