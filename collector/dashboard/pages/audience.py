"""Audience: one audience, with its curve over every lookback, its history, and what is looked up behind it."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.responses import Response, StreamingResponse

from collector.audience import rules
from collector.audience.registry import Audience
from collector.clock import DAY
from collector.dashboard import draft
from collector.dashboard.languages import msg
from collector.dashboard.page import EDITORS, Page, Refusal, Visit
from collector.dashboard.pages.audiences import Board
from collector.query import export, uploads
from collector.query.engine import NotReady

POINTS = 400  # of a history: one for every two pixels of its chart
FLOW_DAYS = 14
BESIDE = 11  # audiences that one is compared with: a dozen columns is what a page can show
SHADES = 10  # of the heat map


def show(visit: Visit) -> Response:
    audience, engine = _audience(visit), visit.site.engine
    rule = audience.parsed()
    windows = rule.windows()
    main = windows[0].days if windows[0].role == "main" else None
    sizes: list[int] = []
    at = 0
    if main is not None:
        with suppress(NotReady):
            sizes, at = engine.curve(audience)
    history = engine.registry.history(audience)
    step = -(-len(history) // POINTS) or 1
    edits = engine.registry.edits(audience)
    written = rules.to_json(rule)
    return visit.page(
        "audience.html",
        audience=audience,
        row=Board(visit).rows([audience])[0],
        tag=next((tag.name for tag in visit.tags() if tag.id == audience.tag), audience.tag),
        clauses=draft.of_rule(written).clauses,
        days=str(main or rules.DEFAULT_DAYS),
        written=orjson.dumps(written, option=orjson.OPT_INDENT_2).decode(),
        main=main,
        sizes=sizes,
        at=at,
        history=[*history[:-1:step], *history[-1:]],
        edits=[
            (edit, urlencode({"rule": bytes(edit.rule), "from": "json", "name": audience.name}))
            for edit in edits
        ],
        duplicate=urlencode(
            {
                "tag": audience.tag,
                "name": visit.say("%(name)s, a copy", name=audience.name)[:200],
                "description": audience.description,
                "rule": bytes(audience.rule),
            }
        ),
        uploads=uploads.TABLE,
        flow_days=FLOW_DAYS,
        edits_allowed=visit.who.rank in EDITORS,
        done=visit.query("done"),
    )


def flow(visit: Visit) -> Response:
    """A part of the page: who came and left, day by day up to now."""
    audience, engine = _audience(visit), visit.site.engine
    rule, at = audience.parsed(), int(engine.clock())
    instants = [at - back * DAY for back in range(FLOW_DAYS, -1, -1)]
    days = engine.insight.flow(audience.tag, rule, instants, floor=_floor(audience))
    most = max((max(day.entered, day.left) for day in days), default=0) or 1
    return visit.page("audience_flow.html", days=days[::-1], most=most)


def funnel(visit: Visit) -> Response:
    """A part of the page: how many are left, condition by condition."""
    audience, engine = _audience(visit), visit.site.engine
    rule = audience.parsed()
    steps = engine.insight.funnel(audience.tag, rule, at=int(engine.clock()), floor=_floor(audience))
    clauses = draft.of_rule(rules.to_json(rule)).clauses
    windows = rule.windows()
    days = str(windows[0].days if windows[0].role == "main" else rules.DEFAULT_DAYS)
    most = max(1, *(max(step.left, step.own) for step in steps))
    return visit.page(
        "audience_funnel.html", steps=list(zip(clauses, steps, strict=True)), most=most, days=days
    )


def overlap(visit: Visit) -> Response:
    """A part of the page: how much of each audience of the tag is in each other, this one first."""
    audience, engine = _audience(visit), visit.site.engine
    others = [other for other in engine.registry.all(audience.tag) if other.id != audience.id][::-1]
    standings = engine.registry.standings([audience, *others])
    if standings[0].status != "READY":
        return visit.page("audience_overlap.html", compared=[])
    ready = [
        other for other, standing in zip(others, standings[1:], strict=True) if standing.status == "READY"
    ]
    compared = [audience, *ready[:BESIDE]]
    sizes, _ = engine.overlap(compared)
    return visit.page(
        "audience_overlap.html",
        compared=compared,
        rows=[[_cell(both, row[place]) for both in row] for place, row in enumerate(sizes)],
        more=len(ready) - BESIDE,
    )


def tops(visit: Visit) -> Response:
    """A part of the page: what members saw most in 30 days; nothing that fewer than ten share."""
    audience, engine = _audience(visit), visit.site.engine
    rule, at, floor = audience.parsed(), int(engine.clock()), _floor(audience)
    pages, products = (
        _shares(engine.insight.tops(audience.tag, rule, of, at=at, floor=floor))
        for of in ("pages", "products")
    )
    return visit.page("audience_tops.html", pages=pages, products=products)


def members(visit: Visit) -> Response:
    """The members, as a file in the shape that was chosen."""
    audience = _audience(visit)
    upload = uploads.find(visit.query("as", "visitors"))
    if upload is None:
        raise Refusal(404, msg("No such file"), msg("Choose one of those on the audience's page."))
    try:
        runs = visit.site.engine.members(audience, upload.kind)
    except NotReady as unready:
        raise Refusal(409, msg("Not yet"), str(unready)) from None
    visit.note("exported_members", f"{audience.id} {audience.name} as {upload.name}", audience.tag)
    return StreamingResponse(
        export.column(upload.header, (found for _, found in runs)),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="audience-{audience.id}-{upload.name}.csv"'},
    )


def delete(visit: Visit) -> Response:
    audience = _audience(visit)
    visit.site.engine.registry.delete(audience)
    visit.note("deleted_audience", f"{audience.id} {audience.name}", audience.tag)
    return visit.go(f"/audiences?deleted={audience.id}")


def restore(visit: Visit) -> Response:
    """Bring it back, while that can be done."""
    registry = visit.site.engine.registry
    deleted = registry.deleted(visit.request.path_params["audience"])
    _check(visit, deleted)
    registry.restore(deleted)
    visit.note("restored_audience", f"{deleted.id} {deleted.name}", deleted.tag)
    return visit.go(f"/audiences/{deleted.id}?done=restored")


def _cell(both: int, whole: int) -> dict[str, Any]:
    """both: members of both; whole: of the row's audience."""
    share = both / whole if whole else 0.0
    return {"both": both, "percent": round(100 * share), "shade": min(SHADES, round(SHADES * share))}


def _shares(found: Sequence[tuple[str, int]]) -> list[tuple[str, int, float]]:
    return [(name, members, members / found[0][1]) for name, members in found]


def _floor(audience: Audience) -> int:
    return 0 if audience.parsed().prefill else audience.created_at


def _audience(visit: Visit) -> Audience:
    audience = visit.site.engine.registry.get(visit.request.path_params["audience"])
    _check(visit, audience)
    return audience


def _check(visit: Visit, audience: Audience) -> None:
    if not visit.who.covers(audience.tag):
        raise Refusal(404, msg("No such audience"), msg("It was deleted, or it is not one of yours."))


PAGES = (
    Page("/audiences/{audience}", show),
    Page("/audiences/{audience}/flow", flow),
    Page("/audiences/{audience}/funnel", funnel),
    Page("/audiences/{audience}/overlap", overlap),
    Page("/audiences/{audience}/tops", tops),
    Page("/audiences/{audience}/members", members, see=EDITORS),
    Page("/audiences/{audience}/delete", None, delete, act=EDITORS),
    Page("/audiences/{audience}/restore", None, restore, act=EDITORS),
)
