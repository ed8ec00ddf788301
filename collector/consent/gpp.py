"""GPP: a Global Privacy Platform string, to what each of its sections says."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from collector.consent.bits import Bits, Unreadable
from collector.consent.memory import Memory

# IAB Tech Lab, «Global Privacy Platform»: consent string specification and the sections of the US states.
TCF_EU = 2  # the section that holds a TCF string
_NOT_APPLICABLE, _UNDETERMINED = -1, 0  # instead of section ids

_LONGEST = 8_192  # characters, as for a TCF string
_MOST = 64  # sections; the list of 2026 ends with 27
_USP = 6  # the one section that is plain text
_usp = re.compile(r"1[YN-]([YN-])[YN-]").fullmatch
_sid = re.compile(r"-1|[0-9]{1,3}").fullmatch

# The core of each US section after its version: a letter a field of two bits. o: opt-out of sale, sharing
# or targeted advertising; c: consent for a known child's data; -: anything else.
_NATIONAL = "------ooo" + 16 * "-" + "ccc----"
_NATIONAL_OF_2022 = "------ooo" + 12 * "-" + "cc----"  # 66 bits at most, whichever version they claim
_CORES = {
    7: _NATIONAL,
    8: "---oo" + 9 * "-" + "cc----",  # California
    9: "---oo" + 8 * "-" + "c---",  # Virginia
    10: "---oo" + 7 * "-" + "c---",  # Colorado
    11: "----oo" + 8 * "-" + "c---",  # Utah
    12: "---oo" + 8 * "-" + "ccc---",  # Connecticut
    13: "---oo" + 8 * "-" + "ccc----",  # Florida
    14: "---oo" + 8 * "-" + "ccc----",  # Montana
    15: "---oo" + 11 * "-" + "ccc----",  # Oregon
    16: "---oo" + 8 * "-" + "c----",  # Texas
    17: "---oo" + 9 * "-" + "ccccc----",  # Delaware
    18: "----oo" + 8 * "-" + "c---",  # Iowa
    19: "---oo" + 8 * "-" + "c----",  # Nebraska
    20: "---oo" + 8 * "-" + "ccc----",  # New Hampshire
    21: "---oo" + 10 * "-" + "ccccc----",  # New Jersey
    22: "---oo" + 8 * "-" + "c----",  # Tennessee
    23: "---oo" + 8 * "-" + "c----",  # Minnesota
    24: "-----oo-",  # Maryland
    25: "-----ooc-",  # Indiana
    26: "-----ooc-",  # Kentucky
    27: "-----ooc-",  # Rhode Island
}
_SENSITIVE = {25, 26, 27}  # where the second segment is sensitive data and not the Gpc subsection


class UsChoice(NamedTuple):
    """What a US section says."""

    opted_out: bool  # of sale, sharing or targeted advertising, or Global Privacy Control
    child: bool  # says anything but «not applicable» of a known child
    odd: bool  # an opt-out has the value that means nothing


Sections = Mapping[int, UsChoice | str | None]


def applying(value: object) -> frozenset[int] | None:
    """gpp_sid, as a list or as text: the sections that apply; empty when nobody said, None when GPP does not.

    Raises Unreadable.
    """
    if value is None or value == "":
        return frozenset()
    if isinstance(value, str):
        value = re.split("[,_]", value)
    given = value if isinstance(value, list) else [value]
    if len(given) > _MOST:
        raise Unreadable("too many sections")
    ids = set()
    for each in given:
        if isinstance(each, bool) or not isinstance(each, int | str) or _sid(str(each).strip()) is None:
            raise Unreadable("no section id")
        ids.add(int(each))
    if ids == {_NOT_APPLICABLE}:
        return None
    return frozenset() if _UNDETERMINED in ids else frozenset(ids - {_NOT_APPLICABLE})


def read(text: object) -> Sections:
    """Each section by its id: a US choice, the TCF string of section 2, None where it cannot be read.

    Raises Unreadable when not even the list of sections can.
    """
    if not isinstance(text, str) or len(text) > _LONGEST or not text.isascii():
        raise Unreadable("no GPP string")
    return _remembered(text)


def _read(text: str, _: int) -> Sections:
    header, *sections = text.split("~")
    ids = _ids(header, len(sections))
    return dict(zip(ids, map(_section, ids, sections), strict=True))


def _ids(header: str, count: int) -> list[int]:
    """The ids that a header lists, which are as many as there are sections."""
    if count > _MOST:
        raise Unreadable("too many sections")
    bits = Bits(header)
    if (bits.take(6), bits.take(6)) != (3, 1):
        raise Unreadable("not version 1")
    ids: list[int] = []
    last = 0
    for _ in range(bits.take(12)):
        is_range = bits.take(1)
        first = last + _fibonacci(bits)
        last = first + _fibonacci(bits) if is_range else first
        if len(ids) + last - first >= count:
            raise Unreadable("fewer sections than ids")
        ids += range(first, last + 1)
    bits.close()
    if len(ids) != count:
        raise Unreadable("more sections than ids")
    return ids


def _fibonacci(bits: Bits) -> int:
    """A number ≥ 1 as a sum of Fibonacci numbers, the least first; two ones in a row end it."""
    number, step, following, before = 0, 1, 2, 0
    while not (one := bits.take(1)) & before:
        number += step * one
        step, following, before = following, step + following, one
        if step > 0xFFFF:
            raise Unreadable("no section id")
    return number


def _section(id_: int, text: str) -> UsChoice | str | None:
    if id_ == TCF_EU:
        return text
    try:
        if id_ == _USP:
            return _us_privacy(text)
        return _us(id_, text) if id_ in _CORES else None
    except Unreadable:
        return None


def _us_privacy(text: str) -> UsChoice:
    found = _usp(text)
    if found is None:
        raise Unreadable("no US Privacy string")
    return UsChoice(found[1] == "Y", child=False, odd=False)


def _us(id_: int, text: str) -> UsChoice:
    core, *others = text.split(".")
    bits = Bits(core)
    version = bits.take(6)
    if version != 1 and (id_, version) != (7, 2):
        raise Unreadable("an unknown version")
    layout = _CORES[id_]
    if layout is _NATIONAL and version == 1 and len(core) <= 11:
        layout = _NATIONAL_OF_2022
    fields = bits.take(2 * len(layout))
    bits.close()
    if len(others) > 1:
        raise Unreadable("too many segments")
    controlled = False
    if others and id_ not in _SENSITIVE:
        bits = Bits(others[0])
        if bits.take(2) != 1:
            raise Unreadable("not the Gpc subsection")
        controlled = bool(bits.take(1))
        bits.close()
    opt_outs = _values("o", layout, fields)
    return UsChoice(
        opted_out=controlled or 1 in opt_outs,
        child=any(_values("c", layout, fields)),
        odd=3 in opt_outs,
    )


def _values(letter: str, layout: str, fields: int) -> list[int]:
    after = 2 * (len(layout) - 1)
    return [fields >> (after - 2 * at) & 3 for at in range(len(layout)) if layout[at] == letter]


_remembered = Memory(_read, 1_024)
