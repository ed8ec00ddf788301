"""Append: the only way into a stream, for events that consent has sealed."""

from collections.abc import Sequence

from collector import event as events
from collector import keys
from collector.connections import AsyncRedis, Redis
from collector.consent import ConsentedEvent
from collector.settings import Settings
from collector.stream import scripts
from collector.stream.partitions import Installation

APPENDED, DUPLICATE, EARLIER = 1, 0, 2
SCRIPT = scripts.source("stream", "append", "buckets")


class Appender:
    """Appends groups of events, one round trip a group."""

    def __init__(self, client: AsyncRedis, installation: Installation, settings: Settings) -> None:
        self._installation = installation
        self._window = settings.id_window
        self._script = client.register_script(SCRIPT)

    async def append(self, group: Sequence[ConsentedEvent]) -> list[bool]:
        """Append each event unless it is a repeat; True where it was appended and is on disk.

        Raises connections.Unavailable when Redis cannot take the group. Whether it is stored is then unknown: the
        caller may repeat it as it is, since the event ids make a repeat harmless.
        """
        streams, args = _arguments(group, self._installation, self._window)
        return [result == APPENDED for result in await self._script(keys=streams, args=args)]


class Importer:
    """Appends the lines of an import. What an earlier run of the same import appended is passed over."""

    def __init__(self, client: Redis, installation: Installation, settings: Settings, ledger: str) -> None:
        self._installation = installation
        self._window = settings.id_window
        self._ledger = ledger
        self._script = client.register_script(SCRIPT)

    def append(self, lines: Sequence[tuple[int, bool, ConsentedEvent]]) -> list[int]:
        """Append (line number, whether its event_id came with it, event); line numbers rise from call to call.

        A line without an event_id of its own needs no id memory: the ledger in its partition knows the line.
        Returns APPENDED, DUPLICATE or EARLIER for each. Raises connections.Unavailable.
        """
        streams: dict[str, int] = {}
        args: list[str | bytes | int] = [self._window, self._ledger]
        for number, own_id, sealed in lines:
            event = sealed.event
            stream = keys.events(self._installation.partition(event.tag, event.visitor))
            args += (
                streams.setdefault(stream, len(streams) + 1),
                _event_mark(event, self._installation.secret) if own_id else "",
                events.encode(event),
                number,
            )
        results: list[int] = self._script(keys=list(streams), args=args)
        return results


def _arguments(
    group: Sequence[ConsentedEvent], installation: Installation, window: int
) -> tuple[list[str], list[str | bytes | int]]:
    streams: dict[str, int] = {}
    args: list[str | bytes | int] = [window, ""]
    for sealed in group:
        event = sealed.event
        stream = keys.events(installation.partition(event.tag, event.visitor))
        args += (
            streams.setdefault(stream, len(streams) + 1),
            _event_mark(event, installation.secret),
            events.encode(event),
        )
    return list(streams), args


def _event_mark(event: events.StreamedEvent, secret: bytes) -> int | str:
    """The id to test; a withdrawal has none, since repeating it changes nothing."""
    if not event.event_id:
        return ""
    return keys.event_mark(secret, event.tag, event.visitor, event.event, event.event_id)
