"""Tags: the websites; one tag's install, seen as it works: snippet, check, events as they come, and its settings."""

from collections import Counter
from functools import partial
from typing import Any

from starlette.responses import Response

from collector import clock, feed, health, tags
from collector.consent import Regime
from collector.dashboard import bars
from collector.dashboard.findings import FINDINGS
from collector.dashboard.languages import msg
from collector.dashboard.page import ADMINS, Page, Refusal, Visit
from collector.dashboard.people import MOST_NAME
from collector.feed import Seen
from collector.health import Content, Finding
from collector.outcomes import NO_CONSENT, TABLE
from collector.settings import BadSetup
from collector.tags import Tag

SHOWN = 40  # events of the feed on a page
MOST_ORIGINS = 50  # of a tag: each is looked at for every request
OUTCOMES = ("accepted", "duplicate", "refused", "retry")


def show(visit: Visit) -> Response:
    return _list(visit)


def create(visit: Visit) -> Response:
    """A new tag; its page shows the server key, this once."""
    if visit.who.tags is not None:
        raise Refusal(
            403,
            msg("Not yours to make"),
            msg("You are bound to some tags. An admin of all can make another."),
        )
    name, origins, regime = _fields(visit)
    try:
        tag, server_key = tags.create_tag(
            visit.site.engine.client, name, origins, regime, clock=visit.site.engine.clock
        )
    except BadSetup as wrong:
        return _list(visit, error=str(wrong), status=422)
    visit.note("created_tag", tag.name, tag.id)
    return _one(visit, tag, server_key=server_key)


def show_one(visit: Visit) -> Response:
    return _one(visit, _tag(visit))


def edit(visit: Visit) -> Response:
    tag = _tag(visit)
    name, origins, regime = _fields(visit)
    try:
        changed = tags.edit(visit.site.engine.client, tag, name, origins, regime)
    except BadSetup as wrong:
        return _one(visit, tag, error=str(wrong), status=422)
    visit.note("edited_tag", changed.name, changed.id)
    return visit.go(f"/tags/{tag.id}?done={'regime' if changed.regime != tag.regime else 'edited'}")


def inspect(visit: Visit) -> Response:
    """One line of the feed: what is kept of a stored event, or why there is nothing."""
    tag, at = _tag(visit), visit.query("at")
    event, outcome, reason = (visit.query(name)[:200] for name in ("event", "outcome", "reason"))
    if not at.isascii() or not at.isdigit() or len(at) > 15:
        raise Refusal(404, msg("No such event"), msg("Choose one from the feed of its tag."))
    kept = visit.site.engine.received(tag.id, event, int(at)) if outcome == "accepted" and event else []
    return visit.page(
        "event.html",
        tag=tag,
        at=int(at) // 1000,
        event=event,
        outcome=outcome,
        reason=reason,
        meaning=next((visit.say(fate.meaning) for fate in TABLE if fate[:2] == (outcome, reason)), ""),
        kept=kept,
    )


def _list(visit: Visit, error: str = "", status: int = 200) -> Response:
    engine, now = visit.site.engine, visit.site.engine.clock()
    rows = []
    for tag in visit.tags():
        # As counted in Redis: the archive would be asked for each tag, and there may be hundreds.
        report = health.report(engine.client, tag.id, now, Content())
        accepted = sum(row["events"] for row in report["outcomes"] if row["outcome"] == "accepted")
        last = next(
            (
                {"event": each["event"], "ago": visit.language.ago(now - clock.parse_iso(each["at"]))}
                for each in report["last_events"]
            ),
            None,
        )
        rows.append({"tag": tag, "events": accepted, "last": last})
    values = {"name": visit.field("name"), "origins": visit.field("origins"), "regime": visit.field("regime")}
    return visit.page(
        "tags.html", status, rows=rows, error=error, values=values, may_create=visit.who.tags is None
    )


def _one(visit: Visit, tag: Tag, *, server_key: str = "", error: str = "", status: int = 200) -> Response:
    site, engine = visit.site, visit.site.engine
    report = engine.health(tag.id, partial(_finding, visit))
    traffic = engine.traffic(tag.id)
    outcome, event, paused = visit.query("outcome"), visit.query("event"), visit.query("paused") == "1"
    seen = feed.latest(engine.client, tag.id)
    fates = {(row["outcome"], row["reason"]): row["events"] for row in report["outcomes"]}
    return visit.page(
        "tag.html",
        status,
        tag=tag,
        server_key=server_key,
        error=error,
        values={
            "name": visit.field("name"),
            "origins": visit.field("origins"),
            "regime": visit.field("regime"),
        }
        if error
        else {"name": tag.name, "origins": "\n".join(tag.origins), "regime": tag.regime},
        snippet=site.snippet(tag, False),
        pinned=site.snippet(tag, True),
        report=report,
        findings=report["findings"],
        came=sum(fates.values()),
        latest=seen[0].at / 1000 if seen else None,
        names=sorted({each.event for each in seen if each.event} | ({event} if event else set())),
        outcomes=OUTCOMES,
        outcome=outcome,
        event=event,
        paused=paused,
        rows=[_row(visit, each) for each in _chosen(seen, outcome, event)[:SHOWN]],
        by_event=bars.lines(traffic.parts.events),
        by_origin=bars.lines(traffic.parts.origins),
        by_source=bars.lines(traffic.parts.sources),
        by_consent=bars.lines(_by_consent(fates)),
        done=visit.query("done"),
    )


def _chosen(seen: list[Seen], outcome: str, event: str) -> list[Seen]:
    return [each for each in seen if outcome in ("", each.outcome) and event in ("", each.event)]


def _row(visit: Visit, seen: Seen) -> dict[str, Any]:
    """A line of the feed, as the template shows it."""
    return {
        "ago": visit.language.ago(visit.site.engine.clock() - seen.at / 1000),
        **{name: getattr(seen, name) for name in Seen.__struct_fields__},
    }


def _by_consent(fates: dict[tuple[str, str], int]) -> list[tuple[str, int]]:
    """Events by what consent made of them: full, limited, and each reason of consent not to take one."""
    counts: Counter[str] = Counter()
    for (outcome, reason), events in fates.items():
        if outcome == "accepted" or (outcome, reason) in NO_CONSENT:
            counts[reason] += events
    return list(counts.items())


def _finding(visit: Visit, found: Finding) -> dict[str, str]:
    """With the title and the mend that the catalogues know; health.py's own words where they do not."""
    title, mend = FINDINGS.get(found.code, (found.code, found.mend))
    values = {
        name: visit.language.number(value) if isinstance(value, int) else value
        for name, value in found.values.items()
    }
    message = visit.say(found.text, **values)
    return {"code": found.code, "title": visit.say(title), "message": message, "mend": visit.say(mend)}


def _tag(visit: Visit) -> Tag:
    for tag in visit.tags():
        if tag.id == visit.request.path_params["tag"]:
            return tag
    raise Refusal(404, msg("No such tag"), msg("There is none of this id, or it is not one of yours."))


def _fields(visit: Visit) -> tuple[str, list[str], Regime]:
    regime: Regime = "opt_out" if visit.field("regime") == "opt_out" else "opt_in"
    return visit.field("name")[:MOST_NAME], visit.field("origins").split()[:MOST_ORIGINS], regime


PAGES = (
    Page("/tags", show, create, title=msg("Tags"), icon="tag"),
    Page("/tags/{tag}", show_one, edit),
    Page("/tags/{tag}/event", inspect, act=ADMINS),
)
