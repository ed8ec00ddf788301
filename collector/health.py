"""Health: what reached a tag lately, what became of it, and what its install lacks."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from collector import clock, feed, keys
from collector.clock import DAY, Clock
from collector.connections import AsyncRedis, Redis, Unavailable
from collector.feed import Seen

FLUSH_SECONDS = 1.0
PACE_SECONDS = 7_200  # for which the fates of each minute are kept: an hour's curve and some
KEPT_DAYS = 8  # a week and the day that is not over
ORIGIN = (
    "refused",
    "origin",
)  # a whole request: its events were never looked at, so it is no fate of outcomes.py


class Finding(NamedTuple):
    """Something that an install lacks: what was seen, with places for its values, and how to mend it."""

    code: str
    text: str
    mend: str
    values: Mapping[str, object] = {}

    @property
    def message(self) -> str:
        return self.text % self.values if self.values else self.text


class Content(NamedTuple):
    """What the latest events of a tag hold, whichever way they came; archive/scan.py counts it."""

    events: int = 0
    last: Mapping[str, int] = {}  # event name → Unix second of the newest receipt
    unasked: int = 0  # full consent by the tag's regime alone
    checkouts: int = 0
    without_value: int = 0  # checkouts, as the next two
    without_currency: int = 0
    without_order: int = 0
    repeated_orders: int = 0  # order ids that several checkouts have
    late: int = 0  # events of pages, a day or more after they happened
    of_pages: int = 0
    emails: Mapping[str, int] = {}  # field → events in which it holds a plain e-mail address


class Tally:
    """One edge's counts of fates by tag and day. Kept in memory for a second, then added up in Redis."""

    def __init__(self, client: AsyncRedis, now: Clock) -> None:
        self._client = client
        self._clock = now
        self._counts: dict[tuple[str, str, str], int] = {}
        self._stored: set[tuple[str, str]] = set()
        self._seen: dict[str, list[Seen]] = {}

    def count(self, tag: str, outcome: str, reason: str, events: int = 1) -> None:
        fate = tag, outcome, reason
        self._counts[fate] = self._counts.get(fate, 0) + events

    def stored(self, tag: str, event: str) -> None:
        """Note that an event of this name was stored just now."""
        self._stored.add((tag, event))

    def watches(self, tag: str) -> bool:
        """Whether the tag's feed still has room for more of this second."""
        return len(self._seen.get(tag, ())) < feed.A_SECOND

    def saw(self, tag: str, seen: list[Seen]) -> None:
        """Show events in the tag's feed."""
        self._seen.setdefault(tag, []).extend(seen)

    async def run(self) -> None:
        """Add up for ever; cancel it to stop, after which what is left has been added."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self._flush()
        finally:
            await self._flush()

    async def _flush(self) -> None:
        counts, self._counts = self._counts, {}
        stored, self._stored = self._stored, set()
        seen, self._seen = self._seen, {}
        if not counts:
            return
        now = int(self._clock())
        minute = keys.pace(now // 60)
        pipeline = self._client.pipeline(transaction=False)
        for (tag, outcome, reason), events in counts.items():
            pipeline.hincrby(keys.tally(tag, now // DAY), f"{outcome}/{reason}", events)
            pipeline.hincrby(minute, f"{outcome}/{reason}", events)
        pipeline.expire(minute, PACE_SECONDS)
        for tag, events_seen in seen.items():
            feed.append(pipeline, tag, events_seen[: feed.A_SECOND])
        for tag, event in stored:
            pipeline.hset(keys.tally(tag, now // DAY), f"last/{event}", now)
        for tag in {tag for tag, _, _ in counts}:
            pipeline.expire(keys.tally(tag, now // DAY), KEPT_DAYS * DAY)
        try:
            await pipeline.execute()
        except Unavailable:
            return  # a count for people, not the account: metrics keep that


def add(
    client: Redis, tag: str, fates: Mapping[tuple[str, str], int], now: float, stored: Iterable[str] = ()
) -> None:
    """Add the fates of what came otherwise than by an edge, as an import's: (outcome, reason) → events.

    stored: the names of the events that are on disk now.
    """
    key = keys.tally(tag, int(now) // DAY)
    pipeline = client.pipeline(transaction=False)
    for (outcome, reason), events in fates.items():
        pipeline.hincrby(key, f"{outcome}/{reason}", events)
    for event in stored:
        pipeline.hset(key, f"last/{event}", int(now))
    pipeline.expire(key, KEPT_DAYS * DAY)
    pipeline.execute()


def daily(
    client: Redis, tag: str, now: float
) -> list[tuple[int, Counter[tuple[str, str]], dict[str, int]]]:
    """(Unix day, events by outcome and reason, last second of each event name) of each day kept, oldest first."""
    today = int(now) // DAY
    days = range(today - KEPT_DAYS + 1, today + 1)
    pipeline = client.pipeline(transaction=False)
    for day in days:
        pipeline.hgetall(keys.tally(tag, day))
    found = []
    for day, tallied in zip(days, pipeline.execute(), strict=True):
        fates: Counter[tuple[str, str]] = Counter()
        last: dict[str, int] = {}
        for raw, value in tallied.items():
            kind, _, name = raw.decode().partition("/")
            if kind == "last":
                last[name] = int(value)
            else:
                fates[kind, name] = int(value)
        found.append((day, fates, last))
    return found


def plain(finding: Finding) -> dict[str, str]:
    """A finding as the API tells it."""
    return {"code": finding.code, "message": finding.message, "mend": finding.mend}


def report(
    client: Redis, tag: str, now: float, content: Content, tell: Callable[[Finding], dict[str, str]] = plain
) -> dict[str, Any]:
    """The last week of a tag: last events by name, fates by outcome and reason, and what the install lacks.

    tell: how a finding is shown.
    """
    fates: Counter[tuple[str, str]] = Counter()
    last: dict[str, int] = dict(content.last)
    for _, counted, seen in daily(client, tag, now):
        fates.update(counted)
        for name, second in seen.items():
            last[name] = max(last.get(name, 0), second)
    return {
        "tag": tag,
        "last_events": [
            {"event": name, "at": clock.iso(at)}
            for name, at in sorted(last.items(), key=lambda item: -item[1])
        ],
        "outcomes": [
            {"outcome": outcome, "reason": reason, "events": events}
            for (outcome, reason), events in sorted(fates.items())
        ],
        "looked_at": content.events,
        "findings": [tell(finding) for finding in findings(fates, last, content)],
    }


def findings(
    fates: Mapping[tuple[str, str], int], last: Mapping[str, int], content: Content
) -> list[Finding]:
    """What an install lacks, judged by a week's fates, the last second of each event name and the content. Pure."""
    found = []
    accepted = sum(events for (outcome, _), events in fates.items() if outcome == "accepted")
    consent = sum(events for (outcome, reason), events in fates.items() if reason.startswith("consent_"))
    origin, missing = fates.get(ORIGIN, 0), fates.get(("refused", "consent_missing"), 0)
    emails = ", ".join(f"{field} ({events})" for field, events in content.emails.items())
    if not fates and not content.events:
        found.append(
            Finding(
                "no_event",
                "No event has come in the last week.",
                "Paste the snippet of `collector tag snippet` before </head> of each page.",
            )
        )
    if origin:
        found.append(
            Finding(
                "origin",
                "Requests from pages whose origin the tag does not allow: %(requests)s.",
                "Add the site's origin to the tag, or take the snippet off pages that are not yours.",
                {"requests": origin},
            )
        )
    if consent and not accepted:
        found.append(
            Finding(
                "consent",
                "Events that came, all of them without consent: %(events)s.",
                "Call collect('setconsent', true), or Consent Mode's update, when the visitor agrees.",
                {"events": consent},
            )
        )
    if missing or content.unasked:
        found.append(
            Finding(
                "no_consent_signal",
                "Without any consent signal: %(refused)s refused, %(taken)s taken.",
                "Let the consent banner tell the tag: collect('consent', …), TCF or GPP; servers send «consent».",
                {"refused": missing, "taken": content.unasked},
            )
        )
    if accepted and "pagevisit" not in last:
        found.append(
            Finding("no_pagevisit", "Events come, but no page visit.", "Call collect('page') on every page.")
        )
    for code, events, lack, mend in (
        ("checkout_without_value", content.without_value, "value", "value: what was paid, as a number"),
        (
            "checkout_without_currency",
            content.without_currency,
            "currency",
            "currency: three letters, as EUR",
        ),
        ("checkout_without_order_id", content.without_order, "order_id", "order_id: the shop's own"),
    ):
        if events:
            found.append(
                Finding(
                    code,
                    "Checkouts without %(lack)s: %(events)s of %(checkouts)s.",
                    f"Send it in the event's data. {mend[0].upper()}{mend[1:]}.",
                    {"lack": lack, "events": events, "checkouts": content.checkouts},
                )
            )
    if content.repeated_orders:
        found.append(
            Finding(
                "repeated_order_id",
                "Order ids that stand in more than one checkout: %(orders)s.",
                "Send checkout once an order, not at each view of the thank-you page, and with the same event_id "
                "and visitor from page and server.",
                {"orders": content.repeated_orders},
            )
        )
    if emails:
        found.append(
            Finding(
                "plain_email",
                "Plain e-mail addresses stand in %(fields)s.",
                "Take them out of event data and visitor ids; an address belongs in user_data.em, where it is hashed.",
                {"fields": emails},
            )
        )
    if content.late > LATE_SHARE * content.of_pages:
        found.append(
            Finding(
                "late_events",
                "Events of pages that came a day or more after they happened: %(late)s of %(events)s.",
                "Send sent_at with event_time, so that the clock of a device does no harm; the tag does.",
                {"late": content.late, "events": content.of_pages},
            )
        )
    for reason, mend in MENDS.items():
        if events := fates.get(("refused", reason), 0):
            values = {"reason": reason, "events": events}
            found.append(Finding(reason, "Events refused as %(reason)s: %(events)s.", mend, values))
    return found


LATE_SHARE = 0.05  # offline queues and clocks that are wrong are fewer
MENDS = {
    "bad_time": "Send event_time in Unix seconds, not milliseconds, from a clock that is right.",
    "too_old": "Send events within 7 days, and with sent_at; older ones belong into «collector import».",
    "bad_visitor": "Leave the visitor to the tag: 32 lower-case hex digits.",
    "bad_event": "Name each event, in at most 128 bytes.",
    "bad_data": "Send event data as an object of texts and numbers.",
    "consent_malformed": "Look at what the consent banner hands to the tag: it cannot be read.",
}
