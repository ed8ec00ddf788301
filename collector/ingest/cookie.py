"""Cookie: the visitor's id on the site itself, where the tag and the collector both find it."""

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from collector.clock import DAY
from collector.ingest.answer import Headers
from collector.ingest.caller import COOKIE, Caller
from collector.ingest.urls import origin


def keep(caller: Caller, visitor: str, days: int, *, secure: bool) -> Headers:
    """Set-Cookie for a first-party visitor; nothing where the page is of another site than the collector."""
    domain = _domain(caller.origin or caller.header(b"referer"), caller.host)
    if domain is None:
        return []
    return [_set(visitor, days * DAY, domain, secure)]


def forget(caller: Caller, *, secure: bool) -> Headers:
    """Set-Cookie that deletes the id, also the one that the tag set for the page's host alone."""
    domain = _domain(caller.origin or caller.header(b"referer"), caller.host)
    return [_set("", 0, each, secure) for each in dict.fromkeys(["", domain or ""])]


def _set(value: str, seconds: int, domain: str, secure: bool) -> tuple[bytes, bytes]:
    # No HttpOnly: the tag reads it.
    text = f"{COOKIE}={value}; Path=/; Max-Age={seconds}; SameSite=Lax"
    text += f"; Domain={domain}" if domain else ""
    text += "; Secure" if secure else ""
    return b"set-cookie", text.encode()


@lru_cache(maxsize=1024)
def _domain(page: str, own: str) -> str | None:
    """The Domain that a page (its URL) and the collector (its host) share: "" for one host, None for two sites.

    A browser refuses a domain that is a public suffix, so shops of one suffix cannot share an id.
    """
    host = urlsplit(origin(page)).hostname or ""
    if host in ("", own):
        return ""
    if _is_address(own) or _is_address(host):
        return None
    shared: list[str] = []
    for left, right in zip(reversed(host.split(".")), reversed(own.split(".")), strict=False):
        if left != right:
            break
        shared.insert(0, left)
    return ".".join(shared) if len(shared) > 1 else None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
