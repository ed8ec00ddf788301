import heapq
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from collector import keys
from collector.audience.columns import Columns, Effects, Known, LeafState, column_key, seconds
from collector.connections import Redis
from collector.event import visitor_key
from collector.settings import Settings
from tests.unit.parts import NOW, OTHER_TAG, TAG, Parts, everything, ordinals

LEAF = "1eaf"
Merges = list[Any]


def put(
    columns: Columns, visitors: Sequence[str] = (), merges: Sequence[Merges] = (), *, tag: str = TAG
) -> bool:
    """Commit new visitors at the next ordinals, and merges [leaf, count, chunk, offsets, times]."""
    belief = columns.load()
    first = belief.tags[tag].next if tag in belief.tags else 0
    known = [columns.identity(tag, visitor) for visitor in visitors]
    new = [part for place, who in enumerate(known, first) for part in (who.hash, place)]
    effects = Effects([(tag, 0, first + len(known), new, list(merges))], [])
    ms, seq = belief.cursor.split("-")
    cursor = f"{ms}-{int(seq) + 1}"
    return columns.apply((belief.cursor, belief.epoch), cursor, effects, [who.key for who in known])


def register(columns: Columns, count: int = 1, leaf: str = LEAF, tag: str = TAG) -> None:
    columns.register(tag, leaf, b"{}", count, 0, NOW)


def column(redis: Redis, plane: int = 0, leaf: str = LEAF, tag: str = TAG) -> list[int]:
    return [int(time) for time in seconds(redis.get(column_key(keys.tenant(0, tag), leaf, plane, 0)))]


def backfill(
    columns: Columns,
    state: LeafState,
    after: str,
    rows: Sequence[tuple[str, list[int]]],
    *,
    leaf: str = LEAF,
    new_after: str = "",
) -> bool:
    return columns.backfill(columns.load().lineage, TAG, leaf, state, after, rows, new_after=new_after)


def moved(epoch: str) -> str:
    """The epoch after this one."""
    lineage, number = epoch.split(":")
    return f"{lineage}:{int(number) + 1}"


def test_thousands_of_visitors_are_found_through_every_split(redis: Redis, settings: Settings) -> None:
    columns = Parts(redis, settings).columns()
    visitors = [*ordinals(3_000), *(f"server-{n}" for n in range(3_000))]
    first = 0
    for size in [*[1] * 90, 310, 1_600, *[1_000] * 4]:
        assert put(columns, visitors[first : first + size])
        first += size
    assert first == len(visitors)
    for start in range(0, len(visitors), 1_000):
        some = visitors[start : start + 1_000]
        _, found = columns.resolve(TAG, [columns.identity(TAG, visitor) for visitor in some])
        assert found == [Known(start + place, 0, 0) for place in range(len(some))]
    buckets = {key: redis.hvals(key) for key in redis.scan_iter(f"*:{TAG}:dict:*", count=10_000)}
    # One in four runs has two visitors of one hash among so many: their ordinals share a field.
    kept = [int(ordinal) for values in buckets.values() for value in values for ordinal in value.split()]
    assert sorted(kept) == list(range(len(visitors)))
    assert len(buckets) >= len(visitors) / 40
    texts = list(redis.scan_iter(f"*:{TAG}:texts:*", count=10_000))
    assert {redis.object("encoding", key) for key in [*buckets, *texts]} == {b"listpack"}
    _, _, ids = columns.slice(TAG, [], 1_000, 4_000)
    assert ids == {n: visitor_key(visitors[n]) for n in range(1_000, 5_000)}


def test_a_dictionary_takes_few_bytes_a_visitor(redis: Redis, settings: Settings) -> None:
    """Of 30 bytes 17 are the id itself, which exports name; the rest finds it."""
    columns = Parts(redis, settings).columns()
    visitors = ordinals(20_000)
    for first in range(0, len(visitors), 1_000):
        put(columns, visitors[first : first + 1_000])
    found = {kind: list(redis.scan_iter(f"*:{TAG}:{kind}:*", count=10_000)) for kind in ("dict", "ids", "texts")}
    assert found["dict"] and found["ids"] and not found["texts"]
    taken = sum(redis.memory_usage(key, samples=0) for kept in found.values() for key in kept)
    assert taken / len(visitors) < 30


def alike(columns: Columns, some: int) -> list[str]:
    """So many visitors of one hash, which the dictionary cannot tell apart by it."""
    found: dict[int, list[str]] = {}
    for number in range(1 << 20):
        visitor = f"{number:032x}" if number % 2 else f"v{number}"  # of the two lengths that are kept apart
        same = found.setdefault(columns.identity(TAG, visitor).hash, [])
        same.append(visitor)
        if len(same) == some:
            return same
    raise AssertionError


def test_visitors_of_one_hash_are_told_apart(redis: Redis, settings: Settings) -> None:
    """Through splits of their bucket, and when the first, the last or one between them is forgotten or expires."""
    columns = Parts(redis, settings).columns()
    first, second, third = same = alike(columns, 3)
    for visitor in same:
        put(columns, [visitor])
    put(columns, ordinals(500))
    put(columns, merges=[["seen", 1, 0, [0, 1, 2], [100, 100, 100]]])
    known = [columns.identity(TAG, visitor) for visitor in same]

    def found() -> list[int]:
        return [who.ordinal for who in columns.resolve(TAG, known)[1]]

    assert found() == [0, 1, 2]
    columns.forget(TAG, second, "tombstone", 100)
    assert found() == [0, -1, 2]
    assert columns.expire(TAG, 101, [0]) == 1
    assert found() == [-1, -1, 2]
    columns.forget(TAG, third, "tombstone", 100)
    assert found() == [-1, -1, -1]
    assert [columns.slice(TAG, [], 0, 3)[2], columns.load().tags[TAG].free] == [{}, [1, 0, 2]]
    put(columns, [first])
    assert found() == [503, -1, -1]


def test_visitors_of_two_tags_have_nothing_in_common(redis: Redis, settings: Settings) -> None:
    columns = Parts(redis, settings).columns()
    put(columns, ["anna", "bert"])
    put(columns, ["bert"], tag=OTHER_TAG)
    _, found = columns.resolve(OTHER_TAG, [columns.identity(OTHER_TAG, v) for v in ("anna", "bert")])
    assert [known.ordinal for known in found] == [-1, 0]


merging = st.lists(  # of batches: ordinal → new times
    st.dictionaries(
        st.integers(0, 5), st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=6
    ),
    max_size=8,
)


@hypothesis_settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batches=merging, count=st.integers(1, 4), past=st.data())
def test_a_column_keeps_the_latest_times_however_they_come(
    redis: Redis, settings: Settings, batches: list[dict[int, list[int]]], count: int, past: st.DataObject
) -> None:
    """As a multiset, by live batches and backfills in any order, against a sort of everything."""
    redis.flushall()
    columns = Parts(redis, settings).columns()
    visitors = ordinals(6)
    put(columns, visitors)
    register(columns, count)
    given_: dict[int, list[int]] = {place: [] for place in range(6)}
    for batch in batches:
        latest = {place: sorted(times, reverse=True)[:count] for place, times in sorted(batch.items())}
        if past.draw(st.booleans()):
            state = columns.progress(TAG, [LEAF]).leaves[LEAF]
            rows = [(visitors[place], times) for place, times in latest.items()]
            assert backfill(columns, state, state.after, rows, new_after=visitors[max(latest)])
        else:
            values = [times[0] if count == 1 else times for times in latest.values()]
            assert put(columns, merges=[[LEAF, count, 0, list(latest), values]])
        for place, times in batch.items():
            given_[place] += times
    planes = [column(redis, plane) for plane in range(count)]
    kept = [[plane[place] for plane in planes if place < len(plane) and plane[place]] for place in range(6)]
    assert kept == [heapq.nlargest(count, given_[place]) for place in range(6)]


def test_more_visitors_than_a_call_can_name_are_merged(redis: Redis, settings: Settings) -> None:
    columns = Parts(redis, settings).columns()
    for count in (1, 3):
        register(columns, count, f"leaf{count}")
        times = [[n, n - 1] if count > 1 else n for n in range(2, 10_002)]
        assert put(columns, merges=[[f"leaf{count}", count, 0, list(range(10_000)), times]])
        assert column(redis, leaf=f"leaf{count}")[:10_000] == list(range(2, 10_002))
    assert column(redis, 1, "leaf3")[:10_000] == list(range(1, 10_001))


def test_a_batch_that_believes_another_moment_changes_nothing(redis: Redis, settings: Settings) -> None:
    columns = Parts(redis, settings).columns()
    put(columns, ["anna"])
    belief = columns.load()
    merges = [["seen", 1, 0, [0], [NOW]]]
    before = everything(redis)
    for believed in [("0-0", belief.epoch), (belief.cursor, moved(belief.epoch))]:
        effects = Effects([(TAG, 0, 1, [], merges)], ["0:1-1"])
        assert not columns.apply(believed, "9-9", effects, [b"payload"])
    assert everything(redis) == before


@pytest.mark.parametrize("change", ["register", "unregister", "tombstone", "bar", "expire"])
def test_whatever_a_batch_could_be_wrong_about_moves_the_epoch(
    redis: Redis, settings: Settings, change: str
) -> None:
    columns = Parts(redis, settings).columns()
    register(columns)
    put(columns, ["anna"], [["seen", 1, 0, [0], [100]]])
    before = columns.load()
    if change == "register":
        register(columns, leaf="another")
    elif change == "unregister":
        assert columns.unregister(TAG, LEAF, NOW + 1)
    elif change == "expire":
        assert columns.expire(TAG, 101, [0]) == 1
    else:
        columns.forget(TAG, "anna", "bar" if change == "bar" else "tombstone", 50)
    assert columns.load().epoch == moved(before.epoch)
    assert not columns.apply((before.cursor, before.epoch), "9-9", Effects([], []), [])


def test_what_changes_nothing_leaves_the_epoch(redis: Redis, settings: Settings) -> None:
    columns = Parts(redis, settings).columns()
    register(columns)
    put(columns, ["anna"], [["seen", 1, 0, [0], [100]]])
    columns.forget(TAG, "anna", "bar", 50)
    epoch = columns.load().epoch
    register(columns)
    assert columns.forget(TAG, "anna", "bar", 49) == (epoch, epoch)
    assert columns.expire(TAG, 100, [0]) == 0
    assert not columns.unregister(TAG, LEAF, NOW)
    assert columns.load().epoch == epoch


def test_a_bar_takes_what_came_up_to_its_second(redis: Redis, settings: Settings) -> None:
    columns = Parts(redis, settings).columns()
    register(columns, 3)
    put(columns, ["anna", "bert"], [[LEAF, 3, 0, [0, 1], [[9, 8, 7], [9, 8, 7]]]])
    columns.forget(TAG, "anna", "bar", 8)
    assert [column(redis, plane)[:2] for plane in range(3)] == [[9, 9], [0, 8], [0, 7]]
    _, (anna, bert) = columns.resolve(TAG, [columns.identity(TAG, v) for v in ("anna", "bert")])
    assert (anna, bert) == (Known(0, 8, 0), Known(1, 0, 0))


def test_an_erased_visitor_s_ordinal_is_used_again_and_is_clean(redis: Redis, settings: Settings) -> None:
    columns = Parts(redis, settings).columns()
    register(columns)
    put(columns, ["anna", "bert"], [["seen", 1, 0, [0, 1], [9, 9]], [LEAF, 1, 0, [0, 1], [9, 9]]])
    columns.forget(TAG, "anna", "tombstone", 9)
    belief = columns.load()
    assert belief.tags[TAG].free == [0]
    assert [column(redis, leaf=leaf)[:2] for leaf in ("seen", LEAF)] == [[0, 9], [0, 9]]
    who = columns.identity(TAG, "carl")
    effects = Effects([(TAG, 1, 2, [who.hash, 0], [["seen", 1, 0, [0], [10]]])], [])
    assert columns.apply((belief.cursor, belief.epoch), "9-9", effects, [who.key])
    assert columns.load().tags[TAG].free == []
    assert columns.slice(TAG, [(LEAF, 0)], 0, 64)[2] == {0: who.key, 1: columns.identity(TAG, "bert").key}
    _, (anna,) = columns.resolve(TAG, [columns.identity(TAG, "anna")])
    assert anna == Known(-1, 0, 9)


def test_who_was_seen_after_the_erasure_stays_with_that_alone(redis: Redis, settings: Settings) -> None:
    columns = Parts(redis, settings).columns()
    register(columns)
    put(columns, ["anna"], [["seen", 1, 0, [0], [12]], [LEAF, 1, 0, [0], [9]]])
    columns.forget(TAG, "anna", "tombstone", 10)
    assert columns.load().tags[TAG].free == []
    assert (column(redis)[0], column(redis, leaf="seen")[0]) == (0, 12)


def test_expiry_takes_the_unseen_and_leaves_who_came_meanwhile(redis: Redis, settings: Settings) -> None:
    columns = Parts(redis, settings).columns()
    register(columns, 2)
    put(
        columns,
        ["anna", "bert"],
        [["seen", 1, 0, [0, 1], [100, 100]], [LEAF, 2, 0, [0, 1], [[100, 90], [100, 90]]]],
    )
    put(columns, merges=[["seen", 1, 0, [1], [500]]])  # after somebody chose both for expiry
    assert columns.expire(TAG, 400, [0, 1]) == 1
    assert [column(redis, plane)[:2] for plane in (0, 1)] == [[0, 100], [0, 90]]
    assert columns.load().tags[TAG].free == [0]
    assert columns.expire(TAG, 400, [0]) == 0


def test_a_leaf_that_somebody_wants_again_stays(redis: Redis, settings: Settings) -> None:
    columns = Parts(redis, settings).columns()
    put(columns, ["anna"])
    register(columns, 2)
    put(columns, merges=[[LEAF, 2, 0, [0], [[9, 8]]]])
    columns.register(TAG, LEAF, b"{}", 2, 0, NOW + 5)
    assert not columns.unregister(TAG, LEAF, NOW + 5)
    assert columns.unregister(TAG, LEAF, NOW + 6)
    assert not [key for key in redis.scan_iter("*") if LEAF.encode() in key]


def test_a_leaf_is_live_from_where_its_partition_was_and_wants_the_widest_past(
    redis: Redis, settings: Settings
) -> None:
    columns = Parts(redis, settings).columns()
    put(columns, ["anna"])
    columns.register(TAG, LEAF, b"{}", 1, 500, NOW)
    put(columns, ["bert"])
    for wanted, widest in [(700, 500), (300, 300), (0, 0)]:
        columns.register(TAG, LEAF, b"{}", 1, wanted, NOW)
        state = columns.progress(TAG, [LEAF]).leaves[LEAF]
        assert (state.live_from, state.wanted_from) == ("0-1", widest)


def test_a_past_is_merged_by_one_worker_only(redis: Redis, settings: Settings) -> None:
    columns = Parts(redis, settings).columns()
    put(columns, ["anna", "bert"])
    register(columns, 2)
    state = columns.progress(TAG, [LEAF]).leaves[LEAF]
    rows = [("anna", [9, 8])]
    assert backfill(columns, state, "", rows, new_after="anna")
    before = everything(redis)
    assert not backfill(columns, state, "", rows, new_after="anna")
    assert not backfill(columns, state._replace(live_from="5-5"), "anna", rows)
    assert not backfill(columns, state._replace(covered_from=5), "anna", rows)
    assert not backfill(columns, state._replace(filling_from=5), "anna", rows)
    assert not backfill(columns, state, "", rows, leaf="another")
    assert everything(redis) == before
    assert backfill(columns, state, "anna", [])
    done = columns.progress(TAG, [LEAF]).leaves[LEAF]
    assert (done.covered_from, done.after) == (0, "")


def test_a_column_grows_by_size_classes(redis: Redis, settings: Settings) -> None:
    columns = Parts(redis, settings).columns()
    register(columns)
    for ordinal in (0, 100, 1_000, 5_000, 20_000, 40_000, 65_471):
        put(columns, merges=[[LEAF, 1, 0, [ordinal], [NOW]]])
        key = column_key(keys.tenant(0, TAG), LEAF, 0, 0)
        # At most a quarter more than is needed, from a kilobyte on.
        assert redis.memory_usage(key, samples=0) <= max(1.4 * 4 * (ordinal + 1), 1_200)
        assert column(redis)[ordinal] == NOW
    assert redis.memory_usage(key, samples=0) <= 4.5 * 65_472
