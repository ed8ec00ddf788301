import pytest

from collector import keys
from collector.connections import Redis
from collector.settings import Settings
from collector.stream import read
from tests.unit.parts import Parts, happened

IDS = ["5-0", "5-1", "5-10", "6-0", "7-2"]


def fill(redis: Redis, number: int = 0) -> None:
    for entry in IDS:
        redis.xadd(keys.events(number), {"e": entry}, id=entry)


def left(redis: Redis) -> list[str]:
    return [entry.id.decode() for entry in read.after(redis, 0, read.START, 100)]


def test_pages_after_a_cursor_have_every_entry_once_in_order(redis: Redis) -> None:
    fill(redis)
    found: list[read.Entry] = []
    while page := read.after(redis, 0, found[-1].id.decode() if found else read.START, 2):
        found += page
    assert [(entry.id.decode(), entry.payload.decode()) for entry in found] == [(one, one) for one in IDS]
    assert [entry.id for entry in read.after(redis, 0, "5-1", 100, "6-0")] == [b"5-10", b"6-0"]


def test_many_partitions_are_read_as_each_alone(redis: Redis) -> None:
    fill(redis, 0)
    fill(redis, 2)
    assert read.many(redis, {0: "5-1", 1: read.START, 2: "7-2"}, 2) == {
        0: read.after(redis, 0, "5-1", 2),
        1: [],
        2: [],
    }


def test_the_last_id_outlives_its_entry(redis: Redis) -> None:
    assert read.last_id(redis, 0) == read.START
    fill(redis)
    redis.xtrim(keys.events(0), maxlen=0)
    assert read.last_id(redis, 0) == "7-2"


def test_ids_compare_as_numbers() -> None:
    assert read.parse("5-10") > read.parse(b"5-9")
    assert read.parse("10-0") > read.parse("9-9")


@pytest.mark.parametrize("cursor", [None, "0-0", *IDS, "9-0"])
@pytest.mark.parametrize("archived", [None, "0-0", *IDS, "9-0"])
def test_a_stream_is_trimmed_below_both_cursors_and_no_further(
    redis: Redis, cursor: str | None, archived: str | None
) -> None:
    fill(redis)
    state = {name: at for name, at in (("cursor", cursor), ("archived", archived)) if at}
    if state:
        redis.hset(keys.state(0), mapping=state)
    passed = min(read.parse(cursor or read.START), read.parse(archived or read.START))
    kept = [entry for entry in IDS if read.parse(entry) > passed]
    assert read.trim(redis, 0) == len(IDS) - len(kept)
    assert left(redis) == kept


def test_what_cannot_be_decoded_is_none(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    parts.send(happened("anna"))
    for payload in (b"", b"{", b"[]", b'{"tag": "\xff"}', b'{"tag": 1}'):
        redis.xadd(keys.events(0), {"e": payload})
    first, *others = read.after(redis, 0, read.START, 100)
    event = read.decode(first)
    assert event is not None
    assert event.visitor == "anna"
    assert [read.decode(other) for other in others] == [None] * 5
