"""Importing: a file's lines into the streams, each once for ever, whatever breaks in between."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

import msgspec
from redis.exceptions import ClusterError, OutOfMemoryError, RedisClusterException
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import TimeoutError as TooSlow

from collector import health, keys
from collector.archive.manifest import Manifest
from collector.clock import Clock
from collector.connections import Redis, memory
from collector.consent import ConsentedEvent, Decision, Signals, decide
from collector.event import Event
from collector.ingest import normalise
from collector.ingest.fates import Fates, Shared, Submission
from collector.ingest.lines import File, Line, Unreadable, is_number
from collector.ingest.wire import Request
from collector.outcomes import BY_REASON, Refused
from collector.settings import BadSetup, Settings
from collector.stream import read
from collector.stream.append import APPENDED, DUPLICATE, EARLIER, Importer, PackedLine
from collector.stream.calls import NotReplicated
from collector.stream.partitions import Installation
from collector.tags import Tag

AHEAD = 4  # batches that may wait for their turn to be appended: the server takes some sooner, some later
BATCH = 2_000  # lines in one script call: some 7 ms in the server, which serves nobody else meanwhile
SHOWN = 20  # refused lines that are listed; the rest is only counted
LOOK = 1.0  # seconds between looks at memory and workers, and between notes of the progress
POLL = 0.05  # seconds between looks at the cursors
PATIENCE = 60.0  # seconds for a server that went away to come back
AWAY = (Disconnected, TooSlow, ClusterError, RedisClusterException, NotReplicated)  # what may be over soon
HEARTBEAT = (
    10.0  # seconds without a sign after which a worker counts as gone; it gives five in a lease's life
)
# Where an import asks for more than a request does, what outcomes.TABLE says is not all there is.
STRICTER = {"bad_time": "event_time is missing, no Unix second or ISO 8601, before 1970 or in the future"}
NAMED = {APPENDED: "accepted", DUPLICATE: "duplicate", EARLIER: "earlier"}


class NoWorker(Exception):
    """Nobody applies what is imported. What is stored stays stored."""


class Head(msgspec.Struct, kw_only=True):
    """What the ledger says of one import of one file, for good. Times are Unix seconds."""

    started_at: int
    attested: str
    shift: int = 0  # added to each event_time
    end_at: int = 0  # where the shift puts the last event; 0 without a shift
    lines: int = 0  # the last line that was done
    counts: dict[str, int] = {}  # accepted, duplicate, refused, and «earlier»: stored by a run that broke
    finished_at: int = 0
    reached: list[str] = []  # the newest id of each partition's stream when it finished


class Refusal(NamedTuple):
    """A line that was refused: its number, the reason of outcomes.TABLE, and what was wrong."""

    line: int
    reason: str
    why: str


class _Batch(Fates):
    """Takes what is sealed together with its line; the fates themselves come back from the streams."""

    __slots__ = ("_pack", "last", "line", "lines", "taken")

    def __init__(self, pack: Callable[[int, bool, ConsentedEvent], PackedLine], last: int) -> None:
        super().__init__()
        self._pack = pack
        self.last = last  # the number of its last line
        self.line = (0, False)  # the present one's number, and whether its event_id came with it
        self.lines: list[PackedLine] = []
        self.taken: list[tuple[str, str]] = []  # (verdict, the event's name) of each

    def seal(self, event: Event, decision: Decision) -> None:
        self._take(event, decision.seal(event), decision)

    def withdraw(self, event: Event, decision: Decision) -> None:
        self._take(event, decision.withdrawal(event), decision)

    def _take(self, event: Event, sealed: ConsentedEvent, decision: Decision) -> None:
        self.lines.append(self._pack(*self.line, sealed))
        self.taken.append((decision.verdict, event.event))


_read_head = msgspec.json.Decoder(Head).decode
_write_head = msgspec.json.Encoder().encode


class Import:
    """One file into one tag. It blocks; what a broken run has stored is passed over by the next."""

    def __init__(
        self,
        client: Redis,
        installation: Installation,
        settings: Settings,
        tag: Tag,
        file: File,
        clock: Clock,
    ) -> None:
        self._client = client
        self._installation = installation
        self._settings = settings
        self._tag = tag
        self._file = file
        self._clock = clock
        self._ledger = f"{tag.id}:{file.digest}"
        self._importer = Importer(client, installation, settings, self._ledger)
        self._looked = float("-inf")
        self._heard: float | None = None
        self._broken = False
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()  # of the refused
        self._accepted: Counter[tuple[str, str]] = Counter()  # by verdict and the event's name
        self.refusals: list[Refusal] = []  # the first of them

    def begin(self, attested: str, *, shift: bool) -> Head:
        """The ledger's head: of the run that was first to begin, else a new one.

        shift: put the file's last event at this second. Raises BadSetup when the first run did not shift, and
        NoWorker as run() does.
        """
        head = self._head()
        if head is None:
            self._await_room()
            now = int(self._clock())
            head = Head(started_at=now, attested=attested)
            if shift and (last := self._file.last_time(now)):
                head.shift, head.end_at = now - last, now
            self._client.hsetnx(keys.IMPORTS, self._ledger, _write_head(head))
            head = self._head() or head
        if shift and not head.end_at and not head.finished_at:
            raise BadSetup(
                "An import of this file was begun with the file's own times, and goes on with them. "
                "Mend: leave --shift-end-to out."
            )
        return head

    def run(self, head: Head) -> Iterator[int]:
        """Append every line that is not yet; yields the line that it has come to, now and then.

        A finished import is a no-op. Raises NoWorker when Redis is full and nobody drains it, and redis errors when
        it stays away.
        """
        if head.finished_at:
            return
        noted = time.monotonic()
        with ThreadPoolExecutor(1, "append") as sender:  # the next lines are read while these are appended
            pending: deque[tuple[_Batch, Future[list[int]]]] = deque()
            for batch in self._batches(head):
                pending.append((batch, sender.submit(self._append, batch.lines)))
                if len(pending) > AHEAD:
                    head.lines = self._settle(*pending.popleft())
                    if time.monotonic() - noted > LOOK:
                        noted = time.monotonic()
                        with suppress(Disconnected, TooSlow):  # a note for people; partitions know their lines
                            self._save(head)
                yield batch.last
            while pending:
                head.lines = self._settle(*pending.popleft())
        stored = {name for verdict, name in self._accepted if verdict != "withdrawal"}
        health.add(self._client, self._tag.id, self._fates(), self._clock(), stored)
        self._finish(head)

    def settle(self, head: Head) -> Iterator[float]:
        """Wait until worker and archive are past what was stored; yields the share of partitions that are.

        Raises NoWorker when nobody is at work.
        """
        wanted = [read.parse(entry) for entry in head.reached]
        first = True
        while True:
            passed = [min(self._cursors(number)) >= goal for number, goal in enumerate(wanted)]
            yield sum(passed) / max(len(passed), 1)
            if all(passed):
                return
            if first:
                for number, entry in enumerate(head.reached):
                    Manifest(self._client, number, self._settings.archive).ask_flush(entry)
                first = False
            self._need_worker()
            time.sleep(POLL)

    def _head(self) -> Head | None:
        raw: bytes | None = self._client.hget(keys.IMPORTS, self._ledger)
        return None if raw is None else _read_head(raw)

    def _save(self, head: Head) -> None:
        head.counts = dict(self.counts)
        self._client.hset(keys.IMPORTS, self._ledger, _write_head(head))

    def _fates(self) -> dict[tuple[str, str], int]:
        """What this run did, as a tag's health counts it: (outcome, reason) → events."""
        fates = Counter({("refused", reason): events for reason, events in self.reasons.items()})
        for (verdict, _), events in self._accepted.items():
            if verdict != "withdrawal":
                fates["accepted", verdict] += events
        if repeats := self.counts["duplicate"]:
            fates["duplicate", "event_id"] = repeats
        return fates

    def _finish(self, head: Head) -> None:
        if not self.counts.keys() & set(NAMED.values()):
            # Nothing was stored, so nothing can be doubled: mended consent or times may still let it in.
            self._client.hdel(keys.IMPORTS, self._ledger)
            head.counts = dict(self.counts)
            return
        head.finished_at = int(self._clock())
        head.reached = [read.last_id(self._client, number) for number in range(self._installation.partitions)]
        self._save(head)

    def _batches(self, head: Head) -> Iterator[_Batch]:
        """What is to be appended, one run of lines after the other."""
        signals = Signals(attested=head.attested)
        submission = Submission(
            Request(),
            self._tag,
            "import",
            signals,
            head.started_at,  # so that a later run refuses the same lines
            self._settings,
            self._installation.secret,
            may_hold_nul=False,
        )
        shared = Shared(submission, decide(signals, self._tag.regime, dnt=self._settings.dnt))
        lines = self._file.lines()
        while some := list(islice(lines, BATCH)):
            yield self._seal(some, shared, head.shift)

    def _seal(self, lines: list[Line], shared: Shared, shift: int) -> _Batch:
        batch = _Batch(self._importer.pack, lines[-1].number)
        digest = self._file.digest[:16]
        for number, event in lines:
            if isinstance(event, Unreadable):
                self._refuse(Refusal(number, *event))
                continue
            try:
                own_id = normalise.identifier(event)
                batch.line = number, bool(own_id)
                if shift and is_number(event.event_time):
                    event.event_time += shift
                shared.take(event, own_id or f"{digest}:{number}", batch)
            except Refused as refused:
                meaning = BY_REASON["refused", refused.reason].meaning.rstrip(".")
                self._refuse(Refusal(number, refused.reason, STRICTER.get(refused.reason, meaning)))
        return batch

    def _refuse(self, refusal: Refusal) -> None:
        self.counts["refused"] += 1
        self.reasons[refusal.reason] += 1
        if len(self.refusals) < SHOWN:
            self.refusals.append(refusal)

    def _settle(self, batch: _Batch, appended: Future[list[int]]) -> int:
        """Count what became of a batch, once it is known; its last line."""
        results = appended.result()
        self.counts.update(NAMED[result] for result in results)
        self._accepted.update(
            taken for taken, result in zip(batch.taken, results, strict=True) if result == APPENDED
        )
        return batch.last

    def _append(self, lines: list[PackedLine]) -> list[int]:
        """Append, however often it takes: the ledger knows what an attempt without an answer has stored."""
        if self._broken or not lines:
            return []
        self._broken = True  # until it is done: the ledger keeps the last line, so nothing may pass this one
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self._await_room()
                results = self._importer.append(lines)
                self._broken = False
                return results
            except OutOfMemoryError:
                self._looked = float("-inf")
                self._need_worker()
            except AWAY:
                if time.monotonic() > end:
                    raise
            time.sleep(LOOK)

    def _await_room(self) -> None:
        """Return when Redis is below the high-water mark, which is looked at now and then."""
        while time.monotonic() - self._looked > LOOK:
            info = memory(self._client)
            limit = int(info.get("maxmemory", 0))
            if not limit or int(info["used_memory"]) <= limit * self._settings.high_water:
                self._looked = time.monotonic()
                return
            self._need_worker()
            time.sleep(LOOK)

    def _cursors(self, number: int) -> list[tuple[int, int]]:
        """How far worker and archive are."""
        state: list[bytes | None] = self._client.hmget(keys.state(number), ["cursor", "archived"])
        return [read.parse(entry or read.START) for entry in state]

    def _need_worker(self) -> None:
        """Raises NoWorker when none has been heard of for a while, counted from the first look."""
        now = time.monotonic()
        seconds, _ = self._client.time()  # the clock that heartbeats are written by
        if self._heard is None or self._client.zcount(keys.WORKERS, (seconds - HEARTBEAT) * 1000, "+inf"):
            self._heard = now
        elif now - self._heard > HEARTBEAT:
            raise NoWorker
