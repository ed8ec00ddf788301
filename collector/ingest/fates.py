"""Fates: what becomes of each event of a request, sealed or refused with its reason. Pure."""

from operator import attrgetter

import msgspec

from collector.consent import ConsentedEvent, Decision, Signals, decide
from collector.event import Event, Source
from collector.ingest import normalise, visitor
from collector.ingest.wire import Request, Sent
from collector.outcomes import Refused
from collector.settings import Settings
from collector.tags import Tag


class Result(msgspec.Struct, gc=False):
    """What the sender is told of one event."""

    event_id: str
    outcome: str
    reason: str


class Submission(msgspec.Struct, frozen=True, gc=False):
    """A request that was let in, with all that its fates depend on."""

    request: Request
    tag: Tag
    source: Source
    signals: Signals
    now: float  # Unix seconds of receipt
    settings: Settings
    secret: bytes  # the installation's
    automaton: str = ""  # "bot" or "prefetch" when no person stands behind it
    cookie: str = ""  # the browser's own id for this visitor
    user_agent: str = ""  # family and major version
    oversized: frozenset[int] = frozenset()  # places of events that are too large
    may_hold_nul: bool = True


_fate = attrgetter("outcome", "reason")


class Fates:
    """The fates of a request's events: `results` in request order, `sealed` what has to be appended."""

    __slots__ = ("_at", "_erased", "results", "sealed", "visitor", "withdrawn")

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.sealed: list[ConsentedEvent] = []
        self.visitor = ""  # the browser id to keep in the cookie; "" if consent allows none
        self.withdrawn = False
        self._erased: set[str] = set()
        self._at: list[int] = []  # for each of sealed its place in results, -1 for a withdrawal

    def refuse(self, event_id: str, reason: str) -> None:
        self.results.append(Result(event_id, "refused", reason))

    def seal(self, event: Event, decision: Decision) -> None:
        self._at.append(len(self.results))
        self.sealed.append(decision.seal(event))
        self.results.append(Result(event.event_id, "accepted", decision.verdict))

    def withdraw(self, event: Event, decision: Decision) -> None:
        self.withdrawn = True
        if event.visitor not in self._erased:
            self._erased.add(event.visitor)
            self._at.append(-1)
            self.sealed.append(decision.withdrawal(event))

    def settle(self, stored: list[bool | None]) -> bool:
        """Write down what the streams said of `sealed`: True appended, False a duplicate, None not stored.

        Returns whether anything that had to be stored was, so that the answer may be a 2xx.
        """
        if all(stored):
            return True
        for place, appended in zip(self._at, stored, strict=True):
            if place < 0 or appended:
                continue
            result = self.results[place]
            result.outcome, result.reason = (
                ("retry", "unavailable") if appended is None else ("duplicate", "event_id")
            )
        withdrawn = all(
            appended is not None for place, appended in zip(self._at, stored, strict=True) if place < 0
        )
        return withdrawn and (not stored or any(appended is not None for appended in stored))

    def stored(self) -> set[str]:
        """The names of the events that are on disk now."""
        return {
            sealed.bare.event
            for sealed, place in zip(self.sealed, self._at, strict=True)
            if place >= 0 and self.results[place].outcome == "accepted"
        }

    def events(self) -> dict[int, ConsentedEvent]:
        """What was sealed of the request's events, by their place in it."""
        return {place: sealed for sealed, place in zip(self.sealed, self._at, strict=True) if place >= 0}

    def counts(self) -> dict[tuple[str, str], int]:
        """How many events met each fate, the withdrawals among them: (outcome, reason) → events."""
        counts: dict[tuple[str, str], int] = {}
        fates = list(map(_fate, self.results)) + [("accepted", "withdrawn")] * self._at.count(-1)
        for fate in fates:
            counts[fate] = counts.get(fate, 0) + 1
        return counts


def judge(submission: Submission) -> Fates:
    """Decide on every event of the request, each for itself: one bad event never takes the others down.

    Raises Refused for a withdrawal without events whose visitor cannot be read: no result could say so.
    """
    fates = Fates()
    settings, request = submission.settings, submission.request
    decision = decide(
        submission.signals,
        submission.tag.regime,
        now=submission.now,
        vendor=settings.tcf_vendor_id,
        dnt=settings.dnt,
    )
    shared = Shared(submission, decision)
    if decision.verdict == "withdrawal":
        shared.withdraw(fates)
    for place, raw in enumerate(request.events):
        event_id = ""
        try:
            if type(raw) is not Sent:
                raise Refused("bad_event")
            event_id = normalise.identifier(raw)
            if place in submission.oversized:
                raise Refused("too_large")
            shared.take(raw, event_id, fates)
        except Refused as refused:
            fates.refuse(event_id or visitor.mint(), refused.reason)
    return fates


class Shared:
    """What the events of one request have in common, worked out once."""

    def __init__(self, submission: Submission, decision: Decision) -> None:
        self._submission = submission
        self._decision = decision
        self._server = submission.source != "web"
        self._normaliser = normalise.Normaliser(
            tag=submission.tag.id,
            source=submission.source,
            now=submission.now,
            settings=submission.settings,
            sent_at=submission.request.sent_at,
            user_agent=submission.user_agent,
            may_hold_nul=submission.may_hold_nul,
        )
        self._identities: dict[str, str] = {}
        self._click_ids: dict[str, str] = {}
        self._refusal: Refused | None = None
        try:
            self._identities = visitor.identities(submission.request.user_data)
            self._click_ids = normalise.click_ids(submission.request.click_ids)
        except Refused as refused:
            self._refusal = refused
        self._browser = ""

    def take(self, raw: Sent, event_id: str, fates: Fates) -> None:
        """Seal one event, or raise Refused."""
        it = self._submission
        decision = self._decide(raw)
        if it.automaton and decision.verdict != "withdrawal":
            raise Refused(it.automaton)
        if decision.verdict == "drop":
            raise Refused(decision.refusal)
        if self._refusal is not None:
            raise self._refusal
        identities, click_ids = self._identities, self._click_ids
        if self._server and raw.user_data is not None:
            identities = identities | visitor.identities(raw.user_data)
        if raw.click_ids is not None:
            click_ids = click_ids | normalise.click_ids(raw.click_ids)
        who = self._visitor(raw, identities, decision)
        if decision.verdict == "withdrawal":
            fates.withdraw(self._event(who), decision)
            raise Refused("withdrawn")
        fates.seal(self._normaliser.event(raw, who, event_id, identities, click_ids), decision)
        if decision.verdict == "full" and not self._server:
            fates.visitor = who

    def withdraw(self, fates: Fates) -> None:
        """Withdraw for the request's own visitor, if it names one; events of a server name theirs."""
        try:
            fates.withdraw(self._event(self._visitor(Sent(), self._identities, self._decision)), self._decision)
        except Refused as refused:
            if refused.reason == "bad_visitor" and not self._submission.request.events:
                raise
            fates.withdrawn = True  # nobody to erase: the cookie goes all the same

    def _event(self, who: str) -> Event:
        it = self._submission
        return Event(
            tag=it.tag.id,
            visitor=who,
            event="",
            event_id="",
            event_time=int(it.now),
            received_at=int(it.now * 1000),
            source=it.source,
        )

    def _decide(self, raw: Sent) -> Decision:
        inside = raw.data
        opt_out_type = inside.get("opt_out_type") if isinstance(inside, dict) else None
        if opt_out_type is None and raw.consent is None and raw.opt_out is None:
            return self._decision
        own = Signals(consent=raw.consent, opt_out=raw.opt_out, opt_out_type=opt_out_type)
        it = self._submission
        return decide(
            it.signals,
            it.tag.regime,
            now=it.now,
            vendor=it.settings.tcf_vendor_id,
            dnt=it.settings.dnt,
            event=own,
        )

    def _visitor(self, raw: Sent, identities: dict[str, str], decision: Decision) -> str:
        it = self._submission
        if self._server:
            given = raw.visitor or it.request.visitor
            return visitor.of_server(given, identities, it.tag.id, it.secret)
        self._browser = self._browser or visitor.of_browser(it.request.visitor, it.cookie)
        if not self._browser:
            if decision.verdict != "full":
                raise Refused("no_visitor")
            self._browser = visitor.mint()
        return self._browser
