"""Protocol: uvicorn's HTTP, with an end to what arrives too slowly and to headers that are too large."""

import asyncio
import weakref
from collections import deque
from typing import Any

import orjson
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from collector.ingest.exchange import EXTENSION
from collector.settings import Settings

LOOKS = 10  # in the time for headers: it may take a tenth longer
MARGIN = 1.0  # seconds beyond the time for a body, so that it is the application that says 408
TRAILERS: deque[tuple[bytes, bytes]] = deque(maxlen=0)  # nobody's: proxies check no more than headers
URL = 65_535  # bytes: what the parser of URLs can count
REFUSALS = {
    408: ("slow_headers", "The headers did not arrive in time.", "Send them at once."),
    414: ("url_too_long", "The URL is too long.", "Send large events with POST /v1/events."),
    431: ("headers_too_large", "The headers are too large.", "Send fewer cookies."),
}


class Deadlines:
    """Connections of which more is expected, with one timer for all of them."""

    def __init__(self, settings: Settings) -> None:
        self._pause = settings.header_timeout / LOOKS
        self._ends: dict[BoundedProtocol, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def set(self, protocol: "BoundedProtocol", seconds: float) -> None:
        """The connection has so long from now on, until done()."""
        self._ends[protocol] = protocol.loop.time() + seconds
        if self._timer is None:
            self._timer = protocol.loop.call_later(self._pause, self._look, protocol.loop)

    def done(self, protocol: "BoundedProtocol") -> None:
        self._ends.pop(protocol, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for protocol in [protocol for protocol, end in self._ends.items() if end <= now]:
            del self._ends[protocol]
            protocol.expire()
        self._timer = loop.call_later(self._pause, self._look, loop) if self._ends else None


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Use it through bounded(); nothing of it is asked when a request comes in one piece."""

    settings: Settings
    deadlines: Deadlines

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._reading: str = ""  # "headers" or "body" of a request that is not whole yet
        self._size = 0  # bytes of the headers that have come, in pieces before the last one
        self._beside = 0  # bytes that have come since the last ones of a body: trailers, most likely
        self._refusal = 0  # the status that ends the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.deadlines.set(self, self.settings.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self.deadlines.done(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._reading
        self._unset_keepalive_if_required()
        if not before:
            self._size = self._beside = 0
        elif before == "body":
            self._beside += len(data)
        self._size += len(data)
        try:
            self._feed(data)
        except HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
            return
        if self._refusal:
            return
        after = self._reading
        if after == "headers" and self._size > self._most:
            self._refuse(431)
        elif after == "body" and self._beside > self._most:
            self.transport.close()  # the application may have answered already
        elif not after:
            self.deadlines.done(self)
        elif after == "body":
            if before != "body":
                self.deadlines.set(self, self.settings.body_timeout + MARGIN)
        elif before != "headers":
            self.deadlines.set(self, self.settings.header_timeout)

    def _feed(self, data: bytes) -> None:
        """Have the parser read. What follows a wish for another protocol it takes for that one's: a body would be lost,
        or pass for a request of its own. So what has such a wish is read again without it.
        """
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
            except HttpParserUpgrade as wish:
                rest = memoryview(rest)[wish.args[0] :]
                head = self._without_wish()
                self.parser = HttpRequestParser(self)  # after «connection: close» the one before hears no more
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
                self.parser.feed_data(head)
            else:
                return

    def _without_wish(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading = "headers"

    def on_headers_complete(self) -> None:
        self._reading = "body"
        most = self.settings.max_header_bytes
        if self._size > most:  # what came in all is an upper bound: the exact size is rarely asked for
            if sum(len(name) + len(value) + 4 for name, value in self.headers) > most:
                self._refusal = 431
            elif len(self.url) > URL:
                self._refusal = 414
            if self._refusal:
                raise ValueError  # ends the parser, and send_400_response is called
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError
            return
        super().on_headers_complete()
        self.headers = TRAILERS  # type: ignore[assignment]  # the scope keeps its list

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._beside = 0

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()
            self._reading = ""

    def send_400_response(self, msg: str) -> None:
        """For what the parser could not go on with, a limit of ours among that."""
        if self._refusal:
            self._refuse(self._refusal)
        else:
            super().send_400_response(msg)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        extensions: dict[str, Any] = {EXTENSION: Direct(cycle)}
        cycle.scope["extensions"] = extensions
        super()._start_asgi_task(cycle, app)

    def expire(self) -> None:
        """What was expected has not come in time."""
        if self.transport.is_closing():
            return
        if self._reading == "headers":
            self._refuse(408)
        else:  # nothing at all came, or the application has said 408 for the body
            self.transport.close()

    @property
    def _most(self) -> int:
        return self.settings.max_header_bytes + URL

    def _refuse(self, status: int) -> None:
        self._refusal = status
        code, message, hint = REFUSALS[status]
        body = orjson.dumps({"error": {"code": code, "message": message, "hint": hint}})
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: application/json\r\naccess-control-allow-origin: *\r\nconnection: close\r\n"
            + b"content-length: %d\r\n\r\n" % len(body)
            + body
        )
        self.transport.close()


class Direct:
    """An Exchange on uvicorn's own state: what its receive() and send() do to it, for the whole at once.

    It lies in the scope that its cycle holds, so it must not hold the cycle: all that a request made would wait for
    the collector of reference cycles, which then stops the edge for 30 ms twice a second.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = weakref.ref(cycle)  # lives as long as its task, in which the endpoint runs

    def whole(self) -> bytes | None:
        cycle = self._cycle()
        if cycle is None or cycle.more_body or cycle.disconnected or cycle.waiting_for_100_continue:
            return None
        return bytes(cycle.body)

    def answer(self, status: int, headers: bytes, body: bytes) -> bool:
        cycle = self._cycle()
        # A client that reads slowly is waited for, and one that is gone is none of our business: as ever.
        if cycle is None or cycle.flow.write_paused or cycle.disconnected or cycle.response_started:
            return False
        lines = [STATUS_LINE[status]]
        for name, value in cycle.default_headers:
            lines += name, b": ", value, b"\r\n"
        lines += headers, b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body
        cycle.transport.write(b"".join(lines))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True


def bounded(settings: Settings) -> type[BoundedProtocol]:
    """The protocol with these settings, for uvicorn's `http`."""
    shared = {"settings": settings, "deadlines": Deadlines(settings)}
    return type("BoundedProtocol", (BoundedProtocol,), shared)
