"""An event: its fields, the forms of a visitor's id, and the words for event names."""

import math
import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec

EXACT = 10**15
"""Up to 15 significant digits survive a double, and so JSON, Parquet and every engine, unchanged."""
# What columns and archive can hold: whoever decodes an event from a stream finds nothing else in it.
Second = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
Millisecond = Annotated[int, msgspec.Meta(ge=0, lt=2**32 * 1000)]
Scalar = str | Annotated[int, msgspec.Meta(gt=-EXACT, lt=EXACT)] | float
Source = Literal["web", "server", "import"]


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One normalised event: the same values are streamed, matched live, archived and scanned.

    Nothing after this type coerces, trims or lower-cases, so the live and the past form of a rule agree.
    """

    tag: str
    visitor: str  # text form, see visitor_key()
    event: str  # canonical name
    event_id: str
    event_time: Second  # Unix seconds: corrected by sent_at, floored, clamped to receipt
    received_at: Millisecond  # Unix milliseconds, the edge's clock
    source: Source = "web"
    url: str = ""  # "" is absent, here and below
    referrer: str = ""  # the origin only
    data: dict[str, Scalar] = {}  # top-level event data; numbers are int or float, all else text
    line_items: list[dict[str, Scalar]] = []
    user_data: dict[str, str] = {}  # em, ph, external_id, maid: SHA-256 hex (maid as it came)
    click_ids: dict[str, str] = {}
    action_source: str = ""
    user_agent: str = ""  # family and major version, such as «Firefox 144»


class StreamedEvent(Event):
    """An event as it lies in a stream: with the verdict it was given, and the mark that it leaves.

    Only `consent.Decision.seal` writes these; the worker, the archive and the readers decode them.
    """

    verdict: Literal["full", "limited", "none"]  # none: a withdrawal carries no event
    mark: Literal["", "bar", "tombstone"] = ""
    consent: str = ""  # what decided: reasons joined by a comma, for the consent record
    signals: str = ""  # SHA-256 (first 16 hex) of the raw consent signals


class AppliedEvent(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """What the worker takes of a StreamedEvent: to decode the rest, too, would take it twice as long."""

    verdict: Literal["full", "limited", "none"]
    mark: Literal["", "bar", "tombstone"] = ""
    tag: str
    visitor: str
    event: str
    event_time: Second
    received_at: Millisecond
    source: Source = "web"
    url: str = ""
    data: dict[str, Scalar] = {}
    line_items: list[dict[str, Scalar]] = []


USER_DATA = ("em", "ph", "external_id", "maid")
CLICK_IDS = ("epik", "gclid", "fbclid", "ttclid", "li_fat_id", "msclkid")

decode_streamed = msgspec.json.Decoder(StreamedEvent).decode
decode_applied = msgspec.json.Decoder(AppliedEvent).decode
encode = msgspec.json.Encoder().encode

_Read = TypeVar("_Read")


def json_decoder(kind: type[_Read]) -> Callable[[bytes | str], _Read]:
    """Reads JSON as what a type says; an integer keeps all its digits. What it gives raises ValueError alone."""
    decode = msgspec.json.Decoder(kind).decode

    def read(text: bytes | str) -> _Read:
        try:
            return decode(text)
        except RecursionError:  # also of brackets that nothing closes, which have no depth
            raise ValueError("it nests too deep, or is cut off") from None

    return read


decode_json: Callable[[bytes | str], Any] = json_decoder(object)
"""JSON as Python values: one reading of numbers for events and for the rules about them."""

BROWSER_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
DERIVED_ID = re.compile(r"hmac:[0-9a-f]{32}", re.ASCII)


def visitor_key(visitor: str) -> bytes:
    """The stored form of a visitor's id, its kind first, so that no two kinds collide.

    w + 16 bytes: 32 lower-case hex digits, from the tag's cookie or a server that passes it on.
    h + 16 bytes: «hmac:» + 32 hex digits, derived from external_id or em.
    s + UTF-8:    any other text a server or an import gives (up to 64 bytes).
    """
    if BROWSER_ID.fullmatch(visitor):
        return b"w" + bytes.fromhex(visitor)
    if DERIVED_ID.fullmatch(visitor):
        return b"h" + bytes.fromhex(visitor[5:])
    return b"s" + visitor.encode()


def visitor_text(key: bytes) -> str:
    """The inverse of visitor_key."""
    kind, rest = key[:1], key[1:]
    if kind == b"w":
        return rest.hex()
    if kind == b"h":
        return "hmac:" + rest.hex()
    return rest.decode()


def spread(tag: str, visitor: str) -> int:
    """A 32-bit hash that places a visitor of a tag in a partition."""
    return zlib.crc32(visitor.encode(), zlib.crc32(tag.encode()))


NAMES = frozenset(
    [
        "pagevisit",
        "viewcategory",
        "search",
        "addtocart",
        "checkout",
        "watchvideo",
        "signup",
        "lead",
        "custom",
        "addpaymentinfo",
        "addtowishlist",
        "initiatecheckout",
        "subscribe",
        "viewcontent",
        "contact",
        "schedule",
        "findlocation",
        "customizeproduct",
        "submitapplication",
        "starttrial",
    ]
)
ALIASES = {"pageview": "pagevisit", "purchase": "checkout"}


def canonical_name(name: str) -> str:
    """The event's canonical name: lower-cased; underscores dropped where that gives a listed name."""
    if name in NAMES:  # as nearly all are: a twentieth of the time
        return name
    name = name.strip().lower()
    bare = name.replace("_", "")
    bare = ALIASES.get(bare, bare)
    return bare if bare in NAMES else name


PLAIN = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?", re.ASCII)


def scalar(value: object) -> Scalar | None:
    """A value of event data, or of a rule about it, in its one normal form; None for what has none.

    Plain decimal text (no leading zeros, at most 15 significant digits) becomes a number, whole numbers
    become int, and an int too long for a double becomes its digits as text, so that long order ids stay
    exact. true and false become text. null, lists, objects, NaN and infinities have no form.
    """
    if isinstance(value, str):
        return known_text(value) if len(value) <= SHORT else _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return value if abs(value) < EXACT else str(value)
    if isinstance(value, float) and math.isfinite(value):
        return normal_number(value)
    return None


def _text(value: str) -> Scalar:
    if not PLAIN.fullmatch(value) or (len(value) > 15 and len(re.sub(r"^-?[0.]*|\.", "", value)) > 15):
        return value
    return normal_number(float(value))


def plain_number(text: str) -> float | None:
    """The double nearest to plain decimal text, None for other text: for times, whose last digits are microseconds'."""
    return float(text) if PLAIN.fullmatch(text) else None


# The same products, currencies and countries come again and again: a look-up takes a tenth of the time.
SHORT = 64  # characters; longer ones are rare and would fill memory
known_text = lru_cache(maxsize=16_384)(_text)


def normal_number(number: float) -> int | float:
    """A finite double in its normal form: int where it is whole and exact."""
    return int(number) if abs(number) < EXACT and number.is_integer() else number
