"""`collector serve` and `collector worker`: one role, until SIGTERM or Ctrl-C."""

import asyncio
import atexit
import gc
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from types import FrameType
from typing import Annotated, Any, NoReturn

import orjson
import typer
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from collector import log, tags
from collector.cli import stopping
from collector.cli.options import DataDir, Port
from collector.cli.snippet import snippet
from collector.connections import AsyncRedis, Redis, Unavailable, check_server, open_async, open_redis
from collector.ingest import described
from collector.ingest.answer import Rejected
from collector.ingest.app import Endpoint
from collector.ingest.app import routes as ingest_routes
from collector.ingest.edge import Edge
from collector.ingest.protocol import bounded
from collector.ingest.spool import Spool
from collector.query import openapi
from collector.settings import BadSetup, Settings, load, unknown
from collector.stream import dead
from collector.stream.partitions import Installation, open_installation

GRACE = 14  # seconds for requests in flight; with at most 4 of drain_seconds a stop stays under 20
BACKLOG = 2048
PATIENCE = 60.0  # seconds for a server that is starting; past them the process ends and is started again
OPS = {"/healthz", "/readyz", "/metrics", "/openapi.json"}

_log = log.get("serve")


class Part(StrEnum):
    """The halves of serve, which may run apart so that a marketer's question never slows a visitor."""

    EDGE = "edge"
    QUERY = "query"


def serve(
    only: Annotated[Part | None, typer.Option("--only", help="One half alone.", show_default=False)] = None,
    data_dir: DataDir = None,
    port: Port = None,
) -> None:
    """Serve the edge (the tag's events) and the query API."""
    settings = load(data_dir=data_dir, port=port)
    log.configure(settings.log_level)
    warn_of_unknown("serve")
    with listen(settings) as listener:
        installation, away = _enter(settings, only)
        client = open_async(settings, timeout=settings.append_timeout)
        spooled = only is not Part.QUERY and settings.spool_bytes > 0
        spool = Spool.own(settings.spool, installation, settings.spool_bytes) if spooled else None
        edge = Edge(
            settings, installation, client, spool=spool, away=away, listed=only is not Part.QUERY
        )
        config = uvicorn.Config(
            build(edge, client, installation, only),
            backlog=BACKLOG,
            loop="uvloop",
            http=bounded(settings),
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE,
        )
        server = Server(config, edge)
        settle_memory()
        server.run(sockets=[listener])
    _leave(0 if server.started else 1)


def worker(data_dir: DataDir = None) -> None:
    """Turn the streams into audiences and the archive. Any number may run."""
    settings = load(data_dir=data_dir)
    log.configure(settings.log_level)
    warn_of_unknown("worker")
    from collector.worker import loop  # here: a bad setting is told before a second of imports

    stop = stopping.on(signal.SIGTERM, signal.SIGINT)
    settle_memory()
    try:
        loop.run(settings, stop)
    except dead.TooMany as error:
        typer.echo(str(error), err=True)
        _leave(1)
    _leave(0)


def warn_of_unknown(part: str) -> None:
    """Log the settings that do not exist. No more than that: a version that is rolled back meets those of the next."""
    if names := unknown(os.environ):
        log.get(part).warning("no such setting, so it is ignored; see docs/settings.md", names=names)


def settle_memory() -> None:
    """Take what is loaded out of the collector's sight, and let it look for cycles less often.

    It found none, but took a quarter of the edge's time: requests make many objects that live for one round trip.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # DuckDB complains of whatever outlives the interpreter
    gc.set_threshold(50_000, 20, 100)


def _leave(code: int) -> NoReturn:
    """End the process without Python's own tidying: DuckDB's binding takes an idle thread that still knows a
    connection for a leak, and a clean Ctrl-C would end in two pages about it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def build(edge: Edge, client: AsyncRedis, installation: Installation, only: Part | None) -> Starlette:
    """The application of both halves, or of one; ops get their answers from either."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        late = asyncio.create_task(_enter_late(edge, only)) if edge.committer.away else None
        async with edge.running():
            yield
        if late is not None:
            late.cancel()
            await asyncio.gather(late, return_exceptions=True)
        await client.aclose()

    routes: list[BaseRoute] = [
        route for route in ingest_routes(edge) if only is not Part.QUERY or route.path in OPS
    ]
    operations = [
        operation for operation in described.OPERATIONS if only is not Part.QUERY or operation.path in OPS
    ]
    schemas: dict[str, openapi.Schema] = {}
    if only is not Part.EDGE:
        # Here: DuckDB and Arrow take 90 MB, which an edge on its own need not hold.
        from collector.dashboard import app as dashboard
        from collector.dashboard.site import Site
        from collector.query import routes as query
        from collector.query.engine import Engine

        engine = Engine(open_redis(edge.settings), installation, edge.settings)
        routes += query.routes(engine)
        routes += dashboard.routes(
            Site(
                engine,
                installation,
                edge.settings,
                lambda: edge.draining,
                lambda tag, pinned: snippet(
                    edge.settings.url, tag, vendor=edge.settings.tcf_vendor_id, pinned=pinned
                ),
            )
        )
        operations += [operation for operation, _ in query.TABLE]
        schemas = query.SCHEMAS
    document = orjson.dumps(openapi.document(operations, schemas))
    routes.append(Route("/openapi.json", lambda _: Response(document, media_type="application/json")))
    return App(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _nowhere})


def _nowhere(_: Request, missed: Any) -> Response:
    """The answer to an HTTPException, where no route is or none that takes the method: an error like all others."""
    code = "method_not_allowed" if missed.status_code == 405 else "not_found"
    rejected = Rejected(missed.status_code, code, f"{missed.detail}.", "GET /openapi.json lists all routes.")
    answer = rejected.answer()
    headers = {"cache-control": "no-store", "access-control-allow-origin": "*", **(missed.headers or {})}
    return Response(answer.body, answer.status, headers, answer.media_type.decode())


class App(Starlette):
    """Starlette, but fixed paths go straight to an endpoint that is an application of its own.

    The edge's are: they turn every error into an answer themselves, and its middleware took 8 of their 60 µs.
    """

    def __init__(self, *, routes: list[BaseRoute], **given: Any) -> None:
        super().__init__(routes=routes, **given)
        self._direct = {
            route.path: route.app
            for route in routes
            if isinstance(route, Route) and isinstance(route.endpoint, Endpoint)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        direct = self._direct.get(scope["path"]) if scope["type"] == "http" else None
        await (direct(scope, receive, send) if direct else super().__call__(scope, receive, send))


def _enter(settings: Settings, only: Part | None) -> tuple[Installation, bool]:
    """The installation of the server, which may still be loading its data; the admin key is let in.

    An edge that knows the installation from its snapshot does not wait for a server that is away: (…, True).
    Raises BadSetup, or RedisError when the patience is over.
    """
    spooled = only is not Part.QUERY and settings.spool_bytes > 0
    known = tags.read_snapshot(settings) if spooled else None
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with open_redis(settings, timeout=settings.append_timeout if known else 30.0) as client:
                check_server(client, settings)
                installation = open_installation(client, settings)
                if only is not Part.EDGE:
                    admit_admin(client, settings)
                return installation, False
        except Unavailable as error:
            if known is not None:
                _log.warning("Redis does not answer, the spool takes the events", error=type(error).__name__)
                return known.installation, True
            if time.monotonic() > end:
                raise
            _log.warning("Redis does not answer yet", error=type(error).__name__)
            time.sleep(1)


async def _enter_late(edge: Edge, only: Part | None) -> None:
    """What is left of _enter() once Redis is back, with the installation that the edge began with."""

    def enter() -> None:
        with open_redis(edge.settings) as client:
            check_server(client, edge.settings)
            if only is not Part.EDGE:
                admit_admin(client, edge.settings)

    while True:
        await asyncio.sleep(1)
        if edge.tags.away:
            continue
        try:
            await asyncio.to_thread(enter)
        except Unavailable:
            continue
        except BadSetup as wrong:
            _log.error(str(wrong))  # as /readyz says too; what Redis has acknowledged meanwhile stays
        return


def admit_admin(client: Redis, settings: Settings) -> None:
    """Let the admin key in; one that the setting fixes ends those before it."""
    key = admin_key(settings)
    if tags.lookup(client, key) is None:
        tags.create_key(client, tags.ADMIN, "admin", presented=key)
    if settings.admin_key:
        kept = tags.lookup(client, key)
        for known in tags.list_keys(client):
            if known.name == tags.ADMIN and not known.revoked_at and known != kept:
                tags.revoke(client, known.id)


class Server(uvicorn.Server):
    """uvicorn, but for its way to stop: /readyz says no first, then the port closes; exit code 0."""

    def __init__(self, config: uvicorn.Config, edge: Edge) -> None:
        super().__init__(config)
        self._edge = edge

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            _log.info("listening", url=self._edge.settings.url, port=sockets[0].getsockname()[1])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by uvicorn, inside the loop's thread, for SIGTERM and SIGINT. A second one does not wait."""
        if self._edge.draining:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
        else:
            self._edge.draining = True
            asyncio.get_running_loop().call_later(self._edge.settings.drain_seconds, self._close)

    def _close(self) -> None:
        self.should_exit = True


def listen(settings: Settings) -> socket.socket:
    """A socket that holds the port, and refuses callers until uvicorn listens on it.

    Raises BadSetup when the port is taken or the address is not ours.
    """
    holder = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind((settings.host, settings.port))
    except OSError as error:
        holder.close()
        raise BadSetup(
            f"{settings.host} port {settings.port} cannot be listened on ({error.strerror}). "
            "Mend: stop what holds it, or choose another with --port or COLLECTOR_PORT."
        ) from None
    return holder


def admin_key(settings: Settings) -> str:
    """The admin key: the setting, else the one kept in the data folder; the first caller makes it.

    Raises BadSetup when the folder cannot be written.
    """
    if settings.admin_key:
        return settings.admin_key
    kept = settings.data_dir / "admin.key"
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        draft = kept.with_suffix(f".{secrets.token_hex(4)}")  # in containers that share the folder all are process 1
        draft.touch(0o600)
        draft.write_text(secrets.token_urlsafe(24) + "\n")
        try:
            os.link(draft, kept)  # whole or not at all, and only if there is none
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return kept.read_text().strip()
    except OSError as error:
        raise BadSetup(
            f"{kept} cannot be kept ({error.strerror}). "
            "Mend: give this user the folder, or set COLLECTOR_ADMIN_KEY."
        ) from None
