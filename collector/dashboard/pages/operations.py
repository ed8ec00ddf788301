"""Operations: how the installation is now, what waits, and what one can do about it."""

from collections import Counter
from itertools import chain, islice
from typing import Any

from starlette.responses import Response

from collector.audience.registry import Audience
from collector.dashboard import bars
from collector.dashboard.languages import msg
from collector.dashboard.page import ADMINS, Page, Refusal, Visit
from collector.query.operations import SILENT
from collector.stream import dead, read
from collector.stream.dead import Dead

LETTERS = 50  # shown; a button takes all
OUTCOMES = ("accepted", "duplicate", "refused", "retry")  # from the bottom of a column
LATE = 10.0  # seconds of lag after which a marketer waits for a size, and something is wrong


def show(visit: Visit) -> Response:
    visit.need_every_tag()
    site, now = visit.site, visit.site.engine.clock()
    it = site.operations
    partitions, pace, edges = it.partitions(now), it.pace(now), it.edges(now)
    outcomes = [_by_outcome(fates) for _, fates in pace]
    total: Counter[tuple[str, str]] = Counter()
    for _, fates in pace:
        total.update(fates)
    fresh = [each for each in partitions if each.fresh_seconds is not None]
    newest = max((each.fresh_at for each in fresh), default=0)
    return visit.page(
        "operations.html",
        now=now,
        partitions=partitions,
        waiting=[each for each in partitions if each.stream or each.dead or not each.owned],
        lag=max(each.lag_seconds for each in partitions),
        late=LATE,
        unowned=sum(not each.owned for each in partitions),
        unarchived=max(each.unarchived_seconds for each in partitions),
        fresh=max((each.fresh_seconds or 0 for each in fresh if each.fresh_at >= newest - 60), default=None),
        fresh_at=newest,
        columns=bars.columns(outcomes, OUTCOMES, gap=0.15),
        # The last whole minute: the present one has only begun.
        rate=sum(outcomes[-2].values()) / 60,
        hour=sum(total.values()),
        outcomes=bars.lines([(f"{outcome} {reason}", n) for (outcome, reason), n in total.items()]),
        edges=edges,
        silent=now - SILENT,
        spooled=sum(edge.spooled for edge in edges.values()),
        workers=it.workers(),
        memory=it.memory(),
        archived=it.archived(),
        dead=sum(each.dead for each in partitions),
        letters=[_letter(each) for each in islice(_letters(visit), LETTERS)],
        fillings=_fillings(visit),
        done=visit.query("done"),
    )


def mind_letters(visit: Visit) -> Response:
    """Retry or drop one dead letter, or all."""
    visit.need_every_tag()
    act, wanted = visit.field("act"), visit.field("letter")
    if act not in ("retry", "drop"):
        raise Refusal(400, msg("Not like this"), msg("A dead letter is retried or dropped."))
    chosen = [each for each in _letters(visit) if wanted in ("all", each.id)]
    do = dead.retry if act == "retry" else dead.drop
    done = sum(do(visit.site.engine.client, each) for each in chosen)
    visit.note("retried_dead_letters" if act == "retry" else "dropped_dead_letters", f"{done} ({wanted})")
    return visit.go(f"/operations?done={act}#letters")


def mind_filling(visit: Visit) -> Response:
    """Stop the reading of an audience's past traffic, or let it go on. Raises NotFound."""
    visit.need_every_tag()
    registry, stop = visit.site.engine.registry, visit.field("act") == "stop"
    audience = registry.get(visit.request.path_params["audience"])
    (registry.stop_filling if stop else registry.resume_filling)(audience)
    visit.note(
        "stopped_backfill" if stop else "resumed_backfill", f"{audience.id} {audience.name}", audience.tag
    )
    return visit.go(f"/operations?done={'stopped' if stop else 'resumed'}#fillings")


def _letters(visit: Visit) -> "chain[Dead]":
    client, installation = visit.site.engine.client, range(len(visit.site.engine.registry.columns))
    return chain.from_iterable(dead.letters(client, number) for number in installation)


def _letter(each: Dead) -> dict[str, Any]:
    ms, _ = read.parse(each.id.partition("/")[2])
    return {
        "id": each.id,
        "at": ms // 1000,
        "reason": each.letter.reason,
        "error": each.letter.error,
        "bytes": len(each.letter.payload),
    }


def _fillings(visit: Visit) -> list[dict[str, Any]]:
    """The audiences whose past traffic is being read, or was given up."""
    registry = visit.site.engine.registry
    audiences: list[Audience] = registry.all()
    return [
        {"id": audience.id, "name": audience.name, "progress": standing.progress, "reason": standing.reason}
        | {"failed": standing.status == "FAILED", "stopped": registry.stopped(audience)}
        for audience, standing in zip(audiences, registry.standings(audiences), strict=True)
        if standing.status in ("INITIALIZING", "FAILED")
    ]


def _by_outcome(fates: Counter[tuple[str, str]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for (outcome, _), events in fates.items():
        counts[outcome] += events
    return dict(counts)


PAGES = (
    Page("/operations", show, see=ADMINS, title=msg("Operations"), icon="pulse"),
    Page("/operations/letters", None, mind_letters),
    Page("/operations/filling/{audience}", None, mind_filling),
)
