import time
from collections import Counter

from collector import keys
from collector.connections import Redis
from collector.event import decode_streamed
from collector.settings import Settings
from collector.stream import read
from collector.stream.append import APPENDED, DUPLICATE, EARLIER, Importer
from tests.unit.parts import OTHER_TAG, WITHDRAWN, Parts, happened, sealed


def stored(parts: Parts) -> list[tuple[str, str, str, str]]:
    """(tag, visitor, event, event_id) of everything in the streams."""
    return [
        (event.tag, event.visitor, event.event, event.event_id)
        for number in range(parts.installation.partitions)
        for entry in read.after(parts.client, number, read.START, 100_000)
        if (event := decode_streamed(entry.payload))
    ]


def id_buckets(redis: Redis) -> dict[bytes, int]:
    return {key: redis.scard(key) for key in redis.scan_iter("{p00}:ids:*", count=10_000)}


def test_a_repeat_is_a_duplicate_within_a_call_and_across_calls(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, partitions=4)
    group = [happened("anna", event_id="1"), happened("anna", event_id="2"), happened("anna", event_id="1")]
    assert parts.send(*group) == [True, True, False]
    assert parts.send(*group) == [False, False, False]
    assert len(stored(parts)) == 2


def test_the_same_id_of_another_visitor_tag_or_name_is_another_event(
    redis: Redis, settings: Settings
) -> None:
    parts = Parts(redis, settings, partitions=4)
    group = [
        happened("anna", event_id="1"),
        happened("bert", event_id="1"),
        happened("anna", "checkout", event_id="1"),
        happened("anna", event_id="1", tag=OTHER_TAG),
    ]
    assert parts.send(*group) == [True] * 4
    assert Counter(stored(parts)) == Counter((e.tag, e.visitor, e.event, e.event_id) for e in group)


def test_a_withdrawal_is_never_a_duplicate(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    assert parts.send(happened("anna"), happened("anna"), signals=WITHDRAWN) == [True, True]


def test_every_id_is_remembered_however_many_there_are(redis: Redis, settings: Settings) -> None:
    """One by one past several splits, then in groups: a call may end at any count."""
    parts = Parts(redis, settings)
    events = [sealed(happened("anna", event_id=str(place))) for place in range(10_000)]
    first = 0
    for size in [*[1] * 800, *[64] * 20, 127, *[2_000] * 4]:
        group = events[first : first + size]
        assert parts.append(group) == [True] * len(group)
        assert parts.append(group[-1:]) == [False]
        first += size
    assert first >= len(events)
    for start in range(0, len(events), 1_000):
        assert not any(parts.append(events[start : start + 1_000])), start
    buckets = id_buckets(redis)
    assert sum(buckets.values()) == 10_000
    assert {redis.object("encoding", key) for key in buckets} == {b"intset"}
    assert all(redis.ttl(key) > settings.id_window for key in buckets)
    assert sum(redis.memory_usage(key, samples=0) for key in buckets) < 10_000 * 12


def test_an_id_is_remembered_for_its_window_and_forgotten_after_two(redis: Redis, settings: Settings) -> None:
    window = 1
    parts = Parts(redis, settings, id_window=window)
    event = happened("anna", event_id="1")
    _, micros = redis.time()
    time.sleep(1 - micros / 1e6)  # to the start of a generation
    assert parts.send(event) == [True]
    time.sleep(window)
    assert parts.send(event) == [False]
    time.sleep(2 * window)
    assert parts.send(event) == [True]


def test_an_import_goes_on_where_it_broke_off(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, partitions=4)
    importer = Importer(redis, parts.installation, parts.settings, "tag:digest")
    events = [sealed(happened(f"v{n % 7}", event_id=f"digest:{n}")) for n in range(1, 101)]
    lines = [importer.pack(n, False, event) for n, event in enumerate(events, 1)]
    assert importer.append(lines[:60]) == [APPENDED] * 60
    again = Importer(redis, parts.installation, parts.settings, "tag:digest")
    assert again.append(lines[:40]) == [EARLIER] * 40
    assert again.append(lines[40:]) == [EARLIER] * 20 + [APPENDED] * 40
    assert sorted(stored(parts)) == sorted(
        (line.event.tag, line.event.visitor, line.event.event, line.event.event_id) for line in events
    )
    other = Importer(redis, parts.installation, parts.settings, "tag:another")
    assert other.append(lines[:10]) == [APPENDED] * 10


def test_an_imported_line_with_an_id_of_its_own_is_a_duplicate_of_the_same_event(
    redis: Redis, settings: Settings
) -> None:
    parts = Parts(redis, settings)
    event = happened("anna", event_id="1")
    assert parts.send(event) == [True]
    importer = Importer(redis, parts.installation, parts.settings, "tag:digest")
    lines = enumerate([event, happened("anna", event_id="2")], 1)
    results = importer.append([importer.pack(n, True, sealed(one)) for n, one in lines])
    assert results == [DUPLICATE, APPENDED]


def test_lines_without_ids_take_no_id_memory(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    importer = Importer(redis, parts.installation, parts.settings, "tag:digest")
    importer.append([importer.pack(n, False, sealed(happened("anna"))) for n in range(1, 1_001)])
    assert id_buckets(redis) == {}
    assert redis.hgetall(f"{keys.partition(0)}:imports") == {b"tag:digest": b"1000"}


def test_a_server_that_forgot_the_script_is_told_it_again(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    assert parts.send(happened("anna", event_id="1")) == [True]
    redis.script_flush()
    assert parts.send(happened("anna", event_id="1"), happened("anna", event_id="2")) == [False, True]
    assert parts.send(happened("anna", event_id="2")) == [False]
