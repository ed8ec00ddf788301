"""Caller: what a request's headers say, read once."""

from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import Scope

from collector.event import BROWSER_ID
from collector.ingest import bots
from collector.ingest.exchange import EXTENSION, Exchange

COOKIE = "_collector_id"


class Caller:
    """The headers that the edge looks at. The IP is for the rate limit alone; the User-Agent is not kept as it came."""

    __slots__ = ("_headers", "exchange", "method", "origin", "path", "peer", "query", "secure")

    def __init__(self, scope: Scope) -> None:
        self._headers: dict[bytes, bytes] = dict(scope["headers"])  # of repeated ones the last
        self.method: str = scope["method"]
        client = scope.get("client")
        self.peer: str = client[0] if client else ""  # the address at the other end, which may be a proxy's
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.secure = scope["scheme"] == "https"
        self.origin = self.header(b"origin")
        extensions = scope.get("extensions")
        # None under another server than ours: everything then goes by ASGI's messages.
        self.exchange: Exchange | None = extensions.get(EXTENSION) if extensions else None

    def header(self, name: bytes) -> str:
        """A header's value, "" when absent. The name in lower case."""
        return self._headers.get(name, b"").decode("latin-1")

    @property
    def host(self) -> str:
        """The collector's own host as the browser named it, without a port."""
        return _hostname(self.header(b"host"))

    @property
    def cookie(self) -> str:
        """The visitor id that the browser keeps for this site, "" when there is none to believe.

        The first that is an id, as the tag has it. No parser of cookies: the site's other ones, which come along, often
        break the standard (JSON, bare words, spaces), and one of them would hide the id.
        """
        text = self.header(b"cookie")
        if COOKIE not in text:
            return ""
        for each in text.split(";"):  # with forty others a fifth of the time of a pattern for the whole
            name, _, value = each.strip(" \t").partition("=")
            if name == COOKIE and BROWSER_ID.fullmatch(value):
                return value
        return ""

    @property
    def user_agent(self) -> str:
        return self.header(b"user-agent")[: bots.LONGEST]

    @property
    def automaton(self) -> str:
        """Why no person stands behind this request, as a reason of outcomes.TABLE; "" for a person."""
        if bots.speculative(self._headers):
            return "prefetch"
        return "bot" if bots.is_crawler(self.user_agent) else ""


@lru_cache(maxsize=1024)
def _hostname(host: str) -> str:
    try:
        return urlsplit("//" + host).hostname or ""
    except ValueError:  # a bracket that nothing closes, or no address in it
        return ""
