"""Visitor: who an event belongs to, and what is known of them only as a hash."""

import hashlib
import hmac
import re
import secrets
from typing import Any

from collector.event import BROWSER_ID
from collector.ingest.normalise import holds_nul
from collector.outcomes import Refused

LONGEST = 64  # bytes of a visitor id that a server gives; also of a mobile advertising id

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_EMPTY = hashlib.sha256(b"").hexdigest()  # what many a library makes of nobody
_NOT_A_DIGIT = re.compile(r"[^0-9]+", re.ASCII)


def of_browser(given: object, cookie: str) -> str:
    """The id that the tag sent, else the cookie's, else "". Raises Refused("bad_visitor")."""
    if given is None or given == "":
        return cookie
    if not isinstance(given, str) or not BROWSER_ID.fullmatch(given):
        raise Refused("bad_visitor")
    return given


def mint() -> str:
    """A new browser id: 128 random bits, 32 hex digits."""
    return secrets.token_hex(16)


def of_server(given: object, user_data: dict[str, str], tag: str, secret: bytes) -> str:
    """The id that a server or an import gave, else one derived from external_id, else from em.

    user_data: as identities() makes it. secret: the installation's. One person has another id in each tag.
    Raises Refused("bad_visitor") or ("no_visitor").
    """
    if type(given) is int:
        given = str(given)
    if given is not None and given != "":
        if not isinstance(given, str) or len(given.encode()) > LONGEST or "\0" in given:
            raise Refused("bad_visitor")
        return given
    for name in ("external_id", "em"):
        if digest := user_data.get(name):
            return f"hmac:{hmac.digest(secret, f'{tag}:{name}:{digest}'.encode(), 'sha256').hex()[:32]}"
    raise Refused("no_visitor")


def identities(given: object) -> dict[str, str]:
    """user_data as it may be kept: em, ph, external_id as SHA-256 hex, maid as it came, nothing else.

    Plain values are trimmed, an address lower-cased and a number reduced to its digits before the hash,
    as the ad platforms ask. What can be nobody's is left out. Raises Refused("bad_data") for no object.
    """
    if given is None:
        return {}
    if not isinstance(given, dict) or holds_nul(given):
        raise Refused("bad_data")
    kept: dict[str, str] = {}
    for name in ("em", "ph", "external_id"):
        if digest := _hashed(name, _only(given.get(name))):
            kept[name] = digest
    maid = _only(given.get("maid"))
    # All zeros is what a phone gives when its owner switched ad tracking off.
    if maid and len(maid.encode()) <= LONGEST and maid.strip("0-"):
        kept["maid"] = maid
    return kept


def _only(value: Any) -> str:
    """The trimmed text of a value, or of the first where a list came, as in the Conversions API."""
    if isinstance(value, list) and value:
        value = value[0]
    if type(value) is int:
        value = str(value)
    return value.strip() if isinstance(value, str) else ""


def _hashed(name: str, text: str) -> str:
    lowered = text.lower()
    if _SHA256.fullmatch(lowered):
        return "" if lowered == _EMPTY else lowered
    if name == "em":
        text = lowered if "@" in lowered.strip("@") else ""  # «undefined» would make strangers one visitor
    elif name == "ph":
        # From the shortest number with a country code to E.164's longest.
        text = digits if 7 <= len(digits := _NOT_A_DIGIT.sub("", text).lstrip("0")) <= 15 else ""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""
