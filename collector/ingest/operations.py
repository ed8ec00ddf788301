"""Operations: what ops and their machines ask the edge: alive, ready, metrics; and the tag's own files."""

import asyncio

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import Receive

from collector.connections import Redis, Unavailable, check_server, open_redis
from collector.ingest.answer import NEVER_CACHED, Answer, Rejected
from collector.ingest.caller import Caller
from collector.ingest.edge import Edge
from collector.ingest.tagfiles import NEWEST, TagFile
from collector.settings import BadSetup

CURRENT = b"public, max-age=300, stale-while-revalidate=86400"  # a new tag reaches every page within minutes
FOR_EVER = b"public, max-age=31536000, immutable"
SCRIPT = b"text/javascript; charset=utf-8"


async def alive(edge: Edge, caller: Caller, receive: Receive) -> Answer:
    """GET /healthz: the process answers."""
    return Answer(200, b'{"status":"ok"}', headers=NEVER_CACHED)


async def ready(edge: Edge, caller: Caller, receive: Receive) -> Answer:
    """GET /readyz: 200 when all is well, else 503 with the reasons; `events` says what becomes of events now."""
    reasons = await reasons_not_ready(edge)
    body = {
        "status": "not ready" if reasons else "ready",
        "reasons": reasons,
        "durability": edge.settings.durability,
        "events": "refused" if edge.pressure.high else "spooled" if edge.committer.away else "stored",
        "spooled": edge.spool.rows if edge.spool else 0,
    }
    return Answer(503 if reasons else 200, orjson.dumps(body), headers=NEVER_CACHED)


async def reasons_not_ready(edge: Edge) -> list[str]:
    """What is wrong; empty when nothing is."""
    reasons = ["The process is shutting down."] if edge.draining else []
    try:
        await asyncio.to_thread(_check, edge)
    except BadSetup as wrong:
        reasons.append(str(wrong))
    except Unavailable as error:
        reasons.append(f"Redis does not answer ({type(error).__name__}).")
    if edge.tags.foreign:
        reasons.append("Redis holds another installation than this edge serves. Mend: restart the edge.")
    if edge.spool and edge.spool.failure:
        reasons.append(
            f"The spool takes nothing ({edge.spool.failure}): events get 503. "
            "Mend: bring Redis back, or room in COLLECTOR_SPOOL_DIR."
        )
    if edge.pressure.high:
        reasons.append(
            f"Redis is above its high-water mark ({edge.settings.high_water:.0%} of maxmemory). "
            "Mend: look at the workers' lag, or raise maxmemory."
        )
    return reasons


def _check(edge: Edge) -> None:
    client: Redis
    with open_redis(edge.settings, timeout=2.0) as client:
        check_server(client, edge.settings)


async def metrics(edge: Edge, caller: Caller, receive: Receive) -> Answer:
    """GET /metrics: Prometheus."""
    return Answer(200, generate_latest(), CONTENT_TYPE_LATEST.encode(), NEVER_CACHED)


async def tag_script(edge: Edge, caller: Caller, receive: Receive) -> Answer:
    """GET /tag.js: the version in force."""
    return _script(edge.files.current(), caller, CURRENT)


async def tag_version(edge: Edge, caller: Caller, receive: Receive) -> Answer:
    """GET /tag/<version>.js: a released version, which never changes and is served for ever; /tag/compat.js."""
    name = caller.path.removeprefix("/tag/").removesuffix(".js")
    return _script(edge.files.version(name), caller, CURRENT if name in NEWEST else FOR_EVER)


def _script(file: TagFile | None, caller: Caller, caching: bytes) -> Answer:
    if file is None:
        raise Rejected(
            404, "no_such_version", "There is no such version of the tag.", "/tag.js is the current one."
        )
    headers = [(b"cache-control", caching), (b"etag", file.etag), (b"vary", b"accept-encoding")]
    if not caller.origin:
        headers.append((b"access-control-allow-origin", b"*"))  # subresource integrity needs CORS
    if file.etag.decode() in caller.header(b"if-none-match"):
        return Answer(304, b"", SCRIPT, headers)
    if "gzip" in caller.header(b"accept-encoding"):
        return Answer(200, file.gzipped, SCRIPT, [*headers, (b"content-encoding", b"gzip")])
    return Answer(200, file.plain, SCRIPT, headers)
