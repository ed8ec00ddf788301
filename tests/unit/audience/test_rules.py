"""What the rule language takes, what it refuses and how it says so, and which conditions are one leaf."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from collector.audience.rules import Leaf, RuleError, leaf_of, parse, to_json
from tests.traffic import Raw, histories, matching

CART: Raw = {"event": "addtocart", "retention_days": 30}


def leaf(**condition: Any) -> Leaf:
    (only,) = parse({"all": [condition]}).leaves()
    return only


def refused(rule: object) -> RuleError:
    with pytest.raises(RuleError) as caught:
        parse(rule)
    assert str(caught.value) == f"{caught.value.field}: {caught.value.message}"
    return caught.value


def test_conditions_that_differ_only_in_their_window_are_one_leaf() -> None:
    rule = parse(
        {
            "event": "checkout",
            "all": [{"event": "Checkout", "retention_days": 7}],
            "any": [{"event": ["purchase"], "retention_days": 540}],
            "exclude": [{"event": "checkout", "since": "match"}],
        }
    )
    assert rule.leaves() == (Leaf(events=("checkout",)),)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"event": ["AddToCart", "page_visit"]}, {"event": ["pagevisit", "add_to_cart", "PageView"]}),
        ({"url": "https://a.example/"}, {"url": {"=": "https://a.example/"}}),
        ({"url": {"contains": "a", "!=": "b"}}, {"url": {"!=": "b", "contains": "a"}}),
        ({"event_data": {"value": "12.50"}}, {"event_data": {"value": {"=": 12.5}}}),
        ({"event_data": {"value": 12.0}}, {"event_data": {"value": 12}}),
        ({"event_data": {"a": 1, "b": True}}, {"event_data": {"b": "true", "a": "1"}}),
        ({"event_data": {"a": {"in": ["y", 3, "x", "3"]}}}, {"event_data": {"a": {"in": [3, "x", "y"]}}}),
        ({"min_count": 1}, {}),
    ],
)
def test_what_means_the_same_is_the_same_leaf(one: Raw, other: Raw) -> None:
    assert leaf(**one) == leaf(**other)
    assert leaf(**one).id == leaf(**other).id


@pytest.mark.parametrize(
    "condition",
    [
        {"event": "checkout"},
        {"event": "addtocart", "min_count": 2},
        {"event": "addtocart", "event_source": "web"},
        {"event": "addtocart", "url": "x"},
        {"event": "addtocart", "event_data": {"value": 1}},
        {"event": "addtocart", "event_data": {"value": {"contains": "1"}}},
    ],
)
def test_what_means_something_else_is_another_leaf(condition: Raw) -> None:
    assert leaf(**condition).id != leaf(event="addtocart").id


def test_a_leafs_id_is_for_ever() -> None:
    """Columns in Redis are found by it: if this fails, every deployed audience loses its past."""
    every = leaf(
        event=["Purchase", "own"],
        url={"contains": "/p/", "matches": "é$"},
        event_data={"value": {">=": "49.90"}, "colour": {"in": ["red", 3]}},
        event_source="server",
        min_count=2,
    )
    assert every.form == (
        '{"event":["checkout","own"],"event_data":{"colour":{"in":[3,"red"]},"value":{">=":49.9}},'
        '"event_source":"server","min_count":2,"url":{"contains":"/p/","matches":"é$"}}'
    )
    assert every.id == "4c88555f60b23e30"
    assert leaf(event="addtocart").id == "ec5a64ac42adf3dd"


@settings(max_examples=50, deadline=None)
@given(matching())
def test_a_leaf_is_read_back_from_its_form(world: tuple[list[Raw], list[Raw]]) -> None:
    for condition in world[1]:
        assert leaf_of(leaf(**condition).form) == leaf(**condition)


@settings(max_examples=50, deadline=None)
@given(histories())
def test_a_rule_is_shown_as_it_was_written_and_survives_a_round_trip(
    world: tuple[list[Raw], list[Raw]],
) -> None:
    for written in world[1]:
        rule = parse(written)
        assert to_json(rule) == written
        assert parse(to_json(rule)) == rule


def days(rule: Raw, lookback: int | None = None) -> list[int]:
    return [window.days for window in parse(rule).windows(lookback)]


def test_the_main_window_is_180_days_unless_written() -> None:
    assert days({"event": "addtocart"}) == [180]
    assert days(CART) == [30]


def test_other_windows_follow_the_main_one_and_lookback_unless_written() -> None:
    rule = {
        **CART,
        "all": [{"event": "search"}],
        "any": [{"event": "lead", "retention_days": 7}],
        "exclude": [{}],
    }
    assert days(rule) == [30, 30, 7, 30]
    assert days(rule, 90) == [90, 90, 7, 90]


def test_without_a_main_condition_windows_are_180_days_and_no_lookback_is_taken() -> None:
    rule = {"any": [{"event": "lead"}, {"event": "search", "retention_days": 7}]}
    assert days(rule) == [180, 7]
    with pytest.raises(RuleError, match="lookback_days"):
        days(rule, 30)


@pytest.mark.parametrize("lookback", [0, 541, -1])
def test_a_lookback_is_1_to_540_days(lookback: int) -> None:
    assert days(CART, 1) == [1]
    assert days(CART, 540) == [540]
    with pytest.raises(RuleError, match="lookback_days"):
        days(CART, lookback)


def test_any_condition_key_at_the_top_level_makes_a_main_condition() -> None:
    rule = parse({"retention_days": 30, "exclude": [{"event": "checkout"}]})
    assert rule.main is not None
    assert rule.main.leaf == Leaf()
    assert parse({"all": [CART]}).main is None


def test_prefill_is_on_unless_switched_off() -> None:
    assert parse(CART).prefill
    assert not parse({**CART, "prefill": False}).prefill


def test_empty_lists_are_as_if_left_out() -> None:
    assert parse({**CART, "all": [], "any": [], "exclude": []}) == parse(CART)


@pytest.mark.parametrize(
    "rule", [{}, {"prefill": False}, {"all": [], "any": []}, {"exclude": [{"event": "lead"}]}]
)
def test_a_rule_must_say_whom_to_take(rule: Raw) -> None:
    error = refused(rule)
    assert error.field == "rule"
    assert "Mend: say whom to take" in error.message


def test_since_needs_a_main_condition_to_compare_with() -> None:
    error = refused({"all": [CART], "exclude": [{"event": "lead"}, {"event": "checkout", "since": "match"}]})
    assert error.field == "exclude[1].since"
    assert "no main condition" in error.message


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ([], "rule"),
        ({**CART, "lookback_days": 3}, "lookback_days"),
        ({**CART, "prefill": 1}, "prefill"),
        ({**CART, "all": {}}, "all"),
        ({**CART, "all": [3]}, "all[0]"),
        ({**CART, "all": [{"since": "match"}]}, "all[0].since"),
        ({**CART, "exclude": [{"since": "now"}]}, "exclude[0].since"),
        ({**CART, "exclude": [{}, {"exclude": []}]}, "exclude[1].exclude"),
        ({"event": ""}, "event"),
        ({"event": []}, "event"),
        ({"event": [" "]}, "event"),
        ({"event": ["lead", 3]}, "event"),
        ({"event": None}, "event"),
        ({"url": ""}, "url.="),
        ({"url": {}}, "url"),
        ({"url": ["a"]}, "url"),
        ({"url": {"is": "a"}}, "url.is"),
        ({"url": {"contains": 3}}, "url.contains"),
        ({"url": {"contains": "a\0b"}}, "url.contains"),
        ({"url": {"contains": "\ud800"}}, "url.contains"),
        ({"url": {"matches": "("}}, "url.matches"),
        ({"url": {"matches": "(?=a)"}}, "url.matches"),
        ({"url": {"matches": r"(a)\1"}}, "url.matches"),
        ({"url": {"matches": "a" * 1001}}, "url.matches"),
        ({"url": {"matches": r"(\pL{500}){2}"}}, "url.matches"),
        ({"any": [{"url": {"matches": "("}}]}, "any[0].url.matches"),
        ({"event_data": {}}, "event_data"),
        ({"event_data": {"value": {}}}, "event_data.value"),
        ({"event_data": {"value": None}}, "event_data.value.="),
        ({"event_data": {"value": [1, 2]}}, "event_data.value.="),
        ({"event_data": {"value": float("nan")}}, "event_data.value.="),
        ({"event_data": {"value": {"starts_with": "a"}}}, "event_data.value.starts_with"),
        ({"event_data": {"value": {">": "many"}}}, "event_data.value.>"),
        ({"event_data": {"value": {"<=": True}}}, "event_data.value.<="),
        ({"event_data": {"value": {"in": 3}}}, "event_data.value.in"),
        ({"event_data": {"value": {"in": []}}}, "event_data.value.in"),
        ({"event_data": {"value": {"in": [[1]]}}}, "event_data.value.in"),
        ({"event_data": {"value": {"contains": ""}}}, "event_data.value.contains"),
        ({"event_data": {"line_items": {"contains": "shoe"}}}, "event_data.line_items"),
        ({"event_source": "app"}, "event_source"),
        ({"min_count": 0}, "min_count"),
        ({"min_count": 21}, "min_count"),
        ({"min_count": True}, "min_count"),
        ({"min_count": "2"}, "min_count"),
        ({"retention_days": 0}, "retention_days"),
        ({"retention_days": 541}, "retention_days"),
        ({"retention_days": 1.5}, "retention_days"),
        ({"any": [{"retention_days": None}]}, "any[0].retention_days"),
    ],
)
def test_what_cannot_be_taken_is_refused_by_the_name_of_its_place(rule: object, field: str) -> None:
    assert refused(rule).field == field


def test_an_unknown_key_is_answered_with_the_known_ones() -> None:
    assert refused({**CART, "retention": 3}).message.endswith(
        "event_source, min_count, retention_days, all, any, exclude, prefill."
    )


def test_a_rule_that_json_can_hold_is_bounded() -> None:
    assert refused({"all": [CART] * 51}).field == "all"
    assert refused({"event": [str(n) for n in range(1001)]}).field == "event"
    assert refused({"url": {"contains": "a" * 2049}}).field == "url.contains"


def test_numbers_at_the_limits_are_taken() -> None:
    rule = {"event_data": {"value": {">": -0.5, "<": 10**14}}, "min_count": 20, "retention_days": 540}
    assert json.loads(json.dumps(to_json(parse(rule)))) == rule


def test_every_rule_that_the_manual_shows_is_taken() -> None:
    manual = (Path(__file__).parents[3] / "docs" / "audiences.md").read_text()
    shown = re.findall(r"^```json\n(.*?)^```", manual, re.DOTALL | re.MULTILINE)
    assert len(shown) >= 7
    for rule in shown:
        parse(json.loads(rule))
