"""Writes tests/data_of_before: a small data folder, by the version that is checked out.

`python -m tests.upgrade FOLDER` is run with the code of a release; tests/journey/test_upgrades_keep_data.py opens
what it wrote with the present one. Write a new folder for each release, and keep the old ones.
"""

import shutil
import sys
from pathlib import Path

from collector import connections, tags
from collector.embedded import Embedded, find_servers
from collector.settings import load
from tests.unit.parts import GPC, TAG, WITHDRAWN, Parts, happened

KEPT = ("redis/appendonlydir", "redis/written-by", "archive")
RULE = {"event": "addtocart", "exclude": [{"event": "checkout"}]}


def write(folder: Path, draft: Path) -> None:
    """Traffic in columns, in files, behind them, barred and forgotten; an audience, a tag and its key."""
    settings = load(data_dir=draft)
    oldest = next(server for server in find_servers() if server.flavour == "redis")  # Valkey reads it, too
    with Embedded(settings, oldest) as server:
        reached = settings.model_copy(update={"redis_url": server.url})
        with connections.open_redis(reached) as client:
            parts = Parts(client, reached, partitions=2)
            tags.create_tag(client, "shop", ["https://shop.example"], "opt_in")
            parts.send(*(happened(f"v{n}", event_id=f"old-{n}", age=n * 86_400) for n in range(8)))
            parts.work()
            parts.registry.create(TAG, "left a cart", "", RULE)
            parts.work()
            parts.send(happened("v1", "checkout"), happened("v2", "checkout"))
            parts.send(happened("v3"), signals=WITHDRAWN)
            parts.send(happened("v4"), signals=GPC)
            parts.apply()
            parts.flush()
            parts.send(happened("late", event_id="late"))
    for name in KEPT:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (draft / name).is_dir() else shutil.copy)(draft / name, target)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[1] + ".draft"))
    shutil.rmtree(sys.argv[1] + ".draft")
