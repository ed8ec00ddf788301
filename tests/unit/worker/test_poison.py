"""A poison event ends as a dead letter with its reason, after some tries, and the rest flows."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from collector import event as events
from collector import keys
from collector.audience.columns import column_key
from collector.audience.match import Matcher
from collector.audience.rules import parse
from collector.connections import Redis, Unavailable
from collector.event import StreamedEvent
from collector.settings import Settings
from collector.stream import dead, read
from collector.worker import poison
from tests.unit.parts import NOW, TAG, WITHDRAWN, Parts, happened, sealed

POISON = "https://shop.example/poison"
COUNTED = {"event": "addtocart", "min_count": 2}


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """fails(n): matching an event of the page POISON raises, n times; the list grows by one each time."""
    match = Matcher.match

    def fails(times: int) -> list[int]:
        failed: list[int] = []

        def broken(self: Matcher, happening: StreamedEvent) -> Sequence[int]:
            if happening.url == POISON and len(failed) < times:
                failed.append(1)
                raise ZeroDivisionError(happening.visitor)
            return match(self, happening)

        monkeypatch.setattr(Matcher, "match", broken)
        monkeypatch.setattr(poison, "PAUSE", 0)
        return failed

    return fails


def apply(parts: Parts) -> None:
    partition = parts.partition()
    while entries := read.after(parts.client, 0, partition.cursor, 2_000):
        poison.apply(partition, entries)


def size(parts: Parts, audience: str) -> int:
    found = parts.registry.get(audience)
    return parts.sizes.size(TAG, found.question(parts.now))


@pytest.mark.parametrize("merges", [8_000, 3])
def test_only_the_poison_is_put_aside_and_nothing_else_counts_twice(
    redis: Redis, settings: Settings, fails: Callable[[int], list[int]], merges: int
) -> None:
    parts = Parts(redis, settings, batch_merges=merges)
    audience = parts.registry.create(TAG, "", "", COUNTED).id
    parts.work()
    failed = fails(10**9)
    once, twice = [f"once-{n}" for n in range(20)], [f"twice-{n}" for n in range(20)]
    parts.send(*map(happened, [*once, *twice]), happened("anna", url=POISON), *map(happened, twice))
    apply(parts)
    assert size(parts, audience) == 20
    (letter,) = dead.letters(redis, 0)
    assert (letter.letter.reason, letter.letter.error) == ("failed", "ZeroDivisionError")
    assert events.decode_streamed(letter.letter.payload).visitor == "anna"
    assert len(failed) >= poison.TRIES
    assert not read.after(redis, 0, parts.columns().load().cursor, 1)


def test_what_fails_only_once_is_no_poison(
    redis: Redis, settings: Settings, fails: Callable[[int], list[int]]
) -> None:
    parts = Parts(redis, settings)
    audience = parts.registry.create(TAG, "", "", COUNTED).id
    parts.work()
    fails(2)
    parts.send(happened("anna", url=POISON), happened("anna"))
    apply(parts)
    assert size(parts, audience) == 1
    assert dead.count(redis, parts.installation) == 0


def test_a_worker_stops_before_it_puts_everything_aside(
    redis: Redis, settings: Settings, fails: Callable[[int], list[int]]
) -> None:
    parts = Parts(redis, settings, max_dead_letters=3)
    fails(10**9)
    parts.send(*(happened(f"v{n}", url=POISON) for n in range(10)))
    with pytest.raises(dead.TooMany, match=r"has 3 dead letters .* COLLECTOR_MAX_DEAD_LETTERS=3.* Mend: "):
        apply(parts)
    assert dead.count(redis, parts.installation) == 3
    assert len(read.after(redis, 0, parts.columns().load().cursor, 100)) == 7


def test_a_retried_letter_counts_once_now_and_in_the_past(
    redis: Redis, settings: Settings, fails: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive waits until an event is applied, and leaves out what is dead."""
    parts = Parts(redis, settings)
    audience = parts.registry.create(TAG, "", "", COUNTED)
    parts.work()
    fails(10**9)
    parts.send(happened("anna"), happened("anna", url=POISON))
    parts.flush()
    assert len(read.after(redis, 0, "0-0", 10)) == 2
    apply(parts)
    parts.flush()
    assert [row.url for row in parts.archive.events(TAG, "anna")] == [""]
    monkeypatch.undo()
    (letter,) = dead.letters(redis, 0)
    assert dead.retry(redis, letter)
    assert not dead.retry(redis, letter)
    parts.work()
    assert sorted(row.url for row in parts.archive.events(TAG, "anna")) == ["", POISON]
    assert parts.archive.size(TAG, audience.parsed(), at=NOW) == 1
    assert size(parts, audience.id) == 1


def test_an_erased_visitor_has_no_dead_letter_left(
    redis: Redis, settings: Settings, fails: Callable[[int], list[int]]
) -> None:
    """Neither a readable one, nor bytes in which the id stands; those of others stay."""
    parts = Parts(redis, settings)
    fails(10**9)
    parts.send(happened('an"na', url=POISON), happened("bert", url=POISON))
    whole = events.encode(sealed(happened('an"na')).event)
    redis.xadd(keys.events(0), {"e": whole[:-9]})
    redis.xadd(keys.events(0), {"e": b"\xff rubbish"})
    apply(parts)
    assert dead.count(redis, parts.installation) == 4
    assert b'an\\"na' in b"".join(redis.hvals(keys.dead(0)))
    parts.send(happened('an"na'), signals=WITHDRAWN)
    apply(parts)
    left = b"".join(redis.hvals(keys.dead(0)))
    assert b'an\\"na' not in left
    assert (b"bert" in left, b"rubbish" in left, redis.hlen(keys.dead(0))) == (True, True, 2)


@pytest.mark.parametrize(
    "held_by_none",
    [
        {"event_time": -1},
        {"event_time": 2**32},
        {"received_at": 2**62},
        {"data": {"value": 2**53 + 1}},
        {"line_items": [{"product_quantity": -(10**20)}]},
    ],
)
def test_what_columns_or_archive_cannot_hold_is_unreadable(
    redis: Redis, settings: Settings, held_by_none: dict[str, Any]
) -> None:
    """No edge writes such a thing; one that did would hold up the archive of all the partition for ever."""
    parts = Parts(redis, settings)
    whole = msgspec.to_builtins(sealed(happened("anna")).event)
    redis.xadd(keys.events(0), {"e": json.dumps(whole | held_by_none)})
    parts.send(happened("bert"))
    apply(parts)
    parts.flush()
    assert [each.letter.reason for each in dead.letters(redis, 0)] == ["undecodable"]
    assert len(parts.archive.events(TAG, "bert")) == 1
    assert parts.archive.events(TAG, "anna") == []


def test_an_event_that_a_script_fails_on_is_put_aside_and_nothing_else_counts_twice(
    redis: Redis, settings: Settings
) -> None:
    """A column of another type, as damage would leave it: the server executes half of the script, and undoes none."""
    parts = Parts(redis, settings)
    kinds = ("addtocart", "checkout")
    rules: list[dict[str, Any]] = [{"event": [event, "lead"], "min_count": 2} for event in kinds]
    made = {parse(rule).leaves()[0].id: (parts.registry.create(TAG, "", "", rule).id, rule) for rule in rules}
    # The script takes the leaves in this order: what it fails on comes after what it has merged.
    first, last = [row.id for row in parts.columns().load().tags[TAG].leaves]
    redis.rpush(column_key(keys.tenant(0, TAG), last, 0, 0), "damage")
    (well, rule), (_, damaged) = made[first], made[last]
    good, bad = rule["event"][0], damaged["event"][0]
    once, twice = [f"once-{n}" for n in range(20)], [f"twice-{n}" for n in range(20)]
    parts.send(*(happened(who, good) for who in (*once, *twice, "both")))
    parts.send(happened("anna", bad), happened("both", "lead"), *(happened(who, good) for who in twice))
    apply(parts)
    assert size(parts, well) == 20  # without `both`, of whom the well column would have the event that is put aside
    letters = [events.decode_streamed(each.letter.payload).visitor for each in dead.letters(redis, 0)]
    assert letters == ["anna", "both"]
    (letter, _) = dead.letters(redis, 0)
    assert (letter.letter.reason, letter.letter.error) == ("failed", "ResponseError")
    assert not read.after(redis, 0, parts.columns().load().cursor, 1)


def test_a_server_that_takes_no_scripts_is_not_the_events_fault(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    parts.send(happened("anna"))
    partition = parts.partition()
    waiting = read.after(redis, 0, partition.cursor, 10)
    redis.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(Unavailable):
            poison.apply(partition, waiting)
    finally:
        redis.config_set("min-replicas-to-write", 0)
    assert dead.count(redis, parts.installation) == 0
    assert poison.apply(partition, waiting) == 1


def test_what_is_dropped_is_in_no_past_either_and_nothing_waits_for_it(
    redis: Redis, settings: Settings, fails: Callable[[int], list[int]]
) -> None:
    parts = Parts(redis, settings)
    fails(10**9)
    parts.send(happened("bert"), happened("anna", url=POISON))
    apply(parts)
    (letter,) = dead.letters(redis, 0)
    assert dead.drop(redis, letter)
    assert not dead.drop(redis, letter)
    audience = parts.registry.create(TAG, "", "", {"event": "addtocart"})
    while parts.writer().due():
        parts.flush()
    parts.fill()
    assert [standing.status for standing in parts.registry.standings([audience])] == ["READY"]
    assert parts.archive.members(TAG, audience.parsed(), at=NOW) == ["bert"]
    assert size(parts, audience.id) == 1
