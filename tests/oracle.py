"""The audience contract once more, as slowly and plainly as it reads: the oracle of every faster answer.

It shares no code with the collector's audience or archive. Events are dicts as a site sends them:
time (Unix seconds), visitor, event, and optionally url, data, line_items, source ("web"), verdict ("full").
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import re2

DAY = 86_400
WORDS = """pagevisit viewcategory search addtocart checkout watchvideo signup lead custom addpaymentinfo
addtowishlist initiatecheckout subscribe viewcontent contact schedule findlocation customizeproduct
submitapplication starttrial"""
CONDITION = {"event", "url", "event_data", "event_source", "min_count", "retention_days"}


def members(
    events: Iterable[Mapping[str, Any]],
    rule: Mapping[str, Any],
    *,
    at: int,
    created_at: int = 0,
    lookback: int | None = None,
    marks: Mapping[str, int] | None = None,
) -> set[str]:
    """The visitors that are members at the second `at`; marks: visitor → T, up to which nothing counts."""
    marks = marks or {}
    histories: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        visitor, time = event["visitor"], event["time"]
        if event.get("verdict", "full") != "full" or time > at:
            continue
        if visitor in marks and time <= marks[visitor]:
            continue
        if rule.get("prefill", True) is False and time < created_at:
            continue
        histories.setdefault(visitor, []).append(event)
    return {visitor for visitor, history in histories.items() if is_member(history, rule, at, lookback)}


def is_member(
    history: list[Mapping[str, Any]], rule: Mapping[str, Any], at: int, lookback: int | None
) -> bool:
    main = {key: value for key, value in rule.items() if key in CONDITION}
    main_days = lookback or main.get("retention_days", 180)

    def times(condition: Mapping[str, Any], days: int) -> list[int]:
        return sorted(e["time"] for e in history if e["time"] >= at - days * DAY and matches(condition, e))

    def satisfied(condition: Mapping[str, Any]) -> bool:
        found = times(condition, condition.get("retention_days", main_days))
        if condition.get("since") == "match":
            found = [time for time in found if time >= times(main, main_days)[-1]]
        least: int = condition.get("min_count", 1)
        return len(found) >= least

    if main and len(times(main, main_days)) < main.get("min_count", 1):
        return False
    if not all(satisfied(condition) for condition in rule.get("all", [])):
        return False
    if rule.get("any") and not any(satisfied(condition) for condition in rule["any"]):
        return False
    return not any(satisfied(condition) for condition in rule.get("exclude", []))


def matches(condition: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    if "event" in condition:
        names = condition["event"] if isinstance(condition["event"], list) else [condition["event"]]
        if name_of(event["event"]) not in [name_of(name) for name in names]:
            return False
    if "event_source" in condition and event.get("source", "web") != condition["event_source"]:
        return False
    if "url" in condition:
        tests = condition["url"] if isinstance(condition["url"], dict) else {"=": condition["url"]}
        if not event.get("url") or not all(url_passes(event["url"], *test) for test in tests.items()):
            return False
    return all(data_passes(event, key, wanted) for key, wanted in condition.get("event_data", {}).items())


def name_of(name: str) -> str:
    name = name.strip().lower()
    bare = name.replace("_", "")
    if bare == "pageview":
        return "pagevisit"
    if bare == "purchase":
        return "checkout"
    return bare if bare in WORDS.split() else name


def url_passes(url: str, operator: str, text: str) -> bool:
    if operator == "=":
        return url == text
    if operator == "!=":
        return url != text
    if operator == "contains":
        return url.find(text) >= 0
    if operator == "not_contains":
        return url.find(text) < 0
    if operator == "starts_with":
        return url[: len(text)] == text
    if operator == "matches":
        found: object = re2.search(text, url)
        return found is not None
    raise ValueError(operator)


def data_passes(event: Mapping[str, Any], key: str, wanted: Any) -> bool:
    items = event.get("line_items", [])
    values = [
        holder[key]
        for holder in [event.get("data", {}), *([items] if isinstance(items, dict) else items)]
        if holder.get(key) is not None
    ]
    if not values:
        return False
    tests = dict(wanted) if isinstance(wanted, dict) else {"=": wanted}
    if "!=" in tests:
        unwanted = tests.pop("!=")
        if any(same(value, unwanted) for value in values):
            return False
    return any(all(value_passes(value, *test) for test in tests.items()) for value in values)


def value_passes(value: Any, operator: str, operand: Any) -> bool:
    if operator == "=":
        return same(value, operand)
    if operator == "in":
        return any(same(value, one) for one in operand)
    if operator == "contains":
        part = operand if isinstance(operand, str) else text_of(operand)
        return part in text_of(value)
    left, right = number_of(value), number_of(operand)
    if left is None or right is None:
        return False
    orders = {">": left > right, ">=": left >= right, "<": left < right, "<=": left <= right}
    return orders[operator]


def same(left: Any, right: Any) -> bool:
    """As numbers when both are, else exact text."""
    if number_of(left) is not None and number_of(right) is not None:
        return number_of(left) == number_of(right)
    return number_of(left) is None and number_of(right) is None and text_of(left) == text_of(right)


def number_of(value: Any) -> float | None:
    """The number that a value is, be it a number or plain decimal text of at most 15 significant digits."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return float(value) if abs(value) < 10**15 else None  # longer ids are kept as text
    if isinstance(value, float):
        return value
    if not re.fullmatch(r"-?[0-9]+([.][0-9]+)?", value):
        return None
    digits = value.lstrip("-")
    if digits[0] == "0" and len(digits) > 1 and digits[1] != ".":
        return None
    whole, _, decimals = digits.partition(".")
    significant = (whole + decimals).lstrip("0")
    return float(value) if len(significant) <= 15 and len(decimals) <= 15 else None


def text_of(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    number = number_of(value)
    if number is None:
        return str(value)
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
