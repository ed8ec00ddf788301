"""A rebuild changes no answer, whatever the number of partitions, and is done wholly or not at all."""

import re
from typing import Any

import pytest

from collector import connections, event, keys
from collector.connections import Redis
from collector.recovery import snapshot
from collector.recovery.rebuild import rebuild
from collector.recovery.remake import Databases
from collector.recovery.repartition import places
from collector.settings import BadSetup, Settings
from collector.stream import dead, ids, read
from tests.unit.parts import GPC, LIMITED, OTHER_TAG, TAG, WITHDRAWN, Parts, happened

RULES: list[dict[str, Any]] = [
    {"event": "addtocart", "retention_days": 30},
    {"event": "addtocart", "min_count": 2, "retention_days": 540},
    {"event": "addtocart", "exclude": [{"event": "checkout", "since": "match"}]},
    {"event": "pagevisit", "prefill": False},
]


def shop(redis: Redis, settings: Settings, partitions: int) -> Parts:
    """Traffic of two tags: in files, behind them, forgotten, barred, limited; audiences with and without past."""
    parts = Parts(redis, settings, partitions=partitions)
    parts.send(*(happened(f"v{n}", event_id=f"first-{n}", age=n * 86_400) for n in range(60)))
    parts.send(*(happened(f"v{n}", "addtocart", age=50) for n in range(0, 60, 2)))
    parts.send(*(happened(f"v{n}", tag=OTHER_TAG) for n in range(9)))
    parts.work()
    for rule in RULES:
        parts.registry.create(TAG, "an audience", "", rule)
    parts.now += 10
    later: dict[str, Any] = {"now": parts.now}
    parts.send(*(happened(f"v{n}", "pagevisit", **later) for n in range(20)))
    parts.send(*(happened(f"v{n}", "checkout", **later) for n in range(10)))
    parts.send(happened("v1", **later), signals=WITHDRAWN)
    parts.send(happened("v2", **later), signals=GPC)
    parts.send(happened("limited", **later), signals=LIMITED)
    parts.work()
    parts.now += 10
    parts.send(*(happened(f"late{n}", event_id=f"late-{n}", now=parts.now) for n in range(20)))
    return parts


def answers(parts: Parts) -> list[list[str]]:
    """The members of each audience, by columns and by the archive, once all that waits is applied."""
    parts.apply()
    found = []
    for audience in parts.registry.all():
        question = audience.question(parts.now)
        runs = parts.sizes.members(TAG, question)
        found.append(sorted(visitor for _, visitors in runs for visitor in visitors))
        past = parts.archive.members(TAG, audience.parsed(), at=parts.now, floor=question.floor)
        assert found[-1] == past
    assert len(found) == len(RULES)
    assert all(found)
    return found


def reopened(parts: Parts, partitions: int) -> Parts:
    again = Parts(parts.client, parts.settings, partitions=partitions)
    again.now = parts.now
    return again


def listed(redis: Redis) -> dict[bytes, bytes]:
    """Every key of the live database, with its value."""
    found = {name: redis.dump(name) for name in redis.scan_iter(count=1_000)}
    return {name: value for name, value in found.items() if value}


@pytest.mark.parametrize(("before", "after"), [(2, 2), (2, 3), (4, 2)])
def test_no_answer_changes_with_a_rebuild(redis: Redis, settings: Settings, before: int, after: int) -> None:
    parts = shop(redis, settings, before)
    told = answers(parts)
    done: list[int] = []
    assert rebuild(parts.settings, after, parts.clock, told=done.append) == after
    assert done == list(range(after))
    again = reopened(parts, after)
    assert answers(again) == told
    assert {status.status for status in again.registry.standings(again.registry.all())} == {"READY"}
    again.flush()
    assert answers(again) == told


def test_what_somebody_laid_into_the_archive_is_left_alone(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, partitions=2)
    parts.send(happened("anna"))
    parts.work()
    kept = [settings.archive / "p00.old", settings.archive / "proof" / "p1-copy"]
    for folder in kept:
        folder.mkdir(parents=True)
    rebuild(parts.settings, 1, parts.clock, told=print)
    assert all(folder.exists() for folder in kept)
    assert sorted(path.name for path in settings.archive.glob("p[0-9][0-9]")) == ["p00"]


def test_what_waits_to_be_applied_is_applied_once_after_it(redis: Redis, settings: Settings) -> None:
    parts = shop(redis, settings, 2)
    rebuild(parts.settings, 3, parts.clock, told=print)
    again = reopened(parts, 3)
    told = [status.status for status in again.registry.standings(again.registry.all())]
    assert set(told) == {"INITIALIZING"}  # not READY before the worker has passed what was there
    again.work()
    for n in range(6):
        assert [event.event_id for event in again.archive.events(TAG, f"late{n}")] == [f"late-{n}"]


@pytest.mark.parametrize("after", [2, 5])
def test_what_is_sent_again_after_it_is_a_duplicate(redis: Redis, settings: Settings, after: int) -> None:
    seconds, _ = redis.time()
    parts = Parts(redis, settings, partitions=2)
    known = [happened(f"v{n}", event_id=f"e{n}", now=int(seconds)) for n in range(1_200)]
    parts.send(*known[:1_000])
    parts.flush()
    parts.send(*known[1_000:])
    rebuild(parts.settings, after, parts.clock, told=print)
    again = reopened(parts, after)
    assert again.send(*known) == [False] * len(known)
    fresh = [happened(f"v{n}", event_id=f"fresh{n}", now=int(seconds)) for n in range(600)]
    assert again.send(*fresh) == [True] * len(fresh)
    assert again.send(*known, *fresh) == [False] * (len(known) + len(fresh))


def test_event_ids_lie_where_the_append_script_looks(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    parts.send(*(happened(f"v{n}") for n in range(1_500)))
    ((generation, count),) = redis.hgetall("{p00}:ids").items()
    buckets = ids.buckets_of(int(count))
    assert buckets > 4
    for bucket in range(buckets + 1):
        held = redis.smembers(f"{{p00}}:ids:{generation.decode()}:{bucket}")
        assert {ids.bucket_of(int(mark), buckets) for mark in held} <= {bucket}


def test_new_ids_come_after_the_cursors_even_when_the_clock_was_set_back(
    redis: Redis, settings: Settings
) -> None:
    parts = Parts(redis, settings, partitions=1)
    ahead = f"{4 * 10**12}-0"
    redis.xadd(keys.events(0), {"e": b"{broken"}, id=ahead)
    parts.apply()
    parts.flush()
    assert redis.hget(keys.state(0), "archived") == ahead.encode()
    rebuild(parts.settings, 2, parts.clock, told=print)
    again = reopened(parts, 2)
    again.send(*(happened(f"v{n}") for n in range(8)))
    assert again.members({"event": "addtocart"}) == [f"v{n}" for n in range(8)]


def test_a_rebuild_that_breaks_leaves_all_as_it_was(redis: Redis, settings: Settings) -> None:
    parts = shop(redis, settings, 3)
    before, files = listed(redis), archived(parts)

    def broken(number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(parts.settings, 4, parts.clock, told=broken)
    assert listed(redis) == before
    assert files <= archived(parts)
    with connections.open_redis(parts.settings, database=1) as spare:
        assert spare.dbsize() == 0
    rebuild(parts.settings, 4, parts.clock, told=print)
    assert not files & archived(parts)  # what was left over has gone, too
    answers(reopened(parts, 4))


def archived(parts: Parts) -> set[str]:
    return {str(path) for path in parts.settings.archive.glob("p[0-9]*/*/*")}


def test_whoever_writes_meanwhile_loses_nothing(redis: Redis, settings: Settings) -> None:
    parts = shop(redis, settings, 2)

    def meddle(number: int) -> None:
        if number == 1:
            parts.send(happened("meddler", now=parts.now))

    with pytest.raises(BadSetup, match="wrote to the installation meanwhile"):
        rebuild(parts.settings, 4, parts.clock, told=meddle)
    assert any("meddler" in members for members in answers(parts))


def test_the_spare_database_is_never_taken_from_somebody(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    with connections.open_redis(settings, database=1) as spare:
        spare.set("somebody's", 1)
    with pytest.raises(BadSetup, match="Database 1 of the server is needed"):
        rebuild(parts.settings, 2, parts.clock, told=print)
    with connections.open_redis(settings, database=1) as spare:
        assert spare.get("somebody's") == b"1"


def test_an_import_under_way_is_finished_first(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings, partitions=2)
    redis.hset(keys.IMPORTS, f"{TAG}:digest", b'{"started_at": 1, "attested": "yes", "lines": 5}')
    with pytest.raises(BadSetup, match=f"import for tag {TAG} is not finished"):
        rebuild(parts.settings, 4, parts.clock, told=print)
    rebuild(parts.settings, 2, parts.clock, told=print)


@pytest.mark.parametrize("after", [2, 3])
@pytest.mark.parametrize("archived", [True, False])
def test_a_dead_letter_goes_with_its_visitor_and_counts_once_when_it_is_tried_again(
    redis: Redis, settings: Settings, after: int, archived: bool
) -> None:
    parts = Parts(redis, settings, partitions=2)
    audience = parts.registry.create(TAG, "", "", {"event": "addtocart", "min_count": 1})
    visitors = [f"v{n}" for n in range(12)]
    parts.send(*map(happened, visitors))
    for number in range(2):
        parts.partition(number).apply(read.after(redis, number, "0-0", 100), failed="KeyError")
    if archived:
        parts.flush()
    else:  # one is further than the other: the new cursor passes letters that are in a tail as well
        parts.send(*(happened(f"w{n}", "pagevisit") for n in range(20)))
        partition = parts.partition(0)
        partition.apply(read.after(redis, 0, partition.cursor, 100))
        while parts.writer(0).flush():
            pass
    rebuild(parts.settings, after, parts.clock, told=print)
    again = reopened(parts, after)
    letters = [each for number in range(after) for each in dead.letters(redis, number)]
    for each in letters:
        visitor = event.decode_streamed(each.letter.payload).visitor
        assert each.partition == again.installation.partition(TAG, visitor)
    assert all(dead.retry(redis, each) for each in letters)
    again.work()
    question = audience.question(again.now)
    members = [who for _, run in again.sizes.members(TAG, question) for who in run]
    assert sorted(members) == sorted(visitors)
    assert [len(again.archive.events(TAG, who)) for who in visitors] == [1] * len(visitors)


@pytest.mark.parametrize(("before", "after"), [(16, 32), (32, 16), (6, 4), (5, 7), (1, 9)])
def test_marks_go_wherever_their_visitor_may_be(before: int, after: int) -> None:
    for spread in range(before * after * 2):
        assert spread % after in places(spread % before, before, after)


def test_every_key_is_carried_or_remade(redis: Redis, settings: Settings) -> None:
    """The list of what a rebuild or a backup knows; a key that keys.py gains must be put on one side here."""
    carried = {"installation", "tags", "api_keys", "audiences", "history", "imports", "tally", "people"}
    carried |= {"session", "link", "tries", "erase_now", "audit", "edits", "deleted", "feed", "pace"}
    at_work = {"workers", "chores", "edges", "fresh"}  # all else of {c} is carried
    shares = {
        "events",
        "state",
        "dead",
        "imports",
        "tags",
        "leaves",
        "leaf",
        "bars / ",
        "erasing",
        "manifest",
    }
    shares |= {"pending"}
    remade = {"ids", "texts", "wanting", "meta", "dict", "free", "col", "ver"}
    left = {"lease", "garbage"}  # nobody works; replaced files are swept or not copied
    named = set(re.findall(r"^\| \{[cp]\}:(?:<tag>:)?([a-z_]+(?: / )?)", keys.__doc__ or "", re.MULTILINE))
    assert named == carried | at_work | shares | remade | left
    parts = shop(redis, settings, 2)
    names = {record.name for record in snapshot.common(parts.client)}
    assert {keys.TAGS, keys.AUDIENCES} - names == {keys.TAGS}  # no tag was created in this shop
    assert not names & {keys.WORKERS, keys.CHORES}


def test_a_transaction_over_two_databases_is_seen_as_one(redis: Redis, settings: Settings) -> None:
    redis.set("old", 1)
    with Databases(settings, ["old"]) as databases:
        databases.spare.set("new", 1)
        assert redis.keys() == [b"old"]
        databases.swap()
        assert redis.keys() == [b"new"]
    with connections.open_redis(settings, database=1) as spare:
        assert spare.dbsize() == 0
