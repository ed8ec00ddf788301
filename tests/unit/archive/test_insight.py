"""Insight: every number beside its plain reading over all events."""

from collections import defaultdict
from typing import Any

import pytest

from collector.archive.insight import LEAST, Insight
from collector.audience.rules import parse
from collector.connections import Redis
from collector.settings import Settings
from tests import oracle
from tests.unit.parts import GPC, LIMITED, NOW, TAG, Parts, happened

DAY = oracle.DAY
RULE: dict[str, Any] = {
    "event": "addtocart",
    "retention_days": 30,
    "all": [{"event": "pagevisit", "url": {"contains": "/p0"}}],
    "any": [{"event": "search"}, {"event": "lead", "retention_days": 3}],
    "exclude": [{"event": "checkout"}],
}


@pytest.fixture
def parts(redis: Redis, settings: Settings) -> Parts:
    """Sixty visitors; some of what they did is in files, some still in the stream."""
    parts = Parts(redis, settings, partitions=2)
    for n in range(60):
        who = f"v{n}"
        parts.send(
            happened(who, "addtocart", age=n % 40 * DAY, data={"value": n % 3, "colour": f"c{n % 2}"}),
            happened(who, "pagevisit", age=n % 7 * DAY, url=f"https://shop.example/p{n % 2}?id={n}"),
        )
        if n % 3:
            parts.send(happened(who, "search", age=2 * DAY))
        if n % 5 == 0:
            parts.send(happened(who, "lead", age=n % 6 * DAY))
        if n % 4 == 0:
            items = [{"product_name": "Boots", "product_id": 7}, {"product_id": f"only {n % 8}"}]
            parts.send(happened(who, "checkout", age=n % 11 * DAY, line_items=items))
        if n == 40:
            parts.apply()
            parts.flush()
    parts.send(happened("nobody", "addtocart"), signals=LIMITED)
    parts.send(happened("v1", "lead"), signals=GPC)
    parts.apply()
    return parts


def test_a_funnel_tells_each_condition_and_what_is_left(parts: Parts) -> None:
    steps = Insight(parts.archive).funnel(TAG, parse(RULE), at=NOW)
    main = {"event": "addtocart", "retention_days": 30}
    visit = {**RULE["all"][0], "retention_days": 30}
    search, lead = {"event": "search", "retention_days": 30}, {"event": "lead", "retention_days": 3}
    bought = {"event": "checkout", "retention_days": 30}

    def size(rule: dict[str, Any]) -> int:
        return parts.archive.size(TAG, parse(rule), at=NOW)

    assert [(step.role, step.own) for step in steps] == [
        ("main", size(main)),
        ("all", size(visit)),
        ("any", size(search)),
        ("any", size(lead)),
        ("exclude", size(bought)),
    ]
    assert [step.left for step in steps] == [
        size(main),
        size({**main, "all": [visit]}),
        size({**main, "all": [visit], "any": [search, lead]}),
        size({**main, "all": [visit], "any": [search, lead]}),
        size(RULE),
    ]
    assert len({step.left for step in steps}) == 4


def test_a_flow_tells_who_came_and_went(parts: Parts) -> None:
    instants = [NOW - days * DAY for days in (8, 7, 5, 1, 0)]
    rule = parse({"event": "addtocart", "retention_days": 9, "exclude": [{"event": "checkout"}]})
    members = [set(parts.archive.members(TAG, rule, at=at)) for at in instants]
    flow = Insight(parts.archive).flow(TAG, rule, instants)
    assert [day.at for day in flow] == instants[1:]
    for day, before, now in zip(flow, members, members[1:], strict=False):
        assert (day.size, day.entered, day.left) == (len(now), len(now - before), len(before - now))
    assert sum(day.entered for day in flow) > 0 < sum(day.left for day in flow)


def test_top_lists_name_what_members_did_and_nothing_that_few_share(parts: Parts) -> None:
    insight = Insight(parts.archive)
    rule = parse({"event": "pagevisit"})
    pages = insight.tops(TAG, rule, "pages", at=NOW)
    assert pages == [("https://shop.example/p0", 30), ("https://shop.example/p1", 29)]  # v1 is barred
    products = dict(insight.tops(TAG, rule, "products", at=NOW))
    assert products == {"Boots": 15}, "by name where an event has one"
    events = dict(insight.tops(TAG, rule, "events", at=NOW))
    assert set(events) == {"pagevisit", "addtocart", "search", "lead", "checkout"}
    few = {"event": "pagevisit", "url": {"contains": "id=5"}}  # v5, v50 to v59
    assert dict(insight.tops(TAG, parse(few), "pages", at=NOW)) == {}
    assert LEAST == 10


def test_suggestions_are_values_really_seen(parts: Parts) -> None:
    insight = Insight(parts.archive)
    seen = dict(insight.events(TAG, at=NOW))
    assert seen["pagevisit"] == 59 and "nobody" not in seen
    keys = dict(insight.keys(TAG, at=NOW))
    assert set(keys) == {"value", "colour", "product_id", "product_name"}
    held: dict[Any, set[str]] = defaultdict(set)
    for n in range(60):
        if n % 40 <= 30 and n != 1:
            held[n % 3].add(f"v{n}")
    assert dict(insight.values(TAG, "value", at=NOW)) == {value: len(who) for value, who in held.items()}
    assert [value for value, _ in insight.values(TAG, "product_id", at=NOW)] == [7]
    assert [value for value, _ in insight.values(TAG, "colour", at=NOW, containing="C1")] == ["c1"]
    assert insight.values(TAG, "colour'; DROP", at=NOW, containing="'%_") == []
