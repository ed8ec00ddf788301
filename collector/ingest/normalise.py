"""Normalise: what pages and servers send becomes one Event; the only place where values are coerced."""

import secrets
from math import floor
from typing import Any

from collector.event import (
    CLICK_IDS,
    EXACT,
    NAMES,
    SHORT,
    Event,
    Scalar,
    Source,
    canonical_name,
    encode,
    known_text,
    plain_number,
    scalar,
)
from collector.ingest import urls
from collector.ingest.wire import Sent
from collector.outcomes import Refused
from collector.settings import Settings

LONGEST_NAME = 128  # bytes of an event's name, an event_id
MILLISECONDS = 10**12  # as seconds the year 33658: 13 digits are milliseconds that were taken for seconds

Values = dict[str, Scalar]
_LEAST, _MOST = float(-EXACT), float(EXACT)  # doubles are compared with doubles in half the time


class Normaliser:
    """Brings the events of one request to their normal form; what they have in common is worked out once."""

    __slots__ = (
        "_earliest",
        "_latest",
        "_may_hold_nul",
        "_receipt",
        "_received_at",
        "_shift",
        "_source",
        "_tag",
        "_user_agent",
    )

    def __init__(
        self,
        *,
        tag: str,
        source: Source,
        now: float,
        settings: Settings,
        sent_at: float | None = None,
        user_agent: str = "",
        may_hold_nul: bool = True,
    ) -> None:
        """now: Unix seconds of receipt. sent_at: Unix milliseconds by the sender's clock.

        may_hold_nul: False when the text that the events were read from holds no NUL, which spares the search.
        """
        self._tag, self._source, self._user_agent = tag, source, user_agent
        self._may_hold_nul = may_hold_nul
        self._receipt, self._received_at = int(now), int(now * 1000)
        # The sender's clock may be wrong but can tell how long ago an event was: receipt less that is its time.
        self._shift = 0.0 if sent_at is None else now - sent_at / 1000
        self._earliest = self._receipt - settings.browser_max_age if source == "web" else 0
        self._latest = self._receipt + (0 if source == "import" else settings.future_tolerance)

    def event(
        self,
        raw: Sent,
        visitor: str,
        event_id: str,
        user_data: dict[str, str],
        click_ids: dict[str, str],
    ) -> Event:
        """One event in its normal form. Raises outcomes.Refused.

        raw: the event of the wire, whose data becomes the event's, without a copy; its user_data, click_ids and
        visitor are not looked at, see visitor.py.
        visitor: in text form. event_id: what identifier() said of raw; where it said "", one is minted.
        """
        name = raw.event
        if type(name) is not str:
            raise Refused("bad_event")
        if name not in NAMES:
            name = _unusual_name(name)
        given = raw.data
        if given is None:
            given = {}
        elif type(given) is not dict:
            raise Refused("bad_data")
        url, referrer, action_source = raw.url, raw.referrer, raw.action_source
        if self._may_hold_nul and holds_nul([given, url, referrer, action_source]):
            raise Refused("bad_data")
        items = _line_items(given.pop("line_items")) if "line_items" in given else []
        if "event_id" in given:
            del given["event_id"]
        return Event(
            tag=self._tag,
            visitor=visitor,
            event=name,
            event_id=event_id or secrets.token_hex(16),
            event_time=self._time(raw.event_time),
            received_at=self._received_at,
            source=self._source,
            url=urls.clean(url) if type(url) is str else "",
            referrer=urls.origin(referrer) if type(referrer) is str else "",
            data=_settle(given),
            line_items=items,
            user_data=user_data,
            click_ids=click_ids,
            action_source=action_source[:LONGEST_NAME] if type(action_source) is str else "",
            user_agent=self._user_agent,
        )

    def _time(self, given: object) -> int:
        """The event's time in whole Unix seconds. Raises Refused("bad_time") or ("too_old")."""
        if given is None:
            if self._source == "import":
                raise Refused("bad_time")
            return self._receipt
        if type(given) is str:
            given = plain_number(given)  # pages send numbers as text
        if (type(given) is not int and type(given) is not float) or not 0 <= given < MILLISECONDS:
            raise Refused("bad_time")
        corrected = floor(given + self._shift)
        if not 0 <= corrected <= self._latest:
            raise Refused("bad_time")
        if corrected < self._earliest:
            raise Refused("too_old")
        return corrected if corrected < self._receipt else self._receipt


def _unusual_name(name: str) -> str:
    """The canonical form of a name that is none of the listed ones as it is. Raises Refused("bad_event")."""
    name = canonical_name(name)
    if not name or "\0" in name or _too_long(name):
        raise Refused("bad_event")
    return name


def identifier(raw: Sent) -> str:
    """The event_id that came with an event, or in its data as the Pinterest tag has it; "" if none.

    Raises Refused("bad_event_id").
    """
    given = raw.event_id
    if type(given) is str and 0 < len(given) <= LONGEST_NAME and given.isascii() and "\0" not in given:
        return given  # as nearly all are
    if given is None or given == "":
        inside = raw.data
        given = inside.get("event_id") if isinstance(inside, dict) else None
    if given is None or given == "":
        return ""
    if type(given) is int or type(given) is float:
        given = str(given)
    if not isinstance(given, str) or _too_long(given) or "\0" in given:
        raise Refused("bad_event_id")
    return given


def _too_long(name: str) -> bool:
    return len(name) > LONGEST_NAME or (not name.isascii() and len(name.encode()) > LONGEST_NAME)


def _line_items(listed: object) -> list[Values]:
    """Those that say anything; some pages send the only one as it is."""
    items = listed if isinstance(listed, list) else [listed]
    return [item for item in items if isinstance(item, dict) and _settle(item)]


def _settle(values: dict[str, Any]) -> Values:
    """Bring the values to their normal form, in place; those without one go. By type first: it is the hot path."""
    formless: list[str] = []
    for key, value in values.items():
        kind = type(value)
        if kind is str:
            if value < ":":  # a number begins with a digit or a minus, which come before; most text does not
                values[key] = known_text(value) if len(value) <= SHORT else scalar(value)
        elif kind is float and _LEAST < value < _MOST:
            if value.is_integer():
                values[key] = int(value)
        elif kind is not int or not -EXACT < value < EXACT:
            values[key] = normal = _normal(value)
            if normal is None:
                formless.append(key)
    for key in formless:
        del values[key]
    return values


def _normal(value: object) -> Scalar | None:
    """A value's one normal form; what is nested becomes JSON text, which rules compare as text."""
    return encode(value).decode() if isinstance(value, (dict, list)) else scalar(value)


def click_ids(given: object) -> dict[str, str]:
    """The click ids that the archive has columns for, the empty ones left out. Raises Refused("bad_data")."""
    if given is None:
        return {}
    if not isinstance(given, dict) or holds_nul(given):
        raise Refused("bad_data")
    return {name: value for name in CLICK_IDS if isinstance(value := given.get(name), str) and value}


def holds_nul(value: object) -> bool:
    """Whether any text in the value holds a NUL, which the archive's readers and C programs cut at."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or holds_nul(inner) for key, inner in value.items())
    return isinstance(value, list) and any(map(holds_nul, value))
