"""Decode: a body from the wire, within its limits, to the shape of a request."""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from starlette.types import Receive

from collector.event import decode_json, encode, json_decoder, plain_number, scalar
from collector.ingest.answer import Rejected
from collector.ingest.caller import Caller
from collector.ingest.patience import Patience
from collector.ingest.wire import Request, Said, Sent
from collector.settings import Settings

# What a tag's queue of a hundred bodies can hold, generously: beyond it somebody makes numbers up.
MOST_LOST = 10_000

CLOSE = [(b"connection", b"close")]  # the rest of the body may come as slowly as it likes, to nobody


class _Asked(Said, gc=False):
    """A Request in whatever forms its members have on the wire: what is none is told by name, not by the parser."""

    withdraw: Any = None
    tag: Any = None
    events: list[Sent | list[Any] | str | float | bool | None] | dict[str, Any] | str | float | bool | None = None
    sent_at: Any = None
    lost: Any = None


class _Apart(_Asked, gc=False):
    """The same, with each event as its sender wrote it."""

    events: list[msgspec.Raw] | dict[str, Any] | str | float | bool | None = None  # type: ignore[assignment]


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

    Where there are brackets enough for it strings go first, then each pass takes the innermost pairs of brackets away.
    """
    if text.count(b"[") + text.count(b"{") <= limit:
        return False  # as in most requests of one event
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


_as_request = json_decoder(_Asked)
_as_parts = json_decoder(_Apart)
_as_event = json_decoder(Sent)


def loads(text: bytes, settings: Settings) -> Any:
    """JSON as Python values. Raises ValueError, also when it nests deeper than the setting."""
    return _read(decode_json, text, settings)


def event(text: bytes, settings: Settings) -> Sent:
    """The event that an import's line holds. Raises ValueError."""
    return _read(_as_event, text, settings)


def request(body: bytes, settings: Settings) -> Request:
    """The request that a body holds. Raises Rejected: 400 when it is none, 413 for too many events."""
    try:
        asked = _read(_as_request_or_parts, body, settings)
    except msgspec.ValidationError as error:
        raise _bad_request(f"The body has another shape: {error}.") from None
    except ValueError as error:
        raise Rejected(
            400,
            "bad_json",
            f"The body is no JSON that can be read: {str(error)[:120]}.",
            "Send one JSON object as UTF-8.",
        ) from None
    tag, events, sent_at = asked.tag, asked.events, asked.sent_at
    if type(tag) is int:
        tag = str(tag)
    elif tag is not None and type(tag) is not str:
        raise _bad_request("tag is no text.")
    if events is None:
        if not asked.withdraw:
            raise _bad_request("events is missing.")
        events = []
    elif type(events) is not list:
        raise _bad_request("events is no list.")
    if sent_at is not None:
        sent_at = plain_number(sent_at) if type(sent_at) is str else scalar(sent_at)
        if type(sent_at) is not int and type(sent_at) is not float:
            raise _bad_request("sent_at is no number of Unix milliseconds.")
    if len(events) > settings.max_events:
        raise Rejected(
            413,
            "too_many_events",
            f"The request holds more than {settings.max_events} events.",
            "Send them in several.",
        )
    return Request(
        asked.visitor,
        asked.consent,
        asked.opt_out,
        asked.user_data,
        asked.click_ids,
        asked.withdraw,
        tag or "",
        events,
        sent_at,
        asked.lost if type(asked.lost) is int and 0 < asked.lost <= MOST_LOST else 0,
    )


def oversized(body: bytes, settings: Settings) -> frozenset[int]:
    """The places of the events that are over the limit, in a body that request() could read."""
    limit = settings.max_event_bytes
    texts = _as_parts(body).events if len(body) > limit else None
    if not isinstance(texts, list):
        return frozenset()
    return frozenset(place for place, text in enumerate(texts) if _size(bytes(text), limit) > limit)


def _size(text: bytes, enough: int) -> int:
    """The bytes of JSON, at best without its white space; not looked at where they are few enough with it."""
    if len(text) <= enough:
        return len(text)
    try:
        return len(encode(decode_json(text)))
    except ValueError:  # a number in a member that nobody reads
        return len(text)


def _as_request_or_parts(body: bytes) -> _Asked:
    """The request; an event with a number that no machine has is no event, and takes nothing else with it."""
    try:
        return _as_request(body)
    except msgspec.ValidationError:
        asked = _as_parts(body)
        if isinstance(asked.events, list):
            asked.events = [_event_or_none(bytes(text)) for text in asked.events]  # type: ignore[misc]
        return asked


def _event_or_none(text: bytes) -> Sent | None:
    try:
        return _as_event(text)
    except msgspec.ValidationError:
        return None


_Read = TypeVar("_Read")


def _read(decode: Callable[[bytes], _Read], text: bytes, settings: Settings) -> _Read:
    if not text.isascii():
        text.decode()  # also of the members that the decoder passes over
    if deeper_than(settings.max_depth, text):
        raise ValueError(f"nested deeper than {settings.max_depth}")
    return decode(text)


def _bad_request(message: str) -> Rejected:
    return Rejected(
        400,
        "bad_request",
        message,
        'The shape is {"tag": "…", "consent": {…}, "events": [{…}]}; see docs/wire.md.',
    )
