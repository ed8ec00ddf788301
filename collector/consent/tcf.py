"""TCF: a Transparency and Consent string, versions 2.2 and 2.3, to the purposes that the visitor agreed to."""

from calendar import monthrange
from datetime import UTC, datetime
from typing import NamedTuple

from collector.consent.bits import Bits, Unreadable
from collector.consent.memory import Memory

# IAB Tech Lab, «Consent string and vendor list formats v2»; IAB Europe, TCF policies.
STORE, PROFILE, MEASURE_ADS, RESEARCH = 1, 3, 7, 9  # the purposes that decide

_LONGEST = 8_192  # characters; every vendor of the list in every segment takes about 2,000
_OLDEST_POLICY = 4  # TCF 2.2; what came before counted legitimate interest for advertising
_DISCLOSURE = 1_772_323_200.0  # 2026-03-01: from here on version 2.3 demands the disclosed vendors
_MONTHS = 13  # the policies' life of a choice

_PURPOSES = 24
_DISCLOSED, _ALLOWED, _PUBLISHER = 1, 2, 3  # types of segment
_REQUIRE_CONSENT = 1  # the one restriction that leaves consent as the legal basis


class Choice(NamedTuple):
    """What a string says, whatever the time. Times are Unix seconds."""

    purposes: frozenset[int]  # agreed to, for the publisher or for the vendor that was asked for
    since: float
    until: float

    def in_force(self, now: float) -> bool:
        """Neither from the future nor outdated."""
        return self.since <= now < self.until


def read(text: object, vendor: int = 0) -> Choice:
    """The choice in a string; vendor 0 asks for the publisher's own segment. Raises Unreadable.

    Also for what is well-formed and yet worth nothing: another version, a policy from before TCF 2.2, no
    disclosed vendors where they are due. Legitimate interest is no consent and is not looked at.
    """
    if not isinstance(text, str) or len(text) > _LONGEST or not text.isascii():
        raise Unreadable("no TCF string")
    return _remembered(text, vendor)


def _read(text: str, vendor: int) -> Choice:
    core, *others = text.split(".")
    bits = Bits(core)
    if bits.take(6) != 2:
        raise Unreadable("not version 2")
    created, updated = bits.take(36) / 10, bits.take(36) / 10
    bits.take(12 + 12 + 6 + 12 + 12)  # CMP, its version and screen, language, vendor list
    if bits.take(6) < _OLDEST_POLICY:
        raise Unreadable("an outdated policy")
    bits.take(1 + 1 + 12)  # service specific, own texts, special features
    purposes = _purposes(bits)
    bits.take(_PURPOSES + 1 + 12)  # legitimate interest, treatment of purpose one, country
    agreed = _holds(bits, vendor)
    _holds(bits, vendor)  # legitimate interest
    purposes -= _restricted(bits, vendor)
    filling = bits.close()

    segments = _segments(others)
    if created >= _DISCLOSURE and _DISCLOSED not in segments:
        raise Unreadable("without disclosed vendors")
    publisher: frozenset[int] = frozenset()
    for kind, segment in segments.items():
        if kind == _PUBLISHER:
            publisher = _purposes(segment)
            segment.take(_PURPOSES)
            segment.take(2 * segment.take(6))  # the publisher's custom purposes
        elif not _holds(segment, vendor) and kind == _DISCLOSED:
            agreed = False  # whom the visitor was not shown, the visitor did not choose
        filling &= segment.close()
    if not filling:  # one encoder fills all segments alike, so this one was cut
        raise Unreadable("truncated")
    if vendor == 0:
        purposes = publisher
    elif not agreed:
        purposes = frozenset()
    return Choice(purposes, max(created, updated), _expiry(min(created, updated)))


_remembered = Memory(_read, 4_096)


def _segments(texts: list[str]) -> dict[int, Bits]:
    segments: dict[int, Bits] = {}
    for text in texts:
        bits = Bits(text)
        kind = bits.take(3)
        if kind not in (_DISCLOSED, _ALLOWED, _PUBLISHER) or kind in segments:
            raise Unreadable("an unknown or repeated segment")
        segments[kind] = bits
    return segments


def _purposes(bits: Bits) -> frozenset[int]:
    field = bits.take(_PURPOSES)
    return frozenset(number for number in range(1, _PURPOSES + 1) if field >> (_PURPOSES - number) & 1)


def _holds(bits: Bits, vendor: int) -> bool:
    """Whether the vendor is among those listed; all are read, so that the list is known to be sound."""
    last = bits.take(16)
    if bits.take(1):
        return _ranges(bits, vendor, last)
    field = bits.take(last)
    return 0 < vendor <= last and bool(field >> (last - vendor) & 1)


def _ranges(bits: Bits, vendor: int, last: int) -> bool:
    found = False
    for first, final in bits.spans(bits.take(12)):
        if not 0 < first <= final <= last:
            raise Unreadable("a range that is none")
        if first <= vendor <= final:
            found = True
    return found


def _restricted(bits: Bits, vendor: int) -> set[int]:
    """The purposes for which the publisher does not let the vendor rely on consent."""
    purposes = set()
    for _ in range(bits.take(12)):
        purpose, kind = bits.take(6), bits.take(2)
        if _ranges(bits, vendor, 0xFFFF) and kind != _REQUIRE_CONSENT:
            purposes.add(purpose)
    return purposes


def _expiry(time: float) -> float:
    then = datetime.fromtimestamp(time, UTC)
    years, month = divmod(then.month - 1 + _MONTHS, 12)
    year, month = then.year + years, month + 1
    return then.replace(year=year, month=month, day=min(then.day, monthrange(year, month)[1])).timestamp()
