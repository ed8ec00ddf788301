"""Whatever happens in whatever order, every answer is the model's: sizes, members, any window, any instant.

Events come late, twice and out of order, several tags have the same visitors; audiences are made, edited and deleted;
visitors are barred, erased and expire; workers and the server are killed at any step; a worker sleeps at any step,
while others move on, and wakes with what it believed. COLLECTOR_STATEFUL_EXAMPLES=200 makes a longer run.
"""

import asyncio
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from collector import connections, keys, log
from collector.archive import scan, write
from collector.audience import columns, sizes
from collector.audience.columns import Columns, column_key, seconds
from collector.audience.registry import GRACE, Audience, Registry
from collector.clock import DAY, iso
from collector.consent import ConsentedEvent, Signals, decide, word
from collector.embedded import Embedded, Server
from collector.event import Event, Source, visitor_text
from collector.query.engine import Engine
from collector.settings import Settings
from collector.stream import read
from collector.stream.append import APPENDED, DUPLICATE, EARLIER, Appender, Importer
from collector.stream.partitions import Installation, open_installation
from collector.worker import backfill, chores, partition
from collector.worker.partition import Partition
from tests.stateful.interruption import Killed, files_are_steps, interrupted
from tests.stateful.model import Model, Raw, Row, latest_of

EXAMPLES = int(os.environ.get("COLLECTOR_STATEFUL_EXAMPLES", "8"))
STEPS = 40
START = 1_763_750_000
PARTITIONS = 2
WORKERS = 2
MOST_AUDIENCES = 5
READ_AND_SLEPT = 9  # events that a worker reads and applies when it is its turn again
SECRET = "5a" * 32  # fixed, so that a failing example fails again

TAGS = ["2612345678901", "2612345678902"]
VISITORS = [*(digits * 16 for digits in ("0a", "0b", "0c", "0d")), "anna", "é'b", "hmac:" + "0e" * 16, "z"]
SHOP = "https://shop.example/"
URLS = [f"{SHOP}shoes/1", f"{SHOP}hats/12", ""]
NAMES = ["pagevisit", "addtocart", "checkout"]
AGES = [0, 0, 0, 1, 60, DAY - 1, DAY, DAY + 1, 30 * DAY, 30 * DAY + 1, 200 * DAY, 540 * DAY, 541 * DAY]
LEAPS = [1, 1, 30, 601, DAY, 30 * DAY, 541 * DAY]
DAYS = [1, 2, 30, 180, 540]
VERDICTS = ["full", "full", "full", "full", "full", "limited", "bar", "withdrawal"]


class Sent(NamedTuple):
    """An event as it is to be sent; `age` is in seconds before it is received."""

    tag: str
    visitor: str
    event: str
    event_id: str
    age: int
    url: str
    data: dict[str, Any]
    source: Source
    verdict: str


visitors = st.sampled_from(VISITORS)
tags = st.sampled_from([TAGS[0], *TAGS])
datas = st.fixed_dictionaries(
    {}, optional={"value": st.sampled_from([5, 12.5, 50]), "colour": st.sampled_from(["red", "blue"])}
)
sent = st.builds(
    Sent,
    tag=tags,
    visitor=visitors,
    event=st.sampled_from(NAMES),
    event_id=st.integers(0, 40).map(str),
    age=st.sampled_from(AGES),
    url=st.sampled_from(URLS),
    data=datas,
    source=st.sampled_from(["web", "server", "import"]),
    verdict=st.sampled_from(VERDICTS),
)
groups = st.lists(sent, min_size=1, max_size=12)
# Full consent and recent: what counts, so that it shows when it does not.
crowds = st.lists(
    sent.map(
        lambda one: one._replace(verdict="full", age=one.age % DAY, event_id=f"{one.event_id}/{one.age}")
    ),
    min_size=8,
    max_size=20,
)

# A few leaves that audiences share, and many that are new.
SHARED: list[Raw] = [
    *({"event": name} for name in NAMES),
    {"event": "addtocart", "min_count": 2},
    {"url": {"contains": "shoes"}},
]
leaves = st.sampled_from(SHARED) | st.fixed_dictionaries(
    {"event": st.sampled_from(NAMES) | st.lists(st.sampled_from(NAMES), min_size=2, max_size=3, unique=True)},
    optional={
        "min_count": st.integers(1, 4),
        "url": st.sampled_from([{"matches": "hats/[0-9]+$"}, {"contains": "s/1"}, {"!=": URLS[0]}]),
        "event_data": st.sampled_from([{"value": {">=": 12.5}}, {"colour": {"!=": "red"}}, {"value": 5}]),
        "event_source": st.sampled_from(["web", "import"]),
    },
)
conditions = st.builds(
    lambda leaf, window: {**leaf, **window},
    leaves,
    st.fixed_dictionaries({}, optional={"retention_days": st.sampled_from(DAYS)}),
)
several = st.lists(conditions, min_size=1, max_size=2)
excluded = st.lists(
    conditions | conditions.map(lambda condition: {**condition, "since": "match"}), min_size=1, max_size=2
)
prefill = {"prefill": st.sampled_from([True, False])}
rules = (
    conditions
    | st.builds(
        lambda main, lists: {**main, **lists},
        conditions,
        st.fixed_dictionaries({}, optional={"all": several, "any": several, "exclude": excluded, **prefill}),
    )
    | st.fixed_dictionaries({"any": several}, optional={"all": several, "exclude": several, **prefill})
)

# What others do while somebody sleeps, and what a worker can do: the name of a method, and its arguments.
Act = tuple[str, tuple[Any, ...]]


def _acts(*names: str) -> st.SearchStrategy[Act]:
    return st.tuples(
        st.sampled_from(names),
        st.tuples(st.integers(0, WORKERS - 1), st.integers(0, PARTITIONS - 1)),
    )


deeds = _acts(
    *("apply", "apply", "flush", "archive", "archive", "fill", "fill", "fill", "erase", "merge"),
    *("read", "read", "expire", "trim", "drop"),
)
wishes: st.SearchStrategy[Act] = st.one_of(
    st.tuples(st.just("send"), st.tuples(groups)),
    st.tuples(st.just("erase_visitor"), st.tuples(tags, visitors)),
    st.tuples(st.just("create"), st.tuples(tags, rules)),
    st.tuples(st.just("edit"), st.tuples(st.integers(0, 9), rules)),
    st.tuples(st.just("delete"), st.tuples(st.integers(0, 9))),
    st.tuples(st.just("leap"), st.tuples(st.sampled_from(LEAPS))),
    st.tuples(st.just("send_rubbish"), st.tuples(st.integers(0, PARTITIONS - 1))),
    st.tuples(st.just("kill_server"), st.just(())),
)
Interruption = tuple[int, bool, list[Act]]  # at which step, before it or after it, what happens; [] is a kill
interruptions: st.SearchStrategy[Interruption] = st.tuples(
    st.integers(1, 12), st.booleans(), st.lists(deeds | wishes, max_size=4)
)


class Process:
    """A worker process, moved by hand: what it believes, and what it has read and not applied yet."""

    def __init__(self, world: "World") -> None:
        self.client = connections.open_redis(world.settings)
        self.busy = False
        self._world = world
        self._partitions: dict[int, Partition] = {}
        self._read: dict[int, list[read.Entry]] = {}

    def forget(self) -> None:
        """What becomes of beliefs when the server did not answer."""
        self._partitions.clear()
        self._read.clear()

    def partition(self, number: int) -> Partition:
        if number not in self._partitions:
            world = self._world
            self._partitions[number] = Partition(
                self.client, world.installation, number, world.settings, world.clock
            )
        return self._partitions[number]

    def read(self, number: int, count: int) -> None:
        self._read[number] = read.after(self.client, number, self.partition(number).cursor, count)

    def apply(self, number: int) -> None:
        """What was read, however long ago, else what is there now."""
        if number not in self._read:
            self.read(number, self._world.settings.batch_events)
        if entries := self._read.pop(number, []):
            self.partition(number).apply(entries)

    def duty(self, number: int) -> chores.Duty:
        world = self._world
        return chores.Duty(self.client, world.installation, number, world.settings, world.clock)


class World:
    """The server that all examples share, and the folder. Each example starts from nothing."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.settings = Settings(
            data_dir=folder,
            partitions=PARTITIONS,
            batch_events=12,
            batch_merges=3,
            flush_events=9,
            compact_files=2,
            garbage_seconds=30,
        )
        self.embedded = Embedded(self.settings, server)
        self.embedded.start()
        self.client = connections.open_redis(self.settings)
        self.loop = asyncio.new_event_loop()
        self.async_client = connections.open_async(self.settings, timeout=5)
        self.now = START

    def clock(self) -> float:
        return float(self.now)

    def start(self) -> None:
        """Nothing is there yet."""
        self.now = START
        self.client.flushall()
        shutil.rmtree(self.settings.archive, ignore_errors=True)
        self.client.hset(keys.INSTALLATION, "secret", SECRET)
        self.installation: Installation = open_installation(self.client, self.settings)
        self.appender = Appender(self.async_client, self.installation, self.settings)
        self.engine = Engine(self.client, self.installation, self.settings, self.clock)

    def kill_server(self) -> None:
        os.kill(self.embedded.pid, 9)
        self.embedded._process.wait()  # type: ignore[union-attr]
        self.embedded.launch()
        self.loop.run_until_complete(self.async_client.connection_pool.disconnect())

    def close(self) -> None:
        self.loop.run_until_complete(self.async_client.aclose())
        self.loop.close()
        self.client.close()
        self.embedded.stop()


class Machine(RuleBasedStateMachine):
    """Whatever happens to an installation."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        world.start()
        self.model = Model()
        self.audiences: list[Audience] = []
        self.workers = [Process(world) for _ in range(WORKERS)]
        self.lines: list[Sent] = []

    # What happens outside, and what the marketer does

    @rule(some=st.lists(wishes, min_size=1, max_size=4))
    def wish(self, some: list[Act]) -> None:
        self._let(some)

    @initialize(group=st.lists(sent, min_size=12, max_size=24), written=st.lists(rules, max_size=2))
    def there_is_something(self, group: Sequence[Sent], written: list[Raw]) -> None:
        self.send(group)
        for one in written:
            self.create(TAGS[0], one)

    def send(self, group: Sequence[Sent]) -> None:
        """Events by the edge's path."""
        sealed = [self._sealed(one, one.event_id) for one in group]
        results = self.world.loop.run_until_complete(self.world.appender.append(sealed))
        for one, event, result in zip(group, sealed, results, strict=True):
            withdrawal = one.verdict == "withdrawal"
            expected = withdrawal or self.model.remember(one.tag, _raw(one, event), one.event_id)
            assert result == expected, (one, result)
        self._took(zip(group, sealed, results, strict=True))
        # The answer does not arrive, and the sender repeats the group as it was.
        again = [event for one, event in zip(group, sealed, strict=True) if one.verdict != "withdrawal"]
        assert not any(self.world.loop.run_until_complete(self.world.appender.append(again)))

    @rule(group=groups, own=st.booleans())
    def import_file(self, group: Sequence[Sent], own: bool) -> None:
        """A file has grown and is imported again from its first line: what an earlier run took is passed over."""
        first = len(self.lines)
        self.lines += [
            one._replace(verdict="full", source="import", event_id=one.event_id if own else "")
            for one in group
        ]
        ledger = "file"
        batch = [
            (number + 1, bool(one.event_id), self._sealed(one, one.event_id or f"line:{number}"))
            for number, one in enumerate(self.lines)
        ]
        importer = Importer(self.world.client, self.world.installation, self.world.settings, ledger)
        middle = (first + len(batch)) // 2
        packed = [importer.pack(*line) for line in batch]
        results = importer.append(packed[:middle]) + importer.append(packed[middle:])
        expected = []
        for number, one in enumerate(self.lines):
            where = (ledger, self.world.installation.partition(one.tag, one.visitor))
            if number + 1 <= self.model.ledger.get(where, 0):
                expected.append(EARLIER)
                continue
            self.model.ledger[where] = number + 1
            raw = _raw(one, batch[number][2])
            new = not one.event_id or self.model.remember(one.tag, raw, one.event_id)
            expected.append(APPENDED if new else DUPLICATE)
        assert results == expected
        events = [event for _, _, event in batch]
        self._took(zip(self.lines, events, (result == APPENDED for result in results), strict=True))

    def send_rubbish(self, number: int) -> None:
        """Something that nobody can decode lies in a stream."""
        self.world.client.xadd(keys.events(number), {"e": b'{"tag": 1, "\xff'})
        self.model.dead += 1

    def erase_visitor(self, tag: str, visitor: str) -> None:
        until = self.world.engine.erase(tag, visitor)
        self.model.mark("tombstone", (tag, visitor), until)

    def leap(self, seconds: int) -> None:
        self.world.now += seconds

    def kill_server(self) -> None:
        self.world.kill_server()

    def create(self, tag: str, written: Raw) -> None:
        if len(self.audiences) == MOST_AUDIENCES:
            self.delete(0)
        self.audiences.append(self.world.engine.registry.create(tag, "an audience", "", written))

    @rule(tag=tags, written=rules, at=st.integers(1, 30), others=st.lists(deeds, min_size=1, max_size=4))
    def create_slowly(self, tag: str, written: Raw, at: int, others: list[Act]) -> None:
        """The workers move on while the audience's leaves are being registered."""
        with interrupted(self.world.client, at, True, lambda: self._let(others)):
            self.create(tag, written)

    def edit(self, place: int, written: Raw) -> None:
        if self.audiences:
            place %= len(self.audiences)
            self.audiences[place] = self.world.engine.registry.edit(
                self.audiences[place], name=None, description=None, rule=written
            )

    def delete(self, place: int) -> None:
        if self.audiences:
            self.world.engine.registry.delete(self.audiences.pop(place % len(self.audiences)))

    # What the workers do

    @rule(acts=st.lists(deeds, min_size=1, max_size=6))
    def work(self, acts: list[Act]) -> None:
        self._let(acts)

    @rule(act=deeds, interruption=interruptions, group=groups)
    def work_interrupted(self, act: Act, interruption: Interruption, group: Sequence[Sent]) -> None:
        """A worker is killed at some step, or sleeps there until it wakes with what it believed."""
        self.send(group)
        self._interrupt(act, interruption)

    @rule(
        name=st.sampled_from(["apply", "apply", "flush", "fill", "erase", "merge"]),
        worker=st.integers(0, WORKERS - 1),
        at=st.integers(1, 7),
        crowd=crowds,
        erased=st.booleans(),
    )
    def a_visitor_goes_meanwhile(
        self, name: str, worker: int, at: int, crowd: Sequence[Sent], erased: bool
    ) -> None:
        """Somebody with events in hand is erased, rows and all, while a worker sleeps."""
        who = crowd[-1]
        number = self._send_to_one(worker, crowd)
        others: list[Act] = [("erase_visitor", (who.tag, who.visitor))]
        if erased:
            others += [("erase", (1 - worker, number)), ("trim", (1 - worker, number))]
        self._interrupt((name, (worker, number)), (at, True, others))

    @rule(
        worker=st.integers(0, WORKERS - 1),
        at=st.integers(2, 4),
        crowd=crowds,
        written=conditions,
        place=st.integers(0, 9),
        new=st.booleans(),
    )
    def an_audience_changes_meanwhile(
        self, worker: int, at: int, crowd: Sequence[Sent], written: Raw, place: int, new: bool
    ) -> None:
        """Between the commits of a batch."""
        number = self._send_to_one(worker, crowd)
        change: Act = ("edit", (place, written))
        if new or not self.audiences:
            change = ("create", (crowd[-1].tag, written))
        self._interrupt(("apply", (worker, number)), (at, True, [change]))

    def _send_to_one(self, worker: int, crowd: Sequence[Sent]) -> int:
        """Send it, and let a worker believe and read what there is; the partition of the last one."""
        number = self.world.installation.partition(crowd[-1].tag, crowd[-1].visitor)
        for _ in range(3):
            self._let([("apply", (worker, number))])
        self.send(crowd)
        self._let([("read", (worker, number))])
        return number

    @precondition(lambda self: self.audiences)
    @rule(
        place=st.integers(0, 9),
        written=conditions,
        worker=st.integers(0, WORKERS - 1),
        at=st.integers(2, 9),
        others=st.just([]) | st.lists(deeds | wishes, max_size=2),
    )
    def more_past_is_wanted_while_some_is_read(
        self, place: int, written: Raw, worker: int, at: int, others: list[Act]
    ) -> None:
        """A backfill of what came since the audience's creation ends in the middle; then all of the past is wanted."""
        audience = self.audiences[place % len(self.audiences)]
        self.edit(place, {**written, "prefill": False})
        for number in range(PARTITIONS):
            self._let([("archive", (worker, number))])
            self._interrupt(("fill", (worker, number)), (at, True, others))
        self.create(audience.tag, {**written, "prefill": True})

    @precondition(lambda self: self.audiences)
    @rule(place=st.integers(0, 9), group=groups)
    def come_back(self, place: int, group: Sequence[Sent]) -> None:
        """An audience is deleted, its leaves go after the grace, and somebody makes it again."""
        audience = self.audiences[place % len(self.audiences)]
        self.delete(place)
        self.leap(GRACE + 1)
        self._let([("drop", (0, 0))])
        self.send(group)
        self.create(audience.tag, _rule(audience))

    def _interrupt(self, act: Act, interruption: Interruption) -> None:
        name, (worker, number) = act
        at, before, others = interruption
        process = self.workers[worker]

        def happening() -> None:
            note(f"{name} is interrupted")
            if not others:
                raise Killed
            self._let(others)

        with interrupted(process.client, at, before, happening):
            try:
                self._work(name, worker, number)
            except Killed:
                self._replace(worker)

    @rule()
    def work_everything_off(self) -> None:
        self.finish()

    def finish(self) -> None:
        """A fresh worker works until nothing moves; then all is as the model says, and Redis is tidy."""
        self._settle()
        self._check_tidy()
        self._check_archive()
        for audience in self.audiences:
            self._check_settled(audience)
        for tag in TAGS:
            self._check_overlap(tag)

    # What is true at any moment

    @invariant()
    def ready_audiences_are_exact(self) -> None:
        """What is ready is the model's answer over the events that were applied."""
        for audience, standing in zip(
            self.audiences, self.world.engine.registry.standings(self.audiences), strict=True
        ):
            assert standing.status != "FAILED", standing
            if standing.status == "READY":
                expected = self._members(audience, applied=self._cursors("cursor"))
                assert self._size(audience) == len(expected), audience
                assert self._listed(audience) == sorted(expected), audience

    @invariant()
    def nothing_is_trimmed_unread(self) -> None:
        client = self.world.client
        passed = [min(pair) for pair in zip(self._cursors("cursor"), self._cursors("archived"), strict=True)]
        for number in range(PARTITIONS):
            there = {read.parse(entry.id) for entry in read.after(client, number, read.START, 10_000)}
            needed = {
                row.id for row in self.model.rows if row.partition == number and row.id > passed[number]
            }
            assert needed <= there

    @precondition(lambda self: self.audiences)
    @rule(
        place=st.integers(0, 9), age=st.sampled_from(AGES), lookback=st.none() | st.sampled_from([1, 29, 200])
    )
    def ask_the_past(self, place: int, age: int, lookback: int | None) -> None:
        """Any past instant and any window, at any moment: all that was received counts."""
        audience = self.audiences[place % len(self.audiences)]
        if audience.parsed().main is None:
            lookback = None
        at = self.world.now - age
        got, used = self.world.engine.size(audience, lookback, iso(at))
        expected = self.model.members(
            audience.tag,
            _rule(audience),
            at=at,
            created_at=audience.created_at,
            lookback=lookback,
            marks=self._marks(audience.tag),
        )
        assert (got, used) == (len(expected), at), audience

    @rule(tag=tags, written=rules, age=st.sampled_from(AGES))
    def preview(self, tag: str, written: Raw, age: int) -> None:
        at = self.world.now - age
        got, used = self.world.engine.preview(tag, written, iso(at))
        expected = self.model.members(tag, written, at=at, created_at=self.world.now, marks=self._marks(tag))
        assert (got, used) == (len(expected), at)

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            for worker in self.workers:
                worker.client.close()

    # The parts

    def _sealed(self, one: Sent, event_id: str) -> ConsentedEvent:
        event = Event(
            tag=one.tag,
            visitor=one.visitor,
            event=one.event,
            event_id=event_id,
            event_time=self.world.now - one.age,
            received_at=self.world.now * 1000 + 999,
            source=one.source,
            url=one.url,
            data=one.data,
        )
        decision = decide(_signals(one.verdict), "opt_in", now=self.world.now)
        return decision.withdrawal(event) if one.verdict == "withdrawal" else decision.seal(event)

    def _took(self, fates: Iterator[tuple[Sent, ConsentedEvent, bool]]) -> None:
        """Put into the model what was appended, at the place where it lies."""
        appended: dict[int, list[tuple[Sent, ConsentedEvent]]] = {}
        for one, event, result in fates:
            if result:
                number = self.world.installation.partition(one.tag, one.visitor)
                appended.setdefault(number, []).append((one, event))
        for number, some in appended.items():
            newest = self.world.client.xrevrange(keys.events(number), count=len(some))
            for (one, event), (entry, _) in zip(some, reversed(newest), strict=True):
                if one.verdict != "withdrawal":
                    raw = _raw(one, event)
                    self.model.rows.append(Row(one.tag, number, read.parse(entry), event.event.event_id, raw))
                if one.verdict in ("bar", "withdrawal"):
                    kind = "bar" if one.verdict == "bar" else "tombstone"
                    self.model.mark(kind, (one.tag, one.visitor), self.world.now)

    def _let(self, acts: Sequence[Act]) -> None:
        for name, args in acts:
            if name in WORK:
                self._work(name, *args)
            else:
                getattr(self, name)(*args)

    def _work(self, name: str, worker: int, number: int) -> None:
        process = self.workers[worker]
        if process.busy:  # it sleeps in the middle of something
            return
        process.busy = True
        try:
            WORK[name](process, number)
        except connections.Unavailable as error:
            note(f"worker {worker} lost the server: {error}")
            process.forget()
        finally:
            process.busy = False

    def _replace(self, worker: int) -> None:
        self.workers[worker].client.close()
        self.workers[worker] = Process(self.world)

    def _settle(self) -> None:
        process = Process(self.world)
        still = 0
        try:
            for _ in range(200):
                before = self._everything()
                for number in range(PARTITIONS):
                    process.apply(number)
                    duty = process.duty(number)
                    for chore in chores.TABLE:
                        if not chore.once:
                            chore.do(duty)
                still = still + 1 if self._everything() == before else 0
                if still == 2:  # in the first, what a chore had changed may have made the worker believe anew
                    return
            raise AssertionError("it never comes to rest")
        finally:
            process.client.close()

    def _everything(self) -> list[Any]:
        """What moves while there is work."""
        client = self.world.client
        standings = self.world.engine.registry.standings(self.audiences)
        return [standings, *(client.hgetall(keys.state(number)) for number in range(PARTITIONS))]

    def _cursors(self, name: str) -> list[tuple[int, int]]:
        client = self.world.client
        return [
            read.parse(client.hget(keys.state(number), name) or read.START) for number in range(PARTITIONS)
        ]

    def _marks(self, tag: str) -> dict[str, int]:
        """The marks that are in force: those of events that wait to be applied are not yet."""
        return latest_of(tag, self._stored_marks("bars"), self._stored_marks("tombs"))

    def _stored_marks(self, kind: str) -> dict[tuple[str, str], int]:
        secret = bytes.fromhex(SECRET)
        found = {}
        for tag in TAGS:
            for visitor in VISITORS:
                number = self.world.installation.partition(tag, visitor)
                stored = self.world.client.hget(
                    f"{keys.tenant(number, tag)}:{kind}", str(keys.visitor_mark(secret, tag, visitor))
                )
                if stored is not None:
                    found[tag, visitor] = int(stored)
        return found

    def _members(
        self,
        audience: Audience,
        *,
        lookback: int | None = None,
        applied: Sequence[tuple[int, int]] | None = None,
    ) -> set[str]:
        return self.model.members(
            audience.tag,
            _rule(audience),
            at=self.world.now,
            created_at=audience.created_at,
            lookback=lookback,
            marks=self._marks(audience.tag),
            applied=applied,
        )

    def _size(self, audience: Audience, lookback: int | None = None) -> int | None:
        size, at = self.world.engine.size(audience, lookback)
        assert at == self.world.now
        return size

    def _listed(self, audience: Audience) -> list[str]:
        runs = self.world.engine.members(audience, "visitor")
        return sorted(visitor for _, visitors in runs for visitor in visitors)

    def _check_settled(self, audience: Audience) -> None:
        (described,) = self.world.engine.describe([audience])
        expected = self._members(audience)
        assert described["status"] == "TOO_SMALL"
        assert described["size"] == len(expected)
        assert self._listed(audience) == sorted(expected)
        rule_ = _rule(audience)
        for days in (1, 31, 540) if audience.parsed().main else ():
            assert self._size(audience, days) == len(self._members(audience, lookback=days))
        if rule_.get("prefill", True):
            assert self.world.engine.preview(audience.tag, rule_) == (len(expected), self.world.now)

    def _check_overlap(self, tag: str) -> None:
        audiences = [audience for audience in self.audiences if audience.tag == tag]
        if audiences:
            members = [self._members(audience) for audience in audiences]
            overlap, _ = self.world.engine.overlap(audiences)
            assert overlap == [[len(one & other) for other in members] for one in members]

    def _check_tidy(self) -> None:
        client = self.world.client
        assert self._stored_marks("bars") == self.model.bars
        assert self._stored_marks("tombs") == self.model.tombstones
        assert sum(client.hlen(f"{keys.partition(n)}:dead") for n in range(PARTITIONS)) == self.model.dead
        for tag in TAGS:
            known: set[str] = set()
            for number in range(PARTITIONS):
                known |= self._check_dictionary(tag, number)
            counted = [row.raw for row in self.model.kept(tag) if row.raw["verdict"] == "full"]
            horizon = self.world.now - 540 * DAY
            assert known <= {raw["visitor"] for raw in counted}
            marks = self.model.marks(tag)
            assert known >= {
                raw["visitor"]
                for raw in counted
                if raw["time"] >= max(horizon, marks.get(raw["visitor"], -1) + 1)
            }

    def _check_dictionary(self, tag: str, number: int) -> set[str]:
        """Dictionary and ids agree, ordinals are used or free and never both, free ones are clean; who is known."""
        client, tenant = self.world.client, keys.tenant(number, tag)
        meta = {name: int(value) for name, value in client.hgetall(f"{tenant}:meta").items()}
        following = meta.get(b"next", 0)
        listed = [
            int(ordinal)
            for key in client.scan_iter(f"{tenant}:dict:*")
            for ordinals in client.hvals(key)
            for ordinal in ordinals.split()
        ]
        ids: dict[bytes, int] = {}
        for key in client.scan_iter(f"{tenant}:ids:*"):
            page, packed = int(key.rsplit(b":", 1)[1]), client.get(key)
            assert len(packed) == 240 * 17
            for place in range(240):
                if who := packed[place * 17 : place * 17 + 17].rstrip(b"\0"):
                    ids[who] = page * 240 + place
        for key in client.scan_iter(f"{tenant}:texts:*"):
            page = int(key.rsplit(b":", 1)[1])
            ids |= {who: page * 64 + int(place) for place, who in client.hgetall(key).items()}
        assert sorted(listed) == sorted(ids.values())
        assert meta.get(b"visitors", 0) == len(ids)
        free = [int(ordinal) for ordinal in client.lrange(f"{tenant}:free", 0, -1)]
        assert sorted([*free, *ids.values()]) == list(range(following))
        for key in client.scan_iter(f"{tenant}:col:*"):
            column = seconds(client.get(key))
            assert not any(column[ordinal] for ordinal in free if ordinal < len(column)), key
        seen = seconds(client.get(column_key(tenant, columns.SEEN, 0, 0)))
        assert all(seen[ordinal] for ordinal in ids.values())
        cells = Columns(client, self.world.installation, number)
        for who, ordinal in ids.items():
            _, (found,) = cells.resolve(tag, [cells.identity(tag, visitor_text(who))])
            assert found.ordinal == ordinal
        return {visitor_text(who) for who in ids}

    def _check_archive(self) -> None:
        """Files hold each row once, but for what a tombstone covers; a subject is told all the rest."""
        archived = self._cursors("archived")
        for tag in TAGS:
            kept = self.model.kept(tag)
            for number in range(PARTITIONS):
                manifest = Process.duty(self.workers[0], number).writer.manifest
                found: Counter[tuple[int, int, str]] = Counter()
                for file in manifest.past(tag).files:
                    table = pq.read_table(manifest.path(tag, file.name))
                    assert table.num_rows == file.rows
                    found.update(
                        (row["sid_ms"], row["sid_seq"], row["event_id"])
                        for row in table.select(["sid_ms", "sid_seq", "event_id"]).to_pylist()
                    )
                assert found == Counter(
                    (*row.id, row.event_id)
                    for row in kept
                    if row.partition == number and row.id <= archived[number]
                )
            members = {
                audience.id: self._members(audience) for audience in self.audiences if audience.tag == tag
            }
            for visitor in VISITORS:
                told = self.world.engine.visitor(tag, visitor)
                assert sorted(event["event_id"] for event in told["events"]) == sorted(
                    row.event_id for row in kept if row.raw["visitor"] == visitor
                )
                assert {audience["id"] for audience in told["audiences"]} == {
                    audience for audience, some in members.items() if visitor in some
                }


def _drop(process: Process, number: int) -> None:
    duty = process.duty(number)
    Registry(duty.client, duty.installation, duty.settings, duty.clock).drop_unused_leaves()


WORK: dict[str, Callable[[Process, int], object]] = {
    "read": lambda process, number: process.read(number, READ_AND_SLEPT),
    "apply": Process.apply,
    "flush": lambda process, number: process.duty(number).writer.flush(),
    "archive": lambda process, number: chores.flush(process.duty(number)),
    "fill": lambda process, number: chores.fill_leaves(process.duty(number)),
    "erase": lambda process, number: chores.erase_rows(process.duty(number)),
    "merge": lambda process, number: chores.merge_files(process.duty(number)),
    "expire": lambda process, number: chores.expire_visitors(process.duty(number)),
    "trim": lambda process, number: chores.trim(process.duty(number)),
    "drop": _drop,
}


def _signals(verdict: str) -> Signals:
    if verdict == "limited":
        return Signals(consent={**word("granted"), "ad_personalization": "denied"})
    if verdict == "bar":
        return Signals(consent=word("granted"), sec_gpc="1")
    return Signals(consent=word("granted"), withdraw=verdict == "withdrawal")


def _raw(one: Sent, sealed: ConsentedEvent) -> Raw:
    """The event as the oracle reads it."""
    return {
        "time": sealed.event.event_time,
        "visitor": one.visitor,
        "event": one.event,
        "url": one.url,
        "data": one.data,
        "source": one.source,
        "verdict": "full" if one.verdict == "full" else "limited",
    }


def _rule(audience: Audience) -> Raw:
    rule_: Raw = json.loads(bytes(audience.rule))
    return rule_


@pytest.fixture(scope="module")
def world(server_binary: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    log.configure("error")  # dead letters and restarts are meant
    world = World(tmp_path_factory.mktemp("stateful"), server_binary)
    with pytest.MonkeyPatch.context() as patch, files_are_steps():
        # Everything in small pieces, so that there are many places to be interrupted at.
        patch.setattr(write, "PAGE", 4)
        patch.setattr(scan, "PAGE", 3)
        patch.setattr(backfill, "ROWS", 1)
        patch.setattr(backfill, "LEAVES", 2)
        patch.setattr(chores, "EXPIRED_AT_ONCE", 2)
        patch.setattr(columns, "FREE_TOLD", 1)
        patch.setattr(partition, "MOST_VISITORS", 3)
        patch.setattr(sizes, "RUN", 7)
        yield world
    world.close()


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_whatever_happens_every_answer_is_the_model_s(world: World) -> None:
    class Here(Machine):
        def __init__(self) -> None:
            super().__init__(world)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
