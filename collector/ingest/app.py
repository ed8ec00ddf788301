"""App: the edge's routes."""

import traceback
from functools import cache

from prometheus_client import Counter
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from collector import log
from collector.ingest import answer, endpoints, operations
from collector.ingest.answer import Answer, Rejected
from collector.ingest.caller import Caller
from collector.ingest.edge import Edge
from collector.metrics import REQUESTS

ROUTES: tuple[tuple[str, str, endpoints.Handle], ...] = (
    ("POST", "/v1/events", endpoints.browser),
    ("POST", "/v1/server/events", endpoints.server),
    ("GET", "/v1/pixel.gif", endpoints.image),
    ("GET", "/v3/", endpoints.image),
    ("GET", "/tag.js", operations.tag_script),
    ("GET", "/tag/{version}.js", operations.tag_version),
    ("GET", "/healthz", operations.alive),
    ("GET", "/readyz", operations.ready),
    ("GET", "/metrics", operations.metrics),
)


def routes(edge: Edge) -> list[Route]:
    """The edge's routes, to be served alone or beside others."""
    return [Route(path, Endpoint(edge, method, path, handle)) for method, path, handle in ROUTES]


class Endpoint:
    """One route: whatever happens behind it, the caller gets an answer with a hint, and it is counted."""

    def __init__(self, edge: Edge, method: str, path: str, handle: endpoints.Handle) -> None:
        self._edge = edge
        self._path = path
        self._handle = handle
        self._methods = ("GET", "HEAD", "OPTIONS") if method == "GET" else (method, "OPTIONS")
        self._allow = ", ".join(self._methods).encode()
        self._log = log.get("edge")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = Caller(scope)
        response = await self._answer(caller, receive)
        _requests(self._path, response.status).inc()
        await answer.send(send, caller, response)

    async def _answer(self, caller: Caller, receive: Receive) -> Answer:
        if caller.method == "OPTIONS":
            return answer.preflight(self._allow)
        try:
            if caller.method not in self._methods:
                raise Rejected(
                    405,
                    "method_not_allowed",
                    f"{self._path} does not take {caller.method[:16]}.",
                    f"Use {self._methods[0]}.",
                    [(b"allow", self._allow)],
                )
            return await self._handle(self._edge, caller, receive)
        except Rejected as rejected:
            return rejected.answer()
        except Exception as bug:
            # The frames, not the message: it may quote what the visitor sent.
            frames = "".join(traceback.format_tb(bug.__traceback__))
            self._log.error("request failed", route=self._path, error=type(bug).__name__, frames=frames)
            return Rejected(
                500, "bug", "The collector failed; the fault is ours.", "Look at its log."
            ).answer()


@cache
def _requests(path: str, status: int) -> Counter:
    return REQUESTS.labels(path, str(status))
