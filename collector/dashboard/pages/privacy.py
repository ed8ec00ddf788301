"""Privacy: what consent made of events, what was erased with its proof, a visitor's rights, and who did what."""

from collections import Counter

import orjson
from starlette.responses import Response

from collector import audit, health, tags
from collector.audit import Act
from collector.clock import DAY
from collector.dashboard import bars, links
from collector.dashboard.languages import msg
from collector.dashboard.page import ADMINS, Page, Refusal, Visit
from collector.outcomes import NO_CONSENT
from collector.tags import Tag

ERASURES = 50  # shown
LINES = 50  # of the log on a page
LONGEST = 256  # bytes of a visitor's id that is looked for: longer than any is
KINDS = ("full", "limited", "refused")  # of a verdict, from the bottom of a column

ACTS: dict[Act, str] = {
    "signed_in": msg("signed in"),
    "made_account": msg("made the first account"),
    "invited_person": msg("invited somebody"),
    "changed_person": msg("changed somebody's role or tags"),
    "removed_person": msg("removed somebody"),
    "made_key": msg("made a key"),
    "replaced_key": msg("replaced a key"),
    "ended_key": msg("ended a key"),
    "created_tag": msg("made a tag"),
    "edited_tag": msg("edited a tag"),
    "created_audience": msg("made an audience"),
    "edited_audience": msg("edited an audience"),
    "deleted_audience": msg("deleted an audience"),
    "restored_audience": msg("brought an audience back"),
    "exported_members": msg("exported members"),
    "looked_up_visitor": msg("looked a visitor up"),
    "erased_visitor": msg("erased a visitor"),
    "retried_dead_letters": msg("retried dead letters"),
    "dropped_dead_letters": msg("dropped dead letters"),
    "stopped_backfill": msg("stopped the reading of past traffic"),
    "resumed_backfill": msg("let the reading of past traffic go on"),
}


OURS = {tags.ADMIN: msg("the admin key"), links.ENTERED: msg("by the link of the console")}
"""What the log names in words of its own, and not in those of a person."""


def show(visit: Visit) -> Response:
    return _page(visit)


def look_up(visit: Visit) -> Response:
    """All that is known of a visitor. By POST: an id in an address would end up in logs of proxies."""
    tag, visitor = _subject(visit)
    if not visitor:
        return _page(
            visit, error=visit.say("Say which visitor: the id of its cookie, or your own."), status=422
        )
    known = visit.site.engine.visitor(tag.id, visitor)
    visit.note("looked_up_visitor", visit.site.engine.mark(tag.id, visitor), tag.id)
    nothing = not (known["events"] or known["audiences"] or known["consent_records"] or known["erasures"])
    return visit.page("subject.html", tag=tag, visitor=visitor, known=known, nothing=nothing)


def export(visit: Visit) -> Response:
    """The same as a file."""
    tag, visitor = _subject(visit)
    if not visitor:
        return look_up(visit)
    engine = visit.site.engine
    known, mark = engine.visitor(tag.id, visitor), engine.mark(tag.id, visitor)
    visit.note("looked_up_visitor", mark, tag.id)
    headers = {"content-disposition": f'attachment; filename="visitor-{mark}.json"'}
    return Response(orjson.dumps(known, option=orjson.OPT_INDENT_2), 200, headers, "application/json")


def forget(visit: Visit) -> Response:
    tag, visitor = _subject(visit)
    if not visitor:
        return look_up(visit)
    engine = visit.site.engine
    engine.erase(tag.id, visitor, now=visit.field("now") == "1")
    visit.note("erased_visitor", engine.mark(tag.id, visitor), tag.id)
    return visit.go(f"/privacy?tag={tag.id}&done=forgotten#erasures")


def log(visit: Visit) -> Response:
    """Who did what, newest first."""
    before = visit.query("before", "+")
    if before != "+" and not all(part.isascii() and part.isdigit() for part in before.split("-")):
        before = "+"
    found, following = audit.latest(visit.site.engine.client, LINES, before=before)
    lines = [line for line in found if visit.who.tags is None or line.tag in visit.who.tags]
    names = {tag.id: tag.name for tag in visit.tags()}
    return visit.page(
        "log.html",
        lines=lines,
        acts={act: visit.say(words) for act, words in ACTS.items()},
        ours={name: visit.say(words) for name, words in OURS.items()},
        names=names,
        following=following,
        first=before == "+",
    )


def _page(visit: Visit, *, error: str = "", status: int = 200) -> Response:
    tags = visit.tags()
    if not tags:
        return visit.page("privacy.html", status, tags=tags)
    tag = _tag(visit, visit.field("tag") or visit.query("tag") or visit.usual_tag())
    engine = visit.site.engine
    days = health.daily(engine.client, tag.id, engine.clock())
    fates: Counter[tuple[str, str]] = Counter()
    for _, counted, _ in days:
        fates.update(counted)
    stored = engine.traffic(tag.id).verdicts
    signals: Counter[str] = Counter()
    for _, _, method, events in stored:
        for signal in method.split(","):
            signals[signal] += events
    erasures = engine.erasures(tag.id)
    return visit.page(
        "privacy.html",
        status,
        tags=tags,
        tag=tag,
        days=[day * DAY for day, _, _ in days],
        columns=bars.columns([_verdicts(counted) for _, counted, _ in days], KINDS),
        verdicts=_verdicts(fates),
        gpc=sum(
            events
            for _, verdict, method, events in stored
            if verdict == "limited" and "gpc" in method.split(",")
        ),
        withdrawals=fates["accepted", "withdrawn"],
        signals=bars.lines(list(signals.items())),
        refusals=bars.lines(
            [(reason, fates[outcome, reason]) for outcome, reason in NO_CONSENT & fates.keys()]
        ),
        waiting=[one for one in erasures if one["waits_for"]][-ERASURES:],
        proven=[one for one in erasures if not one["waits_for"]][: -ERASURES - 1 : -1],
        error=error,
        done=visit.query("done"),
    )


def _verdicts(fates: Counter[tuple[str, str]]) -> dict[str, int]:
    return {
        "full": fates["accepted", "full"],
        "limited": fates["accepted", "limited"],
        "refused": sum(fates[fate] for fate in NO_CONSENT),
    }


def _tag(visit: Visit, wanted: str) -> Tag:
    for tag in visit.tags():
        if tag.id == wanted:
            return tag
    raise Refusal(404, msg("No such tag"), msg("There is none of this id, or it is not one of yours."))


def _subject(visit: Visit) -> tuple[Tag, str]:
    return _tag(visit, visit.field("tag")), visit.field("visitor")[:LONGEST]


PAGES = (
    Page("/privacy", show, title=msg("Consent and privacy"), icon="shield"),
    Page("/privacy/subject", None, look_up),
    Page("/privacy/export", None, export),
    Page("/privacy/forget", None, forget),
    Page("/privacy/log", log, see=ADMINS),
)
