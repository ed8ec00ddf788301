"""Bots: people get through, in whatever browser, and what is no person does not."""

# ruff: noqa: E501 — a User-Agent is as long as it is

from pathlib import Path

import pytest
import yaml

from collector.ingest import bots

FIXTURES = Path(__file__).parents[4] / "shared" / "data" / "vectors"

PEOPLE = {
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36": "Chrome 141",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0": "Edge 141",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0": "Firefox 144",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15": "Safari 18",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1": "Safari 18",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/141.0.1 Mobile/15E148 Safari/604.1": "Chrome 141",
    "Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36": "Samsung Internet 28",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 OPR/124.0.0.0": "Opera 124",
    "Mozilla/5.0 (Linux; Android 13; CUBOT P80) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36": "Chrome 140",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [Pinterest/iOS]": "",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/141.0.0.0 Mobile Safari/537.36 Viber/25.1": "Chrome 141",
    "": "",
}  # fmt: skip

OTHERS = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0) Chrome/116.0.0.0 Safari/537.36",
    "Mozilla/5.0 (compatible; Pinterestbot/1.0; +https://www.pinterest.com/bot.html)",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/141.0.0.0 Safari/537.36",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "curl/8.5.0",
    "python-requests/2.32.3",
    "Wget/1.21",
    "MyShopCrawler",
    "SomeUnheardOfBot/0.1 (+https://example.com/about)",
    "UptimeChecker uptime-monitor/3",
]


@pytest.mark.parametrize(("user_agent", "family"), PEOPLE.items())
def test_a_person_gets_through_and_shrinks_to_family_and_major_version(user_agent: str, family: str) -> None:
    assert not bots.is_crawler(user_agent)
    assert bots.family(user_agent) == family


@pytest.mark.parametrize("user_agent", OTHERS)
def test_what_is_no_person_does_not(user_agent: str) -> None:
    assert bots.is_crawler(user_agent)


@pytest.mark.parametrize(
    ("name", "value", "ahead"),
    [
        (b"sec-purpose", b"prefetch", True),
        (b"sec-purpose", b"prefetch;prerender", True),
        (b"purpose", b"prefetch", True),
        (b"x-moz", b"prefetch", True),
        (b"x-purpose", b"preview", True),
        (b"sec-purpose", b"", False),
        (b"sec-fetch-mode", b"prefetch", False),
    ],
)
def test_a_page_fetched_ahead_is_no_visit(name: bytes, value: bytes, ahead: bool) -> None:
    assert bots.speculative({name: value}) is ahead


def listed(kind: str) -> list[str]:
    """The User-Agents of a file of isbot's fixtures: name → list."""
    found: dict[str, list[str]] = yaml.safe_load((FIXTURES / f"isbot-{kind}.yml").read_text())
    return [str(user_agent) for some in found.values() for user_agent in some]


@pytest.mark.skipif(not FIXTURES.exists(), reason="../shared/data/vectors is not beside the checkout")
def test_nine_in_ten_of_another_lists_crawlers_are_found_and_hardly_a_browser_among_them() -> None:
    """docs/decisions/0003-dependencies.md has the figures. The list and these fixtures have different authors."""
    crawlers, browsers = listed("crawlers"), listed("browsers")
    assert len(crawlers) > 600 and len(browsers) > 500
    assert sum(map(bots.is_crawler, crawlers)) >= 0.9 * len(crawlers)
    assert sum(map(bots.is_crawler, browsers)) <= 0.02 * len(browsers)
