import threading
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from collector import connections
from collector.audience.columns import Effects
from collector.audience.registry import GRACE
from collector.audience.rules import Rule, leaf_of, parse
from collector.audience.sizes import Plane, Question, Sizes
from collector.connections import Redis
from collector.settings import Settings
from collector.stream import read
from tests import oracle
from tests.stateful.interruption import interrupted
from tests.traffic import NOW as TRAFFIC_NOW
from tests.traffic import histories
from tests.unit.parts import NOW, TAG, WITHDRAWN, Parts, happened, ordinals

CART, BUY = {"event": "addtocart"}, {"event": "checkout"}


def test_a_leaf_that_went_and_came_back_is_not_answered_from_memory(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    parts.send(happened("anna", age=10))
    first = parts.registry.create(TAG, "", "", CART)
    parts.work()
    assert parts.sizes.size(TAG, first.question(NOW)) == 1
    parts.registry.delete(first)
    parts.now += GRACE + 1
    assert parts.registry.drop_unused_leaves() == 1
    parts.send(happened("bert", age=10), happened("carl", age=10))
    parts.apply()
    second = parts.registry.create(TAG, "", "", CART)
    parts.work()
    assert parts.sizes.size(TAG, second.question(NOW)) == 3


@hypothesis_settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), st.none() | st.sampled_from([1, 2, 30, 540]))
def test_members_are_those_of_the_plain_reading(
    drawn: tuple[list[dict[str, Any]], list[dict[str, Any]]], lookback: int | None
) -> None:
    """Columns that hold the k latest matches answer every rule as its plain reading over all events does."""
    events, rules = drawn
    visitors = sorted({event["visitor"] for event in events})
    for written in rules:
        rule = parse(written)
        window = lookback if rule.main else None
        created_at = TRAFFIC_NOW - 10 * oracle.DAY
        question = Question.of(rule, created_at, TRAFFIC_NOW, window)
        times = {plane: column(rule, plane, events, visitors) for plane in question.planes()}
        mask = question.members(times, len(visitors))
        found = {visitor for visitor, member in zip(visitors, mask, strict=True) if member}
        # What is in the future is not there yet.
        known = [event for event in events if event["time"] <= TRAFFIC_NOW]
        expected = oracle.members(known, written, at=TRAFFIC_NOW, created_at=created_at, lookback=window)
        assert found == expected, written


def column(rule: Rule, plane: Plane, events: list[dict[str, Any]], visitors: list[str]) -> Any:
    leaf, nth = plane
    (form,) = {known.form for known in rule.leaves() if known.id == leaf}
    condition = oracle_condition(form)
    times = []
    for visitor in visitors:
        matched = sorted(
            (
                event["time"]
                for event in events
                if event["visitor"] == visitor
                and event["time"] <= TRAFFIC_NOW
                and event.get("verdict", "full") == "full"
                and oracle.matches(condition, event)
            ),
            reverse=True,
        )
        times.append(matched[nth] if nth < len(matched) else 0)
    return np.array(times, dtype=np.uint32)


def oracle_condition(form: str) -> dict[str, Any]:
    leaf = leaf_of(form)
    return {"event": list(leaf.events)} if leaf.events else {}


def test_sizes_members_overlap_and_single_visitors_agree(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, partitions=4)
    visitors = ordinals(300)
    bought = visitors[::3]
    parts.send(*(happened(visitor) for visitor in visitors[:200]))
    parts.send(*(happened(visitor, "checkout", age=60) for visitor in bought))
    sets = {
        "cart": (CART, set(visitors[:200])),
        "both": ({**CART, "all": [BUY]}, set(visitors[:200]) & set(bought)),
        "not bought": ({**CART, "exclude": [BUY]}, set(visitors[:200]) - set(bought)),
        "either": ({"any": [CART, BUY]}, set(visitors[:200]) | set(bought)),
        "since": ({**CART, "exclude": [{**BUY, "since": "match"}]}, set(visitors[:200])),
    }
    audiences = [parts.registry.create(TAG, name, "", rule) for name, (rule, _) in sets.items()]
    parts.work()
    questions = [audience.question(NOW) for audience in audiences]
    members = [expected for _, expected in sets.values()]
    for question, expected in zip(questions, members, strict=True):
        assert parts.sizes.size(TAG, question) == len(expected)
        listed = [visitor for _, run in parts.sizes.members(TAG, question) for visitor in run]
        assert sorted(listed) == sorted(expected)
    assert parts.sizes.overlap(TAG, questions) == [[len(a & b) for b in members] for a in members]
    for visitor in [*visitors[:4], *visitors[-4:], "nobody"]:
        has = [member for member, _ in parts.sizes.has(TAG, visitor, questions)]
        assert has == [visitor in expected for expected in members]


def test_an_export_that_goes_on_has_everybody_who_is_there_all_along_once(
    redis: Redis, settings: Settings, monkeypatch: Any
) -> None:
    monkeypatch.setattr("collector.audience.sizes.RUN", 64)
    parts = Parts(redis, settings, partitions=2)
    visitors = ordinals(400)
    parts.send(*(happened(visitor) for visitor in visitors))
    audience = parts.registry.create(TAG, "", "", CART)
    parts.work()
    listed: list[str] = []
    cursor = ""
    erased = iter(visitors[::10])
    comers = iter(f"new-{n}" for n in range(100))
    while True:
        cursor, run = next(parts.sizes.members(TAG, audience.question(NOW), cursor))
        listed += run
        if not cursor:
            break
        parts.send(happened(next(erased), age=-1, now=NOW), signals=WITHDRAWN)
        parts.send(happened(next(comers)))
        parts.apply()
    there = set(visitors) - set(visitors[::10])
    assert len(listed) == len(set(listed))
    assert there <= set(listed)


def test_an_answer_while_a_worker_writes_is_of_one_moment(redis: Redis, settings: Settings) -> None:
    """Each commit gives one visitor both events: whoever has one of them has the other, in every answer."""
    parts = Parts(redis, settings)
    audience = parts.registry.create(TAG, "", "", CART)
    other = parts.registry.create(TAG, "", "", BUY)
    parts.registry.create(TAG, "", "", {**CART, "exclude": [BUY]})
    parts.work()
    visitors = ordinals(400)
    parts.send(*(happened(v, name) for v in visitors for name in ("addtocart", "checkout")))
    only = Question.of(parse({**CART, "exclude": [BUY]}), 0, NOW)
    done = threading.Event()

    def apply() -> None:
        with connections.open_redis(parts.settings) as client:
            mine = Parts(client, parts.settings)
            partition = mine.partition()
            while entries := read.after(client, 0, partition.cursor, 2):
                partition.apply(entries)
        done.set()

    thread = threading.Thread(target=apply)
    thread.start()
    cold = Sizes(redis, parts.installation)
    last = asked = 0
    try:
        while not done.is_set():
            for sizes in (parts.sizes, cold):
                assert sizes.size(TAG, only) == 0
            (carts, both), (_, buys) = parts.sizes.overlap(TAG, [audience.question(NOW), other.question(NOW)])
            assert carts == both == buys
            assert carts >= last
            last = carts
            asked += 1
            if asked % 10 == 0:
                cold = Sizes(redis, parts.installation)
    finally:
        thread.join()
    assert asked > 10
    assert parts.sizes.size(TAG, audience.question(NOW)) == 400


def test_a_second_chunk_counts_too(redis: Redis, settings: Settings) -> None:
    """Past 65,472 visitors: sizes, members and the memory of a full chunk."""
    parts = Parts(redis, settings)
    leaf = parse(CART).leaves()[0]
    columns = parts.columns()
    audience = parts.registry.create(TAG, "", "", CART)
    visitors = [f"v{n}" for n in range(66_000)]
    parts.fill()
    cursor = "0-0"
    for first in range(0, len(visitors), 3_000):
        some = [columns.identity(TAG, visitor) for visitor in visitors[first : first + 3_000]]
        places = range(first, first + len(some))
        new = [number for place, who in zip(places, some, strict=True) for number in (who.hash, place)]
        merges = []
        for name in ("seen", leaf.id):
            for chunk in {place // 65_472 for place in places}:
                offsets = [place % 65_472 for place in places if place // 65_472 == chunk]
                merges.append([name, 1, chunk, offsets, [NOW] * len(offsets)])
        believed = columns.load()
        effects = Effects([(TAG, 0, first + len(some), new, merges)], [])
        cursor = f"0-{first + len(some)}"
        assert columns.apply((believed.cursor, believed.epoch), cursor, effects, [who.key for who in some])
    assert parts.sizes.size(TAG, audience.question(NOW)) == len(visitors)
    listed = [v for _, run in parts.sizes.members(TAG, audience.question(NOW)) for v in run]
    assert sorted(listed) == sorted(visitors)
    assert parts.sizes.has(TAG, visitors[-1], [audience.question(NOW)]) == [(True, NOW)]
    full = redis.memory_usage(f"{{p00}}:{TAG}:col:{leaf.id}:0:0", samples=0)
    assert full <= 4.5 * 65_472
    assert redis.strlen(f"{{p00}}:{TAG}:col:{leaf.id}:0:1") < 3_000


def test_nobody_is_told_what_is_known_of_who_has_the_ordinal_next(redis: Redis, settings: Settings) -> None:
    """The visitor is erased, and another takes the ordinal, between two reads."""
    parts = Parts(redis, settings)
    audience = parts.registry.create(TAG, "", "", CART)
    parts.send(happened("anna"))
    parts.work()

    def others_move_on() -> None:
        parts.columns().forget(TAG, "anna", "tombstone", NOW)
        parts.send(happened("bert", now=NOW + 1))
        parts.apply()

    with interrupted(redis, 2, True, others_move_on):
        has = parts.sizes.has(TAG, "anna", [audience.question(NOW + 1)])
    assert has == [(False, 0)]
    assert parts.sizes.has(TAG, "bert", [audience.question(NOW + 1)]) == [(True, NOW + 1)]
