"""Naive: what one writes first, an endpoint with one XADD a request and no check at all, to be compared with."""

import sys

import orjson
import redis.asyncio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

client = redis.asyncio.Redis(unix_socket_path=sys.argv[2])


async def accept(request: Request) -> Response:
    """Parses the body and appends it; no consent, no origin, no bot filter, no id memory."""
    await client.xadd("events", {"event": orjson.dumps(orjson.loads(await request.body()))})
    return Response(b'{"ok":true}', media_type="application/json")


app = Starlette(routes=[Route("/v1/events", accept, methods=["POST"])])

if __name__ == "__main__":
    uvicorn.run(
        app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )
