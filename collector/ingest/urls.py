"""URLs: what of a page's address is kept, and what never is."""

import re
from functools import lru_cache
from urllib.parse import unquote_plus, urlsplit

_CACHED = 256  # characters; longer ones are rare and would make the caches large

_SENSITIVE_NAME = re.compile(
    r"""(?x)  # parameters that carry a person or a right, by the names that shops and sign-ins give them
    e-?mail | .*[_.-]e-?mail | e-?mail[_.-].* | mail | em
    | phone | .*[_.-]phone | tel | mobile
    | .*token | auth | .*[_.-]auth | authorization
    | pass | .*passwd | .*password | .*pwd
    | .*secret | (?: .*[_.-] )? api[_.-]?key | signature | sig | jwt | otp
    | session | sess | session[_.-]?id | jsessionid | phpsessid | sid
    """
)
_JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)


def clean(url: str) -> str:
    """The URL without its fragment, its userinfo, and parameters that look like an e-mail or a token.

    What is left stays as it was written, byte for byte: rules compare it so.
    """
    return _clean_cached(url) if len(url) <= _CACHED else _clean(url)


def origin(url: str) -> str:
    """scheme://host[:port] of a web page's URL, lower-case, as in an Origin header; "" for anything else."""
    return _origin_cached(url) if len(url) <= _CACHED else _origin(url)


def _clean(url: str) -> str:
    url = url.partition("#")[0].strip()
    head, _, query = url.partition("?")
    if "@" in head:
        head = _without_userinfo(head)
    kept = "&".join(pair for pair in query.split("&") if not _sensitive(pair.strip())).rstrip() if query else ""
    return f"{head}?{kept}" if kept else head.rstrip()


def _without_userinfo(head: str) -> str:
    scheme, slashes, rest = head.partition("//")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{authority.rpartition('@')[2]}{slash}{path}"


def _sensitive(pair: str) -> bool:
    name, _, value = pair.partition("=")
    # Twice, since redirects escape what is escaped already.
    value = unquote_plus(unquote_plus(value)) if "%" in value else value
    account, at, domain = value.partition("@")
    if account and at and "." in domain:
        return True
    return (_named_cached if len(name) <= _CACHED else _named)(name) or bool(_JWT.search(value))


def _named(name: str) -> bool:
    plain = unquote_plus(name).lower().replace("[", ".").replace("]", "").rstrip(".")  # user[email], email[]
    return bool(_SENSITIVE_NAME.fullmatch(plain))


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not host:
        return ""
    shown = f"[{host}]" if ":" in host else host
    usual = port is None or port == (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{shown}" + ("" if usual else f":{port}")


_clean_cached = lru_cache(maxsize=16_384)(_clean)
_named_cached = lru_cache(maxsize=1_024)(_named)  # parameters: a site has few
_origin_cached = lru_cache(maxsize=4_096)(_origin)
