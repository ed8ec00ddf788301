"""The snippet: what a website pastes into its pages."""

from html import escape

import orjson

from collector.ingest.tagfiles import STATIC
from collector.tags import Tag


def snippet(collector: str, tag: Tag, *, pinned: bool = False) -> str:
    """The lines to paste. collector: its URL for browsers; pinned: this version of the tag, with its hash."""
    built = orjson.loads((STATIC / "tag.json").read_bytes())
    version = built["version"]
    values = {
        "script": f"{collector}/tag/{version}.js" if pinned else f"{collector}/tag.js",
        "integrity": built["integrity"][version],
        "tag": tag.id,
        "regime": tag.regime,
        "collector": collector,
    }
    text = (STATIC / ("snippet.pinned.html" if pinned else "snippet.html")).read_text()
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", escape(value))
    return text.strip()
