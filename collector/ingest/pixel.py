"""Pixel: a query string, of our GIF or of the Pinterest tag's, to the shape of a request."""

import re
from typing import Any
from urllib.parse import parse_qsl, unquote

import re2

from collector.consent import word
from collector.event import CLICK_IDS
from collector.ingest.answer import Rejected
from collector.ingest.decode import loads
from collector.ingest.wire import Request, Sent
from collector.settings import Settings

OPT_OUT = "opt_out_type"
INIT = "init"  # what the Pinterest tag calls the base code's image, which many pages send without a name
_FIELDS = 500  # parameters of one query string
_brackets = re.compile(r"\[([^\[\]]*)\]").findall
_place = re.compile(r"[0-9]{1,4}", re.ASCII).fullmatch  # of a list's member: there are no more than _FIELDS
_ESCAPED = re.compile(r"\s*%(?:25)*7B", re.IGNORECASE)  # «{», percent-encoded once more than it should be
# A key and its plain value, in whatever quotes: what is left of JSON that was cut off or written by hand. RE2, since
# Python's own engine takes the square of a hostile text's length.
_members = re2.compile(
    r"""["']?([A-Za-z_][\w.-]*)["']?\s*:\s*(?:"([^"]*)"|'([^']*)'|(-?[0-9]+(?:\.[0-9]+)?)\s*[,}])"""
).finditer


def request(query: bytes, referer: str, settings: Settings) -> Request:
    """The request that a pixel's query string makes, with its one event. Raises Rejected: 400 or 413.

    tag or tid, event, event_id, visitor, url, referrer; ed (event data), pd or ud (user data) and ad (about the
    page: loc, ref) as JSON or in bracket form; consent=granted|denied, gdpr, gdpr_consent, gpp, gpp_sid, gpc,
    opt_out_type, setconsent; click ids by their names.
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
    # Templates that escape the address for HTML once too often send «&amp;» for «&».
    pairs = [(name.removeprefix("amp;"), value) for name, value in pairs]
    one = _Parameters(pairs)
    page = {name: value for name, value in _object("ad", pairs, settings).items() if isinstance(value, str)}
    user_data = _object("pd", pairs, settings) or _object("ud", pairs, settings)
    event = Sent(
        event=one.text("event") or (INIT if one.text("tid") else ""),
        event_id=one.text("event_id"),
        url=one.text("url") or page.get("loc") or referer,
        referrer=one.text("referrer") or page.get("ref"),
        data=_object("ed", pairs, settings),
    )
    return Request(
        tag=one.text("tag") or one.text("tid"),
        visitor=one.text("visitor"),
        consent=_consent(one),
        user_data=user_data,
        click_ids={name: one.text(name) or user_data.get(name) for name in CLICK_IDS},
        events=[event],
    )


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
            found |= _json(value, settings)
        elif key.startswith(f"{name}["):
            path = _brackets(key)
            if (
                path
                and len(path) <= settings.max_depth
                and key == name + "".join(f"[{part}]" for part in path)
            ):
                _put(found, path, value)
    return {key: _lists(value) for key, value in found.items()}


def _json(text: str, settings: Settings) -> dict[str, Any]:
    """An object from JSON; of what is no JSON, the plain members before the first list or object in it."""
    for _ in range(2):  # escaped twice was seen; what is escaped more often would be work for nothing
        if _ESCAPED.match(text):
            text = unquote(text)
    try:
        parsed = loads(text.encode(), settings)
    except ValueError:
        outer = re.split(r"[\[{]", text.strip().removeprefix("{"), maxsplit=1)[0]
        found = {member[1]: member[2] or member[3] or member[4] or "" for member in _members(outer)}
        if OPT_OUT in text:
            found.setdefault(OPT_OUT, "unreadable")  # a signal against must not get lost
        return found
    return parsed if isinstance(parsed, dict) else {}


def _put(into: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        inner = into.setdefault(part or str(len(into)), {})
        if not isinstance(inner, dict):
            return
        into = inner
    into[path[-1] or str(len(into))] = value


def _lists(value: Any) -> Any:
    """Bracket form has no lists: an object whose keys are all places is one."""
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(each) for key, each in value.items()}
    if inner and all(map(_place, inner)):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner
