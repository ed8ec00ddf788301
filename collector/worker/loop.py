"""The worker's loop: leases, then batch after batch of every partition that it owns."""

import os
import secrets
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import orjson
from prometheus_client import start_http_server

from collector import clock, connections, keys, log, metrics
from collector.settings import BadSetup, Settings
from collector.stream import read, scripts
from collector.stream.partitions import Installation, open_installation
from collector.worker import chores, poison
from collector.worker.keeper import Keeper
from collector.worker.leases import Leases
from collector.worker.partition import Partition

# Partitions worked on at a time. Python computes for one of them while the others wait for Redis.
HANDS = 3
PATIENCE = 60.0  # seconds for a server that is starting; past them the process ends and is started again
LONGEST_PAUSE = 0.1  # seconds between two turns without a backlog
TURN = 0.2  # seconds that a partition with a backlog may take before the others get a look
RENEWALS = 5  # rounds in a lease's life: four may fail before the lease is lost

logger = log.get("worker")


def run(settings: Settings, stop: threading.Event, now: clock.Clock = clock.system) -> None:
    """Work until `stop` is set. Blocks; survives a server that comes and goes.

    Raises BadSetup, and connections.Unavailable for a server that does not come within PATIENCE.
    """
    entered = _enter(settings, stop)
    if entered is None:
        return
    client, installation = entered
    _show_metrics(settings)
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    Worker(client, installation, settings, name, now).run(stop)


def _show_metrics(settings: Settings) -> None:
    if port := settings.worker_metrics_port:
        try:
            start_http_server(port, addr=settings.host)
        except OSError as error:
            raise BadSetup(
                f"{settings.host} port {port} cannot be listened on ({error.strerror}). "
                "Mend: choose another with COLLECTOR_WORKER_METRICS_PORT; each worker needs its own."
            ) from None


def _enter(settings: Settings, stop: threading.Event) -> tuple[connections.Redis, Installation] | None:
    """The server and its installation, once it answers; None if `stop` is set before that."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            client = connections.open_redis(settings)
            connections.check_server(client, settings)
            return client, open_installation(client, settings)
        except connections.Unavailable as error:
            if time.monotonic() > end:
                raise
            logger.warning("redis_does_not_answer_yet", error=type(error).__name__)
        if stop.wait(1):
            return None


class Worker:
    """One worker process: the loop in this thread, the archive and the chores in the keepers'."""

    def __init__(
        self,
        client: connections.Redis,
        installation: Installation,
        settings: Settings,
        name: str,
        now: clock.Clock,
    ) -> None:
        self._client = client
        self._installation = installation
        self._settings = settings
        self._clock = now
        self._leases = Leases(client, name, installation.partitions, settings.lease_seconds)
        self._partitions: dict[int, Partition] = {}
        self._next_round = 0.0
        self._fresh: dict[int, float] = {}  # partition → seconds, of what was applied since it was told last
        self._pool = ThreadPoolExecutor(HANDS, "apply")
        self.keepers = [
            Keeper(client, installation, settings, now, [chore for chore in chores.TABLE if chore.slow is slow])
            for slow in (False, True)
        ]

    def run(self, stop: threading.Event) -> None:
        threads = [threading.Thread(target=keeper.run, args=(stop,)) for keeper in self.keepers]
        for thread in threads:
            thread.start()
        try:
            while not stop.is_set():
                began = time.monotonic()
                if not self._turn():
                    # Under load turns take longer, so batches grow: each costs the server a sync of its file.
                    took = time.monotonic() - began
                    stop.wait(max(self._settings.poll_seconds, min(took, LONGEST_PAUSE)))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            self._pool.shutdown()
            try:
                self._leases.release()
            except connections.Unavailable:
                logger.warning("leases_left_to_expire")

    def _turn(self) -> bool:
        """One look at everything; whether more waits already."""
        try:
            self._mind_leases()
            return self.step()
        except connections.Unavailable as error:
            # What was sent may have been done: nothing that is believed can be trusted.
            logger.warning("redis_unavailable", error=type(error).__name__, detail=str(error))
            self._partitions.clear()
            time.sleep(min(1.0, self._settings.lease_seconds / RENEWALS))
            return False

    def _mind_leases(self) -> None:
        if time.monotonic() < self._next_round:
            return
        self._next_round = time.monotonic() + self._settings.lease_seconds / RENEWALS
        owned = self._leases.round()
        self._begin()  # before the keepers do: the archive waits for a cursor, once there is one
        for keeper in self.keepers:
            keeper.owned = frozenset(owned)
            keeper.leads = self._leases.leads
        metrics.OWNED.set(len(owned))
        for number in set(self._partitions) - owned:
            del self._partitions[number]
        self._check_beliefs()
        self._tell_fresh()
        metrics.leave(set(range(self._installation.partitions)) - owned)
        if not self._leases.leads:
            metrics.step_down()

    def _tell_fresh(self) -> None:
        """The longest that events of each partition took to their columns since the last time."""
        fresh, self._fresh = self._fresh, {}
        if fresh:
            now = int(self._clock())
            told = {str(number): orjson.dumps([now, round(took, 3)]) for number, took in fresh.items()}
            scripts.drained(self._client, "HSET", keys.FRESH, *(part for pair in told.items() for part in pair))

    def _begin(self) -> None:
        for number in self._leases.owned - set(self._partitions):
            self._partitions[number] = Partition(
                self._client, self._installation, number, self._settings, self._clock
            )

    def _check_beliefs(self) -> None:
        """Reload what is not where it was left: a server that went back in time has events before what is believed,
        and until the next event came nobody would read them.
        """
        pipeline = self._client.pipeline(transaction=False)
        for number in self._partitions:
            pipeline.hget(keys.state(number), "cursor")
        for partition, cursor in zip(self._partitions.values(), pipeline.execute(), strict=True):
            if (cursor or b"0-0").decode() != partition.cursor:
                partition.reload()

    def step(self) -> bool:
        """Read and apply a batch or more of every owned partition; whether any has a batch more."""
        self._begin()
        cursors = {number: partition.cursor for number, partition in self._partitions.items()}
        waiting = read.many(self._client, cursors, self._settings.batch_events)
        busy = [(self._partitions[number], entries) for number, entries in waiting.items() if entries]
        return any(list(self._pool.map(self._apply, busy)))  # a list: all of them are waited for

    def _apply(self, work: tuple[Partition, read.Page]) -> bool:
        """Apply a batch, and what waits behind it as long as whole batches do, for a while; whether more waits."""
        partition, entries = work
        end = time.monotonic() + TURN
        while entries:
            if entries.lineage != partition.lineage:  # a failover came between
                partition.reload()
                return True
            start = time.perf_counter()
            done = poison.apply(partition, entries)
            metrics.BATCH_SECONDS.observe(time.perf_counter() - start)
            took = max(self._clock() - read.parse(entries[0].id)[0] / 1000, 0)
            metrics.FRESHNESS_SECONDS.observe(took)
            self._fresh[partition.number] = max(took, self._fresh.get(partition.number, 0))
            if done == len(entries) < self._settings.batch_events:
                return False
            if time.monotonic() > end:
                return True
            entries = read.after(self._client, partition.number, partition.cursor, self._settings.batch_events)
        return False
