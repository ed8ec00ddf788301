"""Decision: the verdict on an event, and the seal without which no stream takes it."""

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from collector.consent import gpp, tcf
from collector.consent.bits import Unreadable
from collector.consent.signals import WORDS, Signals, flag
from collector.event import Event, StreamedEvent, decode_streamed, encode

Verdict = Literal["full", "limited", "drop", "withdrawal"]
Regime = Literal["opt_in", "opt_out"]
Mark = Literal["", "bar", "tombstone"]

_RANK: dict[Verdict, int] = {"full": 0, "limited": 1, "drop": 2, "withdrawal": 3}


class ConsentedEvent:
    """An event that may enter a stream. Only a Decision makes one: to hold it means consent was asked."""

    __slots__ = ("bare", "decision")

    bare: Event  # without what was decided
    decision: "Decision"

    def __init__(self, *_: object) -> None:
        raise TypeError("only consent.Decision makes a ConsentedEvent: use decide(…).seal(event)")

    def payload(self) -> bytes:
        """The StreamedEvent as JSON, as a stream takes it."""
        return encode(self.bare)[:-1] + self.decision.end

    @property
    def event(self) -> StreamedEvent:
        """The same as whoever reads the stream has it; for tests, as it takes as long as the rest of an append."""
        return decode_streamed(self.payload())


class Decision(NamedTuple):
    """The strictest of all signals."""

    verdict: Verdict
    refusal: str  # the reason in outcomes.TABLE when the verdict is drop or withdrawal, else ""
    mark: Mark  # what the stored event leaves on its visitor
    signals: str  # the names of the signals that spoke, joined by commas
    digest: str  # the first 16 hex digits of SHA-256 over the raw signals
    end: bytes  # how the JSON of an event goes on and ends once this is decided on it

    def seal(self, event: Event) -> ConsentedEvent:
        """The event with its verdict. Raises ValueError when the decision stores no event."""
        if self.verdict != "full" and self.verdict != "limited":
            raise ValueError(f"a {self.verdict} cannot be sealed")
        return self._sealed(event)

    def withdrawal(self, event: Event) -> ConsentedEvent:
        """The tombstone of an event's visitor: only its tag, visitor, source and receipt are kept.

        Raises ValueError when nothing was withdrawn.
        """
        if self.verdict != "withdrawal":
            raise ValueError(f"a {self.verdict} is no withdrawal")
        bare = Event(
            tag=event.tag,
            visitor=event.visitor,
            event="",
            event_id="",  # a repeat changes nothing, so there is no id to remember
            event_time=event.received_at // 1000,
            received_at=event.received_at,
            source=event.source,
        )
        return self._sealed(bare)

    def _sealed(self, event: Event) -> ConsentedEvent:
        sealed = object.__new__(ConsentedEvent)
        sealed.bare, sealed.decision = event, self
        return sealed


def decide(
    signals: Signals,
    regime: Regime,
    *,
    now: float = 0.0,
    vendor: int = 0,
    dnt: bool = True,
    event: Signals | None = None,
) -> Decision:
    """What docs/consent.md makes of the signals: the most restrictive wins; what is malformed is never a yes.

    now: Unix seconds of receipt; without a clock every TCF string is from the future, and drops. vendor: for
    whom those are read, by the IAB's list; 0 is the publisher. event: what one event says beside its request.
    dnt: whether Do Not Track counts (a setting).
    """
    speakers = (signals,) if event is None else (signals, event)
    strings = tuple(vote for each in speakers for vote in _strings(each, regime, now, vendor))
    evidence = _write(speakers)
    return (_known if len(evidence) <= _SHORT else _decide)(evidence, regime, dnt, strings)


def _decide(evidence: bytes, regime: Regime, dnt: bool, strings: "tuple[_Vote, ...]") -> Decision:
    spoken = _read(evidence)
    votes = [vote for each in spoken for rule in RULES for vote in rule(each, regime)]
    votes += strings
    agreed = any(vote.agrees for vote in votes)
    if dnt and any("yes" in (flag(each.dnt), flag(each.words.get("dnt"))) for each in spoken):
        if regime == "opt_out":
            votes.append(_Vote("limited", "dnt"))
        elif not agreed:
            votes.append(_Vote("drop", "dnt", "dnt"))
    # Also beside other signals: Global Privacy Control must not let in what opt_in keeps out without it.
    if regime == "opt_in" and not agreed:
        votes.append(_Vote("drop", "regime", "consent_missing"))
    if not votes:
        votes.append(_Vote("full", "regime"))
    worst = max(votes, key=lambda vote: _RANK[vote.verdict])  # of equals the first
    mark: Mark = ""
    if worst.verdict == "withdrawal":
        mark = "tombstone"
    elif worst.verdict == "limited" and any(vote.bars for vote in votes):
        mark = "bar"
    names = ",".join(dict.fromkeys(vote.signal for vote in votes))
    digest = hashlib.sha256(evidence).hexdigest()[:16]
    end = _End(
        verdict=worst.verdict if worst.verdict in ("full", "limited") else "none",
        mark=mark,
        consent=names,
        signals=digest,
    )
    return Decision(worst.verdict, worst.refusal, mark, names, digest, b"," + encode(end)[1:])


class _End(msgspec.Struct, omit_defaults=True):
    """What a StreamedEvent has beyond an Event, in its order."""

    verdict: str
    mark: str = ""
    consent: str = ""
    signals: str = ""


# Visitors say few different things: a look-up takes 1 µs, a decision 8. Long ones are rare and would fill memory.
# The votes of strings are part of the question, because they depend on the clock too.
_SHORT = 512  # bytes
_known = lru_cache(maxsize=4_096)(_decide)
_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(list[Signals]).decode


class _Vote(NamedTuple):
    """What one signal alone makes of the event."""

    verdict: Verdict
    signal: str
    refusal: str = ""
    bars: bool = False  # also takes the visitor's past out of every audience
    agrees: bool = False  # somebody said yes to storage, in words


_NONE: tuple[_Vote, ...] = ()


def _malformed(signal: str, regime: Regime) -> tuple[_Vote, ...]:
    if regime == "opt_in":
        return (_Vote("drop", signal, "consent_malformed"),)
    return (_Vote("limited", signal),)


def _withdraw(signals: Signals, regime: Regime) -> tuple[_Vote, ...]:
    said = flag(signals.withdraw)
    if said == "yes":
        return (_Vote("withdrawal", "withdraw", "withdrawn"),)
    return _malformed("withdraw", regime) if said == "malformed" else _NONE


def _shape(signals: Signals, regime: Regime) -> tuple[_Vote, ...]:
    if signals.consent is None or isinstance(signals.consent, dict):
        return _NONE
    return _malformed("consent", regime)


def _setconsent(signals: Signals, regime: Regime) -> tuple[_Vote, ...]:
    said = signals.words.get("setconsent")
    if said is None:
        return _NONE
    if said is True or said == "true":
        return (_Vote("full", "setconsent", agrees=True),)
    if said is False or said == "false":
        return (_Vote("withdrawal", "setconsent", "withdrawn"),)
    return _malformed("setconsent", regime)


def _consent_mode(signals: Signals, regime: Regime) -> tuple[_Vote, ...]:
    said = [signals.words.get(name) for name in WORDS]
    if said == [None, None, None]:
        return _NONE
    if said[0] is None or said[0] == "denied":  # absent beside another word counts as denied
        return (_Vote("drop", "words", "consent_denied"),)
    if any(value not in ("granted", "denied", None) for value in said):
        return _malformed("words", regime)
    return (_Vote("full" if said == ["granted"] * 3 else "limited", "words", agrees=True),)


def _gpc(signals: Signals, regime: Regime) -> tuple[_Vote, ...]:
    if signals.gpc == "yes":
        return (_Vote("limited", "gpc", bars=True),)
    return _malformed("gpc", regime) if signals.gpc == "malformed" else _NONE


def _opt_out(signals: Signals, regime: Regime) -> tuple[_Vote, ...]:
    said = flag(signals.opt_out)
    if said == "yes":
        return (_Vote("limited", "opt_out", bars=True),)
    return _malformed("opt_out", regime) if said == "malformed" else _NONE


def _opt_out_type(signals: Signals, regime: Regime) -> tuple[_Vote, ...]:
    # Limited data processing; a word that the Pinterest tag does not know is taken as one that means it.
    said = (signals.words.get("opt_out_type"), signals.opt_out_type)
    return (_Vote("limited", "opt_out_type"),) if any(value not in (None, "") for value in said) else _NONE


def _attested(signals: Signals, regime: Regime) -> tuple[_Vote, ...]:
    return (_Vote("full", "attested", agrees=True),) if signals.attested else _NONE


RULES: tuple[Callable[[Signals, Regime], tuple[_Vote, ...]], ...] = (
    _withdraw,
    _shape,
    _setconsent,
    _consent_mode,
    _gpc,
    _opt_out,
    _opt_out_type,
    _attested,
)


def _strings(signals: Signals, regime: Regime, now: float, vendor: int) -> tuple[_Vote, ...]:
    words = signals.words
    if not words or words.keys().isdisjoint(_STRINGS):
        return _NONE
    return (*_tcf(words, regime, now, vendor), *_gpp(words, regime, now, vendor))


_STRINGS = ("gdpr", "tcf", "gpp", "gpp_sid")


def _tcf(words: Mapping[str, object], regime: Regime, now: float, vendor: int) -> tuple[_Vote, ...]:
    applies, text = flag(words.get("gdpr")), words.get("tcf")
    if applies == "no":
        return _NONE
    unclear = _malformed("gdpr", regime) if applies == "malformed" else _NONE
    if text is not None and text != "":
        return (_choice("tcf", text, now, vendor), *unclear)
    return (_Vote("drop", "gdpr", "consent_missing"),) if applies == "yes" else unclear


def _choice(signal: str, text: object, now: float, vendor: int) -> _Vote:
    """A TCF string's vote. One that cannot be read, or not any more, drops in both regimes."""
    try:
        choice = tcf.read(text, vendor)
    except Unreadable:
        return _Vote("drop", signal, "consent_malformed")
    if not choice.in_force(now):
        return _Vote("drop", signal, "consent_malformed")
    if choice.purposes >= {tcf.STORE, tcf.PROFILE}:
        return _Vote("full", signal, agrees=True)
    if tcf.STORE in choice.purposes and choice.purposes & {tcf.MEASURE_ADS, tcf.RESEARCH}:
        return _Vote("limited", signal, agrees=True)
    return _Vote("drop", signal, "consent_denied")


def _gpp(words: Mapping[str, object], regime: Regime, now: float, vendor: int) -> tuple[_Vote, ...]:
    text = words.get("gpp")
    silent = text is None or text == ""
    try:
        ids = gpp.applying(words.get("gpp_sid"))
        if ids is None:
            return _NONE
        sections = {} if silent else gpp.read(text)
    except Unreadable:
        return _malformed("gpp", regime)
    votes: list[_Vote] = []
    for id_ in ids or sections:  # where nobody said which apply, all do
        section = sections.get(id_)
        if isinstance(section, gpp.UsChoice):
            votes += _us(section, regime)
        elif section is not None:
            votes.append(_choice("gpp", section, now, vendor))
        elif id_ == gpp.TCF_EU:
            if not words.get("tcf") or flag(words.get("gdpr")) == "no":  # which has it ignored
                votes.append(_Vote("drop", "gpp", "consent_missing"))
        elif not silent:
            votes += _malformed("gpp", regime)
    return tuple(votes)


def _us(choice: gpp.UsChoice, regime: Regime) -> tuple[_Vote, ...]:
    if choice.child:
        return (_Vote("drop", "gpp", "child"),)
    opted_out = (_Vote("limited", "gpp", bars=True),) if choice.opted_out else (_Vote("full", "gpp"),)
    return (*opted_out, *_malformed("gpp", regime)) if choice.odd else opted_out
