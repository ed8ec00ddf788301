"""Health: what reached a tag lately, what became of it, and what its install lacks."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from collector import clock, keys
from collector.clock import DAY, Clock
from collector.connections import AsyncRedis, Redis, Unavailable

FLUSH_SECONDS = 1.0
KEPT_DAYS = 8  # a week and the day that is not over
ORIGIN = (
    "refused",
    "origin",
)  # a whole request: its events were never looked at, so it is no fate of outcomes.py


class Finding(NamedTuple):
    """Something that an install lacks: what was seen, and how to mend it."""

    code: str
    message: str
    mend: str


class Tally:
    """One edge's counts of fates by tag and day. Kept in memory for a second, then added up in Redis."""

    def __init__(self, client: AsyncRedis, now: Clock) -> None:
        self._client = client
        self._clock = now
        self._counts: dict[tuple[str, str, str], int] = {}
        self._stored: set[tuple[str, str]] = set()

    def count(self, tag: str, outcome: str, reason: str, events: int = 1) -> None:
        fate = tag, outcome, reason
        self._counts[fate] = self._counts.get(fate, 0) + events

    def stored(self, tag: str, event: str) -> None:
        """Note that an event of this name was stored just now."""
        self._stored.add((tag, event))

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
        if not counts:
            return
        now = int(self._clock())
        pipeline = self._client.pipeline(transaction=False)
        for (tag, outcome, reason), events in counts.items():
            pipeline.hincrby(keys.tally(tag, now // DAY), f"{outcome}/{reason}", events)
        for tag, event in stored:
            pipeline.hset(keys.tally(tag, now // DAY), f"last/{event}", now)
        for tag in {tag for tag, _, _ in counts}:
            pipeline.expire(keys.tally(tag, now // DAY), KEPT_DAYS * DAY)
        try:
            await pipeline.execute()
        except Unavailable:
            return  # a count for people, not the account: metrics keep that


def report(client: Redis, tag: str, now: float) -> dict[str, Any]:
    """The last week of a tag: last events by name, fates by outcome and reason, and what the install lacks."""
    today = int(now) // DAY
    fates: Counter[tuple[str, str]] = Counter()
    last: dict[str, int] = {}
    for day in range(today - KEPT_DAYS + 1, today + 1):
        for raw, value in client.hgetall(keys.tally(tag, day)).items():
            kind, _, name = raw.decode().partition("/")
            if kind == "last":
                last[name] = max(last.get(name, 0), int(value))
            else:
                fates[kind, name] += int(value)
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
        "findings": [finding._asdict() for finding in findings(fates, last)],
    }


def findings(fates: Mapping[tuple[str, str], int], last: Mapping[str, int]) -> list[Finding]:
    """What an install lacks, judged by a week's fates and the last second of each event name. Pure."""
    found = []
    accepted = sum(events for (outcome, _), events in fates.items() if outcome == "accepted")
    consent = sum(events for (outcome, reason), events in fates.items() if reason.startswith("consent_"))
    if not fates:
        found.append(
            Finding(
                "no_event",
                "No event has come in the last week.",
                "Paste the snippet of `collector tag snippet` before </head> of each page.",
            )
        )
    if origin := fates.get(ORIGIN, 0):
        found.append(
            Finding(
                "origin",
                f"{origin} requests came from pages whose origin the tag does not allow.",
                "Add the site's origin to the tag, or take the snippet off pages that are not yours.",
            )
        )
    if consent and not accepted:
        found.append(
            Finding(
                "consent",
                f"All {consent} events lacked consent.",
                "Call collect('setconsent', true), or Consent Mode's update, when the visitor agrees.",
            )
        )
    if accepted and "pagevisit" not in last:
        found.append(
            Finding("no_pagevisit", "Events come, but no page visit.", "Call collect('page') on every page.")
        )
    for reason, mend in MENDS.items():
        if events := fates.get(("refused", reason), 0):
            found.append(Finding(reason, f"{events} events were refused as {reason}.", mend))
    return found


MENDS = {
    "bad_time": "Send event_time in Unix seconds, not milliseconds, from a clock that is right.",
    "bad_visitor": "Leave the visitor to the tag: 32 lower-case hex digits.",
    "bad_event": "Name each event, in at most 128 bytes.",
    "bad_data": "Send event data as an object of texts and numbers.",
    "consent_malformed": "Look at what the consent banner hands to the tag: it cannot be read.",
}
