"""Answers: what goes back to a page, a server or a person with curl; CORS headers on every one."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from starlette.types import Send

from collector.event import encode
from collector.ingest.caller import Caller

Headers = list[tuple[bytes, bytes]]

RETRY_AFTER = 5  # seconds: a Redis that restarts is back within them, and a queue of the tag's loses nothing

# GIF89a, 1 × 1, two colours, the first transparent, one pixel of it.
GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00"
    b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
NEVER_CACHED: Headers = [(b"cache-control", b"no-store")]


class Answer(NamedTuple):
    """A whole response."""

    status: int
    body: bytes = b""
    media_type: bytes = b"application/json"
    headers: Sequence[tuple[bytes, bytes]] = ()


class Rejected(Exception):
    """The whole request cannot be taken. Nothing of it was stored."""

    def __init__(
        self, status: int, code: str, message: str, hint: str, headers: Headers | None = None
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.hint = status, code, message, hint
        self.headers = headers or []

    def answer(self, **beside: object) -> Answer:
        """The error as JSON, with whatever else the sender should know."""
        error = {"code": self.code, "message": self.message, "hint": self.hint}
        return Answer(
            self.status, encode({"error": error, **beside}), headers=[*NEVER_CACHED, *self.headers]
        )


def unavailable() -> Rejected:
    """Redis cannot take events now, or is too full to."""
    return Rejected(
        503,
        "unavailable",
        "The collector cannot store events now; nothing of this request was stored.",
        "Send it again, with the same event_ids, after the seconds in Retry-After.",
        [(b"retry-after", str(RETRY_AFTER).encode())],
    )


def rate_limited(seconds: int, whose: str) -> Rejected:
    """Too much came of one sender; seconds: until there is room again."""
    return Rejected(
        429,
        "rate_limited",
        f"{whose} over its limit; nothing of this request was stored.",
        "Send it again, with the same event_ids, after the seconds in Retry-After; put more events into a request.",
        [(b"retry-after", str(seconds).encode())],
    )


async def send(send: Send, caller: Caller, answer: Answer) -> None:
    """Write the response."""
    if answer.status == 200 and caller.exchange is not None and caller.method != "HEAD":
        own = b"".join([part for name, value in answer.headers for part in (name, b": ", value, b"\r\n")])
        head = b"content-type: %b\r\ncontent-length: %d\r\nx-content-type-options: nosniff\r\n%b%b" % (
            answer.media_type,
            len(answer.body),
            own,
            _cors_lines(caller.origin),
        )
        if caller.exchange.answer(200, head, answer.body):
            return
    headers = [
        (b"content-type", answer.media_type),
        (b"content-length", str(len(answer.body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        *answer.headers,
        *cors(caller.origin),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if caller.method == "HEAD" else answer.body})


def cors(origin: str) -> Headers:
    """Lets the page read the answer, an error too: it holds nothing that its sender may not know."""
    if not origin:
        return [(b"vary", b"origin")]
    return [
        (b"vary", b"origin"),
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b"x-collector, x-collector-optout, retry-after"),
    ]


@lru_cache(maxsize=1024)
def _cors_lines(origin: str) -> bytes:
    """The same as on the wire. It is all of an answer that its sender has written, hence the second look."""
    lines = [b"%b: %b\r\n" % (name, value) for name, value in cors(origin) if not _CONTROL.search(value)]
    return b"".join(lines)


_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


def preflight(methods: bytes) -> Answer:
    """The answer to OPTIONS: pages ask before they send JSON as such, or gzip."""
    return Answer(
        204,
        headers=[
            (b"access-control-allow-methods", methods),
            (b"access-control-allow-headers", b"content-type, content-encoding, authorization"),
            (b"access-control-max-age", b"86400"),
            (b"allow", methods),
        ],
    )
