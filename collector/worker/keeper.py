"""The keeper: what a worker does beside its loop. A thread for what is short, another for what may take minutes."""

import threading
from collections.abc import Sequence

from collector import log, metrics
from collector.clock import Clock
from collector.connections import Redis, RedisFailure
from collector.settings import Settings
from collector.stream import scripts
from collector.stream.partitions import Installation
from collector.worker.chores import Chore, Duty

REST = 10.0  # seconds for a chore where it failed: a full disk stays so for a while, and each try reads and logs
PAUSE = 0.1  # seconds between rounds: what a forced flush or a backfill waits at most

logger = log.get("keeper")


class Keeper:
    """Does the chores that are due, of the partitions that the loop says are owned."""

    def __init__(
        self,
        client: Redis,
        installation: Installation,
        settings: Settings,
        clock: Clock,
        chores: Sequence[Chore],
    ) -> None:
        self._chores = chores
        self._settings = settings
        self._clock = clock
        self._duties = [
            Duty(client, installation, number, settings, clock) for number in range(installation.partitions)
        ]
        self._last: dict[str, float] = {}
        self._failed: dict[tuple[str, int], float] = {}
        self.owned: frozenset[int] = frozenset()
        self.leads = False  # whether this worker does the chores of the whole installation

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.round(stop)
            stop.wait(PAUSE)

    def round(self, stop: threading.Event) -> None:
        """One look at the table."""
        for chore in self._chores:
            if stop.is_set():
                return
            now, duties = self._clock(), self._mine(chore)
            # What is not ours was not done: who comes to own it begins at once, not an hour later.
            if duties and abs(now - self._last.get(chore.name, 0)) >= chore.every(self._settings):
                self._last[chore.name] = now
                self._do(chore, duties, stop)

    def _mine(self, chore: Chore) -> list[Duty]:
        if chore.once:
            return self._duties[:1] if self.leads else []
        return [self._duties[number] for number in sorted(self.owned)]

    def _do(self, chore: Chore, duties: Sequence[Duty], stop: threading.Event) -> None:
        for duty in duties:
            place = chore.name, duty.number
            if abs(self._clock() - self._failed.get(place, float("-inf"))) < REST:
                continue
            try:
                chore.do(duty)
            except Exception as error:
                if isinstance(error, RedisFailure) and not scripts.failed(error):
                    logger.warning("redis_unavailable", chore=chore.name, error=type(error).__name__)
                    stop.wait(1.0)
                    return
                # A corrupt file or a full disk must not end the other chores, nor other partitions' shares.
                self._failed[place] = self._clock()
                metrics.CHORE_FAILURES.labels(chore.name).inc()
                logger.exception("chore_failed", chore=chore.name, partition=duty.number)
