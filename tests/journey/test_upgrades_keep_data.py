"""What an earlier version wrote, this one reads; what it cannot read, it says so."""

import shutil
from pathlib import Path

import pytest

from collector import clock, connections, keys, tags
from collector.embedded import Embedded, Server
from collector.recovery.rebuild import rebuild
from collector.settings import BadSetup, Settings
from collector.stream.partitions import open_installation
from tests.unit.parts import TAG, Parts, happened

BEFORE = sorted((Path(__file__).parent.parent / "data_of_before").iterdir())
REMADE = ["0.1.0-c5e06e0"]  # of a form that `collector rebuild` has to bring up


@pytest.mark.parametrize("written", BEFORE, ids=lambda path: path.name)
def test_the_data_of_an_earlier_version_works(written: Path, server_binary: Server, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(written, folder)
    settings = Settings(data_dir=folder, partitions=2)
    with Embedded(settings, server_binary) as server:
        reached = settings.model_copy(update={"redis_url": server.url})
        if written.name in REMADE:
            with connections.open_redis(reached) as client, pytest.raises(BadSetup, match="collector rebuild"):
                open_installation(client, reached)
            rebuild(reached, None, clock.system, told=lambda number: None)
        with connections.open_redis(reached) as client:
            parts = Parts(client, reached, partitions=2)
            assert [tag.name for tag in tags.list_tags(client)] == ["shop"]
            (audience,) = parts.registry.all()
            parts.send(happened("new"))
            parts.work()
            members = {"v0", "v5", "v6", "v7", "late", "new"}  # v1 and v2 bought, v3 withdrew, v4 sent GPC
            runs = parts.sizes.members(TAG, audience.question(parts.now))
            assert {visitor for _, visitors in runs for visitor in visitors} == members
            assert set(parts.archive.members(TAG, audience.parsed(), at=parts.now)) == members
            assert parts.archive.events(TAG, "v3") == []
            assert [event.event_id for event in parts.archive.events(TAG, "late")] == ["late"]
            assert parts.members({"event": "addtocart", "retention_days": 3}) == sorted(
                {"v0", "v1", "v2", "late", "new"}
            )


def test_data_of_another_form_is_refused_with_the_way_out(
    redis: connections.Redis, settings: Settings
) -> None:
    open_installation(redis, settings)
    redis.hset(keys.INSTALLATION, "schema", "3")
    with pytest.raises(BadSetup, match="schema 3, this version reads 2"):
        open_installation(redis, settings)
