"""Normalise: what pages and servers send becomes one Event; the only place where values are coerced."""

import math
import secrets
from typing import Any

import orjson

from collector.event import (
    CLICK_IDS,
    EXACT,
    SHORT,
    Event,
    Scalar,
    Source,
    canonical_name,
    known_text,
    scalar,
)
from collector.ingest import urls
from collector.outcomes import Refused
from collector.settings import Settings

LONGEST_NAME = 128  # bytes of an event's name, an event_id
MILLISECONDS = 1e12  # as seconds the year 33658: 13 digits are milliseconds that were taken for seconds

Values = dict[str, Scalar]


def event(
    raw: object,
    *,
    tag: str,
    visitor: str,
    source: Source,
    now: float,
    settings: Settings,
    sent_at: float | None = None,
    event_id: str | None = None,
    user_data: dict[str, str] | None = None,
    click_ids: dict[str, str] | None = None,
    user_agent: str = "",
    may_hold_nul: bool = True,
) -> Event:
    """One event in its normal form. Raises outcomes.Refused.

    raw: the event of the wire; its user_data, click_ids and visitor are not looked at, see visitor.py.
    visitor: in text form. now: Unix seconds of receipt. sent_at: Unix milliseconds by the sender's clock.
    event_id: what identifier() said of raw, where it was asked already; where it said "", one is minted.
    may_hold_nul: False when the text that raw was read from holds no NUL, which spares the search.
    """
    if not isinstance(raw, dict):
        raise Refused("bad_event")
    name = raw.get("event")
    if not isinstance(name, str) or "\0" in name:
        raise Refused("bad_event")
    name = canonical_name(name)
    if not name or _too_long(name):
        raise Refused("bad_event")
    given = raw.get("data")
    if given is None:
        given = {}
    elif not isinstance(given, dict):
        raise Refused("bad_data")
    if event_id is None:
        event_id = identifier(raw)
    if may_hold_nul and holds_nul([given, raw.get("url"), raw.get("referrer"), raw.get("action_source")]):
        raise Refused("bad_data")
    values, items = data(given)
    action_source = raw.get("action_source")
    return Event(
        tag=tag,
        visitor=visitor,
        event=name,
        event_id=event_id or secrets.token_hex(16),
        event_time=instant(raw.get("event_time"), source=source, now=now, sent_at=sent_at, settings=settings),
        received_at=int(now * 1000),
        source=source,
        url=urls.clean(url) if isinstance(url := raw.get("url"), str) else "",
        referrer=urls.origin(referrer) if isinstance(referrer := raw.get("referrer"), str) else "",
        data=values,
        line_items=items,
        user_data=user_data or {},
        click_ids=click_ids or {},
        action_source=action_source[:LONGEST_NAME] if isinstance(action_source, str) else "",
        user_agent=user_agent,
    )


def identifier(raw: dict[str, Any]) -> str:
    """The event_id that came with an event, or in its data as the Pinterest tag has it; "" if none.

    Raises Refused("bad_event_id").
    """
    given = raw.get("event_id")
    if given is None or given == "":
        inside = raw.get("data")
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


def instant(given: object, *, source: Source, now: float, sent_at: float | None, settings: Settings) -> int:
    """The event's time in whole Unix seconds. Raises Refused("bad_time") or ("too_old").

    The sender's clock may be wrong but can tell how long ago the event was: receipt less that is its time.
    """
    receipt = int(now)
    if given is None:
        if source == "import":
            raise Refused("bad_time")
        return receipt
    if isinstance(given, str):
        given = scalar(given)  # pages send numbers as text
    if (type(given) is not int and type(given) is not float) or not 0 <= given < MILLISECONDS:
        raise Refused("bad_time")
    corrected = math.floor(given if sent_at is None else given + (now - sent_at / 1000))
    ahead = corrected - receipt
    if corrected < 0 or ahead > settings.future_tolerance or (ahead > 0 and source == "import"):
        raise Refused("bad_time")
    if source == "web" and -ahead > settings.browser_max_age:
        raise Refused("too_old")
    return min(corrected, receipt)


def data(given: dict[str, Any]) -> tuple[Values, list[Values]]:
    """Event data: the values at its top, and the line items."""
    items: list[Values] = []
    if "line_items" in given:
        listed = given["line_items"]
        for item in (
            listed if isinstance(listed, list) else [listed]
        ):  # some pages send the only item as it is
            if isinstance(item, dict) and (inside := _values(item)):
                items.append(inside)
    return _values(given, _APART), items


_APART = ("line_items", "event_id")


def _values(given: dict[str, Any], apart: tuple[str, ...] = ()) -> Values:
    """The values that have a normal form, in it. Half of an event's time at the edge, hence by type first."""
    values: Values = {}
    for key, value in given.items():
        if key in apart:
            continue
        kind = type(value)
        if kind is str and len(value) <= SHORT:
            values[key] = known_text(value)
        elif kind is float and -EXACT < value < EXACT:
            values[key] = int(value) if value.is_integer() else value
        elif kind is int and -EXACT < value < EXACT:
            values[key] = value
        elif (normal := _normal(value)) is not None:
            values[key] = normal
    return values


def _normal(value: object) -> Scalar | None:
    """A value's one normal form; what is nested becomes JSON text, which rules compare as text."""
    return orjson.dumps(value).decode() if isinstance(value, (dict, list)) else scalar(value)


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
