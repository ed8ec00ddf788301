"""Watched: a week of traffic as the edge would have counted it, for the pages that watch an installation."""

import asyncio
import json
import random

from collector import connections, keys
from collector.clock import DAY
from collector.connections import Redis
from collector.feed import Seen
from collector.health import Tally
from collector.stream.dead import Letter, pack
from tests.unit.parts import GPC, WITHDRAWN, Parts, happened

FATES = (
    ("accepted", "full", 60),
    ("accepted", "limited", 12),
    ("duplicate", "event_id", 2),
    ("refused", "consent_denied", 14),
    ("refused", "consent_missing", 6),
    ("refused", "dnt", 2),
    ("refused", "bot", 3),
    ("refused", "bad_time", 1),
)
NAMES = ("pagevisit", "pagevisit", "viewcontent", "addtocart", "checkout", "search")
NASTY = """"><script>alert(1)</script><img src=x onerror=alert(2)>"""


def watch(parts: Parts, tag: str) -> None:
    """Fates of eight days and of an hour, a feed, opt-outs and a withdrawal, and two dead letters."""
    chance = random.Random(3)
    end = parts.now
    for back in range(7, 0, -1):
        parts.now = end - back * DAY
        _count(parts, tag, chance.uniform(12, 26), [])
    for minute in range(59, -1, -1):
        parts.now = end - minute * 60
        _count(parts, tag, chance.uniform(0.1, 0.5), [])
    parts.now = end
    _count(parts, tag, 0.1, _seen(end, chance))
    opted = [f"{place:032x}" for place in range(5_000, 5_009)]
    parts.send(*(happened(each, "pagevisit", now=end, tag=tag) for each in opted), signals=GPC)
    parts.send(happened(opted[0], now=end, tag=tag), signals=WITHDRAWN)
    parts.apply()
    parts.flush()
    for place, (reason, error) in enumerate((("undecodable", ""), ("failed", "KeyError"))):
        letter = Letter("undecodable" if reason == "undecodable" else "failed", error, b'{"tag": 1}')
        parts.client.hset(keys.dead(0), f"0:{(end - 4_000) * 1000}-{place}", pack(letter))


def staff(client: Redis, now: int) -> None:
    """As if an edge and a worker were running."""
    edge = {"at": now + 3_600, "spooled": 0, "away": False, "full": False, "failure": ""}
    client.hset(keys.EDGES, "collector:edge-1:7", json.dumps(edge))
    client.zadd(keys.WORKERS, {"worker-1": now * 1000})
    client.set(keys.lease(0), "worker-1")
    client.hset(keys.FRESH, "0", json.dumps([now, 0.084]))


def _count(parts: Parts, tag: str, share: float, seen: list[Seen]) -> None:
    async def once() -> None:
        client = connections.open_async(parts.settings, timeout=10)
        tally = Tally(client, parts.clock)
        for outcome, reason, events in FATES:
            tally.count(tag, outcome, reason, round(events * share) or 1)
        for name in NAMES:
            tally.stored(tag, name)
        if seen:
            tally.saw(tag, seen)
        running = asyncio.create_task(tally.run())
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.aclose()

    asyncio.run(once())


def _seen(now: int, chance: random.Random) -> list[Seen]:
    shop = "https://marl.example"
    seen = []
    for place in range(16):
        at, name = (now - 3 * place) * 1000, chance.choice(NAMES)
        outcome, reason, _ = FATES[0] if place % 3 else FATES[place // 3 % len(FATES)]
        if (outcome, reason) in (("refused", "consent_denied"), ("refused", "consent_missing"), ("refused", "dnt")):
            seen.append(Seen(at, "", outcome, reason, "web", ""))
        elif outcome == "refused":
            seen.append(Seen(at, name, outcome, reason, "web", shop))
        else:
            who = f"{chance.randrange(16**6):06x}"
            seen.append(Seen(at, name, outcome, reason, "web", shop, who, "words" if place % 2 else "tcf"))
    return [*seen, Seen((now - 60) * 1000, NASTY, "refused", "bad_event", "web", NASTY)]
