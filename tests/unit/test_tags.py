"""Tags: origins as browsers send them, and whom a key lets in."""

import pytest

from collector import tags
from collector.connections import Redis
from collector.settings import BadSetup
from collector.tags import ApiKey, Tag, check_origin


def a_tag(*origins: str) -> Tag:
    return Tag(
        id="2612345678901",
        name="shop",
        origins=tuple(map(check_origin, origins)),
        regime="opt_in",
        created_at=0,
    )


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("https://shop.example", "https://shop.example"),
        ("https://shop.example/", "https://shop.example"),
        (" HTTPS://Shop.Example ", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://*.shop.example", "https://*.shop.example"),
        ("https://my_shop.xn--mnchen-3ya.example", "https://my_shop.xn--mnchen-3ya.example"),
    ],
)
def test_an_origin_is_kept_as_a_browser_sends_it(written: str, kept: str) -> None:
    assert check_origin(written) == kept
    assert check_origin(kept) == kept


@pytest.mark.parametrize(
    "written",
    [
        "shop.example",
        "//shop.example",
        "ftp://shop.example",
        "https://",
        "*",
        "https://*",
        "https://*.com",
        "https://shop.*.example",
        "https://**.shop.example",
        "https://*shop.example",
        "https://shop.example/path",
        "https://shop.example?q",
        "https://shop.example#x",
        "https://user@shop.example",
        "https://münchen.example",
        "null",
        "file://",
        "https://shop.example:port",
        "https://shop.example:99999",
        "https://shop..example",
        "https://[::1",
    ],
)
def test_what_no_browser_sends_is_refused_with_the_mend(written: str) -> None:
    with pytest.raises(BadSetup, match="Mend:"):
        check_origin(written)


def test_the_mend_of_a_longer_address_keeps_its_port() -> None:
    with pytest.raises(BadSetup, match=r"Mend: http://localhost:3000 and no more"):
        check_origin("http://me:secret@localhost:3000/shop")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://shop.example", True),
        ("http://shop.example", False),
        ("https://shop.example:8443", False),
        ("https://www.shop.example", False),
        ("https://evilshop.example", False),
        ("https://shop.example.evil.example", False),
        ("https://m.wild.example", True),
        ("https://a.b.wild.example", True),
        ("https://wild.example", False),
        ("https://.wild.example", False),
        ("https://evil.example/.wild.example", False),
        ("https://evil.example:1@.wild.example", False),
        ("https://evilwild.example", False),
        ("http://m.wild.example", False),
        ("http://localhost:3000", True),
        ("http://localhost:30000", False),
        ("null", False),
        ("", False),
    ],
)
def test_which_pages_a_tag_lets_in(origin: str, allowed: bool) -> None:
    tag = a_tag("https://shop.example", "https://*.wild.example", "http://localhost:3000")
    assert tag.allows(origin) is allowed


def test_a_key_covers_its_tags_and_ends_when_it_was_said_to() -> None:
    key = ApiKey(id="k", sha256="0" * 64, name="k", role="server", tags=("1",), expires_at=100)
    assert key.covers("1") and not key.covers("2")
    assert key.usable(99.9) and not key.usable(100)
    assert ApiKey(id="k", sha256="0" * 64, name="k", role="admin").covers("anything")
    assert not ApiKey(id="k", sha256="0" * 64, name="k", role="admin", revoked_at=1).usable(0)


def test_a_key_that_is_ended_while_it_is_replaced_stays_ended(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, presented = tags.create_key(redis, "a key", "marketer")
    before = tags.list_keys(redis)
    tags.revoke(redis, key.id)
    monkeypatch.setattr(tags, "list_keys", lambda client: before)  # what the replacer had read
    tags.rotate(redis, key)
    assert tags.lookup(redis, presented) is None
