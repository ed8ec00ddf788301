"""App: one request to the dashboard. Who asks, may they, the page itself, and whatever goes wrong on the way."""

import secrets
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from collector import log, tags
from collector.archive.scan import Moved
from collector.archive.whole import Damaged
from collector.audience.registry import NotFound, TooMuch
from collector.connections import Unavailable
from collector.dashboard import guard, pages
from collector.dashboard.languages import Language, choose, msg
from collector.dashboard.page import PUBLIC, Page, Refusal, Visit, Who
from collector.dashboard.people import Busy, Rank
from collector.dashboard.rendering import STATIC
from collector.dashboard.site import Site
from collector.settings import BadSetup

MOST_FORM = 1 << 20  # bytes of a form
FIELDS = 1_000  # of a form: the builder's has some eight for each of 50 conditions and more for their details
YEAR = 31_536_000

_log = log.get("dashboard")


def routes(site: Site) -> list[BaseRoute]:
    """The dashboard, to be served beside the API."""
    site.rendering.menu = [page for page in pages.ALL if page.icon]
    inner: list[BaseRoute] = [Mount("/static", _Static(directory=STATIC))]
    for page in pages.ALL:
        inner.append(Route(page.path, partial(_serve, site, page), methods=["GET", "POST"]))
    nothing = Page("", _missing, _missing, see=PUBLIC, act=PUBLIC)
    inner.append(Route("/{path:path}", partial(_serve, site, nothing), methods=["GET", "POST"]))
    home = f"{guard.PATH}/"
    return [
        Route("/", lambda _: RedirectResponse(home)),
        Route(guard.PATH, lambda _: RedirectResponse(home)),
        Mount(guard.PATH, GZipMiddleware(Router(inner), minimum_size=1_000, compresslevel=6)),
    ]


class _Static(StaticFiles):
    """Files that a browser keeps: their address changes with them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        fresh = b"v=" in scope["query_string"]
        response.headers["cache-control"] = f"public, max-age={YEAR}, immutable" if fresh else "no-cache"
        response.headers["x-content-type-options"] = "nosniff"
        return response


async def _serve(site: Site, page: Page, request: Request) -> Response:
    """The answer, with every header it needs. Blocking parts run in a thread."""
    nonce = secrets.token_urlsafe(16)
    visit = Visit(site, request, _language(site, request), nonce, _cookie(site, request, "form"))
    fresh = "" if visit.secret else secrets.token_urlsafe(24)
    visit.secret = visit.secret or fresh
    try:
        if request.method == "POST":
            if int(request.headers.get("content-length") or MOST_FORM + 1) > MOST_FORM:
                raise Refusal(413, msg("Too large"), msg("Send less at a time."))
            visit.form = await request.form(max_files=0, max_fields=FIELDS)
        response = await run_in_threadpool(_answer, visit, page)
    except ClientDisconnect:
        return Response(status_code=400)
    except Exception as wrong:
        response = await run_in_threadpool(_told, visit, wrong)
    if fresh:
        guard.set_cookie(response, "form", fresh, secure=site.secure)
    return guard.protect(response, nonce)


def _answer(visit: Visit, page: Page) -> Response:
    request, site = visit.request, visit.site
    token = _cookie(site, request, "session")
    who = _who(site, token)
    visit.admit(who, token)
    posted = request.method == "POST"
    if posted and not guard.genuine(request, visit.secret, visit.field("token")):
        raise Refusal(
            403,
            msg("This form is too old"),
            msg("It was opened before you signed in or out. Go back and try again."),
        )
    allowed: Sequence[Rank] = page.act if posted else page.see
    if allowed and who is None:
        if posted or request.headers.get("accept") == "text/event-stream":
            raise Refusal(401, msg("You are signed out"), msg("Sign in, and do it again."))
        here = request.url.path.removeprefix(guard.PATH) + (
            f"?{request.url.query}" if request.url.query else ""
        )
        return visit.go(f"/sign-in?next={quote(here, safe='')}" if here != "/" else "/sign-in")
    if allowed and who is not None and who.rank not in allowed:
        raise Refusal(
            403, msg("Not yours to see"), msg("Your role does not reach this page. An admin can change that.")
        )
    handle: Callable[[Visit], Response] | None = page.do if posted else page.show
    if handle is None:
        raise Refusal(405, msg("Not like this"), msg("This address takes something else."))
    return handle(visit)


def _who(site: Site, token: str) -> Who | None:
    session = site.sessions.find(token)
    if session is None:
        return None
    if session.login:
        person = site.people.get(session.login)
        if person is None or person.generation != session.generation:
            return None
        return Who(person.name, person.rank, person.tags, person.login)
    now = site.engine.clock()
    for key in tags.list_keys(site.engine.client):
        if key.id == session.key:
            return Who("", "admin", key.tags) if key.usable(now) and key.role == "admin" else None
    return None


def _told(visit: Visit, wrong: Exception) -> Response:
    """An error as a page that says what to do."""
    match wrong:
        case Refusal():
            refusal = wrong
        case HTTPException():
            refusal = Refusal(400, msg("That cannot be read"), msg("The form came broken, or with too many fields."))
        case NotFound():
            refusal = Refusal(404, msg("No such audience"), msg("It was deleted, or it is not one of yours."))
        case BadSetup():
            refusal = Refusal(422, msg("That cannot be taken"), str(wrong))
        case Busy():
            refusal = Refusal(503, msg("Too many sign in at this moment"), msg("Try again in a few seconds."))
        case Damaged():
            _log.warning("archive damaged", error=str(wrong))
            refusal = Refusal(
                503,
                msg("An archive file is damaged or missing"),
                msg("Sizes of now and events that come are whole. «collector doctor» names the file and the mend."),
            )
        case TooMuch():
            refusal = Refusal(507, msg("That takes more memory than there is"), visit.say(wrong.text, **wrong.values))
        case Moved():
            refusal = Refusal(503, msg("The archive changed while it was read"), msg("Try again."))
        case _ if isinstance(wrong, Unavailable):
            _log.warning("redis unavailable", error=type(wrong).__name__)
            refusal = Refusal(
                503,
                msg("The database does not answer"),
                msg("Events are safe: senders keep them. Try again soon."),
            )
        case _:
            # The frames, not the message: it may quote what somebody typed.
            frames = "".join(traceback.format_tb(wrong.__traceback__))
            _log.error("page failed", error=type(wrong).__name__, frames=frames)
            refusal = Refusal(500, msg("Something broke"), msg("The fault is ours; the log says where."))
    return visit.page(
        "error.html", refusal.status, title=refusal.title, words=refusal.words, number=refusal.status
    )


def _missing(_: Visit) -> Response:
    raise Refusal(404, msg("There is nothing here"), msg("The address is wrong, or the page has moved."))


def _cookie(site: Site, request: Request, name: str) -> str:
    return request.cookies.get(guard.cookie_name(name, site.secure), "")


def _language(site: Site, request: Request) -> Language:
    return choose(_cookie(site, request, "language"), request.headers.get("accept-language", ""))
