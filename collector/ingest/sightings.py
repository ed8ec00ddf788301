"""Sightings: what the feed of a tag shows of a request's events."""

from collections.abc import Mapping

from collector import keys
from collector.consent import ConsentedEvent
from collector.feed import A_SECOND, Seen
from collector.ingest.caller import Caller
from collector.ingest.fates import Fates, Result, Submission
from collector.ingest.urls import origin
from collector.ingest.wire import Sent
from collector.outcomes import NO_CONSENT

LONGEST = 128  # characters of a name: more than an event that is taken may have


def of(submission: Submission, caller: Caller, fates: Fates) -> list[Seen]:
    """The first events of the request, each with its fate, and a withdrawal as an event without a name."""
    page = origin(caller.origin or caller.header(b"referer"))
    stored = fates.events()
    found = [
        _seen(submission, page, place, fates.results[place], stored)
        for place in range(min(len(fates.results), A_SECOND))
    ]
    if fates.withdrawn:
        at = int(submission.now * 1000)
        found.append(Seen(at, "", "accepted", "withdrawn", submission.source, page))
    return found


def _seen(
    it: Submission, page: str, place: int, result: Result, stored: Mapping[int, ConsentedEvent]
) -> Seen:
    at, fate = int(it.now * 1000), (result.outcome, result.reason)
    if sealed := stored.get(place):
        event = sealed.bare
        mark = keys.visitor_mark(it.secret, event.tag, event.visitor)
        return Seen(
            at, event.event, *fate, it.source, page, keys.visitor_name(mark)[:6], sealed.decision.signals
        )
    if fate in NO_CONSENT:
        return Seen(at, "", *fate, it.source, "")  # who said no leaves a count, with its time, and no more
    raw = it.request.events[place]
    name = raw.event if isinstance(raw, Sent) else ""
    return Seen(at, name[:LONGEST] if isinstance(name, str) else "", *fate, it.source, page)
