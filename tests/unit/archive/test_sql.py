"""Live rules, past rules and the contract give the same answer, whatever the rule and the traffic."""

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.archive import rows, sql
from collector.audience.match import Matcher
from collector.audience.rules import Leaf, Rule, Window, parse
from collector.event import scalar
from tests import oracle
from tests.traffic import (
    DAY,
    DAYS,
    NOW,
    PARTS,
    REGEXES,
    TAG,
    TEXTS,
    URLS,
    VALUES,
    Raw,
    histories,
    matching,
    streamed,
)

CREATED = NOW - 30 * DAY


def mark(visitor: str) -> int:
    return zlib.crc32(visitor.encode())


class Past:
    """DuckDB over the archive rows of some traffic."""

    def __init__(self, traffic: Sequence[Raw], marks: Mapping[str, int] = MappingProxyType({})) -> None:
        self.base = duckdb.connect()
        self.base.execute("SET threads = 1")
        table = rows.table([(n, n % 2, streamed(raw)) for n, raw in enumerate(traffic)], mark)
        self.base.register("archived", table)
        known = [(mark(visitor), until) for visitor, until in marks.items()]
        self.base.register(
            "marks",
            pa.table(
                {
                    "mark": pa.array([m for m, _ in known], "int64"),
                    "until": pa.array([t for _, t in known], "int64"),
                }
            ),
        )

    def members(self, rule: Rule, at: int, lookback: int | None = None, floor: int = 0) -> set[str]:
        query = sql.members(rule, at=at, floor=floor, lookback=lookback, source="archived", marks="marks")
        return {visitor for (visitor,) in self.base.execute(query).fetchall()}

    def latest(self, spans: Sequence[sql.Span], until: tuple[int, int]) -> list[tuple[Any, ...]]:
        """What is found, as lists; the same whether or not one knows what the rows are within."""
        found, known = (
            self.base.execute(
                sql.latest(spans, source="archived", marks="marks", until=until, extent=extent)
            ).fetchall()
            for extent in (None, self.extent())
        )
        assert known == found
        return [
            (visitor, *([time] if isinstance(time, int) else time for time in times)) for visitor, *times in found
        ]

    def extent(self) -> sql.Extent | None:
        """What the rows are within, as they say themselves."""
        ends = self.base.execute("SELECT min(event_time), max(event_time), max((sid_ms, sid_seq)) FROM archived")
        ((oldest, newest, last),) = ends.fetchall()
        return None if last is None else sql.Extent(oldest, newest, last)


def live_members(
    traffic: Sequence[Raw], rule: Rule, at: int, floor: int, lookback: int | None, marks: dict[str, int]
) -> set[str]:
    """What columns hold and readers do with them: the k latest matches of each leaf, then the windows."""
    leaves = rule.leaves()
    matcher = Matcher({TAG: leaves})
    columns: dict[str, dict[Leaf, list[int]]] = defaultdict(lambda: defaultdict(list))
    for event in map(streamed, traffic):
        counts = event.verdict == "full" and event.event_time > marks.get(event.visitor, -1)
        if counts and floor <= event.event_time <= at:
            for place in matcher.match(event):
                columns[event.visitor][leaves[place]].append(event.event_time)
    windows = rule.windows(lookback)

    def inside(column: dict[Leaf, list[int]], window: Window) -> bool:
        times = sorted(column[window.leaf], reverse=True)[: window.leaf.count]
        if len(times) < window.leaf.count or times[-1] < at - window.days * DAY:
            return False
        return not window.since or times[-1] >= max(column[windows[0].leaf])

    def member(column: dict[Leaf, list[int]]) -> bool:
        told = {
            role: [inside(column, w) for w in windows if w.role == role] for role in ("main", "all", "any")
        }
        if not all(told["main"] + told["all"]) or (told["any"] and not any(told["any"])):
            return False
        return not any(inside(column, w) for w in windows if w.role == "exclude")

    return {visitor for visitor, column in columns.items() if member(column)}


def answers(traffic: Sequence[Raw], conditions: Sequence[Raw]) -> dict[str, list[list[bool]]]:
    """Condition by condition, whether each event matches it: by the contract, live, and past."""
    leaves = [parse({"all": [condition]}).leaves()[0] for condition in conditions]
    matcher = Matcher({TAG: leaves})
    live = [set(matcher.match(streamed(event))) for event in traffic]
    predicates = ", ".join(map(sql.predicate, leaves))
    past = Past(traffic).base.execute(f"SELECT {predicates} FROM archived ORDER BY sid_ms").fetchall()
    return {
        "contract": [[oracle.matches(condition, event) for event in traffic] for condition in conditions],
        "live": [[place in matched for matched in live] for place in range(len(conditions))],
        "past": [list(column) for column in zip(*past, strict=True)],
    }


def agree(traffic: Sequence[Raw], conditions: Sequence[Raw]) -> None:
    found = answers(traffic, conditions)
    for place, condition in enumerate(conditions):
        assert found["live"][place] == found["contract"][place], condition
        assert found["past"][place] == found["contract"][place], condition


@pytest.mark.parametrize("key", ["value", "product_id", "colour", 'é"~/'])
def test_every_data_operator_means_the_same_on_every_value(key: str) -> None:
    held: list[Raw] = [{"data": {key: value}} for value in VALUES]
    held += [{"line_items": [{key: value}, {"other": 1}, {key: "red"}]} for value in VALUES]
    held += [{"data": {key: 5}, "line_items": [{key: value}]} for value in VALUES]
    held += [{}, {"data": {key: None}}, {"data": {"other": 12}, "line_items": [{"other": "red"}]}]
    numbers = [value for value in VALUES if not isinstance(scalar(value), str)]
    tests: list[Raw] = [{operator: value} for operator in ("=", "!=") for value in VALUES]
    tests += [{operator: value} for operator in (">", ">=", "<", "<=") for value in numbers]
    tests += [{"contains": part} for part in PARTS]
    tests += [{"in": VALUES[start : start + 3]} for start in range(len(VALUES))]
    tests += [{">": 5, "<": 12.5}, {"!=": 5, "in": [5, 12, "red"]}, {">=": 12, "contains": "2"}]
    agree(
        [{"time": NOW, "visitor": "v", "event": "e", **some} for some in held],
        [{"event_data": {key: test}} for test in tests],
    )


def test_every_url_operator_means_the_same_on_every_url() -> None:
    operators = ("=", "!=", "contains", "not_contains", "starts_with")
    tests: list[Any] = [*URLS, *({operator: text} for operator in operators for text in TEXTS)]
    tests += [{"matches": regex} for regex in REGEXES]
    tests += [
        {"contains": "example", "!=": URLS[0]},
        {"starts_with": "https", "not_contains": "12", "matches": "p"},
    ]
    held = ["", *URLS, *TEXTS, "a\nb", "b\n", "ab", "B"]
    agree(
        [{"time": NOW, "visitor": "v", "event": "e", "url": url} for url in held],
        [{"url": test} for test in tests],
    )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(matching())
def test_conditions_match_the_same_events_live_and_past(world: tuple[list[Raw], list[Raw]]) -> None:
    agree(*world)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    world=histories(),
    at=st.sampled_from([NOW, NOW - 1, NOW - DAY]),
    lookback=st.sampled_from([None, *DAYS]),
    marks=st.dictionaries(
        st.sampled_from(["v1", "é'3"]), st.sampled_from([NOW - 2 * DAY, NOW - 1]), max_size=1
    ),
)
def test_rules_have_the_same_members_live_and_past(
    world: tuple[list[Raw], list[Raw]], at: int, lookback: int | None, marks: dict[str, int]
) -> None:
    traffic, written = world
    past = Past(traffic, marks)
    for raw in written:
        rule = parse(raw)
        window = lookback if rule.main else None
        floor = 0 if rule.prefill else CREATED
        expected = oracle.members(traffic, raw, at=at, created_at=CREATED, lookback=window, marks=marks)
        assert live_members(traffic, rule, at, floor, window, marks) == expected, raw
        assert past.members(rule, at, window, floor) == expected, raw


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    world=histories(),
    until=st.tuples(st.integers(0, 24), st.integers(0, 1)),
    low=st.sampled_from([0, NOW - 30 * DAY, NOW - DAY]),
    high=st.sampled_from([NOW - DAY, NOW + 1, NOW + 1]),
    marks=st.dictionaries(st.just("v1"), st.just(NOW - DAY), max_size=1),
)
def test_a_backfill_finds_the_latest_matches_that_live_matching_would_have_kept(
    world: tuple[list[Raw], list[Raw]], until: tuple[int, int], low: int, high: int, marks: dict[str, int]
) -> None:
    traffic, written = world
    leaves = parse(written[0]).leaves()
    matcher = Matcher({TAG: leaves})
    kept: dict[str, list[list[int]]] = {}
    for n, event in enumerate(map(streamed, traffic)):
        counts = event.verdict == "full" and event.event_time > marks.get(event.visitor, -1)
        if counts and (n, n % 2) <= until and low <= event.event_time < high:
            for place in matcher.match(event):
                kept.setdefault(event.visitor, [[] for _ in leaves])[place].append(event.event_time)
    expected = [
        (
            visitor,
            *(
                sorted(times, reverse=True)[: leaf.count] or None
                for leaf, times in zip(leaves, found, strict=True)
            ),
        )
        for visitor, found in sorted(kept.items())
    ]
    assert Past(traffic, marks).latest([sql.Span(leaf, low, high) for leaf in leaves], until) == expected


CART_NOT_BOUGHT = {"event": "addtocart", "retention_days": 30, "exclude": [{"event": "checkout"}]}
NOT_BOUGHT_SINCE = {**CART_NOT_BOUGHT, "exclude": [{"event": "checkout", "since": "match"}]}


@pytest.mark.parametrize(
    ("rule", "history", "told"),
    [
        # t − retention_days·86400 ≤ event_time ≤ t
        ({"event": "a", "retention_days": 1}, {"a": [DAY]}, True),
        ({"event": "a", "retention_days": 1}, {"a": [DAY + 1]}, False),
        ({"event": "a", "retention_days": 1}, {"a": [0]}, True),
        ({"event": "a", "retention_days": 1}, {"a": [-1]}, False),
        ({"event": "a"}, {"a": [180 * DAY]}, True),
        ({"event": "a"}, {"a": [180 * DAY + 1]}, False),
        # at least min_count events, all of them in the window; equal seconds count separately
        ({"event": "a", "min_count": 2, "retention_days": 1}, {"a": [0]}, False),
        ({"event": "a", "min_count": 2, "retention_days": 1}, {"a": [5, 5]}, True),
        ({"event": "a", "min_count": 2, "retention_days": 1}, {"a": [0, DAY]}, True),
        ({"event": "a", "min_count": 2, "retention_days": 1}, {"a": [0, DAY + 1]}, False),
        # all, any, exclude
        ({"all": [{"event": "a"}, {"event": "b"}]}, {"a": [1]}, False),
        ({"all": [{"event": "a"}, {"event": "b"}]}, {"a": [1], "b": [2]}, True),
        ({"any": [{"event": "a"}, {"event": "b"}]}, {"b": [1]}, True),
        ({"any": [{"event": "a"}, {"event": "b"}]}, {"c": [1]}, False),
        ({"event": "a", "exclude": [{"event": "b"}, {"event": "c"}]}, {"a": [1], "c": [2]}, False),
        ({"event": "a", "exclude": [{"event": "b", "retention_days": 1}]}, {"a": [1], "b": [DAY + 1]}, True),
        ({"event": "a", "retention_days": 1, "exclude": [{"event": "b"}]}, {"a": [1], "b": [DAY + 1]}, True),
        # since: only what came at or after the last match of the main condition excludes
        (CART_NOT_BOUGHT, {"addtocart": [10], "checkout": [20]}, False),
        (NOT_BOUGHT_SINCE, {"addtocart": [10], "checkout": [20]}, True),
        (NOT_BOUGHT_SINCE, {"addtocart": [10], "checkout": [10]}, False),
        (NOT_BOUGHT_SINCE, {"addtocart": [20], "checkout": [10]}, False),
        (NOT_BOUGHT_SINCE, {"addtocart": [30, 10], "checkout": [20]}, True),
        # … its last one, also where several are asked for; and as many as the exclusion asks for
        ({**NOT_BOUGHT_SINCE, "min_count": 2}, {"addtocart": [30, 10], "checkout": [20]}, True),
        (
            {"event": "a", "exclude": [{"event": "b", "min_count": 2, "since": "match"}]},
            {"a": [10], "b": [5, 20]},
            True,
        ),
        (
            {"event": "a", "exclude": [{"event": "b", "min_count": 2, "since": "match"}]},
            {"a": [10], "b": [5, 10]},
            False,
        ),
        # prefill false: only events at or after created_at count, in every condition
        ({"event": "a", "prefill": False}, {"a": [30 * DAY]}, True),
        ({"event": "a", "prefill": False}, {"a": [30 * DAY + 1]}, False),
        ({"event": "a", "prefill": False, "all": [{"event": "b"}]}, {"a": [1], "b": [31 * DAY]}, False),
        ({"event": "a", "prefill": False, "exclude": [{"event": "b"}]}, {"a": [1], "b": [31 * DAY]}, True),
    ],
)
def test_the_contract_sentence_by_sentence(rule: Raw, history: dict[str, list[int]], told: bool) -> None:
    traffic = [
        {"time": NOW - age, "visitor": "v", "event": name} for name, ages in history.items() for age in ages
    ]
    expected = {"v"} if told else set()
    parsed = parse(rule)
    floor = 0 if parsed.prefill else CREATED
    assert oracle.members(traffic, rule, at=NOW, created_at=CREATED) == expected
    assert live_members(traffic, parsed, NOW, floor, None, {}) == expected
    assert Past(traffic).members(parsed, NOW, None, floor) == expected


def test_full_consent_alone_counts() -> None:
    traffic = [{"time": NOW, "visitor": "v", "event": "e", "verdict": "limited"}]
    assert Past(traffic).members(parse({"event": "e"}), NOW) == set()
    assert Past(traffic).latest([sql.Span(parse({"event": "e"}).leaves()[0], 0, NOW + 1)], (9, 0)) == []


def test_nothing_up_to_a_mark_counts_and_everything_after_it_does() -> None:
    traffic = [{"time": NOW - age, "visitor": visitor, "event": "e"} for visitor in "ab" for age in (5, 4)]
    rule = parse({"event": "e", "min_count": 1})
    span = sql.Span(rule.leaves()[0], 0, NOW + 1)
    assert Past(traffic, {"a": NOW - 4}).members(rule, NOW) == {"b"}
    assert Past(traffic, {"a": NOW - 4}).latest([span], (9, 0)) == [("b", [NOW - 4])]
    assert Past(traffic, {"a": NOW - 5}).members(rule, NOW) == {"a", "b"}


def test_each_leaf_of_a_backfill_has_its_own_span() -> None:
    traffic = [{"time": NOW - age, "visitor": "v", "event": name} for age in (0, 5, 9) for name in ("a", "b")]
    spans = [
        sql.Span(parse({"event": "a", "min_count": 2}).leaves()[0], 0, NOW),
        sql.Span(parse({"event": "b"}).leaves()[0], NOW - 4, NOW + 1),
    ]
    assert Past(traffic).latest(spans, (99, 0)) == [("v", [NOW - 5, NOW - 9], [NOW])]


def test_tests_that_every_row_passes_are_left_out() -> None:
    (leaf,) = parse({"event": "e"}).leaves()
    spans, until = [sql.Span(leaf, NOW - 5, NOW + 1)], (7, 3)

    def left(extent: sql.Extent) -> set[str]:
        query = sql.latest(spans, source="archived", marks="marks", until=until, extent=extent)
        tests = {"low": f">= {NOW - 5}", "high": f"< {NOW + 1}", "until": "(7, 3)"}
        return {name for name, test in tests.items() if test in query}

    assert left(sql.Extent(NOW - 5, NOW, (7, 3))) == set()
    assert left(sql.Extent(NOW - 6, NOW, (7, 3))) == {"low"}
    assert left(sql.Extent(NOW - 5, NOW + 1, (7, 3))) == {"high"}
    assert left(sql.Extent(NOW - 5, NOW, (7, 4))) == {"until"}


def test_a_backfill_stops_at_its_stream_id() -> None:
    traffic = [{"time": NOW - n, "visitor": "v", "event": "e"} for n in range(4)]  # ids 0-0, 1-1, 2-0, 3-1
    span = sql.Span(parse({"event": "e", "min_count": 9}).leaves()[0], 0, NOW + 1)
    found = {until: Past(traffic).latest([span], until)[0][1] for until in [(1, 0), (1, 1), (2, 0)]}
    assert found == {
        (1, 0): [NOW],
        (1, 1): [NOW, NOW - 1],
        (2, 0): [NOW, NOW - 1, NOW - 2],
    }


def test_a_rule_cannot_break_out_of_its_quotes() -> None:
    evil = "'; DROP TABLE archived; --"
    traffic = [{"time": NOW, "visitor": "v", "event": evil, "url": evil, "data": {evil: evil}}]
    rule = parse({"event": evil, "url": {"contains": evil}, "event_data": {evil: {"in": [evil, "'"]}}})
    past = Past(traffic)
    assert past.members(rule, NOW) == past.members(rule, NOW) == {"v"}
