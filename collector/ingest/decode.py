"""Decode: a body from the wire, within its limits, to the shape of a request."""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from starlette.types import Receive

from collector.event import encode, scalar
from collector.ingest.answer import Rejected
from collector.ingest.caller import Caller
from collector.ingest.patience import Patience
from collector.ingest.wire import Request, Sent
from collector.settings import Settings

# What a tag's queue of 250,000 characters can hold, generously: beyond it somebody makes numbers up.
MOST_LOST = 10_000

_Read = TypeVar("_Read")

CLOSE = [(b"connection", b"close")]  # the rest of the body may come as slowly as it likes, to nobody



class _Asked(msgspec.Struct, gc=False):
    """A Request in all forms that it may have on the wire."""

    tag: str | int | None = None
    events: list[Sent | list[Any] | str | int | float | bool | None] | None = None
    sent_at: float | str | None = None
    lost: Any = None
    visitor: Any = None
    consent: Any = None
    opt_out: Any = None
    withdraw: Any = None
    user_data: Any = None
    click_ids: Any = None


class _Texts(msgspec.Struct):
    """The events of a request, each as its sender wrote it."""

    events: list[msgspec.Raw] = []


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


_as_request = msgspec.json.Decoder(_Asked).decode
_as_texts = msgspec.json.Decoder(_Texts).decode
_as_event = msgspec.json.Decoder(Sent).decode
_as_anything = msgspec.json.Decoder().decode


def loads(text: bytes, settings: Settings) -> Any:
    """JSON as Python values. Raises ValueError, also when it nests deeper than the setting."""
    return _read(_as_anything, text, settings)


def event(text: bytes, settings: Settings) -> Sent:
    """The event that an import's line holds. Raises ValueError."""
    return _read(_as_event, text, settings)


def request(body: bytes, settings: Settings) -> Request:
    """The request that a body holds. Raises Rejected: 400 when it is none, 413 for too many events."""
    try:
        value = _read(_as_request, body, settings)
    except msgspec.ValidationError as error:
        raise _bad_request(f"The body has another shape: {error}.") from None
    except ValueError as error:
        raise Rejected(
            400,
            "bad_json",
            f"The body is no JSON that can be read: {str(error)[:120]}.",
            "Send one JSON object as UTF-8.",
        ) from None
    sent_at = scalar(value.sent_at) if isinstance(value.sent_at, str) else value.sent_at
    if isinstance(sent_at, str):
        raise _bad_request("sent_at is no number of Unix milliseconds.")
    events = value.events
    if events is None:
        if not value.withdraw:
            raise _bad_request("events is missing.")
        events = []
    if len(events) > settings.max_events:
        raise Rejected(
            413,
            "too_many_events",
            f"The request holds more than {settings.max_events} events.",
            "Send them in several.",
        )
    return Request(
        "" if value.tag is None else str(value.tag),
        events,
        sent_at,
        value.lost if type(value.lost) is int and 0 < value.lost <= MOST_LOST else 0,
        value.visitor,
        value.consent,
        value.opt_out,
        value.withdraw,
        value.user_data,
        value.click_ids,
    )


def oversized(body: bytes, settings: Settings) -> frozenset[int]:
    """The places of the events that are over the limit, in a body that request() could read."""
    limit = settings.max_event_bytes
    if len(body) <= limit:
        return frozenset()
    return frozenset(
        place for place, text in enumerate(_as_texts(body).events) if _size(bytes(text), limit) > limit
    )


def _size(text: bytes, enough: int) -> int:
    """The bytes of JSON, at best without its white space; not looked at where they are few enough with it."""
    return len(encode(_as_anything(text))) if len(text) > enough else len(text)


def _read(decode: Callable[[bytes], _Read], text: bytes, settings: Settings) -> _Read:
    if deeper_than(settings.max_depth, text):
        raise ValueError(f"nested deeper than {settings.max_depth}")
    try:
        return decode(text)
    except RecursionError:  # of brackets that nothing closes, which have no depth
        raise ValueError("it is cut off") from None


def _bad_request(message: str) -> Rejected:
    return Rejected(
        400,
        "bad_request",
        message,
        'The shape is {"tag": "…", "consent": {…}, "events": [{…}]}; see docs/wire.md.',
    )
