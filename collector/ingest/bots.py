"""Bots: which requests have no person behind them, and which browser the others use."""

import re
from collections.abc import Mapping
from functools import lru_cache

import re2
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

LONGEST = 1_024  # characters of a User-Agent that are looked at; browsers send 60 to 400

# Patterns of the list that match people: in-app browsers that links from chats and feeds open in, two browser
# shells, and one build of Android. Found by matching the list against User-Agents of browsers.
PEOPLE = {"Viber", "MetaIAB Facebook", r"AP3A\.240617\.008", "Fluid", "Sonic"}

# What crawlers that are on no list call themselves.
WORDS = (
    r"[Bb]ots?(?:[^A-Za-z]|$)",
    r"(?i)crawl|spider|headless|scrap(?:er|y|ing)|monitor|uptime|synthetic|observatory|googleweblight|archiv",
    r"(?i)lighthouse|puppeteer|playwright|selenium|cypress|pingdom|validat|check(?:er|ing)|preview|analy[sz]er",
    r"(?i)python|perl|ruby|php|\bjava/|curl|wget|libwww-perl|\bscan|inspect|verif|indexer|\bseo\b|agent\b",
    r"(?i)fetch|feed|\brss|rss\b|proxy|resolver|expander|classifier|lookup|transcoder|grpc|workflow|callback|loadtime",
    r"(?i)-google\b|google[- ](?:page|search|adwords)|googlemessages|whatsapp/|\b(?:openai|claude)",
    r"(?i)^(?:anonymous|thumbor)\b",
    r"(?i)mailto:|https?://|\bwww\.",  # where to complain: browsers name no page of theirs
    r"^[\w.+ -]+(?:/v?\d+(?:\.\d+)*)?$",  # nothing but a name and a version
)

_SPECULATION = ("prefetch", "prerender", "preview")


def _patterns() -> re2.Set:
    patterns = re2.Set.SearchSet()
    for crawler in CRAWLER_USER_AGENTS_DATA:
        if crawler["pattern"] not in PEOPLE:
            patterns.Add(crawler["pattern"])
    for word in WORDS:
        patterns.Add(word)
    patterns.Compile()
    return patterns


_CRAWLERS = _patterns()


@lru_cache(
    maxsize=8_192
)  # a busy hour of shops shows a few thousand different ones; a look at all takes 13 µs
def is_crawler(user_agent: str) -> bool:
    """Whether the User-Agent is a crawler's, a monitor's or a program's. None at all is no proof of one."""
    return bool(_CRAWLERS.Match(user_agent))


def speculative(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the browser fetches ahead of a visit that may never come."""
    return any(
        word in headers[name].decode("latin-1").lower()
        for name in (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")
        if name in headers
        for word in _SPECULATION
    )


# The order matters: most browsers also name the ones that they descend from.
_FAMILIES = (
    ("Edge", re.compile(r"\bEdg(?:e|A|iOS)?/(\d{1,4})")),
    ("Opera", re.compile(r"\bOP(?:R|T|iOS)/(\d{1,4})")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/(\d{1,4})")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/(\d{1,4})")),
    ("Chrome", re.compile(r"\b(?:Chrome|CriOS)/(\d{1,4})")),
    ("Safari", re.compile(r"\bVersion/(\d{1,4})[\d.]*(?: Mobile/\w+)? Safari/")),
)


@lru_cache(maxsize=8_192)
def family(user_agent: str) -> str:
    """Family and major version, such as «Firefox 144»; "" for a browser that is none of the big ones."""
    for name, pattern in _FAMILIES:
        if found := pattern.search(user_agent):
            return f"{name} {found[1]}"
    return ""
