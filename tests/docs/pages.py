"""Pages: the project's Markdown, read by a parser of its own: links, anchors, and the examples in fences."""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_parser = MarkdownIt("commonmark").enable("table")


class Fence(NamedTuple):
    """One example: its language, its text, the line at which it begins, and the heading above it."""

    language: str
    text: str
    line: int
    title: str


class Page:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path.relative_to(ROOT))

    @cached_property
    def _tokens(self) -> list[Token]:
        return _parser.parse(self.path.read_text())

    @property
    def links(self) -> Iterator[str]:
        """The targets of links and images, in their order."""
        for token in self._tokens:
            for part in token.children or []:
                target = part.attrs.get("href", part.attrs.get("src"))
                if target is not None:
                    yield str(target)

    @cached_property
    def anchors(self) -> set[str]:
        """Of the headings, as GitHub names them."""
        named: set[str] = set()
        for title in self._titles:
            base = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            again = (f"{base}-{number}" for number in range(1, 100))
            named.add(base if base not in named else next(name for name in again if name not in named))
        return named

    @property
    def _titles(self) -> Iterator[str]:
        for token, inner in zip(self._tokens, self._tokens[1:], strict=False):
            if token.type == "heading_open":
                yield _plain(inner)

    @property
    def fences(self) -> Iterator[Fence]:
        title = ""
        for place, token in enumerate(self._tokens):
            if token.type == "heading_open":
                title = _plain(self._tokens[place + 1])
            elif token.type == "fence" and token.map:
                yield Fence(token.info.partition(" ")[0], token.content, token.map[0] + 1, title)


def _plain(inline: Token) -> str:
    return "".join(part.content for part in inline.children or [])


PAGES = [
    Page(path)
    for path in (
        *sorted(DOCS.rglob("*.md")),
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
    )
]


def outside() -> dict[str, list[str]]:
    """Every link to another site, and the pages that have it."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for link in page.links:
            if link.startswith(("http://", "https://")):
                found.setdefault(link, []).append(page.name)
    return found
