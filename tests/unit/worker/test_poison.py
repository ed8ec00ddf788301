"""A poison event ends as a dead letter with its reason, after some tries, and the rest flows."""

from collections.abc import Callable, Sequence

import pytest

from collector import event as events
from collector import keys
from collector.audience.match import Matcher
from collector.connections import Redis
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


def test_a_time_that_no_column_can_hold_is_unreadable(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    for second in (-1, 2**32):
        redis.xadd(keys.events(0), {"e": events.encode(sealed(happened("anna", now=second)).event)})
    parts.send(happened("bert"))
    apply(parts)
    parts.flush()
    assert [each.letter.reason for each in dead.letters(redis, 0)] == ["undecodable"] * 2
    assert len(parts.archive.events(TAG, "bert")) == 1
