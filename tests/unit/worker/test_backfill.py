import contextlib
from typing import Any

import pytest

from collector.audience.columns import STOPPED, column_key, seconds
from collector.audience.rules import Leaf, parse
from collector.connections import Redis
from collector.keys import tenant
from collector.settings import Settings
from collector.worker import backfill
from tests.stateful.interruption import Killed, interrupted
from tests.unit.parts import GPC, NOW, TAG, WITHDRAWN, Parts, happened, ordinals

HOUR = 3_600


def past(parts: Parts, *visitors: str, age: int = HOUR) -> None:
    """Each of them put something in the cart, and that is archived."""
    parts.send(*(happened(visitor, age=age) for visitor in visitors))
    parts.apply()
    parts.flush()


def want(parts: Parts, since: int, **leaf: Any) -> Leaf:
    """Register a leaf that wants its past from a second on."""
    (found,) = parse({"event": "addtocart", **leaf}).leaves()
    parts.columns().register(TAG, found.id, found.form.encode(), found.count, since, NOW)
    return found


def filled(parts: Parts, leaf: Leaf, plane: int = 0) -> int:
    """How many visitors have a time."""
    return sum(seconds(parts.client.get(column_key(tenant(0, TAG), leaf.id, plane, 0))) > 0)


def test_live_and_past_meet_and_count_once(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    past(parts, "anna", "bert")
    parts.send(happened("anna"), happened("bert"))  # not applied yet when the audience comes
    rule = {"event": "addtocart"}
    audience = parts.registry.create(TAG, "", "", {**rule, "min_count": 2})
    too_many = parts.registry.create(TAG, "", "", {**rule, "min_count": 3})
    parts.work()
    assert parts.sizes.size(TAG, audience.question(NOW)) == 2
    assert parts.sizes.size(TAG, too_many.question(NOW)) == 0


@pytest.mark.parametrize("at", range(1, 16))
@pytest.mark.parametrize("before", [True, False])
def test_a_backfill_that_was_killed_goes_on_and_counts_nothing_twice(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch, at: int, before: bool
) -> None:
    monkeypatch.setattr(backfill, "ROWS", 2)
    parts = Parts(redis, settings)
    visitors = ordinals(9)
    past(parts, *visitors)
    leaf = want(parts, 0, min_count=3)

    def killed() -> None:
        raise Killed

    columns = parts.columns()
    with interrupted(redis, at, before, killed), contextlib.suppress(Killed):
        backfill.fill(columns, parts.writer(), 0)
    parts.fill()
    assert parts.columns().progress(TAG, [leaf.id]).leaves[leaf.id].covered_from == 0
    assert [filled(parts, leaf, plane) for plane in range(3)] == [9, 0, 0]


def test_a_past_that_is_widened_while_it_is_read_is_read_whole(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backfill of the last minute breaks off in the middle; then somebody wants all of the past."""
    monkeypatch.setattr(backfill, "ROWS", 2)
    parts = Parts(redis, settings)
    visitors = ordinals(8)
    past(parts, *visitors, age=HOUR)
    past(parts, *visitors, age=10)
    want(parts, 0, url="nowhere")
    parts.fill()
    leaf = want(parts, NOW - 60, min_count=2)

    def killed() -> None:
        raise Killed

    with interrupted(redis, 5, True, killed), pytest.raises(Killed):
        parts.fill()
    assert 0 < filled(parts, leaf) < 8
    want(parts, 0, min_count=2)
    for _ in range(3):
        parts.fill()
    assert parts.columns().progress(TAG, [leaf.id]).leaves[leaf.id].covered_from == 0
    assert [filled(parts, leaf, plane) for plane in range(2)] == [8, 8]


def test_a_visitor_who_left_the_dictionary_does_not_come_back_by_it(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    past(parts, "anna", "bert")
    leaf = want(parts, 0)
    parts.columns().forget(TAG, "anna", "tombstone", NOW - 2 * HOUR)
    parts.columns().expire(TAG, NOW, [0, 1])
    parts.fill()
    assert filled(parts, leaf) == 0
    assert parts.columns().load().tags[TAG].free == [0, 1]


def test_what_is_barred_or_erased_meanwhile_is_left_out(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    past(parts, "anna", "bert", "carl")
    parts.send(happened("anna"), signals=GPC)
    parts.send(happened("bert"), signals=WITHDRAWN)
    parts.apply()
    assert parts.members({"event": "addtocart"}) == ["carl"]


def test_why_a_past_cannot_be_read_is_said_and_taken_back(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    past(parts, "anna")
    audience = parts.registry.create(TAG, "", "", {"event": "addtocart"})
    manifest = parts.writer().manifest
    (file,) = manifest.past(TAG).files
    path = manifest.path(TAG, file.name)
    whole = path.read_bytes()
    path.write_bytes(b"rubbish")
    parts.fill()
    (standing,) = parts.registry.standings([audience])
    assert standing.status == "FAILED"
    assert standing.mend
    path.write_bytes(whole)
    parts.fill()
    (standing,) = parts.registry.standings([audience])
    assert standing.status == "READY"
    assert parts.sizes.size(TAG, audience.question(NOW)) == 1


def test_one_that_is_stopped_while_it_runs_merges_no_more_until_it_may_go_on(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(redis, settings)
    past(parts, "anna", "bert", "carl")
    leaf = want(parts, 0)
    columns = parts.columns()
    merge = columns.backfill

    def merge_and_stop(*args: Any, **named: Any) -> bool:
        done = merge(*args, **named)
        columns.fail(TAG, leaf.id, STOPPED)
        return done

    monkeypatch.setattr(backfill, "ROWS", 1)
    monkeypatch.setattr(columns, "backfill", merge_and_stop)
    backfill.fill(columns, parts.writer(), 0)
    assert filled(parts, leaf) == 1
    parts.fill()
    assert filled(parts, leaf) == 1
    columns.fail(TAG, leaf.id, "")
    parts.fill()
    assert filled(parts, leaf) == 3
