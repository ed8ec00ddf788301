import pytest

from collector import connections, keys
from collector.audience.registry import Audience
from collector.clock import DAY
from collector.connections import Redis
from collector.settings import Settings
from collector.stream import dead, read
from tests.stateful.interruption import Killed, interrupted
from tests.unit.parts import GPC, LIMITED, NOW, TAG, WITHDRAWN, Parts, happened, ordinals

TWICE = {"event": "addtocart", "min_count": 2}


def waiting(parts: Parts, count: int = 1_000) -> list[read.Entry]:
    return read.after(parts.client, 0, parts.columns().load().cursor, count)


def size(parts: Parts, audience: Audience) -> int:
    return parts.sizes.size(TAG, audience.question(parts.now))


def audience(parts: Parts, rule: object = TWICE) -> Audience:
    made = parts.registry.create(TAG, "", "", rule)
    parts.work()
    return made


def test_a_worker_that_slept_does_no_harm(redis: Redis, settings: Settings) -> None:
    """It read, and believed, before another applied the same, an erasure came and an ordinal was used again."""
    parts = Parts(redis, settings)
    twice, thrice = audience(parts), audience(parts, {**TWICE, "min_count": 3})
    parts.send(*(happened(visitor) for visitor in ("anna", "bert") for _ in range(2)))
    sleeper = parts.partition()
    entries = waiting(parts)
    parts.apply()
    parts.send(happened("anna"), signals=WITHDRAWN)
    parts.send(happened("carl", now=NOW + 1))
    parts.apply()
    parts.now += 1
    assert sleeper.apply(entries) == 0
    assert (size(parts, twice), size(parts, thrice)) == (1, 0)
    assert sleeper.cursor == parts.columns().load().cursor
    parts.send(happened("carl", now=NOW + 1))
    assert sleeper.apply(waiting(parts)) == 1
    assert size(parts, twice) == 2


def test_a_commit_whose_answer_was_lost_counts_once(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    twice = audience(parts)
    parts.send(happened("anna"))

    def lost() -> None:
        raise connections.Unavailable[0]("the answer was lost")

    worker, entries = parts.partition(), waiting(parts)
    with interrupted(redis, 2, False, lost), pytest.raises(connections.Unavailable):
        worker.apply(entries)  # resolve, apply
    assert not waiting(parts)
    parts.apply()
    assert size(parts, twice) == 0
    parts.send(happened("anna"))
    parts.apply()
    assert size(parts, twice) == 1


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("at", range(1, 10))
def test_a_worker_killed_anywhere_counts_nothing_twice(
    redis: Redis, settings: Settings, at: int, before: bool
) -> None:
    parts = Parts(redis, settings, batch_merges=4)
    twice = audience(parts)
    parts.send(*(happened(visitor) for visitor in ("anna", "bert", "carl", "anna")))
    parts.send(happened("bert", now=NOW - 1), signals=GPC)

    def killed() -> None:
        raise Killed

    try:
        with interrupted(redis, at, before, killed):
            parts.apply()
    except Killed:
        parts.apply()
    assert size(parts, twice) == 1


def test_a_batch_goes_in_as_many_commits_as_its_cost_asks(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, batch_merges=10)
    once = audience(parts, {"event": "addtocart"})
    parts.send(*(happened(visitor) for visitor in ordinals(50)))
    before = redis.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert parts.partition().apply(waiting(parts)) == 50
    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] - before > 20
    assert size(parts, once) == 50


def test_an_edit_in_the_middle_of_a_batch_sends_the_rest_back(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, batch_merges=10)
    parts.send(*(happened(visitor) for visitor in ordinals(9)))
    worker, entries = parts.partition(), waiting(parts)
    made: list[Audience] = []
    with interrupted(redis, 4, True, lambda: made.append(parts.registry.create(TAG, "", "", TWICE))):
        done = worker.apply(entries)
    assert 0 < done < 9
    parts.send(*(happened(visitor) for visitor in ordinals(9)))
    parts.work()
    assert size(parts, made[0]) == 9


@pytest.mark.parametrize("signals", [GPC, WITHDRAWN])
def test_a_mark_holds_for_the_whole_batch_whatever_the_order(
    redis: Redis, settings: Settings, signals: object
) -> None:
    parts = Parts(redis, settings)
    once = audience(parts, {"event": "addtocart"})
    parts.send(happened("anna", now=NOW - 1), happened("bert", age=60))
    parts.send(happened("anna"), signals=signals)  # type: ignore[arg-type]
    parts.send(happened("anna"), happened("anna", age=60))
    parts.apply()
    assert size(parts, once) == 1
    parts.send(happened("anna", now=NOW + 1))
    parts.now += 1
    parts.apply()
    assert size(parts, once) == 2


def test_only_full_consent_counts_and_makes_a_visitor_known(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    once = audience(parts, {"event": "addtocart"})
    parts.send(happened("anna"), signals=LIMITED)
    parts.apply()
    assert size(parts, once) == 0
    assert parts.columns().load().tags[TAG].next == 0


def test_what_is_older_than_any_window_makes_nobody_known(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    once = audience(parts, {"event": "addtocart", "retention_days": 540})
    parts.send(happened("anna", age=540 * DAY + 1, source="import"))
    parts.send(happened("bert", age=540 * DAY, source="import"))
    parts.apply()
    assert size(parts, once) == 1
    assert parts.columns().load().tags[TAG].next == 1


def test_what_cannot_be_decoded_is_kept_once_and_stops_nothing(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    once = audience(parts, {"event": "addtocart"})
    parts.send(happened("anna"))
    rubbish = [b"{broken", b'{"tag": "\xff"}', b'{"tag": 5}']
    for payload in rubbish:
        redis.xadd(keys.events(0), {"e": payload})
    parts.send(happened("bert"))
    sleeper, entries = parts.partition(), waiting(parts)
    parts.apply()
    sleeper.apply(entries)
    assert size(parts, once) == 2
    letters = list(dead.letters(redis, 0))
    assert [each.letter.payload for each in letters] == rubbish
    assert {each.letter.reason for each in letters} == {"undecodable"}


def test_free_ordinals_are_used_before_new_ones(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    parts.send(*(happened(visitor) for visitor in ordinals(5)))
    parts.apply()
    for visitor in ordinals(3):
        parts.columns().forget(TAG, visitor, "tombstone", NOW)
    worker = parts.partition()
    parts.send(*(happened(f"new-{n}", now=NOW + 1) for n in range(2)))
    worker.apply(waiting(parts))
    parts.send(*(happened(f"new-{n}", now=NOW + 1) for n in range(2, 5)))
    worker.apply(waiting(parts))
    row = parts.columns().load().tags[TAG]
    assert (row.next, row.free) == (7, [])
    _, _, ids = parts.columns().slice(TAG, [], 0, 64)
    assert sorted(ids) == list(range(7))


def test_a_clock_that_steps_back_in_the_middle_of_a_batch_stops_nothing(
    redis: Redis, settings: Settings
) -> None:
    parts = Parts(redis, settings, batch_merges=2)
    once = audience(parts, {"event": "addtocart", "retention_days": 540})
    parts.send(happened("anna"))
    parts.send(happened("bert", age=540 * DAY + 1, source="import"))
    worker, entries = parts.partition(), waiting(parts)

    def step_back() -> None:
        parts.now -= 2

    with interrupted(redis, 2, True, step_back):
        assert worker.apply(entries) == 2
    assert size(parts, once) == 1
