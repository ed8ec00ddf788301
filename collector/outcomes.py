"""Every fate that an event can have: a closed list, counted, shown to the sender, never silent."""

from typing import Literal, NamedTuple


class Fate(NamedTuple):
    """One row: the outcome word on the wire, the reason beside it, whose doing it is, what it means."""

    outcome: Literal["accepted", "duplicate", "refused", "retry", "dead"]
    reason: str
    fault: Literal["none", "sender", "visitor", "ours"]
    meaning: str


TABLE: tuple[Fate, ...] = (
    Fate("accepted", "full", "none", "On disk with full consent; counts in audiences."),
    Fate("accepted", "limited", "none", "On disk for measurement; never in an audience or export."),
    Fate("accepted", "withdrawn", "none", "A withdrawal is on disk; the visitor will be erased."),
    Fate("duplicate", "event_id", "none", "This visitor's event with this event_id is on disk already."),
    Fate("refused", "bad_event", "sender", "The event is no object or its name is missing, too long or no text."),
    Fate("refused", "bad_event_id", "sender", "event_id is no text or number, or over 128 bytes."),
    Fate("refused", "bad_time", "sender", "event_time is no Unix second: words, 13 digits, before 1970 or over a day ahead (in an import: ahead at all)."),
    Fate("refused", "too_old", "sender", "A browser event older than 7 days."),
    Fate("refused", "bad_visitor", "sender", "A browser visitor is not 32 lower-case hex digits, or a server's is over 64 bytes."),
    Fate("refused", "no_visitor", "sender", "No visitor id, and nothing that may or can make one."),
    Fate("refused", "bad_data", "sender", "Event data, user data or click ids are no objects, or hold NUL characters."),
    Fate("refused", "too_large", "sender", "The event is over the limit of bytes."),
    Fate("refused", "bot", "sender", "The User-Agent is a crawler's."),
    Fate("refused", "prefetch", "sender", "The browser was prefetching or prerendering."),
    Fate("refused", "consent_missing", "visitor", "No consent signal, and the tag's regime is opt_in."),
    Fate("refused", "consent_denied", "visitor", "A consent signal says no."),
    Fate("refused", "consent_malformed", "sender", "A consent signal cannot be read, or a TCF string is out of date; under opt_in that drops the event."),
    Fate("refused", "dnt", "visitor", "Do Not Track without an explicit grant, under opt_in."),
    Fate("refused", "child", "visitor", "The signal says that the visitor is a known child."),
    Fate("refused", "withdrawn", "visitor", "The visitor withdrew in the same request."),
    Fate("retry", "unavailable", "ours", "The server cannot store now; nothing was stored, send it again."),
    Fate("retry", "rate_limited", "sender", "The tag is over its limit of events a second; nothing was stored, send it later."),
    Fate("dead", "undecodable", "ours", "The worker could not read a stream entry; kept for inspection."),
    Fate("dead", "failed", "ours", "The worker failed on this one event, again and again; kept for inspection."),
)

NO_CONSENT = frozenset(
    (str(fate.outcome), fate.reason) for fate in TABLE if fate.fault == "visitor" or fate.reason == "consent_malformed"
)
"""(outcome, reason) of what consent did not allow."""

BY_REASON = {(fate.outcome, fate.reason): fate for fate in TABLE}


class Refused(Exception):
    """One event is refused; the rest of its request goes on. The reason is one of the table's."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        if ("refused", reason) not in BY_REASON:
            raise LookupError(f"{reason!r} is not in outcomes.TABLE")
        self.reason = reason
