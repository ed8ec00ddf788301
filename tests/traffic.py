"""Random traffic and random rules from small alphabets, so that they meet; and raw events → streamed ones."""

from typing import Any

from hypothesis import strategies as st

from collector.event import Source, StreamedEvent, canonical_name, scalar

DAY = 86_400
NOW = 1_763_750_000
TAG = "2612345678901"

NAMES = ["pagevisit", "page_view", "AddToCart", "add_to_cart", "checkout", "purchase", "Own_Event", "other"]
KEYS = ["value", "currency", "product_id", "colour", "", "*", 'a"b', "é'~/\\x", "line items"]
VALUES: list[Any] = [
    *(0, 12, 12.5, -3, 1e-7, 1e16, 0.30000000000000004, 2**60, True),
    *(
        "12",
        "12.50",
        "-3",
        "12a",
        "007",
        "1e3",
        str(2**60),
        "true",
        "",
        "red",
        "Red",
        "it's",
        'a"b',
        "ré\n\\d",
        "1e+16",
    ),
]
PARTS = ["12", "2", ".5", "5", "e", "-", "r", "R", "é", "'", '"', "\n", "000", "1e", 12, 12.5]
URLS = [
    "https://a.example/p/1",
    "https://a.example/p/12?x=it's",
    "HTTPS://A.example/P/1",
    "https://é.example/ü\nb",
    'https://b.example/"%_\\',
]
TEXTS = [*URLS, "https://a.example/p/", "/p/", "it's", "example", "é", "ü\n", "%", "_", "\\", '"']
REGEXES = [
    *(
        "^https://",
        r"p/\d+$",
        "a.b",
        "(?i)HTTPS",
        "(?s)ü.b",
        "x*",
        "[^/]+$",
        r"\bp\b",
        "ü$",
        "^b",
        "(?m)^b",
        "a|é",
    ),
    *(
        ".*p.*",
        "p/1",
        r"^https://a\.example/p/1$",
        r"\.example/p/1",
        "^https://a",
        "it's",
        r"\pL\pN",
        r"[\"'%]",
        ".",
    ),
]
AGES = [0, 1, DAY - 1, DAY, DAY + 1, 2 * DAY, 30 * DAY, 30 * DAY + 1, 180 * DAY, 180 * DAY + 1, 540 * DAY]
DAYS = [1, 2, 30, 180, 540]

Raw = dict[str, Any]


@st.composite
def matching(draw: st.DrawFn) -> tuple[list[Raw], list[Raw]]:
    """Events, each of a visitor of its own, and conditions about what an event holds.

    Every example takes a few words of each alphabet and spends them on both, so that they meet.
    """
    names, keys = draw(_few(NAMES)), draw(_few(KEYS, 2))
    values, urls = draw(_few(VALUES, 4)), draw(_few(URLS))
    data = st.dictionaries(st.sampled_from(keys), st.sampled_from(values), max_size=2)
    events = st.fixed_dictionaries(
        {"time": st.just(NOW), "event": st.sampled_from(names), "data": data},
        optional={
            "url": st.sampled_from(urls),
            "line_items": st.lists(data, max_size=3),
            "source": st.sampled_from(["web", "server", "import"]),
        },
    )
    traffic = draw(st.lists(events, min_size=1, max_size=16))
    event_data = st.dictionaries(st.sampled_from(keys), _filter(values), min_size=1, max_size=2)
    conditions = st.one_of(
        st.fixed_dictionaries({"event_data": event_data}),
        st.fixed_dictionaries({"url": _url(urls)}),
        _some_of(
            {
                "event": _one_or_more(names),
                "url": _url(urls),
                "event_data": event_data,
                "event_source": st.sampled_from(["web", "server"]),
            },
            least=2,
        ),
    )
    return (
        [{**event, "visitor": f"v{place}"} for place, event in enumerate(traffic)],
        draw(st.lists(conditions, min_size=1, max_size=6)),
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Raw], list[Raw]]:
    """Events of a few visitors over time, and whole rules about what they did when."""
    names = draw(_few(NAMES))
    events = st.fixed_dictionaries(
        {
            "time": st.sampled_from([-1, *AGES]).map(lambda age: NOW - age),
            "visitor": st.sampled_from(["v1", "v2", "é'3"]),
            "event": st.sampled_from(names),
        },
        optional={"verdict": st.sampled_from(["full", "full", "full", "limited"])},
    )
    window = {"min_count": st.sampled_from([1, 2, 3]), "retention_days": st.sampled_from(DAYS)}
    named = st.fixed_dictionaries({"event": _one_or_more(names)}, optional=window)
    condition = named | named | _some_of(window)
    several = st.lists(condition, min_size=1, max_size=2)
    since = st.lists(named.map(lambda other: {**other, "since": "match"}), min_size=1, max_size=2)
    prefill = {"prefill": st.sampled_from([True, False])}
    rules = st.one_of(
        _joined(condition, _some_of({"all": several, "any": several, "exclude": several, **prefill})),
        _joined(condition, st.fixed_dictionaries({"exclude": since}, optional=prefill)),
        _joined(_some_of({"all": several, "any": several}), st.fixed_dictionaries({}, optional=prefill)),
        _joined(_some_of({"all": several, "any": several}), st.fixed_dictionaries({"exclude": several})),
    )
    return (
        draw(st.lists(events, min_size=4, max_size=24)),
        draw(st.lists(rules, min_size=3, max_size=6)),
    )


def _few(words: list[Any], most: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(words), min_size=1, max_size=most)


def _joined(one: st.SearchStrategy[Raw], other: st.SearchStrategy[Raw]) -> st.SearchStrategy[Raw]:
    return st.builds(lambda left, right: {**left, **right}, one, other)


def _some_of(keys: dict[str, st.SearchStrategy[Any]], least: int = 1) -> st.SearchStrategy[Raw]:
    chosen = st.lists(st.sampled_from(sorted(keys)), min_size=least, max_size=2, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: keys[name] for name in names}))


def _one_or_more(names: list[str]) -> st.SearchStrategy[Any]:
    return st.sampled_from(names) | st.lists(st.sampled_from(names), min_size=1, max_size=3)


def _url(urls: list[str]) -> st.SearchStrategy[Any]:
    texts = st.sampled_from([*urls, *TEXTS])
    parts = texts | _slices(urls)
    return st.sampled_from(urls) | _some_of(
        {
            **dict.fromkeys(["=", "!="], texts),
            **dict.fromkeys(["contains", "not_contains"], parts),
            "starts_with": parts | st.sampled_from(urls).map(lambda url: url[:9]),
            "matches": st.sampled_from(REGEXES),
        }
    )


def _slices(texts: list[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda text, start, size: text[start:][:size] or "1",
        st.sampled_from(texts),
        st.integers(0, 4),
        st.integers(1, 3),
    )


def _filter(values: list[Any]) -> st.SearchStrategy[Any]:
    value = st.sampled_from(values)
    number = st.sampled_from([12, "12.50", *(some for some in values if not isinstance(scalar(some), str))])
    return value | _some_of(
        {
            "=": value,
            "!=": value,
            "in": st.lists(value, min_size=1, max_size=3),
            "contains": _slices([str(scalar(some)) for some in values]) | st.sampled_from(PARTS),
            **dict.fromkeys([">", ">=", "<", "<="], number),
        }
    )


def streamed(raw: dict[str, Any], tag: str = TAG) -> StreamedEvent:
    """A raw event as it lies in the stream: names canonical, values in their normal form."""
    return StreamedEvent(
        tag=tag,
        visitor=raw["visitor"],
        event=canonical_name(raw["event"]),
        event_id="",
        event_time=raw["time"],
        received_at=raw["time"] * 1000,
        source=_source(raw),
        url=raw.get("url", ""),
        data=_normal(raw.get("data", {})),
        line_items=[_normal(item) for item in raw.get("line_items", [])],
        verdict="full" if raw.get("verdict", "full") == "full" else "limited",
    )


def _source(raw: dict[str, Any]) -> Source:
    source: Source = raw.get("source", "web")
    return source


def _normal(fields: dict[str, Any]) -> dict[str, str | int | float]:
    return {key: value for key, given in fields.items() if (value := scalar(given)) is not None}
