"""Endpoints: the ways in, each as the list of its steps."""

from collections.abc import Awaitable, Callable
from functools import cache

from prometheus_client import Counter
from starlette.types import Receive

from collector.consent import Signals
from collector.event import encode
from collector.ingest import admit, bots, cookie, decode, pixel, sightings
from collector.ingest.answer import GIF, NEVER_CACHED, Answer, Headers, Rejected, unavailable
from collector.ingest.caller import Caller
from collector.ingest.edge import Edge
from collector.ingest.fates import Fates, Submission, judge
from collector.ingest.wire import Request
from collector.metrics import EVENTS, TAG_LOST
from collector.outcomes import Refused
from collector.tags import Tag

Handle = Callable[[Edge, Caller, Receive], Awaitable[Answer]]


async def browser(edge: Edge, caller: Caller, receive: Receive) -> Answer:
    """POST /v1/events: the tag's."""
    admit.pace(caller, edge)
    body = await decode.read(receive, caller, edge.settings, edge.patience)
    request = decode.request(body, edge.settings)
    tag = await admit.page(request, caller, edge)
    admit.quota(tag, "web", request, edge)
    submission = _from_page(edge, caller, request, tag, body)
    fates, stored = await _take(edge, caller, submission)
    if not stored:
        return unavailable().answer(results=fates.results)
    if request.lost:
        TAG_LOST.inc(request.lost)
    return _results(fates, _privacy(edge, caller, submission, fates))


async def server(edge: Edge, caller: Caller, receive: Receive) -> Answer:
    """POST /v1/server/events: a shop's back end, with a key."""
    admit.pace(caller, edge)
    key = await admit.key(caller, edge.tags)
    body = await decode.read(receive, caller, edge.settings, edge.patience)
    request = decode.request(body, edge.settings)
    tag = await admit.server(request, key, edge.tags)
    admit.quota(tag, "server", request, edge)
    submission = Submission(
        request,
        tag,
        "server",
        _signals(request, caller, key.consent_attested),
        edge.clock(),
        edge.settings,
        edge.secret,
        oversized=decode.oversized(body, edge.settings),
        may_hold_nul=b"\\u0000" in body,
    )
    fates, stored = await _take(edge, caller, submission)
    return _results(fates, _honoured(submission)) if stored else unavailable().answer(results=fates.results)


async def image(edge: Edge, caller: Caller, receive: Receive) -> Answer:
    """GET /v1/pixel.gif and GET /v3/: pages without JavaScript. Always the GIF; X-Collector says its fate."""
    try:
        admit.pace(caller, edge)
        request = pixel.request(caller.query, caller.header(b"referer"), edge.settings)
        tag = await admit.image(request, caller, edge)
        admit.quota(tag, "web", request, edge)
        submission = _from_page(edge, caller, request, tag)
        fates, stored = await _take(edge, caller, submission)
    except Rejected as rejected:
        return _gif(rejected.status, f"error {rejected.code}", rejected.headers)
    outcome = fates.results[0].outcome, fates.results[0].reason
    if not stored:
        return _gif(503, "retry unavailable", unavailable().headers)
    return _gif(200, " ".join(outcome), _privacy(edge, caller, submission, fates))


def _from_page(
    edge: Edge, caller: Caller, request: Request, tag: Tag, body: bytes | None = None
) -> Submission:
    """What a browser asks for: there may be a crawler behind it, and it has a cookie. body: None in an image's."""
    return Submission(
        request,
        tag,
        "web",
        _signals(request, caller),
        edge.clock(),
        edge.settings,
        edge.secret,
        automaton=caller.automaton if edge.settings.bot_filter else "",
        cookie=caller.cookie,
        user_agent=bots.family(caller.user_agent),
        oversized=decode.oversized(body, edge.settings) if body else frozenset(),
        may_hold_nul=body is None or b"\\u0000" in body,
    )


def _signals(request: Request, caller: Caller, attested: str = "") -> Signals:
    return Signals(
        consent=request.consent,
        sec_gpc=caller.header(b"sec-gpc"),
        dnt=caller.header(b"dnt"),
        opt_out=request.opt_out,
        withdraw=request.withdraw,
        attested=attested,
    )


async def _take(edge: Edge, caller: Caller, submission: Submission) -> tuple[Fates, bool]:
    """Judge the events, append them, count their fates. True when what had to be stored is on disk."""
    try:
        fates = judge(submission)
    except Refused as refused:
        raise Rejected(
            400, refused.reason, "The visitor cannot be read.", "Send 32 lower-case hex digits."
        ) from None
    stored = True
    if fates.sealed:
        # Withdrawals still fit above the mark, and make room.
        full = (
            edge.pressure.high
            and not edge.committer.away
            and not all(it.decision.mark == "tombstone" for it in fates.sealed)
        )
        stored = fates.settle(
            [None] * len(fates.sealed) if full else await edge.committer.commit(fates.sealed)
        )
    for (outcome, reason), count in fates.counts().items():
        _events(submission.source, outcome, reason).inc(count)
        edge.tally.count(submission.tag.id, outcome, reason, count)
    for name in fates.stored():
        edge.tally.stored(submission.tag.id, name)
    if edge.tally.watches(submission.tag.id):
        edge.tally.saw(submission.tag.id, sightings.of(submission, caller, fates))
    return fates, stored


@cache
def _events(source: str, outcome: str, reason: str) -> Counter:
    return EVENTS.labels(source, outcome, reason)


def _results(fates: Fates, headers: Headers) -> Answer:
    return Answer(200, encode({"results": fates.results}), headers=[*NEVER_CACHED, *headers])


def _gif(status: int, outcome: str, headers: Headers) -> Answer:
    return Answer(status, GIF, b"image/gif", [*NEVER_CACHED, (b"x-collector", outcome.encode()), *headers])


def _privacy(edge: Edge, caller: Caller, submission: Submission, fates: Fates) -> Headers:
    """The visitor's cookie, kept or deleted, and the word that an opt-out was honoured."""
    headers: Headers = []
    secure = caller.secure or edge.settings.url.startswith("https:")
    if fates.withdrawn:
        headers += cookie.forget(caller, secure=secure)
    elif fates.visitor:
        headers += cookie.keep(caller, fates.visitor, edge.settings.cookie_days, secure=secure)
    return headers + _honoured(submission)


def _honoured(submission: Submission) -> Headers:
    """The word that Global Privacy Control was."""
    return [(b"x-collector-optout", b"honoured")] if submission.signals.gpc == "yes" else []
