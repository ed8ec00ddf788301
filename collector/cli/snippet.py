"""The snippet: what a website pastes into its pages."""

import re
from html import escape

import orjson

from collector.ingest.tagfiles import STATIC
from collector.settings import Settings
from collector.tags import Tag

ADDRESS = "collector.url"  # the file in the data folder with the URL that `up` was last reached at


def address(settings: Settings) -> str:
    """The collector's URL for browsers: as the settings say, else where `up` listens on this data folder."""
    if settings.redis_url or settings.model_fields_set & {"public_url", "host", "port"}:
        return settings.url
    try:
        return (settings.data_dir / ADDRESS).read_text()
    except OSError:
        return settings.url


def snippet(collector: str, tag: Tag, *, vendor: int = 0, pinned: bool = False) -> str:
    """The lines to paste.

    collector: its URL for browsers. vendor: the operator's id on the IAB's list, 0 for none, so that tag and
    edge read TCF for the same. pinned: this version of the tag, with its hash.
    """
    built = orjson.loads((STATIC / "tag.json").read_bytes())
    version = built["version"]
    values = {
        "script": f"{collector}/tag/{version}.js" if pinned else f"{collector}/tag.js",
        "integrity": built["integrity"][version],
        "tag": tag.id,
        "regime": tag.regime,
        "collector": collector,
        "vendor": f",vendor:{vendor}" if vendor else "",
    }
    text = (STATIC / ("snippet.pinned.html" if pinned else "snippet.html")).read_text()
    if tag.regime == "opt_in":  # without JavaScript nobody can say yes, and before a yes nothing is asked for
        text = re.sub(r"<noscript>.*\n", "", text)
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", escape(value))
    return text.strip()
