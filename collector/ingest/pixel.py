"""Pixel: a query string, of our GIF or of the Pinterest tag's, to the shape of a request."""

import re
from typing import Any
from urllib.parse import parse_qsl

from collector.consent import word
from collector.ingest.answer import Rejected
from collector.ingest.decode import Request, loads
from collector.settings import Settings

_FIELDS = 500  # parameters of one query string
_brackets = re.compile(r"\[([^\[\]]*)\]").findall


def request(query: bytes, referer: str, settings: Settings) -> Request:
    """The request that a pixel's query string makes, with its one event. Raises Rejected: 400 or 413.

    tag or tid, event, event_id, visitor, url, referrer; ed (event data) and pd or ud (user data) as JSON or
    in bracket form; consent=granted|denied, gdpr, gdpr_consent, gpp, gpp_sid, gpc, opt_out_type, setconsent.
    """
    if len(query) > settings.max_event_bytes:
        raise Rejected(
            413, "too_large", "The query string is too long.", "Send large events with POST /v1/events."
        )
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_FIELDS)
    except ValueError:
        raise Rejected(
            400, "bad_request", "The query string has too many parameters.", "Send fewer."
        ) from None
    one = _Parameters(pairs)
    event = {
        "event": one.text("event"),
        "event_id": one.text("event_id"),
        "url": one.text("url") or referer,
        "referrer": one.text("referrer"),
        "data": _object("ed", pairs, settings),
    }
    return {
        "tag": one.text("tag") or one.text("tid"),
        "visitor": one.text("visitor"),
        "consent": _consent(one),
        "user_data": _object("pd", pairs, settings) or _object("ud", pairs, settings),
        "events": [event],
    }


class _Parameters:
    """Parameters by name. One that is repeated with other values is all of them: no signal gets lost."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str:
        return ",".join(dict.fromkeys(self._values.get(name, ())))


def _consent(one: _Parameters) -> dict[str, object] | None:
    said: dict[str, object] = {}
    if text := one.text("consent"):
        said |= word(text)
    for parameter, name in (
        ("gdpr", "gdpr"),
        ("gdpr_consent", "tcf"),
        ("gpp", "gpp"),
        ("gpp_sid", "gpp_sid"),
        ("gpc", "gpc"),
        ("opt_out_type", "opt_out_type"),
        ("setconsent", "setconsent"),
    ):
        if text := one.text(parameter):
            said[name] = text
    return said or None


def _object(name: str, pairs: list[tuple[str, str]], settings: Settings) -> dict[str, Any]:
    """The object in name={json} or name[key]=value; what cannot be read of it is left out."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key == name:
            try:
                parsed = loads(value.encode(), settings)
            except ValueError:
                continue
            if isinstance(parsed, dict):
                found |= parsed
        elif key.startswith(f"{name}["):
            path = _brackets(key)
            if (
                path
                and len(path) <= settings.max_depth
                and key == name + "".join(f"[{part}]" for part in path)
            ):
                _put(found, path, value)
    return {key: _lists(value) for key, value in found.items()}


def _put(into: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        inner = into.setdefault(part or str(len(into)), {})
        if not isinstance(inner, dict):
            return
        into = inner
    into[path[-1] or str(len(into))] = value


def _lists(value: Any) -> Any:
    """Bracket form has no lists: an object whose keys are all numbers is one."""
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(each) for key, each in value.items()}
    if inner and all(key.isdecimal() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner
