"""Cookie: shared between page and collector only where both are of one site."""

import pytest

from collector.ingest import cookie
from collector.ingest.caller import Caller

VISITOR = "0" * 32


def caller(origin: str, host: str, **headers: str) -> Caller:
    named = {"origin": origin, "host": host, **headers}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in named.items() if value]
    return Caller({"method": "POST", "path": "/", "scheme": "http", "query_string": b"", "headers": raw})


@pytest.mark.parametrize(
    ("origin", "host", "domain"),
    [
        ("https://shop.example", "shop.example", ""),
        ("http://localhost:3000", "localhost:8000", ""),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", ""),
        ("https://shop.example", "collect.shop.example", "shop.example"),
        ("https://www.shop.example:8443", "collect.shop.example:444", "shop.example"),
        ("https://a.b.shop.example", "b.shop.example", "b.shop.example"),
        ("", "collect.shop.example", ""),
        ("https://shop.example", "collector.other.example", None),
        ("https://shop.example", "collector.test", None),
        ("http://10.0.0.1", "10.9.0.1", None),
        ("http://[::1]:3000", "[::1]:8000", ""),
        ("https://shop.example", "[shop.example", None),
    ],
)
def test_the_domain_of_the_id(origin: str, host: str, domain: str | None) -> None:
    headers = cookie.keep(caller(origin, host), VISITOR, 395, secure=False)
    if domain is None:
        assert headers == []
        return
    [(_, text)] = headers
    assert (f"; Domain={domain}" in text.decode()) if domain else (b"Domain" not in text)
    assert b"Secure" not in text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"_collector_id={VISITOR}", VISITOR),
        (f"a=1; _collector_id={VISITOR}; b=2", VISITOR),
        *((f"{other}; _collector_id={VISITOR}", VISITOR) for other in ('a={"b":1}', "a=b c", "bare", "a=\xe9", "")),
        *((f"_collector_id={VISITOR};{other}", VISITOR) for other in ("a=b c", "bare")),
        (f"_collector_id=; _collector_id={VISITOR}; _collector_id={'1' * 32}", VISITOR),
        (f"x_collector_id={VISITOR}", ""),
        (f"a=1 _collector_id={VISITOR}", ""),
        ("_collector_id=short", ""),
        (f"_collector_id={'A' * 32}", ""),
        ("", ""),
        (";;=;_collector_id", ""),
    ],
)
def test_only_a_well_formed_id_is_believed(text: str, found: str) -> None:
    assert caller("", "shop.example", cookie=text).cookie == found
