"""Sizes: «carted in 30 days and not bought» over ten million visitors, beside the same question to sorted sets."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from collector import keys
from collector.audience.columns import CHUNK, Seconds, column_key, versions_key
from collector.audience.rules import parse
from collector.audience.sizes import Question, Sizes
from collector.clock import DAY
from collector.connections import Redis
from loadtest.report import Asked, Line, at_most
from loadtest.rig import SECOND, Rig

COLD_GOAL = 100.0  # milliseconds
RULE = {"event": "addtocart", "retention_days": 30, "exclude": [{"event": "checkout"}]}
SHARES = (0.3, 0.1)  # of all visitors that ever carted, and bought
DAYS = 90  # that their last times are spread over


def measure(asked: Asked) -> Iterator[Line]:
    """Columns are written as they are kept, with random times; no dictionary, which a size does not look at."""
    visitors = 1_000_000 if asked.quick else 10_000_000
    now = int(time.time())
    rule = parse(RULE)
    question = Question.of(rule, 0, now)
    with Rig(server_core=SECOND) as rig:
        sets = _fill(rig, [leaf.id for leaf in rule.leaves()], visitors, now)
        answers = []

        def cold() -> None:
            answers.append(Sizes(rig.client, rig.installation).size(rig.tag.id, question))

        kept = Sizes(rig.client, rig.installation)
        slow = milliseconds(cold)
        kept.size(rig.tag.id, question)
        fast = milliseconds(lambda: answers.append(kept.size(rig.tag.id, question)))
        since = now - 30 * DAY

        def sorted_sets() -> None:
            pipeline = rig.client.pipeline()
            pipeline.zrangestore("in", sets[0], since, now, byscore=True)
            pipeline.zrangestore("out", sets[1], since, now, byscore=True)
            pipeline.execute_command("ZDIFFSTORE", "left", 2, "in", "out")
            answers.append(pipeline.execute()[-1])

        rival = milliseconds(sorted_sets, times=1 if not asked.quick else 3)
        if len(set(answers)) != 1:
            raise RuntimeError(f"columns and sorted sets disagree: {set(answers)}")
        weight = sum(rig.client.memory_usage(name, samples=0) for name in sets) / 2**20
    beside = (
        f"ZRANGESTORE ×2 and ZDIFFSTORE in the same Redis: {rival:,.0f} ms, {weight:,.0f} MiB against "
        f"{8 * visitors / 2**20:,.0f}; both say {answers[0]:,}"
    )
    yield at_most(
        f"include − exclude over {visitors:,} visitors, cold", slow, COLD_GOAL, beside, unit=" ms", digits=1
    )
    yield Line("the same, chunks kept", f"{fast:,.1f} ms", beside="versions asked, nothing fetched")


def _fill(rig: Rig, leaves: list[str], visitors: int, now: int) -> list[str]:
    """Write a column for each leaf, and a sorted set with the same times; the names of the sets."""
    random = np.random.default_rng(1)
    names = [f"{{c}}:bench:{leaf}" for leaf in leaves]
    each = visitors // rig.installation.partitions
    for number in range(rig.installation.partitions):
        tenant = keys.tenant(number, rig.tag.id)
        for leaf, share, name in zip(leaves, SHARES, names, strict=True):
            times = (now - random.integers(0, DAYS * DAY, each)).astype("<u4")
            times[random.random(each) >= share] = 0
            put_column(rig.client, tenant, leaf, times)
            known = np.flatnonzero(times)
            for first in range(0, len(known), 5_000):
                some = known[first : first + 5_000]
                rig.client.execute_command(
                    "ZADD", name, *(part for n in some for part in (int(times[n]), number * each + int(n)))
                )
    return names


def put_column(client: Redis, tenant: str, leaf: str, times: Seconds) -> None:
    """A condition's column in one partition, written as it is kept: each visitor's last second, 0 for none."""
    chunks = range(0, len(times), CHUNK)
    for chunk, first in enumerate(chunks):
        client.set(column_key(tenant, leaf, 0, chunk), times[first : first + CHUNK].tobytes())
    client.set(versions_key(tenant, leaf), b"\0\0\0\1" * len(chunks))


def milliseconds(ask: Callable[[], object], times: int = 5) -> float:
    """The median time of a question."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        ask()
        taken.append(1000 * (time.perf_counter() - started))
    return sorted(taken)[times // 2]
