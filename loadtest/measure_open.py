"""Open: latency at half and at nine tenths of saturation, with requests that wait for nobody."""

import sys
from collections.abc import Iterator

from loadtest import openloop
from loadtest.client import Client
from loadtest.measure_edge import noop
from loadtest.report import Asked, Line, at_most
from loadtest.rig import FIRST, PATIENCE, SECOND, Rig

HALF, NEARLY = 0.5, 0.9  # of saturation
TIMES_GOAL = 3.0  # the no-op's p99 at half load


def measure(asked: Asked) -> Iterator[Line]:
    """Server alone on one core, client and Redis (AOF always) on the other. Each is loaded by its own saturation."""
    seconds = 3 if asked.quick else 7
    base = 0.0
    with Rig(server_core=SECOND) as rig:
        _, nothing = noop(rig, FIRST)
        _, edge = rig.serve("--only", "edge", core=FIRST)
        for name, url, events in (
            ("no-op", nothing, 1),
            ("edge, one event a request", edge, 1),
            ("edge, ten events a request", edge, 10),
        ):
            most = saturation(rig, url, events, seconds // 2)
            for load in (HALF, NEARLY):
                told = send(rig, url, most * load, seconds, events=events, core=SECOND)
                where = f"{name}, at {load:.0%} of saturation"
                p50, p99, p999 = told.whole[1:]
                beside = (
                    f"p50 {p50:.1f} ms, p99.9 {p999:.1f} ms; {told.offered:,.0f} of {most:,.0f} requests/s, "
                    f"{told.errors} errors; client late by {told.late:.1f} ms at p99, {told.busy:.2f} of its core"
                )
                if url == nothing and load == HALF:
                    base = p99
                if url == edge and load == HALF and events == 1:
                    yield at_most(
                        f"{where}: p99",
                        p99,
                        round(TIMES_GOAL * base, 1),
                        f"3 times the no-op's; {beside}",
                        unit=" ms",
                        digits=1,
                    )
                else:
                    yield Line(f"{where}: p99", f"{p99:.1f} ms", beside=beside)


def saturation(rig: Rig, url: str, events: int, seconds: int) -> float:
    """The requests a second that a closed loop gets answered."""
    return Client(f"{url}/v1/events", rig.tag.id, seconds, events=events, core=SECOND).result().requests


def send(
    rig: Rig,
    url: str,
    rate: float,
    seconds: float,
    *,
    events: int = 1,
    core: int | None = None,
    **options: float,
) -> openloop.Told:
    """Run the open loop against a server; options: of its command line."""
    given = {"rate": rate, "seconds": seconds, "events": events, **options}
    command = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    client = rig.run([sys.executable, "-m", "loadtest.openloop", url, rig.tag.id, *command], core=core)
    client.wait(seconds + PATIENCE)
    return openloop.read(rig.said(client))
