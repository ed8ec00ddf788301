"""Admit: whose request it is. A known tag and an allowed page, or a server key."""

from collector.connections import Unavailable
from collector.event import Source
from collector.feed import Seen
from collector.health import ORIGIN
from collector.ingest.answer import Rejected, rate_limited, unavailable
from collector.ingest.caller import Caller
from collector.ingest.edge import Edge
from collector.ingest.urls import origin
from collector.ingest.wire import Request
from collector.metrics import EVENTS, LIMITED
from collector.tags import ApiKey, Tag, TagCache


def pace(caller: Caller, edge: Edge) -> None:
    """Let no address ask too often, before anything of its request is read. Raises Rejected: 429."""
    if seconds := edge.rates.ip(caller.peer, caller.header(b"x-forwarded-for")):
        LIMITED.labels("ip").inc()
        raise rate_limited(seconds, "This address is")


def quota(tag: Tag, source: Source, request: Request, edge: Edge) -> None:
    """Let no tag send too much; a withdrawal is never too much. Raises Rejected: 429."""
    events = len(request.events)
    if not request.withdraw and (seconds := edge.rates.tag(tag.id, events)):
        LIMITED.labels("tag").inc()
        EVENTS.labels(source, "retry", "rate_limited").inc(events)
        edge.tally.count(tag.id, "retry", "rate_limited", events)
        raise rate_limited(seconds, "The tag is")


async def page(request: Request, caller: Caller, edge: Edge) -> Tag:
    """The tag of a page's request; the browser names the site. Raises Rejected: 400, 401, 403, 503."""
    tag = await _known(request, edge.tags)
    if not tag.allows(caller.origin):
        raise _foreign(caller.origin, tag, edge)
    return tag


async def image(request: Request, caller: Caller, edge: Edge) -> Tag:
    """The tag of a pixel. Browsers may send no Referer with an image, so only one that is there is judged."""
    tag = await _known(request, edge.tags)
    seen = caller.origin or caller.header(b"referer")
    if seen and not tag.allows(caller.origin or origin(seen)):
        raise _foreign(caller.origin or origin(seen), tag, edge)
    return tag


async def key(caller: Caller, tags: TagCache) -> ApiKey:
    """The key that a server came with, before anything of its request is read. Raises Rejected: 401, 403, 503."""
    scheme, _, presented = caller.header(b"authorization").partition(" ")
    try:
        found = await tags.key(presented.strip()) if scheme.lower() == "bearer" and presented else None
    except Unavailable:
        raise unavailable() from None
    if found is None:
        raise Rejected(
            401,
            "unauthorized",
            "No valid key came with the request.",
            "Send «Authorization: Bearer …» with the server key of the tag.",
            [(b"www-authenticate", b"Bearer")],
        )
    if found.role == "marketer":
        raise _forbidden()
    return found


async def server(request: Request, key: ApiKey, tags: TagCache) -> Tag:
    """The tag of a server's request; a key bound to one tag names it. Raises Rejected: 400, 401, 403, 503."""
    if key.tags is not None and len(key.tags) == 1:
        request.tag = request.tag or key.tags[0]
    if request.tag and not key.covers(request.tag):
        raise _forbidden()
    return await _known(request, tags)


async def _known(request: Request, tags: TagCache) -> Tag:
    if not request.tag:
        raise Rejected(400, "bad_request", "tag is missing.", "Send the tag's id of 13 digits as «tag».")
    try:
        tag = await tags.get(request.tag)
    except Unavailable:
        raise unavailable() from None
    if tag is None:
        raise Rejected(
            401, "unknown_tag", "There is no such tag.", "`collector tag list` shows the ids of all tags."
        )
    return tag


def _forbidden() -> Rejected:
    return Rejected(
        403,
        "forbidden",
        "This key may not send events for this tag.",
        "Use the server key that came with the tag.",
    )


def _foreign(seen: str, tag: Tag, edge: Edge) -> Rejected:
    edge.tally.count(tag.id, *ORIGIN)
    if edge.tally.watches(tag.id):
        edge.tally.saw(tag.id, [Seen(int(edge.clock() * 1000), "", *ORIGIN, "web", origin(seen)[:120])])
    return Rejected(
        403,
        "origin_not_allowed",
        f"The tag takes no events from {seen[:120]}." if seen else "The request names no origin.",
        "Add the site to the tag's origins, as scheme://host[:port]; servers use /v1/server/events.",
    )
