"""A newcomer pastes the commands of README.md and docs/quickstart.md, and sees what the pages say."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import Start
from tests.docs.pages import DOCS, ROOT, Fence, Page

HERE = Path(__file__).parent
COLLECTOR, SHOP = "http://127.0.0.1:8000", "localhost:3000"
COMMANDS = str(Path(sys.executable).parent)
READY = 60.0  # seconds for what takes a moment, on a machine that runs other tests beside


class Site(SimpleHTTPRequestHandler):
    """What `python3 -m http.server` is, without its log."""

    def log_message(self, *_: object) -> None:
        pass


# What one block sets the next one has, as in a terminal.
BEFORE = "set -eoa pipefail; [ ! -f shell ] || . ./shell; "
AFTER = "declare -p PATH TAG KEY ID > shell 2> /dev/null || true"


class Terminal(NamedTuple):
    """A shell in a folder beside a running `up`. The pages' addresses become those of the test."""

    folder: Path
    collector: str
    shop: str

    def paste(self, text: str) -> str:
        """What it prints; fails when it fails."""
        text = text.replace(COLLECTOR, self.collector).replace(SHOP, self.shop)
        ran = subprocess.run(
            ["bash", "-c", f"{BEFORE}\n{text}\n{AFTER}"],
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{COMMANDS}:{os.environ['PATH']}",
                "COLLECTOR_PORT": self.collector.rpartition(":")[2],
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, f"{text}\n{ran.stdout}"
        return ran.stdout

    def follow(self, fences: list[Fence]) -> None:
        """Paste every `sh`; the `text` below one is what it prints, … being anything."""
        for place, fence in enumerate(fences):
            if fence.language != "sh":
                continue
            said = (
                fences[place + 1]
                if place + 1 < len(fences) and fences[place + 1].language == "text"
                else None
            )
            end = time.monotonic() + READY
            printed = self.paste(fence.text)
            while said and not _same(said.text, printed):  # an audience takes a moment to be ready
                assert time.monotonic() < end, (
                    f"line {said.line} promises\n{said.text}\nand it printed\n{printed}"
                )
                time.sleep(0.5)
                printed = self.paste(fence.text)


def _same(promised: str, printed: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in promised.strip().split("…"))
    return re.fullmatch(pattern, re.sub(r"\s*\n\s*", "\n", printed.strip())) is not None


@pytest.fixture
def terminal(start: Start, tmp_path: Path) -> Iterator[Terminal]:
    folder = tmp_path / "clone"
    live = start("up", redis_url="", data_dir=folder / "data")
    live.await_text("Collector is ready", 60)
    found = re.search(r"ready at (http://\S+)\. ", live.text)
    assert found
    (folder / "my-shop").mkdir()
    site = ThreadingHTTPServer(("localhost", 0), functools.partial(Site, directory=str(folder / "my-shop")))
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield Terminal(folder, found[1], f"localhost:{site.server_port}")
    site.shutdown()
    site.server_close()
    assert live.stop() == 0


def test_the_commands_of_the_readme_do_what_it_says(terminal: Terminal) -> None:
    terminal.follow(list(Page(ROOT / "README.md").fences))


@pytest.mark.slow
def test_each_of_three_newcomers_gets_there_by_the_quickstart(terminal: Terminal) -> None:
    fences = list(Page(DOCS / "quickstart.md").fences)
    marketer = next(place for place, fence in enumerate(fences) if fence.title.startswith("Marketer"))
    terminal.follow(fences[:marketer])
    visit(f"http://{terminal.shop}/")
    end = time.monotonic() + READY
    while {seen["event"] for seen in _health(terminal, fences[marketer - 1])} != {"pagevisit", "addtocart"}:
        assert time.monotonic() < end, "health does not tell of the page's events"
    terminal.follow(fences[marketer:])
    (program,) = (fence for fence in Page(DOCS / "audiences.md").fences if fence.language == "python")
    (terminal.folder / "conversion.py").write_text(program.text.replace(COLLECTOR, terminal.collector))
    assert terminal.paste(f"{sys.executable} conversion.py") == "1 of 4 bought\n"


def _health(terminal: Terminal, asked: Fence) -> list[dict[str, str]]:
    told: list[dict[str, str]] = json.loads(terminal.paste(asked.text))["last_events"]
    return told


def visit(page: str) -> None:
    """Open the page in a real browser, put something in the cart, agree."""
    node = shutil.which("node")
    assert node, "The browser test needs Node 20 or later."
    ran = subprocess.run(
        [node, "--test", str(HERE / "page.test.js")],
        env={**os.environ, "PAGE": page},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
