"""Hooks of `make docs`: what the pages say to GitHub and to the tests becomes what the site can show."""

import re

_OUTSIDE = re.compile(r"\[(?P<text>[^\]]+)\]\((?:\.\./)+(?P<path>[^)]+)\)")
_WORDS_FOR_TESTS = re.compile(r"^(```\w+) .*$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """MkDocs calls it with each page's source, before it looks at links.

    A link to a file beside docs/ becomes its path, since the site is without it. What follows a fence's language is
    for the tests, and the renderer would take the fence for text.
    """
    return _OUTSIDE.sub(_told, _WORDS_FOR_TESTS.sub(r"\1", markdown))


def _told(link: re.Match[str]) -> str:
    text, path = link["text"], f"`{link['path']}`"
    return path if text.strip("`") in link["path"] else f"{text} ({path})"
