"""`collector up`: everything on one machine, in one process tree that starts and stops as one."""

import contextlib
import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from collector import connections, embedded, leash, log, tags
from collector.cli import demo, roles, stopping
from collector.cli.console import Console, say
from collector.cli.options import DataDir, Port
from collector.cli.snippet import ADDRESS, snippet
from collector.dashboard import links
from collector.settings import BadSetup, Settings, load, unknown
from collector.stream.partitions import open_installation

LOOK_SECONDS = 0.1
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds before a dead child is started again, doubling
STEADY_SECONDS = 60.0  # a child that lived so long starts from the first pause again
STOP_SECONDS = 20.0  # what the contract gives a stop
START_SECONDS = 60.0
MISUSE = 2
LEAST_BYTES = (
    64 << 20
)  # of free disk: the size at which Redis rewrites its AOF for the first time, by default


class Child:
    """A role in a process of its own, started again when it dies."""

    def __init__(self, role: str, environment: dict[str, str], *options: str) -> None:
        self._role = role
        self._options = options
        self._environment = environment
        self._pause = FIRST_PAUSE
        self._due = 0.0
        self._begun = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def look(self) -> None:
        """Start it if it is due, notice its death. Raises BadSetup if it said that it cannot work here."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._due:
                self._begun = now
                self._process = leash.start(
                    [sys.executable, "-m", "collector", self._role, *self._options], env=self._environment
                )
            return
        code = self._process.poll()
        if code is None:
            return
        self._process = None
        if code == MISUSE:
            raise BadSetup(f"The {self._role} cannot work: see the line above.")
        if now - self._begun >= STEADY_SECONDS:
            self._pause = FIRST_PAUSE
        say(f"The {self._role} ended ({_ending(code)}); it starts again in {self._pause:g} s.")
        self._due = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def ask_to_stop(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def await_stop(self, end: float) -> None:
        """Wait until the monotonic time `end`, then kill."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _ending(code: int) -> str:
    return f"exit {code}" if code >= 0 else signal.Signals(-code).name


def up(
    data_dir: DataDir = None,
    port: Port = None,
    with_demo: Annotated[
        bool, typer.Option("--demo", help="A small shop beside it, to see tag and audiences at work.")
    ] = False,
) -> None:
    """Run everything on this machine: the embedded server, the edge, the queries and a worker."""
    settings = load(data_dir=data_dir, port=port)
    log.configure("warning" if "log_level" not in settings.model_fields_set else settings.log_level)
    roles.warn_of_unknown("up")
    stop = stopping.on(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    with roles.listen(settings) as probe:  # a taken port is said before anything is started
        settings = settings.model_copy(update={"port": probe.getsockname()[1]})
        shop = demo.beside(settings) if with_demo else None
    with room(settings.data_dir), _server(settings) as server:
        _note_address(settings)
        key = roles.admin_key(settings)
        welcome = _welcome(settings, _first_tag(settings), key, _way_in(settings), shop)
        environment = _environment(settings, key)
        children = [Child(role, environment) for role in ("serve", "worker")]
        if shop is not None:
            children.append(Child("demo", environment, "--port", str(shop)))
        awaited = [f"{demo.inside(settings)}/readyz"]
        if shop is not None:
            awaited.append(f"{demo.inside(settings.model_copy(update={'port': shop}))}/shop/")
        console = Console(demo.inside(settings), key)
        try:
            _watch(children, server, settings, stop, awaited, welcome, console)
        finally:
            console.close()
            _stop(children)
    typer.echo(f"Stopped. Everything is kept in {settings.data_dir.absolute()}.")


@contextlib.contextmanager
def room(folder: Path) -> Iterator[None]:
    """Raises BadSetup when the disk has no room to begin with, and when it has none left."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    mend = "Mend: free some, or choose another folder with --data-dir or COLLECTOR_DATA_DIR."
    if free < LEAST_BYTES:
        raise BadSetup(f"The disk of {folder} has {free >> 20} MB left, too little to keep events. {mend}")
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise BadSetup(f"The disk of {folder} is full; what was acknowledged is kept. {mend}") from None


def _note_address(settings: Settings) -> None:
    """Raises BadSetup when the data folder, which a server elsewhere has not made, cannot be written."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        (settings.data_dir / ADDRESS).write_text(settings.url)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise BadSetup(
            f"{settings.data_dir} cannot be written ({error.strerror}). "
            "Mend: give this user the folder, or set COLLECTOR_DATA_DIR."
        ) from None


def _first_tag(settings: Settings) -> tags.Tag:
    """The oldest tag but the demo shop's; at the first start one for pages of this machine.

    Raises BadSetup if the server will not do.
    """
    with connections.open_redis(settings) as client:
        connections.check_server(client, settings)
        open_installation(client, settings)
        known = [tag for tag in tags.list_tags(client) if tag.name != demo.TAG_NAME]
        if known:
            return known[0]
        origins = dict.fromkeys(
            (settings.url, *(f"http://{name}:{settings.port}" for name in ("127.0.0.1", "localhost")))
        )
        return tags.create_tag(client, "my site", list(origins), "opt_in")[0]


def _way_in(settings: Settings) -> str:
    """A link into the dashboard, for whoever sees this terminal: the admin key is printed beside it anyway."""
    with connections.open_redis(settings) as client:
        roles.admit_admin(client, settings)
        known = tags.lookup(client, roles.admin_key(settings))
        link = links.Link(kind="enter", key=known.id if known else "")
        return settings.url + links.path(links.make(client, link, links.ENTER_SECONDS))


def _welcome(settings: Settings, tag: tags.Tag, key: str, way_in: str, shop: int | None) -> str:
    kept = "" if settings.admin_key else f"  (kept in {settings.data_dir / 'admin.key'})"
    beside = shlex.quote(str(Path(sys.executable).parent / "collector"))
    command = "collector" if shutil.which("collector") else beside
    where = "" if settings.data_dir == Path("data") else f" --data-dir {shlex.quote(str(settings.data_dir))}"
    address = "" if shop is None else demo.shop_url(settings, shop)
    shop_line = f"\n  Demo shop   {address}" if address else ""
    first = (
        f"Open {address}, accept, put something in the cart: «Left a cart» grows by one."
        if address
        else f"{command} up --demo{where}   # with a shop, to see it all at work"
    )
    return f"""
Collector is ready at {settings.url}. Ctrl-C stops it; everything is kept.
{shop_line}
  Dashboard   {way_in}
              (signs you in once, within a day; later {settings.url}/dashboard)
  Admin key   {key}{kept}
  Tag         {tag.id}  ({tag.name}: {", ".join(tag.origins)})

Paste this into the pages of {tag.name}, before the end of head (another site needs a tag of its own: 2 below):

{snippet(settings.url, tag, vendor=settings.tcf_vendor_id)}

Next:
  1. {first}
  2. {command} tag create NAME --origin https://shop.example{where}   # a tag for a site of yours
  3. curl -s {settings.url}/v1/audiences -H "Authorization: Bearer {key}"   # all audiences, with their sizes
"""


def _server(settings: Settings) -> contextlib.AbstractContextManager[embedded.Embedded | None]:
    return contextlib.nullcontext() if settings.redis_url else embedded.Embedded(settings)


def _environment(settings: Settings, key: str) -> dict[str, str]:
    """The children's: ours, less what has been warned of, with what this command has decided on top."""
    decided: dict[str, object] = {
        "data_dir": settings.data_dir.absolute(),
        "port": settings.port,
        "admin_key": key,
        "drain_seconds": 0,  # nobody balances load between this machine and itself
        "log_level": settings.log_level if "log_level" in settings.model_fields_set else "warning",
    }
    warned = unknown(os.environ)
    ours = {name: value for name, value in os.environ.items() if name not in warned}
    return {**ours, **{f"COLLECTOR_{name.upper()}": str(value) for name, value in decided.items()}}


def _watch(
    children: list[Child],
    server: embedded.Embedded | None,
    settings: Settings,
    stop: threading.Event,
    awaited: list[str],
    welcome: str,
    console: Console,
) -> None:
    """Keep everything running until told to stop; once all that is awaited answers, greet and tell what goes on."""
    greeted, late = False, time.monotonic() + START_SECONDS
    while not stop.is_set():
        if server is not None and not server.running:
            say("The embedded server ended; it starts again.")
            server.launch()
        for child in children:
            child.look()
        if not greeted and all(map(_answers, awaited)):
            typer.echo(welcome)
            console.start()
            greeted = True
        elif not greeted and time.monotonic() > late:
            typer.echo(
                f"Not ready after {START_SECONDS:.0f} s. "
                f"Mend: see {settings.url}/readyz and `collector doctor`.",
                err=True,
            )
            late = float("inf")
        stop.wait(LOOK_SECONDS)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _stop(children: list[Child]) -> None:
    end = time.monotonic() + STOP_SECONDS
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.await_stop(end)
