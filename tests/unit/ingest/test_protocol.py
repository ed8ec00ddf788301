"""The edge's own protocol, on a real socket in the test's process, where its memory can be looked at."""

import asyncio
import gc
import json

import uvicorn
from uvicorn.server import ServerState

from collector import connections, tags
from collector.cli.roles import Part, build
from collector.connections import Redis
from collector.ingest.edge import Edge
from collector.ingest.protocol import bounded
from collector.settings import Settings
from collector.stream.partitions import open_installation

ORIGIN = "https://shop.example"
REQUESTS = 200


def test_a_request_leaves_nothing_to_the_collector_of_cycles(redis: Redis, settings: Settings) -> None:
    """Else it would stop the edge for tens of milliseconds, again and again."""
    installation = open_installation(redis, settings)
    tag, _ = tags.create_tag(redis, "shop", [ORIGIN], "opt_in")

    def request(number: int) -> bytes:
        event = {"event": "addtocart", "event_id": f"id-{number}", "data": {"value": 5}}
        asked = {"tag": tag.id, "consent": {"setconsent": True}, "visitor": "ab" * 16, "events": [event]}
        body = json.dumps(asked).encode()
        return b"POST /v1/events HTTP/1.1\r\nhost: edge\r\norigin: %b\r\ncontent-length: %d\r\n\r\n%b" % (
            ORIGIN.encode(),
            len(body),
            body,
        )

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, numbers: range) -> None:
        for number in numbers:
            writer.write(request(number))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            assert b'"accepted"' in await reader.readexactly(length)

    async def main() -> int:
        client = connections.open_async(settings, timeout=10)
        edge = Edge(settings, installation, client, spool=None)
        app, protocol = build(edge, client, installation, Part.EDGE), bounded(settings)
        config = uvicorn.Config(app, ws="none", log_config=None)
        config.load()
        state = ServerState()
        async with edge.running():
            server = await asyncio.get_running_loop().create_server(
                lambda: protocol(config, state, {}), "127.0.0.1", 0
            )
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await ask(reader, writer, range(20))  # what is made once is made
            gc.collect()
            gc.disable()
            try:
                await ask(reader, writer, range(20, 20 + REQUESTS))
                left = gc.collect()
            finally:
                gc.enable()
            writer.close()
            server.close()
        await client.aclose()
        return left

    assert asyncio.run(main()) < REQUESTS
