"""Which leaves an event matches, told sentence by sentence; tests/unit/archive holds it against the past."""

from typing import Any

import pytest

from collector.audience.match import MOST_URLS, Matcher, UrlTest, _Set
from collector.audience.rules import Leaf, parse
from collector.event import StreamedEvent
from tests.traffic import NOW, TAG, Raw, streamed


def leaf(condition: Raw) -> Leaf:
    return parse({"all": [condition]}).leaves()[0]


def event(name: str = "addtocart", **fields: Any) -> StreamedEvent:
    return streamed({"time": NOW, "visitor": "v", "event": name, **fields})


def matches(condition: Raw, one: StreamedEvent) -> bool:
    return list(Matcher({TAG: [leaf(condition)]}).match(one)) == [0]


def test_an_event_matches_by_its_canonical_name_and_an_absent_name_is_any() -> None:
    assert matches({"event": "add_to_cart"}, event("AddToCart"))
    assert matches({"event": ["lead", "purchase"]}, event("checkout"))
    assert matches({}, event("whatever"))
    assert not matches({"event": "lead"}, event("addtocart"))


def test_leaves_belong_to_their_tag() -> None:
    matcher = Matcher({TAG: [leaf({"event": "lead"})], "other": [leaf({}), leaf({"event": "addtocart"})]})
    assert list(matcher.match(event())) == []
    assert sorted(matcher.match(streamed({"time": 1, "visitor": "v", "event": "addtocart"}, "other"))) == [
        0,
        1,
    ]
    assert list(matcher.match(streamed({"time": 1, "visitor": "v", "event": "addtocart"}, "unknown"))) == []


def test_an_event_source_is_asked_for_by_name() -> None:
    assert matches({"event_source": "server"}, event(source="server"))
    assert not matches({"event_source": "server"}, event(source="web"))


@pytest.mark.parametrize("operator", ["=", "!=", "contains", "not_contains", "starts_with", "matches"])
def test_an_absent_url_matches_no_operator(operator: str) -> None:
    assert not matches({"url": {operator: "x*"}}, event())


@pytest.mark.parametrize(
    ("test", "told"),
    [
        ("https://a.example/P/1", True),
        ("https://a.example/p/1", False),
        ({"!=": "https://a.example/p/1"}, True),
        ({"contains": "/P"}, True),
        ({"contains": "/p"}, False),
        ({"contains": ".example"}, True),
        ({"contains": "a?example"}, False),
        ({"not_contains": "/p"}, True),
        ({"not_contains": "/P"}, False),
        ({"starts_with": "https://a"}, True),
        ({"starts_with": "a.example"}, False),
        ({"matches": r"/P/\d$"}, True),
        ({"matches": "^a"}, False),
        ({"starts_with": "https", "not_contains": "/P"}, False),
    ],
)
def test_urls_are_compared_as_stored_and_by_case(test: Any, told: bool) -> None:
    assert matches({"url": test}, event(url="https://a.example/P/1")) is told


@pytest.mark.parametrize(
    ("held", "test", "told"),
    [
        (12, "12.00", True),
        ("12.0", 12, True),
        ("012", 12, False),
        ("012", "012", True),
        ("12a", {"contains": "12"}, True),
        (123, {"contains": "2"}, True),
        ("12.50", {"contains": "2.5"}, True),
        ("Red", "red", False),
        (True, True, True),
        (True, "true", True),
        (2**60, str(2**60), True),
        (2**60, 2**60 + 1, False),
        ("b", {"in": ["a", "b"]}, True),
        ("1", {"in": ["a", 1.0]}, True),
        (5, {">": "4.5"}, True),
        ("5a", {">": 4}, False),
        (5, {"<": 5}, False),
        (5, {"<=": 5, ">=": 5}, True),
        (5, {"!=": "5"}, False),
        ("5a", {"!=": 5}, True),
        (None, {"!=": 5}, False),
    ],
)
def test_values_are_compared_as_numbers_when_both_are_else_as_exact_text(
    held: Any, test: Any, told: bool
) -> None:
    assert matches({"event_data": {"value": test}}, event(data={"value": held})) is told
    assert matches({"event_data": {"size": test}}, event(line_items=[{"size": held}])) is told


@pytest.mark.parametrize("operator", ["=", "!=", "in", ">", ">=", "<", "<=", "contains"])
def test_an_absent_key_matches_no_operator(operator: str) -> None:
    operand = [1] if operator == "in" else 1
    assert not matches({"event_data": {"value": {operator: operand}}}, event(data={"other": 1}))


def test_over_line_items_a_positive_operator_means_any_and_a_negative_one_none() -> None:
    cart = event(
        line_items=[{"product_id": "shoe", "product_price": 20}, {"product_id": "hat"}, {"other": 1}]
    )
    assert matches({"event_data": {"product_id": "hat"}}, cart)
    assert not matches({"event_data": {"product_id": {"!=": "hat"}}}, cart)
    assert matches({"event_data": {"product_id": {"!=": "bag"}}}, cart)
    assert matches({"event_data": {"product_price": {">": 10}, "product_id": "hat"}}, cart)


def test_a_key_names_the_top_level_and_the_line_items_at_once() -> None:
    both = event(data={"product_id": "bag"}, line_items=[{"product_id": "hat"}])
    assert matches({"event_data": {"product_id": "bag"}}, both)
    assert matches({"event_data": {"product_id": "hat"}}, both)
    assert not matches({"event_data": {"product_id": {"!=": "bag"}}}, both)


def test_operators_together_ask_for_one_value_that_passes_them_all() -> None:
    cart = event(line_items=[{"product_price": 5}, {"product_price": 50}])
    assert not matches({"event_data": {"product_price": {">": 10, "<": 20}}}, cart)
    assert matches({"event_data": {"product_price": {">": 10, "<": 60}}}, cart)


def test_a_leaf_is_told_once_however_many_items_match() -> None:
    twice = event(data={"colour": "red"}, line_items=[{"colour": "red"}, {"colour": "blue"}])
    assert matches({"event_data": {"colour": {"in": ["red", "blue"]}}}, twice)


def test_what_was_remembered_about_urls_is_bounded_and_still_right() -> None:
    matcher = Matcher({TAG: [leaf({"url": {"contains": "/p/7"}})]})
    for _ in range(2):
        found = [bool(matcher.match(event(url=f"https://a.example/p/{n}"))) for n in range(MOST_URLS + 9)]
        assert found == [str(n).startswith("7") for n in range(MOST_URLS + 9)]


def test_a_regex_set_that_runs_out_of_memory_falls_back_to_single_regexes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("collector.audience.match.SET_MEMORY", 1 << 12)
    patterns: dict[str, list[tuple[int, tuple[UrlTest, ...]]]] = {
        f"{letter}.{{30}}z$": [(place, ())] for place, letter in enumerate("abc")
    }
    url = "a" + "b" * 30 + "z"
    assert [place for place, _ in _Set(patterns).match(url)] == [0]
