"""Screens: which pages `make screenshots` takes, and what is done on each before; with --weigh what they weigh."""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from collector import connections
from collector.embedded import Embedded
from collector.settings import Settings, load
from tests import tables
from tests.conftest import Live
from tests.journey.crowd import gather
from tests.journey.room import ADMIN_KEY, AUDIENCES, furnish
from tests.journey.watched import staff, watch

HERE = Path(__file__).parent
MARK = "<!-- weights: make screenshots ARGS=--weigh -->"


class Screen(NamedTuple):
    """One screenshot: its file's name, the path, an admin or nobody (""), and selectors to click."""

    name: str
    path: str
    who: str = "admin"
    clicks: tuple[str, ...] = ()


SCREENS = (
    Screen("first-run", "/first-run", who=""),
    Screen("sign-in", "/sign-in", who=""),
    Screen("audiences", "/audiences"),
    Screen("audiences-none", "/audiences?q=zebra"),
    Screen("cases", "/audiences/new"),
    Screen("builder", "/audiences/{audience}/edit"),
    Screen("audience", "/audiences/{audience}"),
    Screen("tags", "/tags"),
    Screen("tag", "/tags", clicks=(".tags tbody a",)),
    Screen("privacy", "/privacy"),
    Screen("log", "/privacy/log"),
    Screen("operations", "/operations"),
    Screen("keys", "/keys", clicks=("details.new > summary",)),
    Screen("people", "/people", clicks=("details.new > summary",)),
    Screen("account", "/account"),
    Screen("missing", "/nowhere"),
)
"""In this order: before the first person is made, the first run can be seen. {audience} is one of the room's."""


@contextlib.contextmanager
def furnished(*, crowded: bool) -> Iterator[tuple[str, str]]:
    """The URL of a collector with a room of audiences, on a server of its own, and one of these; crowded: a thousand
    more, over ten million visitors, and one of those.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        Embedded(Settings(data_dir=Path(folder) / "server")) as server,
    ):
        settings = load(redis_url=server.url, data_dir=Path(folder) / "data", admin_key=ADMIN_KEY)
        with connections.open_redis(settings) as client:
            parts, shop = furnish(client, settings)
            watch(parts, shop)
            staff(client, parts.now)
            first = next(each.id for each in parts.registry.all() if each.name == AUDIENCES[0][0])
            if crowded:
                first = gather(parts, shop)
        environment = {
            "COLLECTOR_REDIS_URL": server.url,
            "COLLECTOR_DATA_DIR": str(settings.data_dir),
            "COLLECTOR_PARTITIONS": "1",
            "COLLECTOR_PORT": "0",
            "COLLECTOR_ADMIN_KEY": ADMIN_KEY,
            "COLLECTOR_DRAIN_SECONDS": "0",
        }
        live = Live(["serve", "--only", "query"], environment, Path(folder) / "serve.out")
        try:
            yield live.await_ready(), first
        finally:
            live.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Screenshots of the dashboard, light and dark, desktop and phone."
    )
    parser.add_argument("--into", type=Path, default=HERE.parents[1] / "docs" / "images" / "dashboard")
    parser.add_argument(
        "--weigh", action="store_true", help="no pictures: fill the table of docs/dashboard.md"
    )
    parser.add_argument("names", nargs="*", help="of screens; all by default")
    asked = parser.parse_args()
    node = shutil.which("node")
    if node is None:
        sys.exit("Screenshots need Node ≥ 20. Mend: install it from https://nodejs.org.")
    asked.into.mkdir(parents=True, exist_ok=True)
    with furnished(crowded=asked.weigh) as (url, audience):
        screens = [
            screen._replace(path=screen.path.format(audience=audience))._asdict()
            for screen in SCREENS
            if not asked.names or screen.name in asked.names
        ]
        ran = subprocess.run(
            [node, str(HERE / ("weights.mjs" if asked.weigh else "screens.mjs"))],
            env={
                **os.environ,
                "COLLECTOR": url,
                "KEY": ADMIN_KEY,
                "SCREENS": json.dumps(screens),
                "INTO": str(asked.into),
            },
            stdout=subprocess.PIPE if asked.weigh else None,
            text=True,
            check=True,
            timeout=600,
        )
    if asked.weigh:
        fill(json.loads(ran.stdout))


def fill(weights: list[tuple[str, int, float]]) -> None:
    """Put (screen, bytes, milliseconds) into the page's table."""
    rows = ((name, f"{size / 1000:.0f}", f"{ready / 1000:.2f}") for name, size, ready in weights)
    tables.write("dashboard.md", tables.table(("page", "kB transferred", "seconds until it can be used"), rows), MARK)


if __name__ == "__main__":
    main()
