"""Erasure: what files and stream nodes still hold of erased visitors goes, and a record proves it.

Columns, dictionary and tombstone are the affair of one script, at once (audience/forget.lua). What is left is swept
partition by partition: archive rows, replaced and orphaned files, stream nodes. Then one rewrite of the append-only
file serves all that were swept before it.
"""

from typing import Any

from redis.exceptions import ResponseError

from collector import clock, connections, keys, log
from collector.archive.proof import Erasure, Proofs
from collector.archive.write import Writer
from collector.clock import Clock
from collector.connections import Redis
from collector.settings import Settings
from collector.stream import pending
from collector.stream.partitions import Installation
from collector.stream.pending import Pending

LARGE = ("large-request", "large-reply")  # logs of Valkey ≥ 8.1, from a megabyte by default
LEVEL_MS = 1_000  # for which a replica is waited for before the rewrite is put off to the next step

logger = log.get("erasure")


def sweep(client: Redis, number: int, writer: Writer, now: Clock) -> None:
    """Free a partition's files and stream of the visitors whose erasure is pending, as far as it can be done now."""
    waiting = [each for each in pending.all_of(client, [number])[number] if not each.swept]
    if not waiting:
        return
    clean = [writer.clean(tag) for tag in sorted({each.tag for each in waiting})]
    if all(clean) and pending.renew(client, number, waiting):
        pending.swept(client, number, waiting, int(now()))


class Rewrite:
    """Rewrites of the append-only file: at most one at a time, for all erasures that it can prove."""

    def __init__(self, client: Redis, installation: Installation, settings: Settings, now: Clock) -> None:
        self._client = client
        self._partitions = range(installation.partitions)
        self._settings = settings
        self._clock = now
        self._serves: dict[int, list[Pending]] = {}  # what the running rewrite will have proven
        self._starts: list[str] = []  # the servers' run ids when it began
        self._again = 0.0  # not before this second, after one that failed

    def step(self) -> None:
        """Begin a rewrite when one is due, or see to the one that runs. Returns at once."""
        # A replica keeps a file of its own. All begin theirs before one is proven, and each is waited for.
        states = [server.info("server", "persistence") for server in connections.servers(self._client)]
        if any(
            state.get("aof_rewrite_in_progress") or state.get("aof_rewrite_scheduled") for state in states
        ):
            return  # ours, or one from before the last sweep
        if self._serves:
            if _starts(states) != self._starts:
                self._serves = {}  # a server that started anew knows of no rewrite, and says that the last went well
            elif any(
                state.get("aof_enabled") and state.get("aof_last_bgrewrite_status") != "ok"
                for state in states
            ):
                self._fail("the last rewrite failed")
            else:
                self._prove()
            return
        found = pending.all_of(self._client, self._partitions)
        swept = {number: [each for each in some if each.swept] for number, some in found.items()}
        if self._clock() >= self._again and self._due([each for some in swept.values() for each in some]):
            self._begin(swept, _starts(states))

    def _due(self, swept: list[Pending]) -> bool:
        if not swept:
            return False
        at_once = int(self._client.get(keys.ERASE_NOW) or -1)
        oldest = min(each.asked for each in swept)
        return oldest <= at_once or oldest <= self._clock() - self._settings.erasure_seconds

    def _begin(self, swept: dict[int, list[Pending]], starts: list[str]) -> None:
        try:
            if not self._level():
                return
            for server in connections.servers(self._client):
                _clear_logs(server)  # first: where that is refused nothing is proven, and no rewrite is worth its while
                if server.info("persistence").get("aof_enabled"):
                    server.bgrewriteaof()
        except ResponseError as error:
            self._fail(str(error))
            return
        self._serves, self._starts = {number: some for number, some in swept.items() if some}, starts

    def _level(self) -> bool:
        """Whether a cluster's replicas have what was swept: only then a rewrite frees their files of it."""
        if not connections.clustered(self._client):
            return True
        primaries = connections.primaries(self._client)
        wanted = [int(primary.info("replication")["connected_slaves"]) for primary in primaries]
        return all(
            connections.reached(primary, count, LEVEL_MS) == count
            for primary, count in zip(primaries, wanted, strict=True)
        )

    def _prove(self) -> None:
        now = self._clock()
        for number, some in self._serves.items():
            proofs = Proofs(self._settings.archive, number)
            for tag in {each.tag for each in some}:
                records = [_record(number, each, now) for each in some if each.tag == tag]
                proofs.append(tag, "erasure", records, now)
            pending.done(self._client, number, some)
        self._serves = {}

    def _fail(self, why: str) -> None:
        # The rows are gone; what cannot be proven stays pending, where doctor and the API show it.
        logger.warning(
            "append_only_file_not_rewritten",
            error=why,
            mend="let this user call BGREWRITEAOF, SLOWLOG and, on Valkey ≥ 8.1, COMMANDLOG",
        )
        self._serves = {}
        self._again = self._clock() + 60


def _clear_logs(server: Redis) -> None:
    """Empty the logs that quote commands, and so visitors' ids: the slow log, and Valkey's of large ones."""
    server.slowlog_reset()
    for kind in LARGE:
        try:
            server.execute_command("COMMANDLOG", "RESET", kind)
        except ResponseError as error:
            if "unknown command" not in str(error):
                raise


def _starts(states: list[dict[str, Any]]) -> list[str]:
    """Each server's id of this run of it; "" where it is hidden."""
    return sorted(str(state.get("run_id", "")) for state in states)


def _record(partition: int, each: Pending, now: float) -> Erasure:
    name = keys.visitor_name(each.mark)
    return Erasure(
        record=f"{partition:02d}-{name}-{each.asked}-{each.swept}",
        visitor=name,
        asked_at=clock.iso(each.asked),
        rows_gone_at=clock.iso(each.swept),
        files_rewritten_at=clock.iso(now),
    )
