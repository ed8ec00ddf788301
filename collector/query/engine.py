"""Engine: every question about audiences and visitors, answered from live columns or from the archive."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args

from collector import clock, health, keys
from collector.archive import proof
from collector.archive.breakdown import Breakdown, breakdown, verdicts
from collector.archive.insight import Insight
from collector.archive.scan import Archive
from collector.audience import rules
from collector.audience.columns import Known
from collector.audience.registry import LEAST, Audience, Registry, Standing
from collector.audience.sizes import Sizes
from collector.clock import DAY, Clock
from collector.connections import Redis
from collector.event import StreamedEvent
from collector.health import Content, Finding
from collector.query.membership import since
from collector.settings import Settings
from collector.stream import pending
from collector.stream.partitions import Installation
from collector.stream.pending import Pending

Identity = Literal["visitor", "em_sha256", "maid", "epik"]
IDENTITIES: tuple[Identity, ...] = get_args(Identity)
SPARED = 20  # times as long as a look at a tag's events took, that look is good for: who asks on takes 5 % of a core
COLUMNS = {"em_sha256": "em", "maid": "maid", "epik": "epik"}


class BadQuestion(ValueError):
    """A question that has no answer. `field` is the parameter; the message what is wrong and how to mend it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Traffic(NamedTuple):
    """A tag's last week: see archive/breakdown.py."""

    parts: Breakdown
    verdicts: list[tuple[int, str, str, int]]


class NotReady(Exception):
    """An audience is still being filled: its members are not known. The message says how far it is, and the mend."""


class Engine:
    """Answers questions. Blocks, and is safe to use from several threads.

    Every method raises connections.Unavailable when Redis cannot answer.
    """

    def __init__(
        self, client: Redis, installation: Installation, settings: Settings, clock: Clock = clock.system
    ) -> None:
        self.client = client
        self.registry = Registry(client, installation, settings, clock)
        self._installation = installation
        self._settings = settings
        self.clock = clock
        self._sizes = Sizes(client, installation)
        self._archive = Archive(client, installation, settings)
        self.insight = Insight(self._archive)
        self._traffic: dict[str, tuple[float, Traffic]] = {}  # as the next
        self._content: dict[str, tuple[float, Content]] = {}  # tag → until when it is fresh, and what was seen
        self._ready: set[tuple[str, int, bytes]] = set()  # a few hundred bytes for each audience and edit

    def describe(self, audiences: Sequence[Audience]) -> list[dict[str, Any]]:
        """Audiences as the API shows them: the record, how far it is, and its size now."""
        return [
            self._described(audience, standing)
            for audience, standing in zip(audiences, self.registry.standings(audiences), strict=True)
        ]

    def size(
        self, audience: Audience, lookback_days: int | None = None, as_of: str | None = None
    ) -> tuple[int | None, int]:
        """(size, the whole second used): now from the columns, at a past instant from the archive.

        The size now is None until the columns are filled: a number would be wrong, and nobody could see it.
        Raises rules.RuleError for a lookback that the rule cannot take, BadQuestion for an instant without an answer.
        """
        at = self._instant(as_of)
        if as_of is None:
            question = audience.question(at, lookback_days)
            try:
                self.need_ready(audience)
            except NotReady:
                return None, at
            return self._sizes.size(audience.tag, question), at
        rule = audience.parsed()
        floor = 0 if rule.prefill else audience.created_at
        return self._archive.size(audience.tag, rule, at=at, floor=floor, lookback=lookback_days), at

    def curve(self, audience: Audience) -> tuple[list[int], int]:
        """(the size now at each lookback from 1 to 540 days, the whole second used).

        Raises NotReady, and rules.RuleError for a rule without a main condition.
        """
        self.need_ready(audience)
        at = self._instant(None)
        rule = audience.parsed()
        floor = 0 if rule.prefill else audience.created_at
        return self._sizes.curve(audience.tag, rule, at=at, floor=floor), at

    def preview(self, tag: str, rule: object, as_of: str | None = None) -> tuple[int, int]:
        """(size, the whole second used) of a rule that nobody saved. Without past traffic it starts now, at 0.

        Raises rules.RuleError, BadQuestion.
        """
        parsed = rules.parse(rule)
        at = self._instant(as_of)
        floor = 0 if parsed.prefill else int(self.clock())
        return self._archive.size(tag, parsed, at=at, floor=floor), at

    def members(
        self, audience: Audience, kind: Identity, cursor: str = ""
    ) -> Iterator[tuple[str, list[str]]]:
        """(cursor of what comes next, members) run by run, from a cursor on; the last cursor is empty.

        Identities other than the visitor's id are joined from the archive: the ones seen with full consent.
        Raises NotReady.
        """
        self.need_ready(audience)
        return self._members(audience, kind, cursor)

    def _members(self, audience: Audience, kind: Identity, cursor: str) -> Iterator[tuple[str, list[str]]]:
        question = audience.question(self._instant(None))
        for following, visitors in self._sizes.members(audience.tag, question, cursor):
            if kind == "visitor" or not visitors:
                yield following, visitors
            else:
                yield following, self._archive.identities(audience.tag, visitors, COLUMNS[kind])

    def overlap(self, audiences: Sequence[Audience]) -> tuple[list[list[int]], int]:
        """(pairwise sizes, the whole second used) of audiences of one tag. Raises BadQuestion, NotReady."""
        if len({audience.tag for audience in audiences}) != 1:
            raise BadQuestion(
                "ids", "must be audiences of one tag: visitors of two sites are not comparable."
            )
        for audience in audiences:
            self.need_ready(audience)
        at = self._instant(None)
        return self._sizes.overlap(audiences[0].tag, [audience.question(at) for audience in audiences]), at

    def visitor(self, tag: str, visitor: str) -> dict[str, Any]:
        """All that is known of a visitor: audiences with dates, consent, events. Raises BadQuestion for none."""
        _check_named(visitor)
        at = self._instant(None)
        events = self._archive.events(tag, visitor)
        audiences = self.registry.all(tag)
        questions = [audience.question(at) for audience in audiences]
        found = self._sizes.has(tag, visitor, questions)
        known = self._known(tag, visitor)
        return {
            "tag": tag,
            "visitor": visitor,
            "audiences": [
                {
                    "id": audience.id,
                    "name": audience.name,
                    "since": None if (first := since(question, events, known.barred)) is None else clock.iso(first),
                    "last_match": clock.iso(last),
                }
                for audience, question, (member, last) in zip(audiences, questions, found, strict=True)
                if member
            ],
            "consent": _consent(events),
            "events": [_event(event) for event in events],
            "consent_records": proof.find(self._settings.archive, tag, "consent", self._name(tag, visitor)),
            "erasures": self.erasures(tag, visitor),
        }

    def holds(self, tag: str, visitor: str) -> bool:
        """Whether anything is kept of a visitor: an event, or a match that outlived its event."""
        return self._known(tag, visitor).ordinal >= 0 or bool(self._archive.events(tag, visitor))

    def _known(self, tag: str, visitor: str) -> Known:
        columns = self.registry.columns[self._installation.partition(tag, visitor)]
        _, (known,) = columns.resolve(tag, [columns.identity(tag, visitor)])
        return known

    def health(self, tag: str, tell: Callable[[Finding], dict[str, str]] = health.plain) -> dict[str, Any]:
        """The last week of a tag, as health.report has it. What its events hold is looked at anew now and then."""
        until, content = self._content.get(tag, (0.0, Content()))
        if (start := time.monotonic()) >= until:
            content = self._archive.content(tag, self.clock())
            end = time.monotonic()
            self._content[tag] = end + (end - start) * SPARED, content
        return health.report(self.client, tag, self.clock(), content, tell)

    def traffic(self, tag: str) -> Traffic:
        """What was stored of a tag in the last week, looked at anew now and then."""
        until, traffic = self._traffic.get(tag) or (0.0, None)
        if (start := time.monotonic()) >= until or traffic is None:
            now = self.clock()
            traffic = Traffic(breakdown(self._archive, tag, now), verdicts(self._archive, tag, now))
            end = time.monotonic()
            self._traffic[tag] = end + (end - start) * SPARED, traffic
        return traffic

    def received(self, tag: str, event: str, at: int) -> list[dict[str, Any]]:
        """What is kept of the events of this name that came in this Unix millisecond, as visitor() shows them."""
        return [_event(each) | {"method": each.consent} for each in self._archive.received(tag, event, at)]

    def mark(self, tag: str, visitor: str) -> str:
        """The name of a visitor in proofs and logs."""
        return self._name(tag, visitor)

    def erase(self, tag: str, visitor: str, *, now: bool = False) -> int:
        """Erase a visitor up to this second, which is returned: out of every audience at once.

        What files still hold goes within 24 h, and without delay when `now` says so. Raises BadQuestion for none.
        """
        _check_named(visitor)
        until = int(self.clock())
        columns = self.registry.columns[self._installation.partition(tag, visitor)]
        columns.forget(tag, visitor, "tombstone", until)
        if now:
            self.client.set(keys.ERASE_NOW, until)
        return until

    def erasures(self, tag: str, visitor: str | None = None) -> list[dict[str, Any]]:
        """The erasures of a tag or of one visitor: those with a proof, then those that wait for it, with what for."""
        name = "" if visitor is None else self._name(tag, visitor)
        waiting = pending.all_of(self.client, range(self._installation.partitions))
        proven = proof.find(self._settings.archive, tag, "erasure", name)
        return [
            *({**record, "waits_for": None} for record in sorted(proven, key=lambda one: one["asked_at"])),
            *(
                _pending(each)
                for some in waiting.values()
                for each in sorted(some, key=lambda each: each.asked)
                if each.tag == tag and name in ("", keys.visitor_name(each.mark))
            ),
        ]

    def _name(self, tag: str, visitor: str) -> str:
        return keys.visitor_name(keys.visitor_mark(self._installation.secret, tag, visitor))

    def need_ready(self, audience: Audience) -> None:
        """Raises NotReady while the columns do not answer for an audience yet. What is ready stays so."""
        version = (audience.id, audience.updated_at, bytes(audience.rule))
        if version in self._ready:
            return
        (standing,) = self.registry.standings([audience])
        if standing.status != "READY":
            raise NotReady(f"Audience {audience.id} is {standing.status}. {standing.reason} Mend: {standing.mend}")
        self._ready.add(version)

    def _instant(self, as_of: str | None) -> int:
        now = self.clock()
        if as_of is None:
            return int(now)
        try:
            at = clock.parse_iso(as_of)
        except ValueError:
            raise BadQuestion(
                "as_of", "is no ISO 8601 instant. Mend: write it as 2026-11-21T00:00:00Z."
            ) from None
        if at < 0:
            raise BadQuestion("as_of", "lies before 1970, and so before any event.")
        if at > now:
            raise BadQuestion("as_of", "lies in the future. Mend: leave it out for now.")
        days = self._settings.retention_days
        if days and at < now - days * DAY:
            raise BadQuestion("as_of", f"lies before what the archive keeps ({days} days).")
        return int(at)

    def _described(self, audience: Audience, standing: Standing) -> dict[str, Any]:
        size = at = None
        status, reason, mend = standing.status, standing.reason, standing.mend
        if status == "READY":
            at = self._instant(None)
            size = self._sizes.size(audience.tag, audience.question(at))
            if size < LEAST:
                status = "TOO_SMALL"
                reason = f"It has {size} of the {LEAST} members that ad platforms ask for."
                mend = "Widen the lookback or the conditions, or wait for more visitors."
        return {
            "id": audience.id,
            "tag": audience.tag,
            "name": audience.name,
            "description": audience.description,
            "rule": rules.to_json(audience.parsed()),
            "status": status,
            "reason": reason or None,
            "mend": mend or None,
            "progress": round(standing.progress, 4),
            "size": size,
            "size_as_of": None if at is None else clock.iso(at),
            "created_at": clock.iso(audience.created_at),
            "updated_at": clock.iso(audience.updated_at),
        }


def history(registry: Registry, audience: Audience) -> list[dict[str, Any]]:
    """The recorded sizes as the API shows them, oldest first."""
    return [{"at": clock.iso(at), "size": size} for at, size in registry.history(audience)]


def _check_named(visitor: str) -> None:
    """Raises BadQuestion for nobody: a script would believe that all is gone."""
    if not visitor:
        raise BadQuestion("visitor", "is empty. Mend: name the id of the cookie, or of your back end.")


def _pending(each: Pending) -> dict[str, Any]:
    """An erasure without its proof, in the shape of one that has it."""
    return {
        "record": None,
        "visitor": keys.visitor_name(each.mark),
        "asked_at": clock.iso(each.asked),
        "rows_gone_at": clock.iso(each.swept) if each.swept else None,
        "files_rewritten_at": None,
        "waits_for": "append_only_file" if each.swept else "archive_and_stream",
    }


def _consent(events: Sequence[StreamedEvent]) -> list[dict[str, Any]]:
    """The verdicts over time: one row each time that verdict or reasons changed."""
    changes: list[dict[str, Any]] = []
    for event in sorted(events, key=lambda event: event.received_at):
        row = {"verdict": event.verdict, "method": event.consent}
        if not changes or any(changes[-1][key] != value for key, value in row.items()):
            changes.append({"at": clock.iso(event.received_at / 1000), **row})
    return changes


def _event(event: StreamedEvent) -> dict[str, Any]:
    """An event as the subject of it may read it: what is absent is left out."""
    shown: dict[str, Any] = {
        "event": event.event,
        "event_id": event.event_id,
        "event_time": clock.iso(event.event_time),
        "received_at": clock.iso(event.received_at / 1000),
        "source": event.source,
        "consent": event.verdict,
        "url": event.url,
        "referrer": event.referrer,
        "data": {**event.data, **({"line_items": event.line_items} if event.line_items else {})},
        "user_data": event.user_data,
        "click_ids": event.click_ids,
        "action_source": event.action_source,
        "user_agent": event.user_agent,
    }
    return {name: value for name, value in shown.items() if value}
