"""The shop's pages hold the snippet as pasted, and whatever a visitor types stays text."""

import re
from html.parser import HTMLParser

import pytest

from collector.demo.catalogue import CATEGORIES, PRODUCTS
from collector.demo.pages import Pages

SNIPPET = "<script>/* the snippet */</script>"


class Scripts(HTMLParser):
    """The inline scripts of a page, as a browser finds them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = tag == "script" and "src" not in dict(attrs)

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found.append(data)


def every_page() -> list[str]:
    pages = Pages(SNIPPET)
    return [
        pages.home(),
        *map(pages.category, CATEGORIES),
        *map(pages.product, PRODUCTS),
        pages.search("oak"),
        pages.cart(),
        pages.checkout(),
        pages.thanks(),
        pages.missing(),
    ]


def test_every_page_has_the_snippet_in_its_head_and_asks_nobody_else() -> None:
    for page in every_page():
        assert SNIPPET in page.partition("</head>")[0]
        assert not re.search(r"""(?:src|href|action)=["']?(?:https?:)?//""", page)


@pytest.mark.parametrize("typed", ["</script><img src=x onerror=alert(1)>", '"><b>', "<!--<script>"])
def test_a_search_is_shown_and_tracked_as_text(typed: str) -> None:
    page = Scripts(Pages(SNIPPET).search(typed))
    plain = Scripts(Pages(SNIPPET).search("zzz"))
    assert page.tags == plain.tags
    assert len(page.found) == len(plain.found)


def test_search_finds_what_the_shop_has() -> None:
    page = Pages(SNIPPET).search("oak")
    assert "Perch Stool" in page
    assert "Harbour Runner" not in page
