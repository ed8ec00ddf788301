"""Feed: the last events of a tag with their fates, the refused ones too, for whoever looks at an install.

Nothing in it names a visitor: the id is six digits of its mark, and of the page there is the origin. What a stored
event says is read from the archive; of a refused one nothing is kept but its fate.
"""

import msgspec

from collector import keys
from collector.connections import AsyncRedis, Redis

A_SECOND = 20  # events of a tag that one edge shows of each second: enough to watch, and nothing under load
SECONDS = 60  # with events, that are kept
LIFE = 86_400  # seconds after the last event


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """An event as it was seen at the edge."""

    at: int  # Unix milliseconds of receipt
    event: str  # the name; "" is a withdrawal, or what has none
    outcome: str
    reason: str
    source: str
    origin: str  # of the page, "" where none came
    visitor: str = ""  # the first digits of its mark, to tell visitors apart
    consent: str = ""  # what decided, of stored ones


_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(list[Seen]).decode


def append(pipeline: AsyncRedis, tag: str, seen: list[Seen]) -> None:
    """Put what was seen in a second behind what is there, with the commands of a pipeline."""
    pipeline.xadd(keys.feed(tag), {"e": _write(seen)}, maxlen=SECONDS, approximate=False)
    pipeline.expire(keys.feed(tag), LIFE)


def latest(client: Redis, tag: str) -> list[Seen]:
    """What was seen of the tag, newest first."""
    rows = client.xrevrange(keys.feed(tag))
    seen = [each for _, fields in rows for each in _read(fields[b"e"])]
    return sorted(seen, key=lambda each: -each.at)
