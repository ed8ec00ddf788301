"""Remake: an installation from a snapshot and its files, in a spare database that then takes the live one's place.

Redis swaps two databases in one step. Until then the live one is as it was, whatever happens to whoever remakes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import msgspec
import pyarrow.parquet as pq
from redis.exceptions import ResponseError

from collector import keys
from collector.archive import rows, scan, sql
from collector.archive.manifest import encode_file
from collector.archive.write import Writer
from collector.audience import registry
from collector.audience.columns import CHUNK, SEEN, Columns, Effects
from collector.audience.rules import LONGEST_DAYS
from collector.clock import DAY, Clock
from collector.connections import Redis, database_of, open_redis
from collector.recovery.snapshot import Holding, Record, Share, put, put_marks
from collector.settings import BadSetup, Settings
from collector.stream import ids, read
from collector.stream.partitions import SCHEMA, Installation
from collector.worker import backfill

DRAFT = "{c}:draft"  # in a database that nobody works with: what was begun here, or was replaced
NEVER = "4294967295"  # the second from which an empty column covers the past, as register.lua writes it
VISITORS = 1_500  # in one script call: about 10 µs each in the server
IDS = 10_000  # event ids, or marks, in one round trip
IDENTIFYING = ("visitor", "event", "event_id", "received_at")  # with the tag: what «the same event» means
SKEW = 3_600  # seconds by which an edge's clock may differ from Redis'

_Some = TypeVar("_Some")

Tail = Callable[[], Iterable[Sequence[read.Entry]]]
"""A partition's entries behind its files, page by page; may be asked more than once."""


class Draft(NamedTuple):
    """An installation to be made. shares and tails: one for each partition."""

    installation: Installation
    common: list[Record]
    shares: list[Share]
    tails: list[Tail]


class Busy(Exception):
    """Somebody wrote to the live database meanwhile, so it was left as it is."""


class Databases:
    """The live database and a spare one beside it. From its start on, whatever writes to the live one is noticed."""

    def __init__(self, settings: Settings, watched: Sequence[str]) -> None:
        """Raises BadSetup when there is no empty database to be had."""
        self.live = open_redis(settings)
        self._live = database_of(self.live)
        self._spare = self._live + 1
        self.spare = open_redis(settings, database=self._spare)
        try:
            if self.spare.dbsize() and not self.spare.exists(DRAFT):
                raise BadSetup(
                    f"Database {self._spare} of the server is needed for a while and is not empty. "
                    "Mend: move what is in it, or give Collector a server of its own."
                )
            self.spare.flushdb()
            self.spare.set(DRAFT, 1)
        except ResponseError as error:
            raise BadSetup(
                f"The server has no database {self._spare} to work in ({error}). Mend: databases {self._spare + 1}."
            ) from None
        # Not through redis-py's pipeline: the keys are watched in one database, the transaction spans two.
        self._guard = self.live.connection_pool.get_connection()
        self._say("WATCH", *watched)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the spare database empty: it holds a broken draft, or what was replaced."""
        self._guard.disconnect()
        if self.spare.exists(DRAFT):
            self.spare.flushdb(asynchronous=True)
        self.spare.close()
        self.live.close()

    def swap(self) -> None:
        """Put the spare database in the live one's place. Raises Busy when somebody has written to that."""
        self._say("MULTI")
        self._say("SET", DRAFT, 1)
        self._say("SWAPDB", self._live, self._spare)
        self._say("DEL", DRAFT)
        if self._say("EXEC") is None:
            raise Busy

    def _say(self, *words: object) -> Any:
        self._guard.send_command(*words)
        return self._guard.read_response()


def remake(
    client: Redis, draft: Draft, settings: Settings, clock: Clock, *, told: Callable[[int], None]
) -> None:
    """Write the draft and all that follows from it into an empty database. `told` hears of each partition done.

    The files lie in settings.archive already. Raises connections.Unavailable, whole.Damaged, and BadSetup when the past
    cannot be read.
    """
    settings = settings.model_copy(update={"partitions": draft.installation.partitions})
    for record in draft.common:
        put(client, record)
    written = {"partitions": draft.installation.partitions, "secret": draft.installation.secret.hex()}
    client.hset(keys.INSTALLATION, mapping={**written, "schema": SCHEMA})
    # An audience is ready once the worker has passed the end of what was there.
    started = [share.newest for share in draft.shares]
    for name, raw in client.hgetall(keys.AUDIENCES).items():
        audience = msgspec.structs.replace(registry.decode(raw), started=started)
        client.hset(keys.AUDIENCES, name, registry.encode(audience))
    for number, (share, tail) in enumerate(zip(draft.shares, draft.tails, strict=True)):
        _Part(client, draft.installation, number, settings, clock).write(share, tail)
        told(number)


class _Part:
    """One partition of the draft."""

    def __init__(
        self, client: Redis, installation: Installation, number: int, settings: Settings, clock: Clock
    ) -> None:
        self._client = client
        self._installation = installation
        self._number = number
        self._prefix = keys.partition(number)
        self._window = settings.id_window
        self._horizon = int(clock()) - LONGEST_DAYS * DAY
        self._columns = Columns(client, installation, number)
        self._writer = Writer(client, installation, number, settings, clock)

    def write(self, share: Share, tail: Tail) -> None:
        self._put_state(share)
        for tag, holding in share.tags.items():
            self._put_holding(tag, holding, share.archived)
            self._put_visitors(tag, holding)
        self._put_tail(share, tail)
        self._remember(share, tail)
        while self._columns.wanting():
            before = self._progress(share)
            backfill.fill(self._columns, self._writer, self._horizon)
            if self._columns.wanting() and self._progress(share) == before:
                raise BadSetup(
                    f"The past of partition {self._number} cannot be read. Mend: see the line above; restore its files."
                )

    def _put_state(self, share: Share) -> None:
        # The columns will hold what the files hold; the worker applies the tail behind them.
        state = {"cursor": share.archived, "archived": share.archived}
        counters = {"epoch": share.epoch, "erasures": share.erasures}
        self._client.hset(keys.state(self._number), mapping={**state, **counters})
        cursor = read.parse(share.archived)
        dead = {
            field: letter
            for field, letter in share.dead.items()
            if read.parse(field.partition(b":")[2])
            <= cursor  # later ones are in the tail, and are tried again
        }
        for name, content in ("imports", share.imports), ("dead", dead), ("pending", share.pending):
            if content:
                self._client.hset(f"{self._prefix}:{name}", mapping=content)

    def _put_holding(self, tag: str, holding: Holding, archived: str) -> None:
        tenant = keys.tenant(self._number, tag)
        pipeline = self._client.pipeline(transaction=False)
        pipeline.sadd(f"{self._prefix}:tags", tag)
        for leaf, fields in holding.leaves.items():
            kept = {name: fields[name] for name in ("condition", "count", "wanted_from", "touched")}
            pipeline.sadd(f"{tenant}:leaves", leaf)
            pipeline.hset(
                f"{tenant}:leaf:{leaf}", mapping={**kept, "live_from": archived, "covered_from": NEVER}
            )
        if holding.leaves:
            pipeline.sadd(f"{self._prefix}:wanting", tag)
        for name, marks in ("bars", holding.bars), ("tombs", holding.tombs):
            for some in _slices(list(marks.items()), IDS):
                pipeline.hset(f"{tenant}:{name}", mapping=dict(some))
        for marked in _slices(holding.erasing, IDS):
            pipeline.sadd(f"{tenant}:erasing", *marked)
        if holding.files:
            pipeline.hset(
                f"{tenant}:manifest", mapping={file.name: encode_file(file) for file in holding.files}
            )
        pipeline.execute()

    def _put_visitors(self, tag: str, holding: Holding) -> None:
        """The dictionary: whoever has an event that counts, and when the last one was."""
        query = f"""
            SELECT visitor, max(event_time) FROM {sql.unmarked("archived", "marks")}
            WHERE verdict = 'full' AND event_time >= {self._horizon} GROUP BY visitor"""  # noqa: S608 (an integer)
        following = 0
        belief = self._columns.load()
        for found in self._ask(tag, holding, query):
            new: list[int] = []
            names: list[bytes] = []
            chunks: dict[int, tuple[list[int], list[int]]] = {}
            for visitor, last in found:
                who = self._columns.identity(tag, visitor)
                new += (who.hash, following)
                names.append(who.key)
                offsets, times = chunks.setdefault(following // CHUNK, ([], []))
                offsets.append(following % CHUNK)
                times.append(last)
                following += 1
            merges = [[SEEN, 1, chunk, *seen] for chunk, seen in chunks.items()]
            effects = Effects([(tag, 0, following, new, merges)], [])
            if not self._columns.apply((belief.cursor, belief.epoch), belief.cursor, effects, names):
                raise BadSetup("The server changed under the work. Mend: begin anew, on an empty one.")

    def _put_tail(self, share: Share, tail: Tail) -> None:
        stream = keys.events(self._number)
        for page in tail():
            pipeline = self._client.pipeline(transaction=False)
            for entry in page:
                pipeline.xadd(stream, {"e": entry.payload}, id=entry.id.decode())
            pipeline.execute()
        # Whatever the clock says now: new ids must come after those that the cursors have passed.
        if share.newest != read.START:
            if not self._client.exists(stream):
                self._client.xadd(stream, {"e": b""}, id=share.newest)
                self._client.xtrim(stream, maxlen=0, approximate=False)
            self._client.execute_command("XSETID", stream, share.newest)

    def _remember(self, share: Share, tail: Tail) -> None:
        """The event ids of the last window, so that what is sent again stays a duplicate."""
        seconds, _ = self._client.time()
        now = seconds // self._window
        remembered: dict[int, set[int]] = {now - 1: set(), now: set()}

        def note(tag: str, visitor: str, event: str, event_id: str, received_at: int) -> None:
            generation = min(received_at // 1000 // self._window, now)
            if event_id and generation in remembered:
                mark = keys.event_mark(self._installation.secret, tag, visitor, event, event_id)
                remembered[generation].add(mark)

        since = (now - 1) * self._window
        for tag, holding in share.tags.items():
            # Most files are older, and need not be opened: ids of the stream are milliseconds of arrival.
            for file in holding.files:
                if read.parse(file.last)[0] // 1000 >= since - SKEW:
                    path = self._writer.manifest.path(tag, file.name)
                    with pq.ParquetFile(path) as source:
                        for batch in source.iter_batches(IDS, columns=list(IDENTIFYING)):
                            for row in zip(*(batch[name].to_pylist() for name in IDENTIFYING), strict=True):
                                note(tag, *row)
        for page in tail():
            for event in filter(None, map(read.decode, page)):
                note(event.tag, event.visitor, event.event, event.event_id, event.received_at)
        for generation, marks in remembered.items():
            self._put_ids(generation, marks)

    def _put_ids(self, generation: int, marks: set[int]) -> None:
        count = ids.buckets_of(len(marks))
        buckets: dict[int, list[int]] = {}
        for mark in marks:
            buckets.setdefault(ids.bucket_of(mark, count), []).append(mark)
        pipeline = self._client.pipeline(transaction=False)
        for bucket, some in buckets.items():
            key = f"{self._prefix}:ids:{generation}:{bucket}"
            pipeline.sadd(key, *some)
            pipeline.expire(key, 2 * self._window + 60)
        if marks:
            pipeline.hset(f"{self._prefix}:ids", str(generation), len(marks))
        pipeline.execute()

    def _ask(self, tag: str, holding: Holding, query: str) -> Iterator[list[tuple[Any, ...]]]:
        if not holding.files:
            return
        marks: dict[int, int] = {}
        put_marks(marks, holding.bars)
        put_marks(marks, holding.tombs)
        paths = [str(self._writer.manifest.check(tag, file)) for file in holding.files]
        with scan.connect(paths, rows.SCHEMA.empty_table(), marks) as connection:
            connection.execute(query)
            while found := connection.fetchmany(VISITORS):
                yield found

    def _progress(self, share: Share) -> Mapping[str, object]:
        return {tag: self._columns.progress(tag, list(holding.leaves)) for tag, holding in share.tags.items()}


def _slices(whole: Sequence[_Some], size: int) -> Iterator[Sequence[_Some]]:
    return (whole[at : at + size] for at in range(0, len(whole), size))
