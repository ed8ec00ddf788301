"""Leases: which worker minds which partitions. They only spare wasted work; the commits keep the truth."""

from collector import keys
from collector.connections import Redis
from collector.stream import scripts

# KEYS: workers. ARGV: worker, life in ms. Returns how many workers have signed in within a life, this one included.
SIGN_IN = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
return redis.call('ZCARD', KEYS[1])
"""
# KEYS: lease. ARGV: worker, life in ms, '1' to take it when it is free. Returns 1 when the worker has it.
HOLD = """
local owner = redis.call('GET', KEYS[1])
if owner == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if owner or ARGV[3] ~= '1' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
# KEYS: lease. ARGV: worker.
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


class Leases:
    """The leases of one worker, as of its last round. `leads`: it does the chores of the whole installation."""

    def __init__(self, client: Redis, worker: str, partitions: int, life_seconds: float) -> None:
        self._client = client
        self._worker = worker
        self._partitions = partitions
        self._life_ms = int(life_seconds * 1000)
        # A full Redis must not cost a worker its leases: it is the one who drains.
        self._sign_in, self._hold, self._release = (
            client.register_script(scripts.allow_oom(text)) for text in (SIGN_IN, HOLD, RELEASE)
        )
        self.owned: set[int] = set()
        self.leads = False

    def round(self) -> set[int]:
        """Renew, give up what is over a fair share, take what is free up to it; the partitions now owned.

        To be called several times in a lease's life.
        """
        workers = self._sign_in(keys=[keys.WORKERS], args=[self._worker, self._life_ms])
        share = -(-self._partitions // workers)
        self.owned = {number for number in self.owned if self._holds(keys.lease(number), take=False)}
        for number in sorted(self.owned, reverse=True)[: max(len(self.owned) - share, 0)]:
            self._release(keys=[keys.lease(number)], args=[self._worker])
            self.owned.discard(number)
        for number in range(self._partitions):
            if len(self.owned) >= share:
                break
            if number not in self.owned and self._holds(keys.lease(number), take=True):
                self.owned.add(number)
        self.leads = self._holds(keys.CHORES, take=True)
        return self.owned

    def release(self) -> None:
        """Give up everything, so that others need not wait for an expiry."""
        for key in (*map(keys.lease, self.owned), keys.CHORES):
            self._release(keys=[key], args=[self._worker])
        self._client.zrem(keys.WORKERS, self._worker)
        self.owned = set()
        self.leads = False

    def _holds(self, lease: str, *, take: bool) -> bool:
        return bool(self._hold(keys=[lease], args=[self._worker, self._life_ms, int(take)]))
