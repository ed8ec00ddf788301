"""Decode: a body from the wire, within its limits, to the shape of a request."""

import asyncio
import zlib
from typing import Any

import orjson
from starlette.types import Receive

from collector.event import scalar
from collector.ingest.answer import Rejected
from collector.ingest.caller import Caller
from collector.ingest.patience import Patience
from collector.settings import Settings

Request = dict[str, Any]
"""A request of the wire: `tag` is text if there, `events` a list of anything, `lost` a count, the rest as it came."""

# What a tag's queue of 250,000 characters can hold, generously: beyond it somebody makes numbers up.
MOST_LOST = 10_000

CLOSE = [(b"connection", b"close")]  # the rest of the body may come as slowly as it likes, to nobody

# For deeper_than(): every bracket becomes a square one, and all but brackets and quotes goes.
_SQUARE = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(byte for byte in range(256) if byte not in b'[]{}"')


async def read(receive: Receive, caller: Caller, settings: Settings, patience: Patience) -> bytes:
    """The body, unpacked. Raises Rejected: 413 over the limit, 408 when too slow, 400 for bad gzip."""
    limit = settings.max_body_bytes
    announced = caller.header(b"content-length")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    body = caller.exchange.whole() if caller.exchange is not None else None
    if body is None:
        body = await _awaited(receive, limit, settings, patience)
    elif len(body) > limit:
        raise _too_large(limit)
    encoding = caller.header(b"content-encoding").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise Rejected(
            400, "bad_encoding", f"Content-Encoding {encoding[:40]!r} is not read here.", "Use gzip or none."
        )
    return _gunzip(body, limit)


async def _awaited(receive: Receive, limit: int, settings: Settings, patience: Patience) -> bytes:
    """A body that is still on its way."""
    task = patience.begin()
    try:
        return await _whole(receive, limit)
    except asyncio.CancelledError:
        if not patience.ended(task):
            raise
        raise Rejected(
            408,
            "slow_body",
            f"The body did not arrive within {settings.body_timeout:g} seconds.",
            "Send less at once, or again on a better line.",
            CLOSE,
        ) from None
    finally:
        patience.end(task)


async def _whole(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Rejected(400, "disconnected", "The connection ended before the body did.", "Send it again.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _gunzip(body: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj(31)  # 16 + 15: a gzip header, the largest window
    try:
        text = stream.decompress(body, limit + 1)
    except zlib.error:
        text = b""
    if len(text) > limit:
        raise _too_large(limit)
    if not stream.eof or stream.unused_data:
        raise Rejected(
            400, "bad_gzip", "The body is no whole gzip stream.", "Compress the body once, as one member."
        )
    return text


def _too_large(limit: int) -> Rejected:
    return Rejected(
        413,
        "too_large",
        f"The body is over {limit} bytes.",
        "Send fewer events in a request; each has its own result.",
        CLOSE,
    )


def deeper_than(limit: int, text: bytes) -> bool:
    """Whether the JSON nests deeper, at the speed of bytes.translate; meaningless where the text is no JSON.

    Strings go first, then each pass takes the innermost pairs of brackets away.
    """
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Strings without brackets are pairs of quotes now; what is left of the quotes still tells inside from outside.
    brackets = text.translate(_SQUARE, _OTHERS).replace(b'""', b"")
    if b'"' in brackets:
        brackets = b"".join(brackets.split(b'"')[::2])
    if len(brackets) <= 2 * limit:
        return False
    for _ in range(limit):
        fewer = brackets.replace(b"[]", b"")
        if fewer == brackets:
            return False  # none are left, or they do not match and the parser will say so
        brackets = fewer
    return bool(brackets)


def loads(text: bytes, settings: Settings) -> Any:
    """JSON as Python values. Raises ValueError, also when it nests deeper than the setting."""
    if deeper_than(settings.max_depth, text):
        raise ValueError(f"nested deeper than {settings.max_depth}")
    return orjson.loads(text)


def request(body: bytes, settings: Settings) -> Request:
    """The request that a body holds. Raises Rejected: 400 when it is none, 413 for too many events."""
    try:
        value = loads(body, settings)
    except ValueError as error:
        raise Rejected(
            400,
            "bad_json",
            f"The body is no JSON that can be read: {str(error)[:120]}.",
            "Send one JSON object as UTF-8.",
        ) from None
    if not isinstance(value, dict):
        raise _bad_request("The body is no JSON object.")
    tag = value.get("tag")
    if isinstance(tag, int):
        value["tag"] = str(tag)
    elif tag is not None and not isinstance(tag, str):
        raise _bad_request("tag is no text.")
    if value.get("withdraw"):
        value.setdefault("events", [])
    events = value.get("events")
    if not isinstance(events, list):
        raise _bad_request("events is no list." if "events" in value else "events is missing.")
    sent_at = value.get("sent_at")
    if isinstance(sent_at, str):
        value["sent_at"] = sent_at = scalar(sent_at)
    if sent_at is not None and type(sent_at) not in (int, float):
        raise _bad_request("sent_at is no number of Unix milliseconds.")
    lost = value.get("lost")
    value["lost"] = lost if type(lost) is int and 0 < lost <= MOST_LOST else 0
    if len(events) > settings.max_events:
        raise Rejected(
            413,
            "too_many_events",
            f"The request holds more than {settings.max_events} events.",
            "Send them in several.",
        )
    return value


def _bad_request(message: str) -> Rejected:
    return Rejected(
        400,
        "bad_request",
        message,
        'The shape is {"tag": "…", "consent": {…}, "events": [{…}]}; see docs/wire.md.',
    )
