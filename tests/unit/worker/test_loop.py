"""The loop: what a worker believes is looked at again."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from collector import keys
from collector.connections import Redis
from collector.settings import Settings
from collector.worker.loop import Worker
from tests.unit.parts import TAG, Parts, happened

ONCE = {"event": "addtocart"}


@contextmanager
def working(parts: Parts) -> Iterator[None]:
    stop = threading.Event()
    worker = Worker(parts.client, parts.installation, parts.settings, "one", parts.clock)
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    yield
    stop.set()
    thread.join(20)


def test_a_server_that_went_back_in_time_is_read_from_where_it_is(redis: Redis, settings: Settings) -> None:
    """Without an event that comes after: the worker believed to be past all that there is."""
    parts = Parts(redis, settings, lease_seconds=0.5)
    audience = parts.registry.create(TAG, "", "", ONCE)
    parts.work()
    parts.send(happened("anna"))
    names = [name for name in redis.keys("{p00}:*") if b":ids" not in name and b"lease" not in name]
    before = {name: redis.dump(name) for name in names}
    with working(parts):
        wait(lambda: parts.sizes.size(TAG, audience.question(parts.now)) == 1)
        pipeline = redis.pipeline()
        for name in redis.keys("{p00}:*"):
            if name in before:
                pipeline.restore(name, 0, before[name], replace=True)
            elif b"lease" not in name:
                pipeline.delete(name)
        pipeline.execute()
        assert parts.sizes.size(TAG, audience.question(parts.now)) == 0
        wait(lambda: parts.sizes.size(TAG, audience.question(parts.now)) == 1)
    assert redis.hget(keys.state(0), "cursor") == redis.xrevrange(keys.events(0), count=1)[0][0]


def wait(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
