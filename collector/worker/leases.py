"""Leases: which worker minds which partitions. They only spare wasted work; the commits keep the truth."""

from collector import keys
from collector.connections import Redis
from collector.stream import scripts

RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"


class Leases:
    """The leases of one worker. `owned` is what it held at its last round."""

    def __init__(self, client: Redis, worker: str, partitions: int, life_seconds: float) -> None:
        self._client = client
        self._worker = worker
        self._partitions = partitions
        self._life_ms = int(life_seconds * 1000)
        self._release = client.register_script(scripts.allow_oom(RELEASE))
        self._renew = client.register_script(scripts.allow_oom(RENEW))
        self.owned: set[int] = set()
        self.leads = False

    def round(self) -> set[int]:
        """Renew, take what is free up to a fair share, give up what is over it; the partitions now owned.

        To be called several times in a lease's life.
        """
        seconds, micros = self._client.time()
        now = seconds * 1000 + micros // 1000
        self._client.zadd(keys.WORKERS, {self._worker: now})
        self._client.zremrangebyscore(keys.WORKERS, "-inf", now - self._life_ms)
        workers: int = self._client.zcard(keys.WORKERS)
        share = -(-self._partitions // max(workers, 1))
        for number in sorted(self.owned):
            if not self._renew(keys=[_key(number)], args=[self._worker, self._life_ms]):
                self.owned.discard(number)
        for number in sorted(self.owned, reverse=True)[: max(len(self.owned) - share, 0)]:
            self._release(keys=[_key(number)], args=[self._worker])
            self.owned.discard(number)
        for number in range(self._partitions):
            if len(self.owned) >= share:
                break
            if number not in self.owned and self._client.set(
                _key(number), self._worker, nx=True, px=self._life_ms
            ):
                self.owned.add(number)
        self.leads = bool(
            self._renew(keys=[keys.CHORES], args=[self._worker, self._life_ms])
            or self._client.set(keys.CHORES, self._worker, nx=True, px=self._life_ms)
        )
        return self.owned

    def release(self) -> None:
        """Give up everything, so that others need not wait for an expiry."""
        for number in self.owned:
            self._release(keys=[_key(number)], args=[self._worker])
        self._release(keys=[keys.CHORES], args=[self._worker])
        self._client.zrem(keys.WORKERS, self._worker)
        self.owned = set()
        self.leads = False


def _key(partition: int) -> str:
    return f"{keys.partition(partition)}:lease"
