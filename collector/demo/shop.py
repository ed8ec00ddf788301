"""Shop: the demo's web server. The shop's pages, the frame with the panel around them, and what the panel asks."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.demo.audiences import Audiences
from collector.demo.catalogue import BY_ID, CATEGORIES
from collector.demo.client import Client
from collector.demo.crowd import Crowd
from collector.demo.pages import Pages

STATIC = Path(__file__).parent / "static"
VISITOR = re.compile(r"[0-9a-f]{32}", re.ASCII)  # of the tag's cookie


def build(
    snippet: str, tag: str, *, collector: str, inside: str, origin: str, key: str, crowd: bool = True
) -> Starlette:
    """The shop's application.

    collector and origin: the collector's and the shop's URL as browsers see them; inside: the collector's from
    here; key: a marketer's, bound to the tag. It stays in this process.
    """
    client = Client(inside, key)
    pages, audiences = Pages(snippet), Audiences(client, tag)
    shoppers = Crowd(client, tag, origin, Random(), on=crowd)  # noqa: S311 — no secret hangs on it

    async def state(request: Request) -> Response:
        visitor = request.cookies.get("_collector_id", "")
        rows = await asyncio.to_thread(audiences.rows)
        mine: list[str] = []
        if "you" in request.query_params and VISITOR.fullmatch(visitor):
            mine = await asyncio.to_thread(audiences.of, visitor)
        return JSONResponse(
            {
                "audiences": [{**row, "you": row["name"] in mine} for row in rows],
                "shoppers": shoppers.report(),
            }
        )

    async def switch(request: Request) -> Response:
        shoppers.switch(on=request.path_params["to"] == "on")
        return JSONResponse(shoppers.report())

    async def show(request: Request) -> Response:
        return _shown(pages, request)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async def begin() -> None:
            while not await asyncio.to_thread(audiences.rows):  # which creates them: before the first visit
                await asyncio.sleep(1)
            await shoppers.run()

        walking = asyncio.create_task(begin())
        yield
        walking.cancel()
        await asyncio.gather(walking, return_exceptions=True)

    return Starlette(
        routes=[
            Route("/", lambda _: FileResponse(STATIC / "frame.html")),
            Route("/panel/state", state),
            Route("/panel/shoppers/{to}", switch, methods=["PUT"]),  # PUT: no other site's page may send it
            Route("/shop", lambda _: RedirectResponse("/shop/")),
            Route("/shop/{path:path}", show),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(_Guard, collector=collector)],
        lifespan=lifespan,
    )


def _shown(pages: Pages, request: Request) -> Response:
    match request.path_params["path"].split("/"):
        case [""]:
            page = pages.home()
        case ["p", product] if product in BY_ID:
            page = pages.product(BY_ID[product])
        case ["search"]:
            page = pages.search(request.query_params.get("q", "").strip()[:80])
        case ["cart"]:
            page = pages.cart()
        case ["checkout"]:
            page = pages.checkout()
        case ["thanks"]:
            page = pages.thanks()
        case [name] if name.capitalize() in CATEGORIES:
            page = pages.category(name.capitalize())
        case _:
            return HTMLResponse(pages.missing(), 404)
    return HTMLResponse(page)


class _Guard:
    """Lets no page ask anybody but this shop and its collector: what a site with this tag has to allow."""

    def __init__(self, app: ASGIApp, collector: str) -> None:
        self._app = app
        policy = (
            f"default-src 'self'; script-src 'self' 'unsafe-inline' {collector}; connect-src 'self' {collector}; "
            f"img-src 'self' data: {collector}; style-src 'self' 'unsafe-inline'; frame-ancestors 'self'"
        )
        self._headers: list[tuple[bytes, bytes]] = [
            (b"content-security-policy", policy.encode()),
            (b"cache-control", b"no-cache"),  # a restart may bring other scripts
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._app(scope, receive, guarded if scope["type"] == "http" else send)
