"""`collector up`: everything on one machine, in one process tree that starts and stops as one."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import typer

from collector import connections, embedded, leash, log, tags
from collector.cli import roles
from collector.cli.options import DataDir, Port
from collector.cli.snippet import snippet
from collector.settings import BadSetup, Settings, load
from collector.stream.partitions import open_installation

LOOK_SECONDS = 0.1
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds before a dead child is started again, doubling
STEADY_SECONDS = 60.0  # a child that lived so long starts from the first pause again
STOP_SECONDS = 20.0  # what the contract gives a stop
START_SECONDS = 60.0
MISUSE = 2


class Child:
    """A role in a process of its own, started again when it dies."""

    def __init__(self, role: str, environment: dict[str, str]) -> None:
        self._role = role
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
                    [sys.executable, "-m", "collector", self._role], env=self._environment
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
        typer.echo(
            f"The {self._role} ended ({_ending(code)}); it starts again in {self._pause:g} s.", err=True
        )
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


def up(data_dir: DataDir = None, port: Port = None) -> None:
    """Run everything on this machine: the embedded server, the edge, the queries and a worker."""
    settings = load(data_dir=data_dir, port=port)
    log.configure("warning" if "log_level" not in settings.model_fields_set else settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, lambda *_: stop.set())
    with roles.listen(settings) as probe:  # a taken port is said before anything is started
        settings = settings.model_copy(update={"port": probe.getsockname()[1]})
    with _server(settings) as server:
        key = roles.admin_key(settings)
        welcome = _welcome(settings, _first_tag(settings), key)
        children = [Child(role, _environment(settings, key)) for role in ("serve", "worker")]
        try:
            _watch(children, server, settings, stop, welcome)
        finally:
            _stop(children)
    typer.echo(f"Stopped. Everything is kept in {settings.data_dir.absolute()}.")


def _first_tag(settings: Settings) -> tags.Tag:
    """The oldest tag; at the first start one for pages of this machine.

    Raises BadSetup if the server will not do.
    """
    with connections.open_redis(settings) as client:
        connections.check_server(client, settings)
        open_installation(client, settings)
        known = tags.list_tags(client)
        if known:
            return known[0]
        origins = dict.fromkeys(
            (settings.url, *(f"http://{name}:{settings.port}" for name in ("127.0.0.1", "localhost")))
        )
        return tags.create_tag(client, "my site", list(origins), "opt_in")[0]


def _welcome(settings: Settings, tag: tags.Tag, key: str) -> str:
    kept = "" if settings.admin_key else f"  (kept in {settings.data_dir / 'admin.key'})"
    command = "collector" if shutil.which("collector") else f"{Path(sys.executable).parent / 'collector'}"
    return f"""
Collector is ready at {settings.url}. Ctrl-C stops it; everything is kept.

  Admin key   {key}{kept}
  Tag         {tag.id}  ({tag.name}: {", ".join(tag.origins)})

Paste this into the pages of {tag.name}, before the end of head:

{snippet(settings.url, tag)}

Next:
  {command} tag create NAME --origin https://shop.example   # a tag for another site
  {command} tag snippet {tag.id}   # the lines above again
  {command} doctor   # whether all is well
"""


def _server(settings: Settings) -> contextlib.AbstractContextManager[embedded.Embedded | None]:
    return contextlib.nullcontext() if settings.redis_url else embedded.Embedded(settings)


def _environment(settings: Settings, key: str) -> dict[str, str]:
    """The children's: ours, with what this command has decided on top."""
    decided: dict[str, object] = {
        "data_dir": settings.data_dir.absolute(),
        "port": settings.port,
        "admin_key": key,
        "drain_seconds": 0,  # nobody balances load between this machine and itself
        "log_level": settings.log_level if "log_level" in settings.model_fields_set else "warning",
    }
    return {**os.environ, **{f"COLLECTOR_{name.upper()}": str(value) for name, value in decided.items()}}


def _watch(
    children: list[Child],
    server: embedded.Embedded | None,
    settings: Settings,
    stop: threading.Event,
    welcome: str,
) -> None:
    """Keep everything running until told to stop; greet once it is ready."""
    greeted, late = False, time.monotonic() + START_SECONDS
    while not stop.is_set():
        if server is not None and not server.running:
            typer.echo("The embedded server ended; it starts again.", err=True)
            server.launch()
        for child in children:
            child.look()
        if not greeted and _ready(settings):
            typer.echo(welcome)
            greeted = True
        elif not greeted and time.monotonic() > late:
            typer.echo(
                f"Not ready after {START_SECONDS:.0f} s. "
                f"Mend: see {settings.url}/readyz and `collector doctor`.",
                err=True,
            )
            late = float("inf")
        stop.wait(LOOK_SECONDS)


def _ready(settings: Settings) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    try:
        with urllib.request.urlopen(f"http://{host}:{settings.port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _stop(children: list[Child]) -> None:
    end = time.monotonic() + STOP_SECONDS
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.await_stop(end)
