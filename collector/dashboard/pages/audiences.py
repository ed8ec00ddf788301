"""Audiences: the list, with sizes as they move."""

import time
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response, StreamingResponse

from collector.audience.registry import LEAST, Audience, NotFound
from collector.clock import DAY
from collector.dashboard import trend
from collector.dashboard.languages import Language, msg
from collector.dashboard.page import EDITORS, Page, Visit
from collector.query import recorded

MOST = 50  # audiences on one page, and so in one stream
BACK = 8 * DAY  # of recorded sizes: a week, and a day for the record that is due
POINTS_SECONDS = 60.0  # for which recorded sizes are good enough: they are made once an hour
SORTS = ("new", "name", "size")


def home(visit: Visit) -> Response:
    return visit.go("/audiences")


def show(visit: Visit) -> Response:
    wanted, tag = visit.query("q")[:200], visit.query("tag")
    sort = visit.query("sort") if visit.query("sort") in SORTS else "new"
    mine = _mine(visit)
    found = _sorted(visit, _matching(mine, wanted, tag), sort)
    pages = max(1, -(-len(found) // MOST))
    number = min(max(_whole(visit.query("page")), 1), pages)
    shown = found[(number - 1) * MOST : number * MOST]
    tags = visit.tags()
    return visit.page(
        "audiences.html",
        rows=Board(visit).rows(shown),
        total=len(mine),
        found=len(found),
        number=number,
        pages=pages,
        q=wanted,
        tag=tag,
        sort=sort,
        tags=tags,
        names={each.id: each.name for each in tags},
        ids=",".join(audience.id for audience in shown),
        deleted=_deleted(visit),
    )


def live(visit: Visit) -> Response:
    """A stream of the rows that change. It covers what the visitor may see when it begins."""
    covered = {audience.id for audience in _mine(visit)}
    ids = [name for name in visit.query("ids").split(",")[:MOST] if name in covered]
    board = Board(visit)
    stream = visit.site.live.stream(ids, board.changing, visit.site.stopping)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


class Board:
    """Audiences as rows of the list, for one visitor."""

    def __init__(self, visit: Visit) -> None:
        self._site = visit.site
        self._language = visit.language
        self._points: dict[str, list[trend.Point]] = {}
        self._read_at = float("-inf")

    def rows(self, audiences: Sequence[Audience]) -> list[dict[str, Any]]:
        """What the template shows of each."""
        changing = self.changing(audiences)
        now = int(self._site.engine.clock())
        rows = []
        for audience, live in zip(audiences, changing, strict=True):
            points = self._points.get(audience.id, [])
            size = self._site.live.known(audience)
            curve = trend.curve([*points, (now, size)] if size is not None else points)
            rows.append(
                {
                    **live,
                    "name": audience.name,
                    "description": audience.description,
                    "tag": audience.tag,
                    "curve": curve,
                }
            )
        return rows

    def changing(self, audiences: Sequence[Audience]) -> list[dict[str, Any]]:
        """The part of each row that moves, in the visitor's words."""
        if time.monotonic() - self._read_at >= POINTS_SECONDS:
            engine = self._site.engine
            read = recorded.since(engine.client, audiences, int(engine.clock()) - BACK)
            self._points = {each.id: points for each, points in zip(audiences, read, strict=True)}
            self._read_at = time.monotonic()
        return [self._moving(row) for row in self._site.live.rows(audiences)]

    def _moving(self, row: dict[str, Any]) -> dict[str, Any]:
        say, size, now = self._language, row["size"], self._site.engine.clock()
        points = self._points.get(row["id"], [])
        moved: dict[str, Any] = {"id": row["id"], "status": row["status"], "size": "…"}
        moved |= {"label": _label(say, row), "note": _note(say, row, points, now)}
        for name, seconds in (("day", DAY), ("week", 7 * DAY)):
            by = None if size is None else trend.change(points, now, size, seconds)
            moved[name] = ["", ""] if by is None else [say.change(by), trend.direction(by)]
        if size is not None:
            moved["size"] = say.number(size)
        return moved


def _label(say: Language, row: dict[str, Any]) -> str:
    match row["status"]:
        case "READY":
            return say.say("Ready")
        case "TOO_SMALL":
            return say.say("Too small")
        case "INITIALIZING":
            return say.say("Filling, %(percent)d %%", percent=int(100 * row["progress"]))
        case _:
            return say.say("Failed")


def _note(say: Language, row: dict[str, Any], points: Sequence[trend.Point], now: float) -> str:
    """Why an audience is not ready, and what mends it; "" for one that is."""
    match row["status"]:
        case "READY":
            return ""
        case "INITIALIZING":
            return say.say("Past traffic is being read. It takes a running worker, and no more of your time.")
        case "FAILED":
            return f"{row['reason']} {row['mend']}"
    size = row["size"]
    said = say.say("%(size)s of the %(least)s that ad platforms ask for.", size=say.number(size), least=LEAST)
    ready = trend.ready_at(points, now, size, LEAST)
    if ready is None:
        hope = say.say("A longer lookback or wider conditions bring more.")
    elif ready - now < DAY:
        hope = say.say("At the present rate ready within a day.")
    elif ready - now < 6 * DAY:
        hope = say.say("At the present rate ready on %(weekday)s.", weekday=say.weekday(ready))
    else:
        hope = say.say("At the present rate ready on %(day)s.", day=say.day(ready))
    return f"{said} {hope}"


def _deleted(visit: Visit) -> Audience | None:
    """The audience that was deleted just now, while it can be brought back."""
    try:
        audience = visit.site.engine.registry.deleted(visit.query("deleted"))
    except NotFound:
        return None
    return audience if visit.who.covers(audience.tag) and visit.who.rank in EDITORS else None


def _mine(visit: Visit) -> list[Audience]:
    return [audience for audience in visit.site.engine.registry.all() if visit.who.covers(audience.tag)]


def _matching(audiences: Sequence[Audience], wanted: str, tag: str) -> list[Audience]:
    words = wanted.casefold().split()
    return [
        audience
        for audience in audiences
        if tag in ("", audience.tag)
        and all(word in f"{audience.name} {audience.description}".casefold() for word in words)
    ]


def _sorted(visit: Visit, audiences: list[Audience], sort: str) -> list[Audience]:
    """By size: the size seen last, here or by the hourly record; to count hundreds anew would make the list wait."""
    if sort == "name":
        return sorted(audiences, key=lambda audience: (audience.name.casefold(), audience.id))
    if sort == "new":
        return audiences[::-1]
    last = recorded.latest(visit.site.engine.client, audiences)
    known = [visit.site.live.known(audience) for audience in audiences]
    sizes = {
        audience.id: size if size is not None else was or 0
        for audience, size, was in zip(audiences, known, last, strict=True)
    }
    return sorted(audiences, key=lambda audience: -sizes[audience.id])


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 1


PAGES = (
    Page("/", home),
    Page("/audiences", show, title=msg("Audiences"), icon="audiences"),
    Page("/audiences/live", live),
)
