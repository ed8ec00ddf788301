"""Peers: what others answer on the same cores in the same run, from an empty image to a naive stream writer."""

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from collector import keys
from loadtest.client import Client, Missing
from loadtest.measure_edge import noop
from loadtest.report import Asked, Line
from loadtest.rig import FIRST, SECOND, Rig, free_port, processor_seconds

CONNECTIONS = 64  # in all, as many as «edge» has
COST = re.compile(r"server ([\d.]+) µs, Redis ([\d.]+) µs of processor an event")


class Server(NamedTuple):
    """One running process of a peer."""

    pid: int
    url: str


Start = Callable[[Rig, int], Server]


class Peer(NamedTuple):
    """What to send to. shape, events: of a request, see shoppers.lua. stores: whether events lie in a stream then."""

    name: str
    start: Start
    path: str = "/v1/events"
    shape: str = "json"
    events: int = 1
    stores: bool = True


class Turn(NamedTuple):
    """Requests and events a second, µs of processor an event (server, Redis), milliseconds, errors."""

    requests: float
    events: float
    own: float
    redis: float
    p50: float
    p99: float
    errors: int


def _noop(rig: Rig, core: int) -> Server:
    process, url = noop(rig, core)
    return Server(process.pid, url)


def _naive(rig: Rig, core: int) -> Server:
    port = free_port()
    process, url = rig.listen([sys.executable, "-m", "loadtest.naive", str(port), _unix(rig)], port, core)
    return Server(process.pid, url)


def _nginx(rig: Rig, core: int) -> Server:
    """nginx as the collectors of pixels are set up: an empty GIF and a line in the access log."""
    port, folder = free_port(), rig.settings.data_dir / f"nginx-{core}"
    folder.mkdir()
    places = " ".join(
        f"{name}_temp_path {folder};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        textwrap.dedent(f"""
        daemon off; user root; pid {folder}/pid; error_log stderr; worker_processes 1;
        events {{ worker_connections 1024; }}
        http {{
          {places}
          access_log {folder}/access.log combined; keepalive_requests 1000000000;
          server {{ listen 127.0.0.1:{port}; location / {{ empty_gif; }} }}
        }}""")
    )
    process, url = rig.listen(
        [_tool("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)], port, core
    )
    return Server(process.pid, url)


def _webdis(rig: Rig, core: int) -> Server:
    port, config = free_port(), rig.settings.data_dir / f"webdis-{core}.json"
    options = {
        "redis_host": _unix(rig),
        "http_host": "127.0.0.1",
        "http_port": port,
        "threads": 1,
        "verbosity": 0,
    }
    config.write_text(json.dumps({**options, "daemonize": False, "logfile": str(config.with_suffix(".log"))}))
    process, url = rig.listen([_tool("webdis"), str(config)], port, core)
    return Server(process.pid, url)


def _edge(rig: Rig, core: int) -> Server:
    process, url = rig.serve("--only", "edge", core=core)
    return Server(process.pid, url)


NOOP = Peer("no-op Starlette", _noop, stores=False)
NAIVE = Peer("naive Starlette, one XADD a request", _naive)
NGINX = Peer("nginx, empty GIF and a log line", _nginx, "/", "gif", stores=False)
WEBDIS = Peer("webdis, one XADD a request", _webdis, "/", "xadd")
SINGLE = Peer("ours, one event a request", _edge)
TENS = Peer("ours, ten events a request", _edge, events=10)
PIXEL = Peer("ours, pixel", _edge, shape="pixel")
DURABLE, RELAXED = "always", "everysec"
TABLE: dict[tuple[str, int], list[Peer]] = {
    (DURABLE, 1): [NOOP, NGINX, NAIVE, WEBDIS, SINGLE, TENS, PIXEL],
    (DURABLE, 2): [NOOP, NAIVE, SINGLE, TENS],
    (RELAXED, 1): [NAIVE, WEBDIS, SINGLE, TENS],
}


def measure(asked: Asked) -> Iterator[Line]:
    """One process alone on a core, client and Redis on the other; then two, which share both cores with them."""
    seconds = 1 if asked.quick else 3
    for (durability, processes), peers in TABLE.items():
        with Rig(server_core=SECOND if processes == 1 else None, durability=durability) as rig:
            started: dict[Start, list[Server]] = {}
            for peer in peers:
                name = title(peer, durability, processes)
                try:
                    if peer.start not in started:
                        started[peer.start] = [peer.start(rig, (FIRST, SECOND)[n]) for n in range(processes)]
                        _turn(rig, peer, started[peer.start], 1)  # warm
                    turn = _turn(rig, peer, started[peer.start], seconds)
                except Missing as missing:
                    yield Line(name, "not measured", beside=str(missing))
                    continue
                cost = f"server {turn.own:.1f} µs, Redis {turn.redis:.1f} µs of processor an event"
                errors = f"; {turn.errors} errors" if turn.errors else ""
                yield Line(
                    name,
                    f"{turn.events:,.0f} events/s",
                    beside=f"{turn.requests:,.0f} requests/s; {cost}; "
                    f"p50 {turn.p50:.1f} ms, p99 {turn.p99:.1f} ms{errors}",
                )


def title(peer: Peer, durability: str, processes: int) -> str:
    """The name of a row."""
    where = "one process" if processes == 1 else f"{processes} processes on all cores"
    return f"{peer.name}; appendfsync {durability}, {where}"


def _turn(rig: Rig, peer: Peer, servers: list[Server], seconds: int) -> Turn:
    core = SECOND if len(servers) == 1 else None
    before = _used(rig, servers)
    clients = [
        Client(
            server.url + peer.path,
            rig.tag.id,
            seconds,
            events=peer.events,
            connections=CONNECTIONS // len(servers),
            core=core,
            shape=peer.shape,
        )
        for server in servers
    ]
    sent = [client.result() for client in clients]
    own, redis = (after - then for after, then in zip(_used(rig, servers), before, strict=True))
    events = sum(each.events for each in sent)
    micro = 1e6 / max(events * seconds, 1)
    streams = ("events", *(keys.events(number) for number in range(rig.installation.partitions)))
    stored = sum(rig.client.xlen(stream) for stream in streams)
    if peer.stores and stored < 0.99 * events * seconds:  # an image is answered whatever becomes of the event
        raise RuntimeError(
            f"{peer.name}: {events * seconds:,.0f} events were acknowledged, {stored:,} are stored"
        )
    for stream in streams:
        rig.client.delete(stream)  # nobody reads them here, and the next one should find as much room
    return Turn(
        sum(each.requests for each in sent),
        events,
        own * micro,
        redis * micro,
        max(each.p50 for each in sent),
        max(each.p99 for each in sent),
        sum(each.errors for each in sent),
    )


def _used(rig: Rig, servers: list[Server]) -> tuple[float, float]:
    return sum(processor_seconds(server.pid) for server in servers), processor_seconds(rig.server.pid)


def _unix(rig: Rig) -> str:
    return unquote(urlsplit(rig.server.url).path)


def _tool(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not found:
        raise Missing(f"needs {name}. Mend: apt-get install {name}, or brew install {name}.")
    return found
