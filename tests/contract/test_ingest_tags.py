"""The edge's copy of tags and keys: at most a second old, and of use while Redis is away."""

import asyncio
import hashlib
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from collector import connections, keys, tags
from collector.settings import Settings
from collector.stream.partitions import open_installation

ORIGIN = "https://shop.example"


@asynccontextmanager
async def cached(settings: Settings, **overrides: object) -> AsyncIterator[tags.TagCache]:
    chosen = Settings(**{**settings.model_dump(), **overrides})
    client = connections.open_async(chosen, timeout=1)
    try:
        with connections.open_redis(settings) as waiting:
            installation = open_installation(waiting, settings)
        yield tags.TagCache(client, chosen, installation)
    finally:
        await client.aclose()


def away(tmp_path: Path) -> dict[str, object]:
    return {"redis_url": f"unix://{tmp_path}/nobody.sock"}


def a_tag(redis: connections.Redis, name: str = "shop") -> tags.Tag:
    return tags.create_tag(redis, name, [ORIGIN], "opt_in")[0]


def test_a_tag_made_after_the_edge_began_is_known_at_once(
    settings: Settings, redis: connections.Redis
) -> None:
    async def main() -> None:
        async with cached(settings, tag_cache_seconds=3_600) as cache:
            assert await cache.get("1" * 13) is None
            fresh = a_tag(redis)
            assert await cache.get(fresh.id) == fresh

    asyncio.run(main())


def test_a_changed_tag_is_changed_when_the_copy_is_old(settings: Settings, redis: connections.Redis) -> None:
    async def main() -> None:
        tag = a_tag(redis)
        async with cached(settings, tag_cache_seconds=0.2) as cache:
            assert await cache.get(tag.id) == tag
            redis.hdel(keys.TAGS, tag.id)
            assert await cache.get(tag.id) == tag, "young enough to be trusted"
            await asyncio.sleep(0.25)
            assert await cache.get(tag.id) is None

    asyncio.run(main())


def test_an_edge_that_starts_without_redis_knows_its_tags(
    settings: Settings, redis: connections.Redis, tmp_path: Path
) -> None:
    async def main() -> None:
        tag = a_tag(redis)
        async with cached(settings) as cache:
            await cache.get(tag.id)
        async with cached(settings, **away(tmp_path)) as cache:
            assert await cache.get(tag.id) == tag
            assert await cache.get("shop") is None, "no tag has such an id: nobody needs to be asked"
            with pytest.raises(connections.Unavailable):
                await cache.get("1" * 13)

    asyncio.run(main())


def test_the_snapshot_holds_no_key_and_a_damaged_one_does_no_harm(
    settings: Settings, redis: connections.Redis
) -> None:
    async def main() -> None:
        tag, server_key = tags.create_tag(redis, "shop", [ORIGIN], "opt_in")
        async with cached(settings) as cache:
            await cache.get(tag.id)
            await cache.key(server_key)
        snapshot = settings.spool / "snapshot.json"
        assert [each["id"] for each in json.loads(snapshot.read_text())["tags"]] == [tag.id]
        assert stat.filemode(snapshot.stat().st_mode) == "-rw-------", "it holds the installation's secret"
        assert server_key not in snapshot.read_text()
        assert hashlib.sha256(server_key.encode()).hexdigest() not in snapshot.read_text()
        snapshot.write_text("[{")
        async with cached(settings) as cache:
            assert await cache.get(tag.id) == tag

    asyncio.run(main())


def test_a_key_is_kept_as_its_digest_only(redis: connections.Redis) -> None:
    _, server_key = tags.create_tag(redis, "shop", [ORIGIN], "opt_in")
    everything = repr(redis.hgetall(keys.API_KEYS)) + repr(redis.hgetall(keys.TAGS))
    assert server_key not in everything
    assert tags.lookup(redis, server_key) is not None
    assert tags.lookup(redis, server_key + "x") is None
    assert tags.lookup(redis, "") is None
    assert tags.lookup(redis, "ü") is None


def test_a_key_ends_when_it_expires_or_is_revoked(settings: Settings, redis: connections.Redis) -> None:
    async def main() -> None:
        brief, presented = tags.create_key(redis, "brief", "server", expires_at=1)
        lasting, lasts = tags.create_key(redis, "lasting", "server")
        assert tags.lookup(redis, presented) is None
        assert tags.lookup(redis, presented, clock=lambda: 0.5) == brief
        async with cached(settings, tag_cache_seconds=0) as cache:
            assert await cache.key(presented) is None
            assert await cache.key(lasts) == lasting
            assert tags.revoke(redis, lasting.id)
            assert await cache.key(lasts) is None
        assert not tags.revoke(redis, "nobody")

    asyncio.run(main())


def test_a_server_key_is_bound_to_its_tag(redis: connections.Redis) -> None:
    tag, server_key = tags.create_tag(redis, "shop", [ORIGIN], "opt_out")
    key = tags.lookup(redis, server_key)
    assert key is not None
    assert (key.role, key.tags, key.consent_attested) == ("server", (tag.id,), "")
    assert len(tag.id) == 13 and tag.id.isdecimal()
    assert tags.list_tags(redis) == [tag] and tags.get(redis, tag.id) == tag and tags.get(redis, "x") is None


def test_many_visitors_ask_for_the_copy_once(settings: Settings, redis: connections.Redis) -> None:
    async def main() -> None:
        tag = a_tag(redis)
        async with cached(settings) as cache:
            before = redis.info("commandstats").get("cmdstat_hgetall", {}).get("calls", 0)
            found = await asyncio.gather(*(cache.get(tag.id) for _ in range(50)))
            after = redis.info("commandstats")["cmdstat_hgetall"]["calls"]
            assert found == [tag] * 50
            assert after - before == 1

    asyncio.run(main())
